//! Whatever servers answer, clients get answers to what they asked: no value of another key, none twice or out of order,
//! no `STORED` to a get, and something in the end. The proxy runs in memory here, with a clock that jumps, so that a server
//! that was given up is asked again at once.

use magent::config::{Command, parse};
use magent::proxy::Proxy;
use magent::proxy::net::{Address, Level, Net, Readiness, Time, Token};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::io::{self, ErrorKind, IoSlice};
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

const KEYS: [&str; 3] = ["a", "b", "kk"];
/// Longer than any server is waited for, in steps of what the proxy asks for.
const STEPS_MAX: usize = 400;

/// Both directions of a connection, seen from the proxy.
#[derive(Default)]
struct Pipe {
    incoming: VecDeque<u8>,
    outgoing: Vec<u8>,
}

/// The world in memory.
#[derive(Default)]
struct World {
    now_ms: u64,
    pipes: HashMap<usize, (Token, Pipe)>,
    opened: usize,
    /// Which connections lead to which port.
    links: HashMap<usize, u16>,
}

impl World {
    fn open(&mut self, token: Token) -> usize {
        self.opened += 1;
        self.pipes.insert(self.opened, (token, Pipe::default()));
        self.opened
    }
}

impl Net for World {
    type Socket = usize;

    fn connect(&mut self, address: &Address, token: Token) -> io::Result<usize> {
        let socket = self.open(token);
        if let Address::Tcp(address) = address {
            self.links.insert(socket, address.port());
        }
        Ok(socket)
    }

    fn adopt(&mut self, socket: &mut usize, token: Token) -> io::Result<()> {
        self.pipes.get_mut(socket).expect("an open socket").0 = token;
        Ok(())
    }

    fn read(&mut self, socket: &mut usize, into: &mut [u8]) -> io::Result<usize> {
        let incoming = &mut self.pipes.get_mut(socket).expect("an open socket").1.incoming;
        let count = into.len().min(incoming.len());
        for (to, from) in into.iter_mut().zip(incoming.drain(..count)) {
            *to = from;
        }
        if count > 0 {
            Ok(count)
        } else {
            Err(ErrorKind::WouldBlock.into())
        }
    }

