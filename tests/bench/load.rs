//! A load generator for the benchmarks: some clients, each with so many requests in flight, in one of the three protocols. It mixes
//! nothing: all requests are of one kind, so that what one costs can be told.
//!
//! Each item's value begins with its key, and each reply has to have the length and the value that it should have; anything else ends the
//! run with an error. What it has measured is one line of JSON: requests, seconds, and microseconds that were waited.

use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};
use std::collections::VecDeque;
use std::io::{ErrorKind, Read, Write};
use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::{Duration, Instant};

/// All keys have this length, so that all replies of one kind have one, too.
const KEY_BYTES: usize = "key-00000000".len();
/// Longest that nothing may come: under valgrind, on a busy machine, 5 s were not enough.
const SILENCE_MAX: Duration = Duration::from_secs(30);
const HEADER_BYTES: usize = 24;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Protocol {
    Text,
    Meta,
    Binary,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Command {
    Get,
    Set,
}

struct Load {
    address: SocketAddr,
    protocol: Protocol,
    command: Command,
    clients: usize,
    /// Requests in flight of each client.
    depth: usize,
    /// Items that there are.
    keys: usize,
    /// Keys of a get.
    width: usize,
    value_bytes: usize,
    seconds: f64,
    /// It ends after so many requests, if that is earlier.
    requests: usize,
}

/// A line of what each option is, for who gives none.
const USAGE: &str = "load ADDRESS [--protocol=text|meta|binary] [--command=get|set] [--clients=50] [--depth=1] [--keys=10000] \
    [--width=1] [--value=100] [--seconds=4] [--requests=N]";

impl Load {
    fn read(words: impl Iterator<Item = String>) -> Result<Self, String> {
        let mut load = Self {
            address: "127.0.0.1:0".parse().expect("an address"),
            protocol: Protocol::Text,
            command: Command::Get,
            clients: 50,
            depth: 1,
            keys: 10_000,
            width: 1,
            value_bytes: 100,
            seconds: 4.0,
            requests: usize::MAX,
        };
        let mut has_address = false;
        for word in words {
            let (name, value) = word.split_once('=').unwrap_or((&word, ""));
            let number = || {
                value
                    .parse()
                    .ok()
                    .filter(|&number| number > 0)
                    .ok_or(format!("{word}: a number above 0"))
            };
            match (name, value) {
                ("--protocol", "text") => load.protocol = Protocol::Text,
                ("--protocol", "meta") => load.protocol = Protocol::Meta,
                ("--protocol", "binary") => load.protocol = Protocol::Binary,
                ("--command", "get") => load.command = Command::Get,
                ("--command", "set") => load.command = Command::Set,
                ("--clients", _) => load.clients = number()?,
                ("--depth", _) => load.depth = number()?,
                ("--keys", _) => load.keys = number()?,
                ("--width", _) => load.width = number()?,
                ("--value", _) => load.value_bytes = number()?.max(KEY_BYTES),
                ("--requests", _) => load.requests = number()?,
                ("--seconds", _) => load.seconds = value.parse().map_err(|_| format!("{word}: seconds"))?,
                (address, "") => {
                    load.address = address.parse().map_err(|_| format!("{word}: an address, or {USAGE}"))?;
                    has_address = true;
                }
                _ => return Err(format!("{word}: {USAGE}")),
            }
        }
        match has_address {
            true => Ok(load),
            false => Err(USAGE.to_owned()),
        }
    }

    fn value(&self, key: &str) -> Vec<u8> {
        let mut value = key.as_bytes().to_vec();
        value.resize(self.value_bytes, b'x');
        value
    }

    /// Adds a request, for keys from this one on.
    fn add_request(&self, key: usize, request: &mut Vec<u8>) {
        let name = |n: usize| format!("key-{:08}", (key + n) % self.keys);
        let names = (0..self.width).map(name);
        match (self.protocol, self.command) {
            (Protocol::Text, Command::Get) => {
                request.extend_from_slice(b"get");
                names.for_each(|name| request.extend_from_slice(format!(" {name}").as_bytes()));
                request.extend_from_slice(b"\r\n");
            }
            (Protocol::Meta, Command::Get) => {
                names.for_each(|name| request.extend_from_slice(format!("mg {name} f v\r\n").as_bytes()));
            }
            (Protocol::Binary, Command::Get) => names.for_each(|name| add_packet(0, b"", &name, b"", request)),
            (protocol, Command::Set) => {
                let name = name(0);
                let value = self.value(&name);
                match protocol {
                    Protocol::Binary => return add_packet(1, &[0; 8], &name, &value, request),
                    Protocol::Text => {
                        request.extend_from_slice(format!("set {name} 0 0 {}\r\n", value.len()).as_bytes())
                    }
                    Protocol::Meta => {
                        request.extend_from_slice(format!("ms {name} {} F0 T0\r\n", value.len()).as_bytes())
                    }
                }
                request.extend_from_slice(&value);
                request.extend_from_slice(b"\r\n");
            }
        }
    }

    /// What comes in front of each value of a reply, behind it, and at the end.
    fn parts_of_reply(&self) -> (usize, usize, usize) {
        let digits = self.value_bytes.to_string().len();
        match (self.protocol, self.command) {
            (Protocol::Text, Command::Get) => ("VALUE  0 \r\n".len() + KEY_BYTES + digits, 2, "END\r\n".len()),
            (Protocol::Meta, Command::Get) => ("VA  f0\r\n".len() + digits, 2, 0),
            (Protocol::Binary, Command::Get) => (HEADER_BYTES + 4, 0, 0),
            (Protocol::Text, Command::Set) => (0, 0, "STORED\r\n".len()),
            (Protocol::Meta, Command::Set) => (0, 0, "HD\r\n".len()),
            (Protocol::Binary, Command::Set) => (0, 0, HEADER_BYTES),
        }
    }

    fn reply_bytes(&self) -> usize {
        let (before, behind, end) = self.parts_of_reply();
        match self.command {
            Command::Get => self.width * (before + self.value_bytes + behind) + end,
            Command::Set => end,
        }
    }

    /// Whether that is the reply to the request for these keys.
    fn is_right(&self, key: usize, reply: &[u8]) -> bool {
        let (before, behind, end) = self.parts_of_reply();
        let begins: &[u8] = match (self.protocol, self.command) {
            (Protocol::Text, Command::Get) => b"VALUE ",
            (Protocol::Meta, Command::Get) => b"VA ",
            (Protocol::Text, Command::Set) => b"STORED\r\n",
            (Protocol::Meta, Command::Set) => b"HD\r\n",
            (Protocol::Binary, Command::Get) => &[0x81, 0],
            (Protocol::Binary, Command::Set) => &[0x81, 1],
        };
        let has_status = self.protocol != Protocol::Binary || reply[6..8] == [0, 0];
        let each = before + self.value_bytes + behind;
        let is_item = |(n, item): (usize, &[u8])| {
            let value = &item[before..];
            let number = value
                .get("key-".len()..KEY_BYTES)
                .and_then(|digits| std::str::from_utf8(digits).ok());
            number.and_then(|number| number.parse().ok()) == Some((key + n) % self.keys)
        };
        let items = match self.command {
            Command::Get => &reply[..reply.len() - end],
            Command::Set => &[],
        };
        reply.starts_with(begins) && has_status && items.chunks(each).enumerate().all(is_item)
    }

    /// Stores all items.
    fn fill(&self) -> std::io::Result<()> {
        let mut stream = std::net::TcpStream::connect(self.address)?;
        let sets = Self {
            protocol: Protocol::Text,
            command: Command::Set,
            ..*self
        };
        let (mut request, mut replies) = (Vec::new(), vec![0; sets.reply_bytes() * 100]);
        for first in (0..self.keys).step_by(100) {
            let count = 100.min(self.keys - first);
            request.clear();
            (first..first + count).for_each(|key| sets.add_request(key, &mut request));
            stream.write_all(&request)?;
            let said = &mut replies[..count * sets.reply_bytes()];
            stream.read_exact(said)?;
            if !said.chunks(sets.reply_bytes()).all(|reply| reply == b"STORED\r\n") {
                return Err(std::io::Error::other("an item was not stored"));
            }
        }
        Ok(())
    }
}

fn add_packet(opcode: u8, extras: &[u8], key: &str, value: &[u8], request: &mut Vec<u8>) {
    let body = (extras.len() + key.len() + value.len()) as u32;
    let mut header = [0; HEADER_BYTES];
    (header[0], header[1], header[3], header[4]) = (0x80, opcode, key.len() as u8, extras.len() as u8);
    header[8..12].copy_from_slice(&body.to_be_bytes());
    [&header, extras, key.as_bytes(), value]
        .iter()
        .for_each(|part| request.extend_from_slice(part));
}

struct Client {
    socket: TcpStream,
    output: Vec<u8>,
    written: usize,
    input: Vec<u8>,
    /// The first key of each request that is not answered, and when it was sent.
    asked: VecDeque<(usize, Instant)>,
}

struct Run {
    load: Load,
    random: u64,
    /// Requests that are still to be sent.
    left: usize,
    waits_us: Vec<u32>,
}

impl Run {
    fn next_key(&mut self) -> usize {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        (self.random % self.load.keys as u64) as usize
    }

    fn ask(&mut self, client: &mut Client) {
        while client.asked.len() < self.load.depth && self.left > 0 {
            self.left -= 1;
            let key = self.next_key();
            self.load.add_request(key, &mut client.output);
            client.asked.push_back((key, Instant::now()));
        }
    }

    fn write(&self, client: &mut Client) -> std::io::Result<()> {
        while client.written < client.output.len() {
            match client.socket.write(&client.output[client.written..]) {
                Ok(count) => client.written += count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        client.output.clear();
        client.written = 0;
        Ok(())
    }

    /// Takes what has come.
    fn read(&mut self, client: &mut Client, scratch: &mut [u8]) -> std::io::Result<()> {
        loop {
            match client.socket.read(scratch) {
                Ok(0) => return Err(std::io::Error::other("the connection was closed")),
                Ok(count) => client.input.extend_from_slice(&scratch[..count]),
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        let (len, now) = (self.load.reply_bytes(), Instant::now());
        let whole = client.input.len() / len;
        for reply in client.input.chunks_exact(len).take(whole) {
            let (key, sent) = client
                .asked
                .pop_front()
                .ok_or(std::io::Error::other("more came than was asked"))?;
            if !self.load.is_right(key, reply) {
                let shown = reply[..reply.len().min(60)].escape_ascii();
                return Err(std::io::Error::other(format!("for key {key} came {shown}")));
            }
            self.waits_us.push((now - sent).as_micros() as u32);
        }
        client.input.drain(..whole * len);
        Ok(())
    }

    fn play(&mut self) -> std::io::Result<f64> {
        let (mut poll, mut events) = (Poll::new()?, Events::with_capacity(1024));
        let mut clients = Vec::new();
        for token in 0..self.load.clients {
            let stream = std::net::TcpStream::connect(self.load.address)?;
            stream.set_nodelay(true)?;
            stream.set_nonblocking(true)?;
            let mut socket = TcpStream::from_std(stream);
            let interest = Interest::READABLE | Interest::WRITABLE;
            poll.registry().register(&mut socket, Token(token), interest)?;
            clients.push(Client {
                socket,
                output: Vec::new(),
                written: 0,
                input: Vec::new(),
                asked: VecDeque::new(),
            });
        }
        let begun = Instant::now();
        let mut scratch = vec![0; 1 << 16];
        for client in &mut clients {
            self.ask(client);
            self.write(client)?;
        }
        while begun.elapsed().as_secs_f64() < self.load.seconds && self.waits_us.len() < self.load.requests {
            poll.poll(&mut events, Some(SILENCE_MAX))?;
            if events.is_empty() {
                return Err(std::io::Error::other("nothing comes any more"));
            }
            for event in &events {
                let client = &mut clients[event.token().0];
                self.read(client, &mut scratch)?;
                self.ask(client);
                self.write(client)?;
            }
        }
        Ok(begun.elapsed().as_secs_f64())
    }
}

fn main() -> ExitCode {
    let load = match Load::read(std::env::args().skip(1)) {
        Ok(load) => load,
        Err(wrong) => {
            eprintln!("{wrong}");
            return ExitCode::from(2);
        }
    };
    let mut run = Run {
        left: load.requests,
        load,
        random: 0x9e37_79b9_7f4a_7c15,
        waits_us: Vec::new(),
    };
    let seconds = match run.load.fill().and_then(|()| run.play()) {
        Ok(seconds) => seconds,
        Err(error) => {
            eprintln!("load: {error}");
            return ExitCode::FAILURE;
        }
    };
    run.waits_us.sort_unstable();
    let at = |part: f64| {
        let last = run.waits_us.len().saturating_sub(1);
        run.waits_us.get((last as f64 * part) as usize).copied().unwrap_or(0)
    };
    println!(
        "{{\"requests\": {}, \"seconds\": {seconds:.3}, \"p50_us\": {}, \"p99_us\": {}, \"max_us\": {}}}",
        run.waits_us.len(),
        at(0.5),
        at(0.99),
        at(1.0)
    );
    ExitCode::SUCCESS
}
