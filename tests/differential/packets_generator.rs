//! Random streams of the binary protocol.

use super::generator::Generator;
use super::meta_generator::REFUSED_IN;
use super::packets::REQUEST;

const KEYS: &str = "a|b|c|n|n|user:1|0|-1|k\x01|\u{e9}t\u{e9}|KEY|a b| |a\nb|%41|\r\n|x\0y";
/// Those that numbers are subtracted from.
const COUNTED: &str = "n|n|n|c|user:1|x\0y";
const VALUES: &str = "|0|1|9|10|99|1000|999999999999999999|x|plain text|two\r\nlines| 7|7 |-1|5\0x|\u{80}\0\0|END\r\n";
/// None that a second or two could make a difference for.
const EXPTIMES: [u32; 9] = [0, 0, 0, 0, 1000, 100_000, 2_592_000, 2_592_001, 2_147_483_647];
const LATE_EXPTIMES: [u32; 4] = [u32::MAX, u32::MAX - 1, 0x8000_0000, 4_000_000_000];
const FLAGS: [u32; 6] = [0, 0, 1, 7, 65_535, u32::MAX];
const DELTAS: [u64; 8] = [0, 1, 1, 2, 9, 91, 999_999, 9_000_000_000_000_000_000];
const INITIALS: [u64; 6] = [0, 1, 10, 99, 1000, 9_000_000_000_000_000_000];
/// As if there were no item, or it were not to be made.
const NOT_TO_BE_MADE: u32 = u32::MAX;
const STATISTICS: &str = "|||reset|settings|nonsense|items|slabs|sizes|detail|detail x|reset x|conns";

/// A packet before it is written; lengths that are not those of its parts make it a wrong one.
#[derive(Default)]
struct Packet {
    opcode: u8,
    extras: Vec<u8>,
    key: Vec<u8>,
    value: Vec<u8>,
    unique: Option<Vec<u8>>,
    opaque: u32,
    /// The header, with what is to be put where in it.
    wrong: Vec<(usize, Vec<u8>)>,
}

impl Packet {
    fn bytes(&self) -> Vec<u8> {
        let body = self.extras.len() + self.key.len() + self.value_len();
        let mut bytes = vec![REQUEST, self.opcode];
        bytes.extend((self.key.len() as u16).to_be_bytes());
        bytes.extend([self.extras.len() as u8, 0, 0, 0]);
        bytes.extend((body as u32).to_be_bytes());
        bytes.extend(self.opaque.to_be_bytes());
        for (at, wrong) in &self.wrong {
            bytes[*at..at + wrong.len()].copy_from_slice(wrong);
        }
        bytes.extend(self.unique.as_deref().unwrap_or(&[0; 8]));
        [&bytes, &self.extras[..], &self.key, &self.value].concat()
    }

    fn value_len(&self) -> usize {
        super::stream::expand(&self.value, |_, _| "").len()
    }
}

impl Generator {
    /// Packets, and what is nearly some.
    pub fn packets(&mut self) -> Vec<u8> {
        let count = match self.below(10) {
            0 => 300 + self.below(300),
            1 => 1 + self.below(4),
            _ => 40 + self.below(160),
        };
        let style = self.below(12);
        // Uniques make a stream slow: each packet is sent alone.
        let has_uniques = self.one_in(3);
        let mut bytes = Vec::new();
        for n in 0..count {
            self.commands += 1;
            let mut packet = self.packet(has_uniques);
            // Most of what is nearly a packet is the end of the conversation.
            let is_near = match style {
                0..=4 => false,
                5..=9 => n + 2 >= count || self.one_in(40),
                _ => self.one_in(6),
            };
            if is_near {
                self.spoil(&mut packet);
            }
            bytes.extend(packet.bytes());
        }
        match style {
            9 => self.damage(&mut bytes),
            8 | 10 => {
                let len = 1 + self.below(60);
                bytes.extend((0..len).map(|_| self.random.next() as u8));
            }
            7 => bytes.truncate(bytes.len() - self.below(30).min(bytes.len() - 1)),
            _ => {}
        }
        if bytes[0] != REQUEST {
            bytes.insert(0, REQUEST);
        }
        bytes
    }

