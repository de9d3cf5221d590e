//! Clients: what they can say, and what they may hear.
//!
//! Every connection has a tag, a byte from 0xF0 to 0xFF, that is in each of its keys and values and in nothing that another
//! connection says. A tag that is not its own in what a client hears is another client's data.

/// Connections at a time.
pub const CLIENTS: usize = 3;
/// Bytes of a client that does not read that its socket holds.
pub const SOCKET_BYTES: usize = 16 << 10;

#[derive(Default)]
pub struct Client {
    pub wire: usize,
    pub tag: u8,
    /// Said and not sent yet.
    pub outbox: Vec<u8>,
    /// Requests that are to be answered, but for what was said raw.
    pub requests: usize,
    /// It has said something that is no request of ours: what comes back cannot be counted.
    pub is_raw: bool,
    /// It does not read what it is sent.
    pub is_deaf: bool,
    /// It has closed its end.
    pub has_left: bool,
    /// All that it has heard, if somebody wants to know.
    pub heard: Option<Vec<u8>>,
    replies: Replies,
    packets: Packets,
}

/// Counts replies as they come.
#[derive(Default)]
struct Replies {
    line: Vec<u8>,
    /// Bytes of a value to come.
    value: usize,
    count: usize,
}

/// Requests, with `K` for a key, `V` for a value and `#` for its length; a line end follows. In capitals what depends on
/// more.
const REQUESTS: [&str; 60] = [
    "get K",
    "get K",
    "gets K",
    "get K K K",
    "get K K K K K K K K K K K K K K K K K K K K",
    "gat 100 K",
    "gats 0 K K",
    "set K 0 0 #|V",
    "set K 0 0 #|V",
    "set K 7 100 #|V",
    "set K 0 -1 #|V",
    "set K 0 0 # noreply|V",
    "add K 0 0 #|V",
    "add K 1 0 # noreply|V",
    "replace K 0 0 #|V",
    "append K 0 0 #|V",
    "prepend K 0 0 #|V",
    "cas K 0 0 # 1|V",
    "cas K 0 0 # 18446744073709551615|V",
    "incr K 1",
    "decr K 10 noreply",
    "set K 0 0 2|10",
    "touch K 100",
    "delete K",
    "delete K",
    "delete K noreply",
    "delete noreply",
    "flush_all",
    "flush_all 2",
    "version",
    "verbosity 1",
    "stats",
    "stats servers",
    "stats items",
    "set K 0 0 99999999999999|",
    "set K 0 0|",
    "get",
    " get K",
    "nonsense",
    "incr K x",
    "mg K v",
    "mg K v f t c s k O7",
    "mg K h l t",
    "mg K T100 v",
    "mg K N30 R60 v k",
    "mg K v q",
    "mg K y",
    "ms K # T0|V",
    "ms K # F7 T100 c k|V",
    "ms K # ME|V",
    "ms K # MA N0 s|V",
    "ms K # C1|V",
    "ms K # q|V",
    "md K k",
    "md K q",
    "ma K v",
    "ma K N0 J5 v t",
    "ma K MD D5 T9 q",
    "mn",
    "ms K|",
];

impl Client {
    pub fn new(wire: usize, tag: u8) -> Self {
        Self {
            wire,
            tag,
            ..Self::default()
        }
    }

    /// Says one of the requests.
    pub fn say(&mut self, which: u8, key: u8, len: usize) {
        if self.has_left {
            return;
        }
        let text = REQUESTS[usize::from(which) % REQUESTS.len()];
        // Line ends and words of replies in it.
        let mut value = [&[self.tag; 8][..], b"\r\nEND\r\n "].concat().repeat(len / 16 + 1);
        value.truncate(len);
        let mut key = key;
        for byte in text.bytes() {
            match byte {
                b'K' => {
                    self.outbox.extend_from_slice(&[b'k', self.tag, b'0' + key % 10]);
                    key = key.wrapping_add(1);
                }
                b'V' => self.outbox.extend_from_slice(&value),
                b'#' => self.outbox.extend_from_slice(len.to_string().as_bytes()),
                b'|' => self.outbox.extend_from_slice(b"\r\n"),
                byte => self.outbox.push(byte),
            }
        }
        self.outbox.extend_from_slice(b"\r\n");
        self.requests += usize::from(!text.contains("noreply"));
        // Of a quiet one it depends on what is there.
        self.is_raw |= text.starts_with('m') && text.contains(" q");
        // A refused value is swallowed, read as lines, or the end of the connection: so many replies nobody can foresee.
        self.is_raw |= text.ends_with('|') || text.starts_with(' ') || text == "delete noreply";
    }

