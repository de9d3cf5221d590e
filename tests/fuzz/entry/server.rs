//! Servers: memcacheds as the simulator has them, with their answers held back, spoilt or made up where the script says so.

use super::memcached::Memcached;
use super::net::{End, Wires};
use std::collections::{BTreeMap, VecDeque};

/// What a server that lies may say.
const LIES: [&[u8]; 24] = [
    b"END\r\n",
    b"STORED\r\n",
    b"NOT_STORED\r\n",
    b"NOT_FOUND\r\n",
    b"DELETED\r\n",
    b"OK\r\n",
    b"ERROR\r\n",
    b"SERVER_ERROR out of memory storing object\r\n",
    b"CLIENT_ERROR bad data chunk\r\n",
    b"VALUE k 0 5\r\nhello\r\nEND\r\n",
    b"VALUE k 4294967296 1\r\nx\r\n",
    b"VALUE k 0 -0\r\n\r\nEND\r\n",
    b"VALUE k 0 18446744073709551615 18446744073709551616\r\n",
    b"VA 5 f0 t-1 c1\r\nhello\r\n",
    b"VA 1 f-1 t99999999999999999999\r\nx\r\n",
    b"EN\r\n",
    b"HD\r\n",
    b"18446744073709551615\r\n",
    b"STAT pid 18446744073709551615\r\nSTAT time 18446744073709551615\r\nSTAT uptime 1\r\nEND\r\n",
    b"STAT version 1.6.45\r\n",
    b"VERSION 99999999999.1\r\n",
    b"key=%0a%20 exp=-1 la=1 cas=1 fetch=no cls=1 size=1\r\n",
    b"key=k exp=99999999999999999999 la=1\r\nEND\r\n",
    b"BUSY currently processing crawler request\r\n",
];

pub struct Server {
    memcached: Memcached,
    pid: u32,
    /// It answers nothing: it hangs.
    pub is_held: bool,
    pub refuses: bool,
    /// By wire.
    links: BTreeMap<usize, Link>,
}

struct Link {
    number: usize,
    /// What it was asked and has not read.
    unread: Vec<u8>,
    /// Answers on their way, each as it was made.
    answers: VecDeque<Vec<u8>>,
}

impl Server {
    pub fn new(index: usize, unix_ms: u64) -> Self {
        let pid = 100 * (index as u32 + 1);
        Self {
            memcached: Memcached::new(pid, unix_ms),
            pid,
            is_held: false,
            refuses: false,
            links: BTreeMap::new(),
        }
    }

    /// A connection is asked for.
    pub fn knock(&mut self, wires: &mut Wires, wire: usize) {
        wires.answer(wire, !self.refuses);
        if !self.refuses {
            let link = Link {
                number: self.memcached.connect(),
                unread: Vec::new(),
                answers: VecDeque::new(),
            };
            self.links.insert(wire, link);
        }
    }

    /// Reads what it was asked, and answers, unless it is held.
    pub fn serve(&mut self, wires: &mut Wires, unix_ms: u64) {
        let open: Vec<usize> = self.links.keys().copied().collect();
        for wire in open {
            let asked = wires.take(wire);
            let link = self.links.get_mut(&wire).expect("an open link");
            link.unread.extend_from_slice(&asked);
            if self.is_held {
                continue;
            }
            let unread = std::mem::take(&mut link.unread);
            let mut stays = true;
            // A command at a time, so that an answer can be lost or doubled.
            for line in unread.split_inclusive(|&byte| byte == b'\n') {
                let mut out = Vec::new();
                stays = stays && answer(&mut self.memcached, link.number, line, unix_ms, &mut out);
                if !out.is_empty() {
                    link.answers.push_back(out);
                }
            }
            let left = wires.wires[wire].left;
            if !stays || left {
                self.close(wires, wire, End::Closed);
            } else {
                self.deliver(wires, wire, usize::MAX);
            }
        }
    }

