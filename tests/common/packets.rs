//! A client of the binary protocol, packet by packet.

use super::PATIENCE;
use std::fmt;
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};

/// A request before it is written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Packet {
    pub opcode: u8,
    pub extras: Vec<u8>,
    pub key: Vec<u8>,
    pub value: Vec<u8>,
    pub opaque: u32,
    pub cas: u64,
}

impl Packet {
    pub fn new(opcode: u8, key: impl AsRef<[u8]>) -> Self {
        Self {
            opcode,
            key: key.as_ref().to_vec(),
            opaque: 0xdead_0000 | u32::from(opcode),
            ..Self::default()
        }
    }

    /// set, add or replace.
    pub fn store(opcode: u8, key: &str, flags: u32, exptime: u32, value: impl AsRef<[u8]>) -> Self {
        Self {
            extras: [flags.to_be_bytes(), exptime.to_be_bytes()].concat(),
            value: value.as_ref().to_vec(),
            ..Self::new(opcode, key)
        }
    }

    /// increment or decrement; an exptime of `u32::MAX` makes nothing.
    pub fn count(opcode: u8, key: &str, delta: u64, initial: u64, exptime: u32) -> Self {
        let exptime = exptime.to_be_bytes();
        Self {
            extras: [&delta.to_be_bytes()[..], &initial.to_be_bytes(), &exptime].concat(),
            ..Self::new(opcode, key)
        }
    }

    /// touch, or get and touch.
    pub fn touch(opcode: u8, key: &str, exptime: u32) -> Self {
        Self {
            extras: exptime.to_be_bytes().to_vec(),
            ..Self::new(opcode, key)
        }
    }

    pub fn with_cas(self, cas: u64) -> Self {
        Self { cas, ..self }
    }

    pub fn bytes(&self) -> Vec<u8> {
        let body = self.extras.len() + self.key.len() + self.value.len();
        let mut bytes = vec![0x80, self.opcode];
        bytes.extend((self.key.len() as u16).to_be_bytes());
        bytes.extend([self.extras.len() as u8, 0, 0, 0]);
        bytes.extend((body as u32).to_be_bytes());
        bytes.extend(self.opaque.to_be_bytes());
        bytes.extend(self.cas.to_be_bytes());
        [bytes, self.extras.clone(), self.key.clone(), self.value.clone()].concat()
    }
}

/// A reply.
#[derive(Clone, PartialEq, Eq)]
pub struct Said {
    pub opcode: u8,
    pub status: u16,
    pub opaque: u32,
    pub cas: u64,
    pub extras: Vec<u8>,
    pub key: Vec<u8>,
    pub value: Vec<u8>,
}

impl Said {
    /// The same where it does not matter which unique is told, if one is.
    pub fn masked(self) -> Self {
        let cas = u64::from(self.cas > 0);
        Self { cas, ..self }
    }

    /// The same without blanks in its value: memcached pads a number that has become shorter, unless somebody is reading it just then.
    pub fn tight(mut self) -> Self {
        self.value.retain(|&byte| byte != b' ');
        self
    }

    pub fn number(&self) -> u64 {
        u64::from_be_bytes(self.value[..].try_into().expect("64 bits"))
    }
}

impl fmt::Debug for Said {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = |bytes: &[u8]| bytes[..bytes.len().min(60)].escape_ascii().to_string();
        write!(
            f,
            "{:#04x} status {} opaque {:x} cas {} extras {:?} key {} value {}",
            self.opcode,
            self.status,
            self.opaque,
            self.cas,
            self.extras,
            shown(&self.key),
            shown(&self.value)
        )
    }
}

/// A connection of such a client.
pub struct Binary(TcpStream);

impl Binary {
    pub fn connect(name: &str) -> Self {
        let stream = TcpStream::connect(name).expect("a connection");
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        stream.set_nodelay(true).expect("no delay");
        Self(stream)
    }

    pub fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.0.write_all(bytes.as_ref()).expect("a server that reads");
    }

    /// The next reply; None where the connection has ended.
    pub fn said(&mut self) -> Option<Said> {
        let mut header = [0; 24];
        match self.0.read_exact(&mut header) {
            Ok(()) => {}
            Err(error) if matches!(error.kind(), ErrorKind::UnexpectedEof | ErrorKind::ConnectionReset) => return None,
            Err(error) => panic!("no reply: {error}"),
        }
        assert_eq!((header[0], header[5]), (0x81, 0), "{header:?}");
        let number = |at: usize| u32::from_be_bytes(header[at..at + 4].try_into().expect("four bytes"));
        let key_len = usize::from(u16::from_be_bytes([header[2], header[3]]));
        let mut body = vec![0; number(8) as usize];
        self.0.read_exact(&mut body).expect("a body");
        let mut extras = body;
        let mut key = extras.split_off(usize::from(header[4]));
        let value = key.split_off(key_len);
        Some(Said {
            opcode: header[1],
            status: u16::from_be_bytes([header[6], header[7]]),
            opaque: number(12),
            cas: u64::from(number(16)) << 32 | u64::from(number(20)),
            extras,
            key,
            value,
        })
    }

    /// The reply to a packet that has just one.
    pub fn ask(&mut self, packet: &Packet) -> Said {
        self.send(packet.bytes());
        self.said().expect("a reply")
    }

    /// All that is said to these packets, quiet ones too.
    pub fn ask_all(&mut self, packets: &[Packet]) -> Vec<Said> {
        let bytes: Vec<u8> = packets.iter().flat_map(Packet::bytes).collect();
        self.send(bytes);
        self.until_noop()
    }

    /// Says noop, and returns what comes before the answer to that; all that comes where the connection ends before.
    pub fn until_noop(&mut self) -> Vec<Said> {
        const MARK: u32 = 0x00c0_ffee;
        let noop = Packet {
            opaque: MARK,
            ..Packet::new(0x0a, "")
        };
        _ = self.0.write_all(&noop.bytes());
        let mut all = Vec::new();
        while let Some(said) = self.said().filter(|said| said.opaque != MARK) {
            all.push(said);
        }
        all
    }

    /// Says no more, and returns all that is said until the connection ends.
    pub fn rest(mut self) -> Vec<Said> {
        self.0.shutdown(Shutdown::Write).expect("an open connection");
        std::iter::from_fn(|| self.said()).collect()
    }
}
