//! The meta commands, line by line as memcached answers them, in front of servers without and with a second copy.

mod common;

use common::{Client, Magent, Memcached, Two, Version, eventually, hit};
use std::io::Read;

/// What comes behind everything else.
const LAST: &str = "mg nowhere O31337\r\n";
const END: &str = "EN O31337\r\n";

/// Requests, from where nothing is stored.
const CONVERSATIONS: &[&str] = &[
    "mn\r\nmn whatever\r\n",
    "mg none\r\nmg none v\r\nmg none k O1 v t f c s\r\nmg none q\r\nmg none q k v\r\nmg none T30 v k\r\n",
    "ms k 5\r\nhello\r\nmg k\r\nmg k v\r\nmg k s v k O-x_9 f t\r\nmg k k f s\r\nmg k q v\r\nmg k u v P1 L2\r\n",
    "ms k 5 F4294967295 T100 c k Oab\r\nhello\r\nmg k v t f c\r\nmg k t c s\r\ngets k\r\n",
    "set k 7 0 5\r\nhello\r\nmg k v f t s k\r\nmg k h l t\r\nmg k h l t\r\nget k\r\n",
    "ms k 2 T-1\r\nhi\r\nmg k v\r\n",
    "ms k 2\r\nhi\r\nmg k T100 t v\r\nmg k t\r\nmg k T0 t\r\nmg k t v T50\r\nmg k T-1\r\nmg k v\r\n",
    "ms k 2 ME k\r\nhi\r\nms k 2 ME k O1 q\r\nho\r\nms k 2 MS q\r\nhu\r\nms k 2 MR q k\r\nhe\r\nmg k v\r\n",
    "ms k 2 MR k\r\nhi\r\nms k 2 MA O3\r\nhi\r\nms k 2 MP q\r\nhi\r\nms k 1 q\r\nx\r\nms k 2 MA\r\nhi\r\nms k 2 MP\r\nhi\r\nmg k v s\r\n",
    "ms k 3 F5 T60\r\nabc\r\nms k 1 MA F9 T0\r\nd\r\nmg k v f t\r\n",
    "ms k 1 C7\r\nx\r\nms k 1 C7 MR k\r\nx\r\nms k 1\r\nx\r\nms k 1 C18446744073709551615 k O2\r\ny\r\nms k 1 C1 ME\r\nz\r\nmg k v\r\n",
    "ms k 0\r\n\r\nmg k v s\r\nms k 5 F1 I\r\nwords\r\nmg k v f\r\n",
    "md none\r\nmd none q k O1\r\nms k 1\r\nx\r\nmd k k O1\r\nmd k q\r\nms k 1\r\nx\r\nmd k q\r\nmg k v\r\n",
    "ms k 1\r\nx\r\nmd k C18446744073709551615\r\nmd none C5 k\r\nmd k T5\r\nmg k v\r\n",
    "ma n\r\nma n q k O1\r\nms n 2\r\n10\r\nma n\r\nma n v\r\nma n v D5 k c O7\r\nma n MD v\r\nma n M- D100 v\r\nma n M+ D3 v\r\nma n MI q\r\nmg n v\r\n",
    "ma n N0 J13 v t\r\nma n N0 J13 v t c\r\nma n N60 v t\r\nmg n t v f\r\n",
    "ma n N60 J5 D2 v t\r\nma n v t\r\nma n T100 t v\r\nma n t\r\nma n T0 q\r\nma n t v\r\n",
    "ma n N0 MD D3\r\nma n v MD D3\r\nms n 20\r\n18446744073709551615\r\nma n D2 v\r\n",
    "ms k 1\r\nx\r\nma k\r\nma k q N0 J4 v\r\nma k MX\r\n",
    // What makes an item, and who is to store it anew.
    "mg k N30 v t\r\nmg k N30 v\r\nmg k v k\r\nget k\r\nms k 2 T90\r\nhi\r\nmg k N30 v R5\r\nmg k R100 v\r\nmg k R100 v\r\n",
    "ms k 2 T20\r\nhi\r\nmg k R30 v t\r\nmg k R30 v\r\nmg k v\r\nmg k R30\r\nmg k N5 R10 v k O1\r\nms k 1\r\nx\r\nmg k R30 v\r\n",
    "mg k N30\r\nmg k N30 q\r\nmg k N30 T90 t v\r\nmg none R30 k O1\r\nmg none R30 q\r\nmg k h t\r\nmd k\r\nmg k v\r\n",
    "ms k 2 F7\r\nhi\r\nmd k x F3 T50\r\nmg k v f t\r\nmd none x\r\nmd k x q k\r\nmd none x C5 k\r\nmd k x C18446744073709551615\r\nmg k v f t\r\n",
    "ms k 1 MA N60 k s\r\nx\r\nms k 1 MA N60 s\r\ny\r\nms k 1 MP N60 F3 c\r\nz\r\nmg k v t f\r\nms j 1 MP N0 F3 s\r\nz\r\nmg j v t f\r\n",
    "ms k 3 s c\r\nabc\r\nms k 1 ME s k c\r\nx\r\nms k 2 MR s\r\nxy\r\nms k 1 MA s q\r\nx\r\nms none 1 MA s c\r\nx\r\n",
    // What is stale, and who is to store it anew.
    "ms k 2 T90\r\nhi\r\nmd k I T30 k\r\nmg k v t c\r\nmg k v\r\nget k\r\nms k 3\r\nnew\r\nmg k v\r\n",
    "ms k 2 T90\r\nhi\r\nmd k I q\r\nmg k t h\r\nmg k N30 v\r\nmd k I\r\nmg k R30 v k\r\nmg k T50 t\r\ntouch k 9\r\nmg k v\r\n",
    "md none I k\r\nmd none I q\r\nms k 2\r\nhi\r\nmd k I C18446744073709551615 O1\r\nmg k v\r\nmd none I C5\r\nmd k I\r\nms k 1 MA\r\nx\r\nmg k v\r\n",
    "ms k 2 F7\r\nhi\r\nmd k x I T30 k\r\nmg k v f t\r\nmg k v f\r\nmd none x I\r\nmd k x I C18446744073709551615\r\n",
    "ms n 1\r\n5\r\nmd n I\r\nma n v\r\nmg n v\r\n",
    // In which order it is done.
    "ma k T90 N30\r\nmg k t\r\nma j N30 T90 t\r\nmg j t\r\nmg a R30 T500 N700 v\r\nmg a t\r\nmg b N700 R30 T500 v\r\nmg b t\r\n",
    "mg kk N-5 v\r\nmg kk v\r\nms k 1\r\nx\r\nmg k T-1 N30 v\r\nmg k v\r\nms k 1\r\nx\r\nmg k T-1 R30 v\r\nmg k v\r\n",
    "ms k 1 T20\r\nx\r\nmg k R30 T500 v t\r\nms k 1 T20\r\nx\r\nmg k T500 R30 v t\r\nms k 1 T20\r\nx\r\nmg k t T500 R30\r\n",
    "ms k 1\r\nx\r\nmg k u v\r\nmg k h\r\nms k 1\r\nx\r\nmg k R30\r\nmg k h\r\nms k 1\r\nx\r\nmg k T30 N30 h\r\nms n 1\r\n5\r\nma n t\r\nmg n h\r\n",
    "mg k N30 v f h l s c\r\nmg k N30 v f h l s c\r\nms k 1 MA k\r\nx\r\nmg k N9 v\r\n",
    // What is said of an item to who looks for a fault.
    "me none\r\nme\r\nme  \r\nmex k\r\nset k 5 0 2\r\nhi\r\nme k\r\nget k\r\nme k\r\nme  k \r\nme k v q\r\nmg k v\r\nme k\r\nmn\r\n",
    "ms foo 3\r\nbar\r\nme foo\r\nme Zm9v b\r\nme foo b\r\nme Zm9v b b\r\nme Zm9v x\r\nme\tfoo\r\nme foo -\r\n",
    // Keys in base64.
    "ms Zm9v 3 b k c\r\nbar\r\nmg foo v\r\nmg Zm9v b k v O1\r\nmg Zm9v k\r\nma Zm9v b k\r\nmd Zm9v k b\r\nmg Zm9v b k\r\n",
    "ms 8J+RjQ== 1 b k\r\nx\r\nmg 8J+RjQ== k b v\r\nma bg== b N0 J3 k v\r\nma n v k\r\nmg /w== b k\r\n",
    "ms YSBi 3 b k c\r\nbar\r\nmg YSBi b v k t\r\nmd YSBi k b O1\r\nmg YSBi b k\r\nma AAo= b N0 J4 k v\r\nma AAo= b v\r\nmg AAo= b v T90\r\n",
    "mg Zm9 Tx b\r\nmg Zm9 b Tx\r\nmg Zm9 Fx b\r\nmg Zm9 b Fx\r\nmd Zm9 b Oaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\r\nma Zm9 b Dx\r\nms Zm9 1 b Fx\r\nx\r\nms Zm9 1 b Tx\r\nx\r\n",
    "mg Zm9 b\r\nmg ==== b k\r\nms Zm9 3 b k\r\nbar\r\nmd Z b\r\nma Z b\r\nmg none\r\n",
    // What is nearly sound.
    "mg\r\n",
    "md\r\n",
    "ma\r\n",
    "mx k\r\nm\r\nmgg k\r\nmg\tk\r\nMG k\r\n",
    "mg k v v\r\nmg k y\r\nmg k Tx\r\nmg k T\r\nmg k Rx N\r\nmg k Fx\r\nmg k Cx\r\nmg k Jx\r\nmg k D-1\r\nmg k 9\r\nmg k S1\r\n",
    "mg k Oaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\r\nmg k Oaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\r\n",
    "mg k O1 O2\r\nmg k b\r\nmg k \u{e9}\r\nmg k -1\r\n",
    "mg k b c f h k l O1 q s t v T0 u P L F1 J1 D1\r\nmg k b c f h k l O1 q s t v T0 u P L F1 J1 D1 I\r\n",
    "md k y\r\nmd k q q\r\nmd k Fx\r\nma k y\r\nma k q q\r\nma k Dx\r\nma k MXX\r\nma k Fx\r\nmd k Oaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\r\n",
    "ms k 1 y\r\nx\r\nms k 1 q q\r\nx\r\nms k 1 Tx\r\nx\r\nms k 1 MX\r\nx\r\nms k 1 Fx\r\nx\r\nms k 1 M\r\nx\r\nms k 1 MEX\r\nx\r\nmg k v\r\n",
    "ms k 1 S1\r\nx\r\nms k 1 Oaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\r\nx\r\nmg k v\r\n",
    "ms k 3\r\nlonger\r\n",
    "  mg k\r\n",
    "mg k v\nms k 1\nx\r\nmg k v\n",
    "mg  k   v  \r\nms  k  1  T0 \r\nx\r\nmg  k   v  k \r\n",
];

