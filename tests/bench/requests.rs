//! The requests of the benchmarks' load: all of one kind, in one of the three protocols, and how long each and its reply are. The floor
//! answers by the same options, so it need not look at what it reads.

use std::net::SocketAddr;

/// All keys have this length, so that all replies of one kind have one, too.
pub const KEY_BYTES: usize = "key-00000000".len();
pub const HEADER_BYTES: usize = 24;

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    Text,
    Meta,
    Binary,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Command {
    Get,
    Set,
}

pub struct Load {
    pub address: SocketAddr,
    pub protocol: Protocol,
    pub command: Command,
    pub clients: usize,
    /// Requests in flight of each client.
    pub depth: usize,
    /// Requests in flight of all clients together, one of each at most, which take turns then.
    pub at_once: Option<usize>,
    /// Items that there are, and the number of the first.
    pub keys: usize,
    pub first_key: usize,
    /// Keys of a get.
    pub width: usize,
    pub value_bytes: usize,
    pub seconds: f64,
    /// It ends after so many requests, if that is earlier.
    pub requests: usize,
    /// Replies need only be as long as they should be, and nothing is stored first: what answers is the floor.
    pub unchecked: bool,
    /// It says `ready` when all is stored and each client has been answered once, and begins when it is told to by a line; if
    /// its input ends instead, it does.
    pub steps: bool,
}

/// A line of what each option is, for who gives none.
const USAGE: &str = "load ADDRESS [--protocol=text|meta|binary] [--command=get|set] [--clients=50] [--depth=1] [--keys=10000] \
    [--width=1] [--value=100] [--seconds=4] [--requests=N] [--at-once=N] [--first-key=N] [--unchecked] [--steps]";

impl Load {
    pub fn read(words: impl Iterator<Item = String>) -> Result<Self, String> {
        let mut load = Self {
            address: "127.0.0.1:0".parse().expect("an address"),
            protocol: Protocol::Text,
            command: Command::Get,
            clients: 50,
            depth: 1,
            at_once: None,
            keys: 10_000,
            first_key: 0,
            width: 1,
            value_bytes: 100,
            seconds: 4.0,
            requests: usize::MAX,
            unchecked: false,
            steps: false,
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
                ("--at-once", _) => load.at_once = Some(number()?),
                ("--keys", _) => load.keys = number()?,
                ("--first-key", _) => load.first_key = number()?,
                ("--width", _) => load.width = number()?,
                ("--value", _) => load.value_bytes = number()?.max(KEY_BYTES),
                ("--requests", _) => load.requests = number()?,
                ("--seconds", _) => load.seconds = value.parse().map_err(|_| format!("{word}: seconds"))?,
                ("--unchecked", "") => load.unchecked = true,
                ("--steps", "") => load.steps = true,
                (address, "") => {
                    load.address = address.parse().map_err(|_| format!("{word}: an address, or {USAGE}"))?;
                    has_address = true;
                }
                _ => return Err(format!("{word}: {USAGE}")),
            }
        }
        if load.at_once.is_some_and(|count| count > load.clients || load.depth > 1) {
            return Err("--at-once is for clients with one request each, and no more than there are".to_owned());
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

    /// The number in the name of a key that is so many after the first.
    pub fn number(&self, key: usize) -> usize {
        self.first_key + key % self.keys
    }

    /// Adds a request, for keys from this one on.
    pub fn add_request(&self, key: usize, request: &mut Vec<u8>) {
        let name = |n: usize| format!("key-{:08}", self.number(key + n));
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
    pub fn parts_of_reply(&self) -> (usize, usize, usize) {
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

    pub fn reply_bytes(&self) -> usize {
        let (before, behind, end) = self.parts_of_reply();
        match self.command {
            Command::Get => self.width * (before + self.value_bytes + behind) + end,
            Command::Set => end,
        }
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