    /// Says any bytes, with its own tag where another one stands.
    pub fn say_raw(&mut self, bytes: &[u8]) {
        let own = bytes.iter().map(|&byte| if byte >= 0xF0 { self.tag } else { byte });
        self.outbox.extend(own);
        self.is_raw = true;
    }

    /// Hears bytes, which have to be its own.
    pub fn hear(&mut self, bytes: &[u8]) {
        let tag = self.tag;
        let others = |&byte: &u8| !self.packets.is_of_unique(byte) && byte >= 0xF0 && byte != tag;
        if let Some(other) = bytes.iter().copied().find(others) {
            panic!(
                "the client {:#x} hears what {other:#x} has said: {}",
                self.tag,
                bytes.escape_ascii()
            );
        }
        if let Some(heard) = &mut self.heard {
            heard.extend_from_slice(bytes);
        }
        if !self.is_raw {
            self.replies.take(bytes);
        }
    }

    /// Fails if it was not answered what it asked: each request once, less only where the connection was closed on it.
    pub fn check_replies(&self, was_closed_on: bool) {
        if self.is_raw {
            return;
        }
        let (replies, requests) = (self.replies.count, self.requests);
        assert!(replies <= requests, "{replies} replies to {requests} requests");
        assert!(
            was_closed_on || replies == requests,
            "{:x}: only {replies} replies to {requests} requests",
            self.tag
        );
    }
}

/// How far the packets have come that a client of the binary protocol hears. A unique in them may have any bytes.
#[derive(Default)]
struct Packets {
    /// Whether it hears packets at all, by the first byte.
    are_heard: Option<bool>,
    header: Vec<u8>,
    body_left: usize,
}

impl Packets {
    /// Takes a byte. Returns whether it is of a unique.
    fn is_of_unique(&mut self, byte: u8) -> bool {
        const HEADER_BYTES: usize = 24;
        if !*self.are_heard.get_or_insert(byte == 0x81) {
            return false;
        }
        if self.body_left > 0 {
            self.body_left -= 1;
            return false;
        }
        let at = self.header.len();
        self.header.push(byte);
        if at + 1 == HEADER_BYTES {
            self.body_left = self.header[8..12]
                .iter()
                .fold(0, |len, &byte| len << 8 | usize::from(byte));
            self.header.clear();
        }
        (16..HEADER_BYTES).contains(&at)
    }
}

impl Replies {
    fn take(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            if self.value > 0 {
                let skipped = self.value.min(bytes.len());
                self.value -= skipped;
                bytes = &bytes[skipped..];
                continue;
            }
            let Some(end) = bytes.iter().position(|&byte| byte == b'\n') else {
                self.line.extend_from_slice(bytes);
                return;
            };
            self.line.extend_from_slice(&bytes[..end]);
            bytes = &bytes[end + 1..];
            let line = std::mem::take(&mut self.line);
            let len_at = match () {
                _ if line.starts_with(b"VALUE ") => Some(3),
                _ if line.starts_with(b"VA ") => Some(1),
                _ => None,
            };
            if let Some(len_at) = len_at {
                let word = line.trim_ascii_end().split(|&byte| byte == b' ').nth(len_at);
                let len = word.and_then(|word| std::str::from_utf8(word).ok()?.parse::<usize>().ok());
                self.value = len.expect("a length") + 2;
                // Nothing comes behind a meta item.
                self.count += usize::from(len_at == 1);
            } else if !line.starts_with(b"STAT ") {
                self.count += 1;
            }
        }
    }
}