/// The reply where it does not matter which unique is told, or when it was last fetched.
fn masked(line: &str) -> String {
    let word = line.split(' ').next().unwrap_or("");
    let is_meta = ["HD", "VA", "EN", "NS", "EX", "NF", "ME"].contains(&word);
    if !is_meta {
        // Of gets.
        let mut words: Vec<&str> = line.split(' ').collect();
        if words[0] == "VALUE" && words.len() == 5 {
            words[4] = "#";
        }
        return words.join(" ");
    }
    let words = line.split(' ').map(|word| match (word.chars().next(), word.get(1..)) {
        _ if word.starts_with("cas=") => "cas=#".to_owned(),
        _ if word.starts_with("la=") => "la=#".to_owned(),
        (Some(letter @ ('c' | 'l')), Some(number)) if number.parse::<u64>().is_ok_and(|number| number > 0) => {
            format!("{letter}#")
        }
        (Some('l'), Some("0")) => "l#".to_owned(),
        _ => word.to_owned(),
    });
    words.collect::<Vec<_>>().join(" ")
}

/// All that comes, until this, or the end of the connection.
fn until(client: &Client, end: &str) -> Vec<u8> {
    let (mut said, mut bytes) = (Vec::new(), [0; 4096]);
    while !said.ends_with(end.as_bytes()) {
        match client.stream().read(&mut bytes).expect("a reply, or an end") {
            0 => break,
            count => said.extend_from_slice(&bytes[..count]),
        }
    }
    said
}