    fn binary_key(&mut self) -> Vec<u8> {
        match self.below(80) {
            0 => vec![b'k'; 250],
            1 => vec![b' '; 186],
            2..=20 => self.of(KEYS).as_bytes().to_vec(),
            _ => self.of("a|b|n").as_bytes().to_vec(),
        }
    }

    fn exptime(&mut self) -> u32 {
        match self.one_in(20) {
            true => *self.random.pick(&LATE_EXPTIMES),
            false => *self.random.pick(&EXPTIMES),
        }
    }

    fn packet(&mut self, has_uniques: bool) -> Packet {
        let key = self.binary_key();
        let opaque = self.random.next() as u32;
        let packet = Packet {
            opaque,
            key,
            ..Packet::default()
        };
        let mut packet = match self.below(100) {
            0..=19 => Packet {
                opcode: self.opcode(&[0x00, 0x09, 0x0c, 0x0d]),
                ..packet
            },
            20..=27 => Packet {
                opcode: self.opcode(&[0x1c, 0x1d, 0x1e, 0x23, 0x24]),
                extras: self.exptime().to_be_bytes().to_vec(),
                ..packet
            },
            28..=54 => Packet {
                opcode: self.opcode(&[0x01, 0x01, 0x11, 0x11, 0x02, 0x12, 0x03, 0x13]),
                extras: [self.random.pick(&FLAGS).to_be_bytes(), self.exptime().to_be_bytes()].concat(),
                value: self.value(),
                ..packet
            },
            55..=64 => Packet {
                opcode: self.opcode(&[0x0e, 0x0f, 0x19, 0x1a]),
                value: self.value(),
                ..packet
            },
            65..=80 => Packet {
                opcode: self.opcode(&[0x05, 0x06, 0x15, 0x16]),
                extras: self.count(),
                ..packet
            },
            81..=88 => Packet {
                opcode: self.opcode(&[0x04, 0x14]),
                ..packet
            },
            _ => return self.keyless(packet),
        };
        let is_refused = matches!(packet.opcode, 0x05 | 0x06 | 0x0e | 0x0f | 0x15 | 0x16 | 0x19 | 0x1a);
        // What is appended to a number that has become shorter is behind blanks, or is not: nobody can foresee that.
        match packet.opcode {
            0x06 | 0x16 => packet.key = self.of(COUNTED).as_bytes().to_vec(),
            0x0e | 0x0f | 0x19 | 0x1a if COUNTED.split('|').any(|key| key.as_bytes() == packet.key) => {
                packet.key = b"a".to_vec();
            }
            _ => {}
        }
        if has_uniques && self.one_in(if is_refused { 4 * REFUSED_IN } else { 4 }) {
            packet.unique = Some(self.unique(&packet.key));
        }
        packet
    }

    fn opcode(&mut self, of: &[u8]) -> u8 {
        *self.random.pick(of)
    }

    fn count(&mut self) -> Vec<u8> {
        let exptime = match self.one_in(3) {
            true => NOT_TO_BE_MADE,
            false => *self.random.pick(&EXPTIMES),
        };
        let (delta, initial) = (*self.random.pick(&DELTAS), *self.random.pick(&INITIALS));
        [&delta.to_be_bytes()[..], &initial.to_be_bytes(), &exptime.to_be_bytes()].concat()
    }

    fn value(&mut self) -> Vec<u8> {
        match self.below(60) {
            0 => vec![b'v'; self.below(3000)],
            1 if self.one_in(6) => self
                .of("<x*600000>|<x*1048400>|<x*1048570>|<x*1048576>|<x*1100000>")
                .as_bytes()
                .to_vec(),
            _ => self.of(VALUES).as_bytes().to_vec(),
        }
    }