    fn write(&mut self, socket: &mut usize, pieces: &[IoSlice<'_>]) -> io::Result<usize> {
        let outgoing = &mut self.pipes.get_mut(socket).expect("an open socket").1.outgoing;
        pieces.iter().for_each(|piece| outgoing.extend_from_slice(piece));
        Ok(pieces.iter().map(|piece| piece.len()).sum())
    }

    fn close(&mut self, socket: usize) {
        self.pipes.remove(&socket);
        self.links.remove(&socket);
    }

    fn peer(&self, _: &usize) -> Option<SocketAddr> {
        None
    }

    fn now(&self) -> Time {
        Time::of_us(self.now_ms * 1000)
    }

    fn cpu_time(&self) -> (Duration, Duration) {
        Default::default()
    }

    fn resident_bytes(&self) -> u64 {
        0
    }

    fn unix_time_s(&self) -> u64 {
        1_800_000_000 + self.now_ms / 1000
    }

    fn log(&mut self, _: Level, _: fmt::Arguments<'_>) {}
}

/// What a server does with the next line that it is sent.
#[derive(Clone, Debug)]
enum Reply {
    /// What a memcached would say that has the keys of this set.
    Honest(u8),
    Said(Vec<u8>),
}

/// The one value that a key ever has.
fn value(key: &str, unique: bool) -> String {
    let unique = if unique { " 7" } else { "" };
    format!("VALUE {key} 0 {}{unique}\r\nof {key}\r\n", "of ".len() + key.len())
}

fn honest(line: &str, present: u8) -> String {
    let words: Vec<&str> = line.split(' ').collect();
    let has = |key: &str| {
        KEYS.iter()
            .position(|&known| known == key)
            .is_some_and(|at| present >> at & 1 == 1)
    };
    let found = |yes: &str, no: &str| if has(words[1]) { yes } else { no }.to_owned() + "\r\n";
    match words[0] {
        "stats" => "STAT pid 1\r\nSTAT version 1.6.18\r\nEND\r\n".to_owned(),
        "get" | "gets" => {
            let values = words[1..].iter().filter(|key| has(key));
            values.map(|key| value(key, words[0] == "gets")).collect::<String>() + "END\r\n"
        }
        "mg" if words.contains(&"v") && has(words[1]) => {
            format!(
                "VA {} t-1 f0 c7 k{}\r\nof {}\r\n",
                3 + words[1].len(),
                words[1],
                words[1]
            )
        }
        "mg" => found(&format!("HD t-1 k{}", words[1]), "EN"),
        "set" => "STORED\r\n".to_owned(),
        "add" => found("NOT_STORED", "STORED"),
        "append" => found("STORED", "NOT_STORED"),
        "cas" => found("EXISTS", "NOT_FOUND"),
        "incr" => found("8", "NOT_FOUND"),
        "touch" => found("TOUCHED", "NOT_FOUND"),
        "delete" | "md" => found("DELETED", "NOT_FOUND"),
        "flush_all" => "OK\r\n".to_owned(),
        "version" => "VERSION 1.6.18\r\n".to_owned(),
        _ => "END\r\n".to_owned(),
    }
}

/// Pieces of answers, right ones, nearly right ones, and others.
fn said() -> impl Strategy<Value = Vec<u8>> {
    let lines = select(vec![
        "END",
        "STORED",
        "NOT_STORED",
        "EXISTS",
        "NOT_FOUND",
        "DELETED",
        "TOUCHED",
        "OK",
        "8",
        "08",
        "VERSION 1.6.18",
        "EN",
        "HD",
        "HD t-1 ka",
        "STAT pid 2",
        "ERROR",
        "CLIENT_ERROR bad data chunk",
        "SERVER_ERROR out of memory",
        "VALUE a 0 -0",
        "VALUE a 0 +4",
        "VALUE kk 0 99999999999",
        "VALUE b 0 4 ",
        "VA 4 t-1 f0 c7 ka",
        "",
        "of a",
    ]);
    let line = lines.prop_map(|line| format!("{line}\r\n").into_bytes());
    let one = (select(KEYS.to_vec()), any::<bool>()).prop_map(|(key, unique)| value(key, unique).into_bytes());
    let piece = prop_oneof![4 => line, 6 => one, 1 => vec(any::<u8>(), 0..6)];
    vec(piece, 0..4).prop_map(|pieces| pieces.concat())
}

fn reply() -> impl Strategy<Value = Reply> {
    prop_oneof![5 => any::<u8>().prop_map(Reply::Honest), 5 => said().prop_map(Reply::Said)]
}

fn request() -> impl Strategy<Value = String> {
    let key = || select(KEYS.to_vec());
    prop_oneof![
        4 => (select(vec!["get", "gets"]), vec(key(), 1..5)).prop_map(|(verb, keys)| format!("{verb} {}", keys.join(" "))),
        1 => key().prop_map(|key| format!("set {key} 0 0 {}\r\nof {key}", key.len() + 3)),
        1 => key().prop_map(|key| format!("add {key} 0 0 {}\r\nof {key}", key.len() + 3)),
        1 => key().prop_map(|key| format!("append {key} 0 0 0\r\n")),
        1 => key().prop_map(|key| format!("cas {key} 0 0 {} 9\r\nof {key}", key.len() + 3)),
        1 => key().prop_map(|key| format!("incr {key} 1")),
        1 => key().prop_map(|key| format!("touch {key} 0")),
        1 => key().prop_map(|key| format!("delete {key}")),
        1 => Just("version".to_owned()),
    ]
}

/// Whether a whole reply answers a request. None while it is not whole.
fn is_reply(request: &str, mut reply: &str) -> Option<bool> {
    let words: Vec<&str> = request.split("\r\n").next().unwrap_or("").split(' ').collect();
    let mut asked = words[1..].iter();
    loop {
        let (line, rest) = reply.split_once("\r\n")?;
        if line.starts_with("ERROR") || line.starts_with("CLIENT_ERROR ") || line.starts_with("SERVER_ERROR ") {
            return Some(rest.is_empty());
        }
        let fits: &[&str] = match words[0] {
            "get" | "gets" if line.starts_with("VALUE ") => {
                let parts: Vec<&str> = line.split(' ').collect();
                let (key, uniques) = (parts[1], parts.len() - 4);
                if uniques != usize::from(words[0] == "gets") || !asked.any(|&asked| asked == key) {
                    return Some(false);
                }
                let data = format!("of {key}\r\n");
                if rest.len() < data.len() {
                    return None;
                }
                if parts[3] != (data.len() - 2).to_string() || !rest.starts_with(&data) {
                    return Some(false);
                }
                reply = &rest[data.len()..];
                continue;
            }
            "get" | "gets" => &["END"],
            "set" => &["STORED"],
            "add" | "append" => &["STORED", "NOT_STORED"],
            "cas" => &["STORED", "EXISTS", "NOT_FOUND"],
            "incr" => &["8", "NOT_FOUND"],
            "touch" => &["TOUCHED", "NOT_FOUND"],
            "delete" => &["DELETED", "NOT_FOUND"],
            _ => &["VERSION 1.6.18"],
        };
        return Some(fits.contains(&line) && rest.is_empty());
    }
}

struct Stage {
    proxy: Proxy<World>,
    client: usize,
    /// What the server at port 1 says next; that at port 2 is honest, and so is this one when nothing is left.
    replies: VecDeque<Reply>,
    /// Lines that servers were sent in part, by connection.
    unread: HashMap<usize, Vec<u8>>,
    /// How many bytes of an answer come at a time.
    portion: usize,
    scratch: Vec<u8>,
}

impl Stage {
    fn new(arguments: &[&str], replies: Vec<Reply>, portion: usize) -> Self {
        let arguments: Vec<String> = arguments.iter().map(|&argument| argument.to_owned()).collect();
        let Ok(Command::Run(config)) = parse(&arguments, Path::new("/")) else {
            panic!("these are good arguments");
        };
        let mut proxy = Proxy::new(World::default(), config.settings.clone());
        proxy.start();
        let client = proxy.net().open(Token::Client(0));
        proxy.accept(client);
        Self {
            proxy,
            client,
            replies: replies.into(),
            unread: HashMap::new(),
            portion,
            scratch: vec![0; 1 << 16],
        }
    }

    /// Lets the servers read what they were sent, and answer it.
    fn serve(&mut self) {
        let links = self.proxy.net().links.clone();
        for (socket, port) in links {
            let Some((_, pipe)) = self.proxy.net().pipes.get_mut(&socket) else {
                continue;
            };
            let unread = self.unread.entry(socket).or_default();
            unread.append(&mut pipe.outgoing);
            while let Some(newline) = unread.iter().position(|&byte| byte == b'\n') {
                let line: Vec<u8> = unread.drain(..=newline).collect();
                let line = String::from_utf8_lossy(&line).trim_end().to_owned();
                if line.starts_with("of ") || line.is_empty() {
                    continue; // a data block
                }
                let reply = match port {
                    1 if line != "stats" => self.replies.pop_front().unwrap_or(Reply::Honest(7)),
                    _ => Reply::Honest(7),
                };
                pipe.incoming.extend(match reply {
                    Reply::Honest(present) => honest(&line, present).into_bytes(),
                    Reply::Said(bytes) => bytes,
                });
            }
        }
    }

    /// Lets the proxy handle what has come, a portion from each connection, and else lets the time pass that it waits for.
    fn turn(&mut self) {
        let mut ready = Vec::new();
        let portion = self.portion;
        let mut withheld = HashMap::new();
        for (&socket, (token, pipe)) in &mut self.proxy.net().pipes {
            if !pipe.incoming.is_empty() {
                ready.push(*token);
                let keep = pipe.incoming.len().min(portion);
                withheld.insert(socket, pipe.incoming.split_off(keep));
            }
        }
        if ready.is_empty() {
            if let Some(deadline_ms) = self.proxy.deadline_ms() {
                let world = self.proxy.net();
                world.now_ms = world.now_ms.max(deadline_ms);
            }
        }
        self.proxy.begin_batch();
        let readable = Readiness {
            readable: true,
            ..Readiness::default()
        };
        for token in ready {
            self.proxy.ready(token, readable, &mut self.scratch);
        }
        self.proxy.tick();
        self.proxy.flush(&mut self.scratch);
        for (socket, mut bytes) in withheld {
            if let Some((_, pipe)) = self.proxy.net().pipes.get_mut(&socket) {
                pipe.incoming.append(&mut bytes);
            }
        }
    }

    fn ask(&mut self, request: &str) -> Result<(), TestCaseError> {
        let client = self.client;
        let mut reply = String::new();
        let (_, pipe) = self
            .proxy
            .net()
            .pipes
            .get_mut(&client)
            .expect("the client is connected");
        pipe.incoming.extend(format!("{request}\r\n").as_bytes());
        for _ in 0..STEPS_MAX {
            self.turn();
            self.serve();
            let (_, pipe) = self
                .proxy
                .net()
                .pipes
                .get_mut(&client)
                .expect("the client is connected");
            reply.push_str(&String::from_utf8_lossy(&std::mem::take(&mut pipe.outgoing)));
            match is_reply(request, &reply) {
                Some(true) => return Ok(()),
                Some(false) => break,
                None => {}
            }
        }
        Err(TestCaseError::fail(format!("{request:?} is answered {reply:?}")))
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(400) })]

    #[test]
    fn no_client_sees_an_answer_to_another_question(requests in vec(request(), 1..12), replies in vec(reply(), 1..40),
        partner: bool, portion in select(vec![1_usize, 7, 1000])) {
        let arguments: &[&str] = match partner {
            true => &["-D", "-s", "127.0.0.1:1", "-b", "127.0.0.1:2", "--board=off"],
            false => &["-D", "-s", "127.0.0.1:1"],
        };
        let mut stage = Stage::new(arguments, replies, portion);
        for request in &requests {
            stage.ask(request)?;
        }
    }
}