    /// So many bytes of what it has to say arrive.
    fn deliver(&mut self, wires: &mut Wires, wire: usize, mut most: usize) {
        let link = self.links.get_mut(&wire).expect("an open link");
        while most > 0 {
            let Some(mut answer) = link.answers.pop_front() else {
                return;
            };
            let rest = answer.split_off(most.min(answer.len()));
            most -= answer.len();
            wires.send(wire, &answer);
            if !rest.is_empty() {
                link.answers.push_front(rest);
            }
        }
    }

    fn wire(&self, which: u8) -> Option<usize> {
        let count = self.links.len();
        self.links.keys().copied().nth(usize::from(which) % count.max(1))
    }

    /// Answers what waits on one link, all but the last, and spoils them; the rest is answered as if nothing was.
    pub fn spoil(&mut self, wires: &mut Wires, which: u8, how: u8, unix_ms: u64) {
        let Some(wire) = self.wire(which) else { return };
        let link = self.links.get_mut(&wire).expect("an open link");
        link.unread.extend(wires.take(wire));
        let unread = std::mem::take(&mut link.unread);
        for line in unread.split_inclusive(|&byte| byte == b'\n') {
            let mut out = Vec::new();
            answer(&mut self.memcached, link.number, line, unix_ms, &mut out);
            if !out.is_empty() {
                link.answers.push_back(out);
            }
        }
        let answers = &mut link.answers;
        match how % 4 {
            0 => _ = answers.pop_front(),
            1 => {
                if let Some(first) = answers.front().cloned() {
                    answers.push_front(first);
                }
            }
            2 if answers.len() > 1 => answers.swap(0, 1),
            // The first bytes only; the next `serve` brings the rest.
            _ => return self.deliver(wires, wire, usize::from(how / 4)),
        }
        self.deliver(wires, wire, usize::MAX);
    }

    /// Says what it was not asked.
    pub fn lie(&mut self, wires: &mut Wires, which: u8, lie: u8, raw: &[u8]) {
        let Some(wire) = self.wire(which) else { return };
        match LIES.get(usize::from(lie)) {
            Some(text) => wires.send(wire, text),
            None => {
                // Nobody's tag.
                let bytes: Vec<u8> = raw.iter().map(|&byte| byte.min(0xEF)).collect();
                wires.send(wire, &bytes);
            }
        }
    }

    pub fn close_one(&mut self, wires: &mut Wires, which: u8) {
        if let Some(wire) = self.wire(which) {
            self.close(wires, wire, if which < 128 { End::Closed } else { End::Reset });
        }
    }

    fn close(&mut self, wires: &mut Wires, wire: usize, end: End) {
        if let Some(link) = self.links.remove(&wire) {
            self.memcached.disconnect(link.number);
            wires.end(wire, end);
        }
    }

    /// The process dies, and another takes its place: empty.
    pub fn restart(&mut self, wires: &mut Wires, unix_ms: u64) {
        let open: Vec<usize> = self.links.keys().copied().collect();
        for wire in open {
            self.close(wires, wire, End::Reset);
        }
        self.pid += 1;
        self.memcached = Memcached::new(self.pid, unix_ms);
    }

    /// Has forgotten an item.
    pub fn evict(&mut self, which: u8, unix_ms: u64) {
        let keys = self.memcached.keys(unix_ms);
        if let Some(key) = keys.get(usize::from(which) % keys.len().max(1)) {
            self.memcached.evict(key);
        }
    }
}

/// The model's answer, and one to the statistics that it has not.
fn answer(memcached: &mut Memcached, number: usize, line: &[u8], unix_ms: u64, out: &mut Vec<u8>) -> bool {
    if line.starts_with(b"stats ") {
        out.extend_from_slice(b"STAT items:1:number 1\r\nSTAT active_slabs 1\r\nEND\r\n");
        return true;
    }
    memcached.input(number, line, unix_ms, out)
}