    fn unique(&mut self, key: &[u8]) -> Vec<u8> {
        // None of a key could be told where it ends.
        let is_plain = !key.contains(&b'\n') && !key.contains(&b'>');
        match self.below(6) {
            0 => 1_u64.to_be_bytes().to_vec(),
            1 => u64::MAX.to_be_bytes().to_vec(),
            2 if is_plain => [b"<old ", key, b">"].concat(),
            _ if is_plain => [b"<cas ", key, b">"].concat(),
            _ => 7_u64.to_be_bytes().to_vec(),
        }
    }

    /// One that is about no key.
    fn keyless(&mut self, packet: Packet) -> Packet {
        let packet = Packet {
            key: Vec::new(),
            ..packet
        };
        match self.below(40) {
            0..=19 => Packet { opcode: 0x0a, ..packet },
            20..=27 => Packet { opcode: 0x0b, ..packet },
            28..=30 => Packet {
                opcode: 0x10,
                key: self.of(STATISTICS).as_bytes().to_vec(),
                ..packet
            },
            31..=33 => {
                let extras: &[u8] = if self.one_in(2) { &[0; 4] } else { b"" };
                Packet {
                    opcode: self.opcode(&[0x08, 0x18]),
                    extras: extras.to_vec(),
                    ..packet
                }
            }
            34 => Packet {
                opcode: 0x1b,
                extras: vec![0; 4],
                ..packet
            },
            35 => Packet { opcode: 0x20, ..packet },
            36 | 37 => Packet {
                opcode: self.opcode(&[0x21, 0x22]),
                key: b"PLAIN".to_vec(),
                value: b"\0user\0secret".to_vec(),
                ..packet
            },
            38 if self.one_in(4) => Packet {
                opcode: self.opcode(&[0x07, 0x17]),
                ..packet
            },
            _ => Packet {
                opcode: self.opcode(&[0x1f, 0x25, 0x30, 0x3d, 0x40, 0x48, 0x80, 0xff]),
                key: self.of("|a|some key").as_bytes().to_vec(),
                value: self.of("||value").as_bytes().to_vec(),
                ..packet
            },
        }
    }

    /// Makes a packet wrong, or odd.
    fn spoil(&mut self, packet: &mut Packet) {
        let len = packet.extras.len() + packet.key.len() + packet.value_len();
        let near = |random: u64| (len as i64 + random as i64 - 3).max(0) as u32;
        match self.below(16) {
            0 => packet.extras.push(0),
            1 => _ = packet.extras.pop(),
            2 => packet.extras = vec![0; *self.random.pick(&[4, 8, 12, 20, 21, 24, 255])],
            3 => packet.key.clear(),
            4 => packet.key = vec![b'k'; *self.random.pick(&[251, 252, 255, 256, 1000, 65_535])],
            5 => packet.key = vec![b' '; *self.random.pick(&[187, 250, 251])],
            6 => packet.key = (0..1 + self.below(20)).map(|_| self.random.next() as u8).collect(),
            7 => packet.value.extend_from_slice(b"more"),
            8 => packet.value = super::packets::noop(*b"evil"),
            9 => packet
                .wrong
                .push((8, near(self.random.below(7)).to_be_bytes().to_vec())),
            10 => packet.wrong.push((
                8,
                self.random
                    .pick(&[0_u32, 1, 1 << 20, 1 << 30, (1 << 30) + 1, u32::MAX])
                    .to_be_bytes()
                    .to_vec(),
            )),
            11 => packet.wrong.push((
                self.opcode(&[2, 3]).into(),
                vec![self.opcode(&[0, 1, 2, 250, 251, 255])],
            )),
            12 => packet.wrong.push((4, vec![self.opcode(&[0, 1, 4, 8, 20, 255])])),
            // What nobody looks at: the data type, the vbucket.
            13 => packet
                .wrong
                .push((self.opcode(&[5, 6, 7]).into(), vec![self.opcode(&[1, 255])])),
            14 => packet.wrong.push((0, vec![self.opcode(&[0x81, 0, b'g', 0x80])])),
            _ => packet.opcode = self.below(0x40) as u8,
        }
    }
}