fn lines(said: &[u8]) -> Vec<String> {
    String::from_utf8_lossy(said).lines().map(masked).collect()
}

/// What is said to these requests, from where nothing is stored.
fn said(name: &str, requests: &str) -> Vec<String> {
    // Since 1.6.25 one alone passes over an item now and then.
    Client::connect(name).check("flush_all\r\nflush_all\r\n", "OK\r\nOK\r\n");
    let mut client = Client::connect(name);
    client.send(requests);
    client.send(LAST);
    lines(&until(&client, END))
}

/// Whether two lines are the same but for a second or two of what is left of a time.
fn are_same(one: &str, other: &str) -> bool {
    let time = |word: &str| word.strip_prefix('t').and_then(|seconds| seconds.parse::<i64>().ok());
    let (mut words, mut others) = (one.split(' '), other.split(' '));
    loop {
        match (words.next(), others.next()) {
            (None, None) => return true,
            (Some(word), Some(other)) if word == other => {}
            (Some(word), Some(other)) => match (time(word), time(other)) {
                (Some(one), Some(other)) if one > 0 && other > 0 && (one - other).abs() <= 2 => {}
                _ => return false,
            },
            _ => return false,
        }
    }
}

fn are_all_same(lines: &[String], others: &[String]) -> bool {
    lines.len() == others.len() && lines.iter().zip(others).all(|(one, other)| are_same(one, other))
}

