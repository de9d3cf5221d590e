//! A client's connection that lives through what the tests' usual client would not: magent's death.

use crate::common::{Host, PATIENCE};
use std::io::{BufRead, BufReader, Error, ErrorKind, Read, Result, Write};
use std::net::TcpStream;
use std::sync::{Arc, Mutex};
use std::time::Instant;

/// Where a magent is to be found. It may die and listen somewhere else in its next life.
pub struct Entrance {
    life: Mutex<Life>,
    /// The machine that its clients are on, if that is another than this.
    host: Option<Arc<Host>>,
}

struct Life {
    number: u64,
    /// None while it is dead.
    name: Option<String>,
}

impl Entrance {
    pub fn new(name: &str) -> Self {
        Self {
            life: Mutex::new(Life {
                number: 0,
                name: Some(name.to_owned()),
            }),
            host: None,
        }
    }

    /// For clients on this machine.
    pub fn on(host: &Arc<Host>, name: &str) -> Self {
        Self {
            host: Some(Arc::clone(host)),
            ..Self::new(name)
        }
    }

    /// It is about to die: from now on the connections that there are may end.
    pub fn close(&self) {
        let mut life = self.life.lock().unwrap();
        life.number += 1;
        life.name = None;
    }

    pub fn open(&self, name: &str) {
        self.life.lock().unwrap().name = Some(name.to_owned());
    }

    /// The address, while it lives.
    pub fn name(&self) -> String {
        self.life.lock().unwrap().name.clone().expect("a magent that runs")
    }

    /// A connection to it, as soon as it lives.
    pub fn connect(&self) -> Connection {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let life = self.life.lock().unwrap();
            if let Some(name) = &life.name {
                let connect = || Connection::to(name, life.number);
                let connection = match &self.host {
                    Some(host) => host.inside(connect),
                    None => connect(),
                };
                return connection.unwrap_or_else(|error| panic!("cannot connect to {name}: {error}"));
            }
            drop(life);
            assert!(Instant::now() < deadline, "magent does not come back");
            std::thread::sleep(std::time::Duration::from_millis(1));
        }
    }

    /// Whether this connection is one to a magent that was killed.
    pub fn has_died(&self, connection: &Connection) -> bool {
        self.life.lock().unwrap().number > connection.life
    }
}

pub struct Connection {
    stream: BufReader<TcpStream>,
    life: u64,
}

/// An item in a reply.
pub struct Found {
    pub key: String,
    pub flags: u32,
    pub unique: Option<String>,
    pub value: Vec<u8>,
}

/// A whole reply: the items, and the line that ends it.
pub struct Reply {
    pub found: Vec<Found>,
    pub line: String,
}

impl Reply {
    pub fn is_error(&self) -> bool {
        self.line.contains("ERROR")
    }
}

impl Connection {
    pub fn to(name: &str, life: u64) -> Result<Self> {
        let stream = TcpStream::connect(name)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        let stream = BufReader::new(stream);
        Ok(Self { stream, life })
    }

    /// Sends a request and reads the reply.
    pub fn ask(&mut self, request: &str) -> Result<Reply> {
        self.stream.get_mut().write_all(request.as_bytes())?;
        let mut found = Vec::new();
        loop {
            let line = self.line()?;
            match line.strip_prefix("VALUE ") {
                Some(words) => found.push(self.item(words)?),
                None => return Ok(Reply { found, line }),
            }
        }
    }

    fn line(&mut self) -> Result<String> {
        let mut line = String::new();
        self.stream.read_line(&mut line)?;
        match line.strip_suffix("\r\n") {
            Some(line) => Ok(line.to_owned()),
            None => Err(Error::new(ErrorKind::UnexpectedEof, format!("closed after {line:?}"))),
        }
    }

    /// The rest of an item whose line goes on like this.
    fn item(&mut self, words: &str) -> Result<Found> {
        let garbage = || Error::new(ErrorKind::InvalidData, format!("VALUE {words:?}"));
        let mut words = words.split(' ');
        let key = words.next().ok_or_else(garbage)?.to_owned();
        let mut number = || words.next()?.parse::<u32>().ok();
        let (flags, len) = (number().ok_or_else(garbage)?, number().ok_or_else(garbage)?);
        let unique = words.next().map(str::to_owned);
        let mut value = vec![0; len as usize + 2];
        self.stream.read_exact(&mut value)?;
        if value.split_off(len as usize) != b"\r\n" {
            return Err(garbage());
        }
        Ok(Found {
            key,
            flags,
            unique,
            value,
        })
    }
}