fn alike(magent: &Magent, bare: &Memcached) {
    let mut differences = String::new();
    for requests in CONVERSATIONS {
        let (here, there) = (said(&magent.name, requests), said(&bare.name, requests));
        if !are_all_same(&here, &there) {
            differences += &format!("{requests}  magent:    {here:?}\n  memcached: {there:?}\n\n");
        }
    }
    assert!(differences.is_empty(), "\n{differences}");
}

#[test]
fn every_command_is_answered_as_memcached_answers_it() {
    let (bare, server) = (Memcached::start(), Memcached::start());
    let magent = Magent::before(&[&server], &[], &[]);
    magent.settle();
    alike(&magent, &bare);
}

#[test]
fn so_it_is_with_a_second_copy() {
    let bare = Memcached::start();
    let two = Two::start(&[]);
    alike(&two.magent, &bare);
}

#[test]
fn a_conversation_is_the_same_however_it_is_cut() {
    let two = Two::start(&[]);
    let requests = "ms Zm9v 5 b F7 c\r\nhello\r\nmg Zm9v b k v f O1\r\nmg none q\r\nma n N0 J5 v\r\nms k 3 MA N0\r\nxyz\r\nmg k v N9\r\nmd n q\r\nmn\r\n";
    let whole = said(&two.magent.name, requests);
    assert_eq!(whole.len(), 10, "{whole:?}");
    for size in [1, 2, 7, 20] {
        two.client().check("flush_all\r\n", "OK\r\n");
        let mut client = two.client();
        requests.as_bytes().chunks(size).for_each(|chunk| client.send(chunk));
        let lines = lines(&until(&client, "MN\r\n"));
        let is_same = are_all_same(&lines, &whole[..whole.len() - 1]);
        assert!(is_same, "in pieces of {size}: {lines:?}");
    }
}

/// A number of three digits in base64.
fn in_digits(number: usize) -> String {
    let [a, b, c] = [number / 100, number / 10 % 10, number % 10].map(|digit| digit + usize::from(b'0'));
    let bits = a << 16 | b << 8 | c;
    let letters = [18, 12, 6, 0].map(|shift| bits >> shift & 63);
    let letter = |value: usize| match value as u8 {
        value @ 0..26 => value + b'A',
        value @ 26..52 => value - 26 + b'a',
        value => value - 52 + b'0',
    };
    letters.into_iter().map(|value| char::from(letter(value))).collect()
}

/// Random requests, sound and nearly so, on a few keys.
struct Random(u64);

impl Random {
    fn below(&mut self, end: usize) -> usize {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % end
    }

    fn pick<'a>(&mut self, of: &[&'a str]) -> &'a str {
        of[self.below(of.len())]
    }

    /// Some of these flags, in any order, one of them twice perhaps.
    fn flags(&mut self, of: &[&str]) -> String {
        let count = self.below(5);
        let flags: String = (0..count).map(|_| format!(" {}", self.pick(of))).collect();
        match flags.contains(" T") && flags.contains(" N") {
            // What is told between the two is not told here.
            true => flags.replace(" t", ""),
            false => flags,
        }
    }

    /// One on the keys of a round.
    fn request(&mut self, round: usize) -> String {
        let key = self.pick(&["k0", "k1", "k2", "base64", "k3", "stale"]);
        let (in_base64, may_be_stale) = (key == "base64", key == "stale");
        let (key, first) = match in_base64 {
            true => (in_digits(round), " b"),
            false => (format!("{key}-{round}"), ""),
        };
        // What such a command makes is told by its bare name later.
        let makes = if in_base64 { "k" } else { "N900" };
        match self.below(10) {
            0..=2 => {
                let flags = self.flags(&[
                    "v", "t", "f", "c", "s", "k", "q", "O12", "T100", "T0", makes, "R30", "R1000", "u", "y",
                ]);
                format!("mg {key}{first}{flags}\r\n")
            }
            3..=5 => {
                let flags = self.flags(&[
                    "c", "k", "q", "O34", "T500", "F9", "ME", "MR", "MS", "MA", "MP", "N600", "I", "s", "MX",
                ]);
                let value = match self.below(3) {
                    0 => self.below(1000).to_string(),
                    1 => String::new(),
                    _ => "v".repeat(self.below(300)),
                };
                format!("ms {key} {}{first}{flags}\r\n{value}\r\n", value.len())
            }
            6 => {
                let marks = if may_be_stale { ["I", "x"] } else { ["k", "q"] };
                let flags = self.flags(&["k", "q", "O56", "T900", "C18446744073709551615", marks[0], marks[1]]);
                format!("md {key}{first}{flags}\r\n")
            }
            // What is counted in place stays stale, and that is so unless it is being read just then.
            7 | 8 if !may_be_stale => {
                let flags = self.flags(&["v", "t", "c", "k", "q", "O78", "D5", "MD", "MI", "J7", makes, "T800"]);
                format!("ma {key}{first}{flags}\r\n")
            }
            _ => match self.below(5) {
                0 => "mn\r\n".to_owned(),
                1 => format!("get k0-{round} k1-{round}\r\n"),
                2 => format!("incr k1-{round} 4\r\n"),
                3 => format!("set k2-{round} 3 0 2\r\n17\r\n"),
                _ => format!("touch k0-{round} 700\r\n"),
            },
        }
    }
}

/// Without the blanks by which memcached pads a number that has become shorter, unless somebody is reading it just then, and without the
/// length that counts them.
fn tight(line: &str) -> String {
    let mut words: Vec<&str> = line.split(' ').filter(|word| !word.is_empty()).collect();
    let len_at = match words.first() {
        Some(&"VA") => 1,
        Some(&"VALUE") => 3,
        _ => return words.join(" "),
    };
    words.remove(len_at);
    let is_size = |word: &&str| word.strip_prefix('s').is_some_and(|size| size.parse::<u32>().is_ok());
    words.retain(|word| !is_size(word));
    words.join(" ")
}

#[test]
fn random_requests_are_answered_as_memcached_answers_them_and_leave_both_copies_alike() {
    let bare = Memcached::start();
    let two = Two::start(&[]);
    let mut random = Random(7);
    for round in 0..150 {
        let requests: String = (0..30).map(|_| random.request(round)).collect();
        let (here, there) = (said(&two.magent.name, &requests), said(&bare.name, &requests));
        let same = here
            .iter()
            .zip(&there)
            .take_while(|(here, there)| are_same(&tight(here), &tight(there)))
            .count();
        assert!(
            same == here.len() && same == there.len(),
            "round {round}: reply {same} is {:?}, not {:?}\n{requests}\n{here:?}\n{there:?}",
            here.get(same),
            there.get(same)
        );
        for key in ["k0", "k1", "k2", "k3"] {
            let get = format!("get {key}-{round}\r\n");
            let value = |server: &Memcached| String::from_utf8_lossy(&server.ask(&get).0).replace(' ', "");
            assert_eq!(value(&two.primary), value(&two.backup), "round {round}");
        }
    }
}

/// In whatever way it was to be stored.
#[test]
fn what_is_too_large_takes_away_what_was_there() {
    let (bare, two) = (Memcached::start(), Two::start(&[]));
    let value = "v".repeat(1_200_000);
    for flags in ["", " ME", " MR k", " MA", " MP N0", " C5", " q"] {
        let requests = format!("ms k 1\r\nx\r\nms k {}{flags}\r\n{value}\r\nmg k v\r\n", value.len());
        assert_eq!(
            said(&two.magent.name, &requests),
            said(&bare.name, &requests),
            "ms{flags}"
        );
        for server in [&two.primary, &two.backup] {
            assert_eq!(server.ask("get k\r\n"), "END\r\n", "ms{flags}");
        }
    }
}

#[test]
fn uniques_are_good_where_they_were_told() {
    let two = Two::start(&[]);
    let mut client = two.client();
    client.send("ms k 3 c\r\none\r\n");
    let line = String::from_utf8_lossy(&client.line().0).into_owned();
    let unique = line.trim_end().strip_prefix("HD c").expect("a unique").to_owned();
    client.check("mg k c v\r\n", format!("VA 3 c{unique}\r\none\r\n"));
    client.check(format!("ms k 3 C{unique}\r\ntwo\r\n"), "HD\r\n");
    client.check(format!("ms k 5 C{unique} MR\r\nthree\r\n"), "EX\r\n");
    client.check(format!("md k C{unique}\r\n"), "EX\r\n");
    client.send("mg k c\r\n");
    let line = String::from_utf8_lossy(&client.line().0).into_owned();
    let unique = line.trim_end().strip_prefix("HD c").expect("a unique");
    client.check(format!("md k C{unique} k\r\n"), "HD kk\r\n");
    two.both_say("get k\r\n", "END\r\n");
}

/// One client stores anew what is stale.
#[test]
fn what_is_stale_is_stored_anew_by_one_client() {
    let two = Two::start(&[]);
    let mut client = two.client();
    client.send("ms k 2 c\r\nhi\r\n");
    let line = String::from_utf8_lossy(&client.line().0).into_owned();
    let unique = line.trim_end().strip_prefix("HD c").expect("a unique").to_owned();
    client.check(format!("md k I C{unique} T30 k\r\n"), "HD kk\r\n");
    client.check(format!("md k I C{unique} k\r\n"), "EX kk\r\n");
    for server in [&two.primary, &two.backup] {
        assert_eq!(server.ask("mg k s\r\n"), "HD s2 X W\r\n");
        assert_eq!(server.ask("md k I\r\n"), "HD\r\n");
    }
    two.client().check("mg k v\r\n", "VA 2 X W\r\nhi\r\n");
    client.check("mg k v\r\n", "VA 2 Z X\r\nhi\r\n");
    client.check("append k 0 0 1\r\nx\r\nmg k v\r\n", "STORED\r\nVA 3\r\nhix\r\n");
    client.check("md k I\r\n", "HD\r\n");
    client.check("ms k 1\r\nx\r\nmg k v\r\n", "HD\r\nVA 1\r\nx\r\n");
}

#[test]
fn what_is_stale_is_not_copied_and_no_look_takes_it_away() {
    let mut two = Two::start(&[]);
    let mut client = two.client();
    client.check("ms k 2\r\nhi\r\nms fresh 1\r\nx\r\nmd k I\r\n", "HD\r\nHD\r\nHD\r\n");
    two.primary.kill();
    two.magent.wait_for(&two.primary, "down");
    two.primary.restart();
    two.magent.wait_for(&two.primary, "up");
    eventually("it is filled", || two.magent.server_stat(&two.primary, "state") == "up");
    two.both_say("get fresh\r\n", &hit("fresh", 0, "x"));
    assert_eq!(two.primary.ask("get k\r\n"), "END\r\n");
    // The next client is to store it anew.
    eventually("it has been given back", || {
        two.backup.ask("mg k v u\r\n") == "VA 2 X W\r\nhi\r\n"
    });
}

/// What is refused here, and not by every memcached.
#[test]
fn what_cannot_be_kept_is_refused() {
    let two = Two::start(&[]);
    let mut client = two.client();
    for (request, reply) in [
        ("ms k 1 MA C5\r\nx\r\n", "CLIENT_ERROR invalid flag\r\n"),
        ("ma k C5\r\n", "CLIENT_ERROR invalid or duplicate flag\r\n"),
        ("mg k E5\r\n", "CLIENT_ERROR invalid flag\r\n"),
        ("ms k 1 E5\r\nx\r\n", "CLIENT_ERROR invalid flag\r\n"),
    ] {
        client.check(request, reply);
    }
    for request in ["ms\r\n", "ms k\r\n", "ms k x\r\nx\r\n", "ms k -1\r\n"] {
        // What follows may be a value.
        let lines = said(&two.magent.name, request);
        assert_eq!(lines.len(), 1, "{request}: {lines:?}");
    }
}

#[test]
fn a_hundred_thousand_quiet_requests_hold_nobody_up() {
    const REQUESTS: usize = 100_000;
    let two = Two::start(&[]);
    let mut client = two.client();
    client.check("ms k 1\r\nv\r\n", "HD\r\n");
    let before = two.magent.resident_bytes();
    let some = format!("mg k q v\r\n{}", "mg none q v\r\n".repeat(99));
    for _ in 0..REQUESTS / 100 {
        client.send(&some);
    }
    two.client().check("get k\r\n", hit("k", 0, "v"));
    client.send("mn\r\n");
    let said = until(&client, "MN\r\n");
    assert_eq!(said.len(), "VA 1\r\nv\r\n".len() * REQUESTS / 100 + "MN\r\n".len());
    let grown = two.magent.resident_bytes().saturating_sub(before);
    assert!(grown < 64 << 20, "{grown} bytes more");
}

#[test]
fn a_dead_server_is_not_noticed_and_a_place_that_is_held_is_not_copied() {
    let mut two = Two::start(&[]);
    let mut client = two.client();
    for key in 0..20 {
        client.check(format!("ms k{key} 1 F{key} T900\r\nv\r\n"), "HD\r\n");
    }
    client.check("ma n N0 J5 v\r\n", "VA 1\r\n5\r\n");
    client.check("mg held N900 v\r\n", "VA 0 W\r\n\r\n");
    client.check("ms empty 0\r\n\r\n", "HD\r\n");
    two.primary.kill();
    two.magent.wait_for(&two.primary, "down");
    for key in 0..20 {
        client.check(format!("mg k{key} v f\r\n"), format!("VA 1 f{key}\r\nv\r\n"));
    }
    client.check("ma n N0 J5 v\r\n", "VA 1\r\n6\r\n");
    client.check("mg held v\r\n", "VA 0 Z\r\n\r\n");
    client.check("ms k0 1 ME\r\nx\r\n", "NS\r\n");
    client.check("ms new 3 MA N0\r\nabc\r\n", made_or_not());
    two.primary.restart();
    two.magent.wait_for(&two.primary, "up");
    eventually("it is filled", || two.magent.server_stat(&two.primary, "state") == "up");
    two.both_say("get n\r\n", &hit("n", 0, "6"));
    two.both_say("get empty\r\n", &hit("empty", 0, ""));
    assert_eq!(two.primary.ask("get held\r\n"), "END\r\n");
    // With no server there is an error, never a miss.
    two.primary.kill();
    two.backup.kill();
    two.magent.wait_for(&two.backup, "down");
    client.check("mg k1 q v\r\n", "SERVER_ERROR no server available\r\n");
}

/// An append makes its item since 1.6.20.
fn made_or_not() -> &'static str {
    match Memcached::version() < Version(1, 6, 20) {
        true => "NS\r\n",
        false => "HD\r\n",
    }
}

/// What may have to be stored again is held as long as that may be, and by nobody who has left.
#[test]
fn values_that_may_be_stored_again_are_not_held_for_ever() {
    let two = Two::start(&[]);
    let value = "v".repeat(1_000_000);
    let mut client = two.client();
    client.check("ms k 1\r\nx\r\n", "HD\r\n");
    let mut clients: Vec<Client> = (0..20).map(|_| two.client()).collect();
    for (key, client) in clients.iter_mut().enumerate() {
        client.send(format!("ms k{key} {} MA N0\r\n{value}\r\n", value.len()));
    }
    for client in &mut clients {
        client.line();
    }
    drop(clients);
    eventually("they are given back", || two.magent.stat("buffer_bytes") < 1 << 20);
}
