//! What is read from a socket: any bytes are understood or refused, never fatal, and it does not matter in what pieces
//! they arrive. What is sent on means to a server what it meant to magent.

use magent::buffer::{Chain, Pool, Slice};
use magent::protocol::keys::{KeyList, Keys};
use magent::protocol::number::{Decimal, signed, unsigned};
use magent::protocol::refusal::After;
use magent::protocol::request::{Kept, Request};
use magent::protocol::server::answer::{self, Status};
use magent::protocol::server::encode::{Words, encode};
use magent::protocol::text::dialect::Dialect;
use magent::protocol::text::parse::{may_continue, parse};
use magent::protocol::verb::Verb;
use magent::protocol::{KEY_BYTES_MAX, find_newline};
use magent::sys::AppendOnly;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};
use std::rc::Rc;

/// A word of a command line: right ones, nearly right ones, and nonsense.
fn word() -> impl Strategy<Value = Vec<u8>> {
    let known = select(vec![
        "get",
        "gets",
        "gat",
        "gats",
        "set",
        "add",
        "replace",
        "append",
        "prepend",
        "cas",
        "incr",
        "decr",
        "touch",
        "delete",
        "flush_all",
        "version",
        "verbosity",
        "stats",
        "quit",
        "noreply",
        "0",
        "1",
        "3",
        "-1",
        "+7",
        "007",
        "3x",
        "4294967296",
        "2147483646",
        "18446744073709551615",
        "18446744073709551616",
        "99999999999999999999999",
        "k",
        "\t1",
        "1\t",
        "",
        "\0",
        "-0",
    ]);
    prop_oneof![
        6 => known.prop_map(|text| text.as_bytes().to_vec()),
        2 => vec(any::<u8>().prop_filter("no newline", |&byte| byte != b'\n'), 1..12),
        1 => (249_usize..253).prop_map(|len| vec![b'k'; len]),
    ]
}

/// A line of a few words, with its end; often a command.
fn line() -> impl Strategy<Value = Vec<u8>> {
    let spaces = select(vec![&b" "[..], b" ", b" ", b"  ", b""]);
    let end = select(vec![&b"\r\n"[..], b"\r\n", b"\r\n", b"\n", b" \r\n", b"\r\r\n"]);
    (vec((spaces, word()), 1..9), end).prop_map(|(words, end)| {
        let mut line: Vec<u8> = words
            .into_iter()
            .flat_map(|(space, word)| [space, &word[..]].concat())
            .collect();
        if line.starts_with(b" ") {
            line.remove(0);
        }
        [&line[..], end].concat()
    })
}

fn dialect() -> impl Strategy<Value = Dialect> {
    select(vec![Dialect::Old, Dialect::New])
}

/// Whether every memcached from 1.4.31 to 1.6.45 reads a line alike, and answers it once; said without the parser.
fn is_canonical(line: &[u8]) -> Result<(), String> {
    let words: Vec<&[u8]> = line.split(|&byte| byte == b' ').collect();
    if words
        .iter()
        .any(|word| word.is_empty() || word.contains(&0) || word.contains(&b'\n'))
    {
        return Err("blanks, or bytes that end a line".to_owned());
    }
    let number = |word: &[u8], min: i128, max: i128| {
        let text = std::str::from_utf8(word).map_err(|error| error.to_string())?;
        let number: i128 = text.parse().map_err(|error| format!("{text}: {error}"))?;
        match number.to_string() == text && (min..=max).contains(&number) {
            true => Ok(()),
            false => Err(format!("the number {text}")),
        }
    };
    let (flags, exptime, value_len, number_64) = (
        |word| number(word, 0, u32::MAX.into()),
        |word| number(word, i32::MIN.into(), i32::MAX.into()),
        |word| number(word, 0, i128::from(i32::MAX) - 2),
        |word| number(word, 0, u64::MAX.into()),
    );
    let keys = match words[..] {
        [b"get" | b"gets", ref keys @ ..] => keys,
        [b"gat" | b"gats", time, ref keys @ ..] => exptime(time).map(|()| keys)?,
        [
            b"set" | b"add" | b"replace" | b"append" | b"prepend",
            ref key,
            bits,
            time,
            len,
        ] => {
            flags(bits).and(exptime(time)).and(value_len(len))?;
            std::slice::from_ref(key)
        }
        [b"cas", ref key, bits, time, len, unique] => {
            flags(bits)
                .and(exptime(time))
                .and(value_len(len))
                .and(number_64(unique))?;
            std::slice::from_ref(key)
        }
        [b"incr" | b"decr", ref key, delta] => number_64(delta).map(|()| std::slice::from_ref(key))?,
        [b"touch", ref key, time] => exptime(time).map(|()| std::slice::from_ref(key))?,
        [b"delete", b"noreply", b"0"] => &[],
        [b"delete", ref key] if key != b"noreply" => std::slice::from_ref(key),
        [b"flush_all"] => &[],
        [b"flush_all", time] => number(time, 0, i32::MAX.into()).map(|()| &[][..])?,
        _ => return Err("no form that is known".to_owned()),
    };
    match keys.iter().find(|key| key.len() > KEY_BYTES_MAX) {
        Some(_) => Err("a long key".to_owned()),
        None => Ok(()),
    }
}

/// What a request says, however it is written.
fn meaning(r: &Request<'_>) -> (Verb, Vec<u8>, Vec<Vec<u8>>, [i128; 5]) {
    let keys = r.keys_concerned().map(<[u8]>::to_vec).collect();
    let numbers = [
        r.key_count as i128,
        r.flags.into(),
        r.exptime.into(),
        r.value_len as i128,
        r.number.into(),
    ];
    (r.verb, r.key.to_vec(), keys, numbers)
}

/// The lines that a request may be forwarded as, without their ends: as it came, if it says so, and written anew; each with
/// what it says. Several keys are put together anew, so that each server is asked for its own.
fn forms<'a>(request: &Request<'a>, value: &'a [u8], list: &'a mut KeyList) -> Vec<(Vec<u8>, Request<'a>)> {
    request.keys.for_each(|key| list.push(key));
    let anew = match request.key_count {
        2.. => Request::retrieval(request.manner(), list, request.key_count),
        _ => Request {
            verbatim: None,
            value,
            ..*request
        },
    };
    let text = |request: &Request<'_>| {
        let mut words = Words::default();
        let line = encode(request, &mut words).head().concat();
        line.strip_suffix(b"\r\n").expect("a line's end").to_vec()
    };
    let said = Request {
        value_len: value.len(),
        ..anew
    };
    let as_it_came = request.verbatim.map(|_| (text(request), *request));
    as_it_came.into_iter().chain([(text(&anew), said)]).collect()
}

fn verb() -> impl Strategy<Value = Verb> {
    use Verb::*;
    select(vec![Set, Add, Replace, Append, Prepend, Cas])
}

/// A key that can stand in a line: no space, no control characters that end a line or a string.
fn key() -> impl Strategy<Value = Vec<u8>> {
    let byte = any::<u8>().prop_filter("ends a token or the line", |byte| !b" \n\r\0".contains(byte));
    vec(byte, 1..=KEY_BYTES_MAX)
}

/// A number as memcached reads it, said in another way: with a wide type and no loop.
fn number_by_the_book(token: &[u8]) -> Option<i128> {
    let text = std::str::from_utf8(token).ok()?;
    let text = text.trim_start_matches(['\t', '\x0b', '\x0c', '\r']);
    let digits = text.split(['\t', '\x0b', '\x0c', '\r']).next()?;
    let bare = digits.strip_prefix(['-', '+']).unwrap_or(digits);
    if bare.is_empty() || bare.len() > 30 || !bare.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    digits.parse().ok()
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(1000) })]

    #[test]
    fn any_bytes_are_understood_or_refused(dialect in dialect(), bytes in vec(any::<u8>(), 0..300)) {
        let whole = bytes.contains(&b'\n');
        prop_assert_eq!(parse(dialect, &bytes).is_some(), whole);
        let _ = may_continue(&bytes);
        let _ = answer::parse(&bytes);
        prop_assert_eq!(find_newline(&bytes), bytes.iter().position(|&byte| byte == b'\n'));
    }

    #[test]
    fn a_request_is_understood_when_its_line_is_whole_and_not_before(
        dialect in dialect(), line in line(), behind in vec(any::<u8>(), 0..30),
    ) {
        for len in 0..line.len() {
            prop_assert_eq!(parse(dialect, &line[..len]), None);
            prop_assert!(may_continue(&line[..len]) || len > 2048);
        }
        let alone = parse(dialect, &line);
        prop_assert_eq!(alone.as_ref().map(|(len, ..)| *len), Some(line.len()));
        let followed = [&line[..], &behind].concat();
        prop_assert_eq!(parse(dialect, &followed), alone);
    }

    #[test]
    fn what_is_forwarded_has_one_form_and_means_the_same_to_every_memcached(dialect in dialect(), line in line()) {
        let Some((_, _, Ok(request))) = parse(dialect, &line) else {
            return Ok(());
        };
        // Nothing is forwarded of these, or only their first word.
        if matches!(request.verb, Verb::Stats | Verb::Version | Verb::Quit | Verb::Verbosity) {
            return Ok(());
        }
        // A gat without keys, which the old parser takes, is answered by magent.
        if request.verb.is_retrieval() && request.key_count == 0 {
            return Ok(());
        }
        let value = vec![b'v'; request.value_len.min(100)];
        let mut list = KeyList::default();
        for (text, expected) in forms(&request, &value, &mut list) {
            let shown = text.escape_ascii().to_string();
            if let Err(fault) = is_canonical(&text) {
                return Err(TestCaseError::fail(format!("{shown}: {fault}")));
            }
            for reader in [Dialect::Old, Dialect::New] {
                let forwarded = [&text[..], b"\r\n"].concat();
                let Some((_, _, Ok(again))) = parse(reader, &forwarded) else {
                    return Err(TestCaseError::fail(format!("refused: {shown}")));
                };
                prop_assert_eq!(meaning(&again), meaning(&expected));
                prop_assert!(!again.noreply, "{}", shown);
                // Those two are always written anew, and so is the removal of a key that looks like a request for silence.
                let silencing = again.verb == Verb::Delete && again.key == b"noreply";
                if !silencing && !matches!(again.verb, Verb::FlushAll | Verb::CacheMemlimit) {
                    prop_assert_eq!(again.verbatim, Some(&text[..]));
                }
            }
        }
    }

    /// What is kept of a request, in whatever piece, is the request; but that its client wants no reply, its client's place for one knows.
    #[test]
    fn a_request_that_is_kept_is_the_same(dialect in dialect(), line in line()) {
        let Some((_, _, Ok(request))) = parse(dialect, &line) else {
            return Ok(());
        };
        let kept = Kept::of(&request, &line);
        let moved = line.clone();
        prop_assert_eq!(kept.request(&moved), Request { value_len: 0, noreply: false, ..request });
        if request.verb.is_storage() {
            let value = vec![b'v'; request.value_len.min(100)];
            let request = Request { value_len: value.len(), value: &value, ..request };
            for request in [request, Request { verbatim: None, ..request }] {
                let [first, second] = request.head();
                let piece = [first, second, &value, b"\r\n"].concat();
                let as_kept = Request { noreply: false, ..request };
                prop_assert_eq!(request.kept_behind_head().request(&piece), as_kept);
            }
        }
    }

    /// What stands behind a refused storage command is its value.
    #[test]
    fn what_may_be_a_value_is_never_read_as_a_command(dialect in dialect(), verb in verb(), line in line()) {
        let line = [verb.name().as_bytes(), b" ", &line].concat();
        if let Some((_, _, Err(refusal))) = parse(dialect, &line) {
            prop_assert_ne!(refusal.after, After::NextLine, "{}", line.escape_ascii().to_string());
        }
    }

    /// If a server read the length of a value otherwise, it would run the value as commands.
    #[test]
    fn the_length_of_a_value_is_beyond_doubt(dialect in dialect(), line in line()) {
        if let Some((_, _, Ok(request))) = parse(dialect, &line) {
        if request.verb.is_storage() && request.verbatim.is_some() {
            let words: Vec<&[u8]> = request.verbatim.unwrap_or(b"").split(|&byte| byte == b' ').filter(|word| !word.is_empty()).collect();
            prop_assert_eq!(words[1], request.key);
            prop_assert!(words[1].len() <= KEY_BYTES_MAX);
            prop_assert_eq!(words[4].to_vec(), request.value_len.to_string().into_bytes());
            prop_assert_eq!(std::str::from_utf8(words[2]).unwrap().parse::<u32>(), Ok(request.flags));
            prop_assert_eq!(std::str::from_utf8(words[3]).unwrap().parse::<i32>().map(i64::from), Ok(request.exptime));
        }
        }
    }

    #[test]
    fn a_storage_line_says_what_was_asked_for(
        dialect in dialect(), verb in verb(), key in key(), flags: u32, exptime in -1_000_000_000_i64..2_147_483_648,
        value_len in 0_usize..2_147_483_646, unique: u64, noreply: bool,
    ) {
        let mut line = [verb.name().as_bytes(), b" ", &key].concat();
        line.extend_from_slice(format!(" {flags} {exptime} {value_len}").as_bytes());
        if verb == Verb::Cas {
            line.extend_from_slice(format!(" {unique}").as_bytes());
        }
        let forwarded = line.clone();
        line.extend_from_slice(if noreply { b" noreply\r\n" } else { b"\r\n" });
        let Some((len, _, Ok(request))) = parse(dialect, &line) else {
            return Err(TestCaseError::fail("refused"));
        };
        prop_assert_eq!(len, line.len());
        prop_assert_eq!((request.verb, request.key, request.noreply), (verb, &key[..], noreply));
        prop_assert_eq!((request.flags, request.exptime, request.value_len), (flags, exptime, value_len));
        prop_assert_eq!(request.number, if verb == Verb::Cas { unique } else { 0 });
        prop_assert_eq!(request.verbatim, Some(&forwarded[..]));
        let value = vec![b'v'; value_len.min(1000)];
        let anew = Request { verbatim: None, value: &value, ..request };
        let mut words = Words::default();
        let expected = format!(" {} {}", exptime, value.len());
        let written = encode(&anew, &mut words).parts().concat();
        prop_assert!(written.ends_with(&[&value[..], b"\r\n"].concat()));
        prop_assert!(written.windows(expected.len()).any(|part| part == expected.as_bytes()));
    }

    #[test]
    fn a_retrieval_names_its_keys(dialect in dialect(), verb in select(vec![Verb::Get, Verb::Gets, Verb::Gat, Verb::Gats]),
        keys in vec(key(), 1..40), exptime in -1000_i32..1_000_000, spaces in 1_usize..4) {
        let space = vec![b' '; spaces];
        let mut line = verb.name().as_bytes().to_vec();
        if verb.is_get_and_touch() {
            line.extend_from_slice(format!(" {exptime}").as_bytes());
        }
        for key in &keys {
            line.extend_from_slice(&space);
            line.extend_from_slice(key);
        }
        line.extend_from_slice(b"\r\n");
        let Some((_, _, Ok(request))) = parse(dialect, &line) else {
            return Err(TestCaseError::fail("refused"));
        };
        prop_assert_eq!(request.verb, verb);
        prop_assert_eq!(request.keys.collect::<Vec<_>>(), keys.iter().map(Vec::as_slice).collect::<Vec<_>>());
        prop_assert_eq!((request.key, request.key_count), (&keys[0][..], keys.len()));
        prop_assert_eq!(request.exptime, if verb.is_get_and_touch() { i64::from(exptime) } else { 0 });
    }

    #[test]
    fn keys_are_what_stands_between_spaces(text in vec(select(vec![b'a', b' ', b'\t', 0xff]), 0..60)) {
        let expected: Vec<&[u8]> = text.split(|&byte| byte == b' ').filter(|word| !word.is_empty()).collect();
        let mut keys = Keys::of(&text);
        prop_assert_eq!(keys.collect::<Vec<_>>(), expected.clone());
        for _ in 0..expected.len() / 2 {
            keys.next();
        }
        prop_assert_eq!(Keys::of(keys.rest()).collect::<Vec<_>>(), &expected[expected.len() / 2..]);
    }

    #[test]
    fn numbers_come_back_as_they_went_out(number: u64, other: i64) {
        prop_assert_eq!(Decimal::new(number).as_bytes().to_vec(), number.to_string().into_bytes());
        prop_assert_eq!(unsigned(Decimal::new(number).as_bytes()), Some(number));
        prop_assert_eq!(signed(other.to_string().as_bytes()), Some(other));
        prop_assert_eq!(signed(Decimal::new(number).as_bytes()), i64::try_from(number).ok());
    }

    #[test]
    fn numbers_are_read_by_the_book(token in vec(select(b"0123456789019-+\t\rx".to_vec()), 0..24)) {
        let number = number_by_the_book(&token);
        prop_assert_eq!(signed(&token), number.and_then(|number| i64::try_from(number).ok()));
        prop_assert_eq!(unsigned(&token), number.and_then(|number| u64::try_from(number).ok()));
    }

    #[test]
    fn a_value_is_understood_when_its_line_is_whole_and_not_before(key in key(), flags: u32, len in 0_usize..2_000_000,
        unique in proptest::option::of(any::<u64>()), behind in vec(any::<u8>(), 0..30)) {
        let mut line = [b"VALUE ", &key[..]].concat();
        line.extend_from_slice(format!(" {flags} {len}").as_bytes());
        if let Some(unique) = unique {
            line.extend_from_slice(format!(" {unique}").as_bytes());
        }
        let text = line.clone();
        line.extend_from_slice(b"\r\n");
        for len in 0..line.len() {
            prop_assert_eq!(answer::parse(&line[..len]), None);
        }
        let followed = [&line[..], &behind].concat();
        let Some(Ok((line_len, response))) = answer::parse(&followed) else {
            return Err(TestCaseError::fail("garbage"));
        };
        prop_assert_eq!((line_len, response.status, response.value_len), (line.len(), Status::Value, Some(len)));
        prop_assert_eq!((response.key, response.line), (&key[..], &text[..]));
    }

    #[test]
    fn a_meta_value_tells_its_flags(len in 0_usize..2_000_000, ttl in -1_i64..1_000_000, flags: u32) {
        let line = format!("VA {len} t{ttl} f{flags}\r\n");
        for len in 0..line.len() {
            prop_assert_eq!(answer::parse(&line.as_bytes()[..len]), None);
        }
        let Some(Ok((_, response))) = answer::parse(line.as_bytes()) else {
            return Err(TestCaseError::fail("garbage"));
        };
        prop_assert_eq!((response.status, response.value_len), (Status::MetaValue, Some(len)));
        prop_assert_eq!((response.ttl_s, response.flags), (Some(ttl), Some(flags)));
        prop_assert_eq!((response.unique, response.size, response.key), (None, None, &b""[..]));
    }
}

/// What may be done to a chain.
#[derive(Clone, Debug)]
enum Step {
    Push(usize),
    PushWhole(usize, usize),
    /// Push a piece that was pushed whole before once more.
    PushAgain(Index),
    /// The same on another chain, and all of that on this one.
    PushByWayOfAnother(Index),
    /// Gather in these portions, freeze, push.
    Gather(Vec<usize>),
    Consume(Index),
    Clear,
}

fn step() -> impl Strategy<Value = Step> {
    let size = || prop_oneof![6 => 0_usize..200, 2 => 900_usize..1200, 2 => 4000_usize..4200, 1 => 5000_usize..20_000];
    prop_oneof![
        4 => size().prop_map(Step::Push),
        4 => (size(), 0_usize..40).prop_map(|(len, more)| Step::PushWhole(len, more)),
        3 => any::<Index>().prop_map(Step::PushAgain),
        2 => any::<Index>().prop_map(Step::PushByWayOfAnother),
        2 => vec(size(), 1..5).prop_map(Step::Gather),
        4 => any::<Index>().prop_map(Step::Consume),
        1 => Just(Step::Clear),
    ]
}

#[derive(Clone, Copy, Debug)]
enum AppendStep {
    New(usize),
    /// From one of its own bytes to another.
    Itself(Index, Index),
    Read,
    Leave,
    Clear,
}

fn append_step() -> impl Strategy<Value = AppendStep> {
    prop_oneof![
        3 => (0_usize..50).prop_map(AppendStep::New),
        2 => any::<(Index, Index)>().prop_map(|(from, to)| AppendStep::Itself(from, to)),
        1 => Just(AppendStep::Read),
        1 => Just(AppendStep::Leave),
        1 => Just(AppendStep::Clear),
    ]
}

/// Bytes that differ from those before and behind them.
fn fresh(count: &mut u32, len: usize) -> Vec<u8> {
    *count += 1;
    (0..len).map(|at| (at as u32 * 31 + *count * 7) as u8).collect()
}

/// All of a chain, read as a socket would take it: some pieces, then the next.
fn text(pool: &Pool, chain: &Chain) -> Vec<u8> {
    let mut copy = Chain::new();
    let mut all = Vec::new();
    chain.with_io_slices(|pieces| pieces.iter().for_each(|piece| copy.push(pool, piece)));
    copy.with_io_slices(|pieces| pieces.iter().for_each(|piece| all.extend_from_slice(piece)));
    all
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(300) })]

    #[test]
    fn a_chain_gives_back_what_was_put_in(steps in vec(step(), 1..40)) {
        let pool = Pool::new();
        let mut chain = Chain::new();
        let mut model: Vec<u8> = Vec::new();
        let mut pieces: Vec<(Slice, Vec<u8>)> = Vec::new();
        let mut count = 0;
        for step in steps {
            match step {
                Step::Push(len) => {
                    let bytes = fresh(&mut count, len);
                    chain.push(&pool, &bytes);
                    model.extend(bytes);
                }
                Step::PushWhole(len, more) => {
                    let (one, other) = (fresh(&mut count, len), fresh(&mut count, more));
                    let slice = chain.push_whole(&pool, &[&one, &other]);
                    let bytes = [one, other].concat();
                    model.extend_from_slice(&bytes);
                    pieces.push((slice, bytes));
                }
                Step::PushAgain(which) if !pieces.is_empty() => {
                    let (slice, bytes) = which.get(&pieces);
                    chain.push_slice(&pool, slice);
                    model.extend_from_slice(bytes);
                }
                Step::PushByWayOfAnother(which) if !pieces.is_empty() => {
                    let (slice, bytes) = which.get(&pieces);
                    let mut other = Chain::new();
                    other.push(&pool, b"by way of ");
                    other.push_slice(&pool, slice);
                    chain.append(&pool, &mut other);
                    prop_assert!(other.is_empty());
                    model.extend_from_slice(b"by way of ");
                    model.extend_from_slice(bytes);
                }
                Step::Gather(portions) => {
                    let mut gather = pool.gather(portions[0]);
                    let mut bytes = Vec::new();
                    for len in portions {
                        let portion = fresh(&mut count, len);
                        gather.extend(&portion);
                        bytes.extend(portion);
                    }
                    let slice = gather.freeze();
                    chain.push_slice(&pool, &slice);
                    model.extend_from_slice(&bytes);
                    pieces.push((slice, bytes));
                }
                Step::Consume(much) => {
                    let much = much.index(chain.len() + 1);
                    chain.consume(much);
                    model.drain(..much);
                }
                Step::Clear => {
                    chain.clear();
                    model.clear();
                }
                Step::PushAgain(_) | Step::PushByWayOfAnother(_) => {}
            }
            prop_assert_eq!((chain.len(), chain.is_empty()), (model.len(), model.is_empty()));
            for (slice, bytes) in &pieces {
                prop_assert_eq!(slice.bytes(), &bytes[..], "a piece keeps its bytes");
            }
            let beginning = text(&pool, &chain);
            prop_assert!(!beginning.is_empty() || model.is_empty());
            prop_assert!(model.starts_with(&beginning), "the chain begins as what was put in");
        }
        // To the end, as a socket that takes a little at a time.
        while !chain.is_empty() {
            let front = text(&pool, &chain);
            prop_assert!(model.starts_with(&front));
            let much = front.len().min(3000);
            chain.consume(much);
            model.drain(..much);
        }
        prop_assert!(model.is_empty());
        drop((chain, pieces));
        prop_assert_eq!(pool.in_use(), 0, "all that was out has come back");
    }

    #[test]
    fn bytes_that_were_appended_never_change(capacity in 0_usize..200, steps in vec(append_step(), 1..60)) {
        let mut buffer = Rc::new(AppendOnly::with_capacity(capacity));
        let mut model: Vec<u8> = Vec::new();
        let mut count = 0;
        // Who holds the buffer sees what there was when it came, and no `clear` is possible.
        let mut readers: Vec<(Rc<AppendOnly>, usize)> = Vec::new();
        for step in steps {
            let (room, at) = (buffer.capacity() - buffer.len(), buffer.bytes().as_ptr());
            match step {
                AppendStep::New(len) => {
                    let part = fresh(&mut count, len);
                    prop_assert_eq!(buffer.append(&part), len.min(room));
                    model.extend_from_slice(&part[..len.min(room)]);
                }
                AppendStep::Itself(one, other) => {
                    let (one, other) = (one.index(model.len() + 1), other.index(model.len() + 1));
                    let own = one.min(other)..one.max(other);
                    prop_assert_eq!(buffer.append(&buffer.bytes()[own.clone()]), own.len().min(room));
                    model.extend_from_within(own.start..own.start + own.len().min(room));
                }
                AppendStep::Read => readers.push((Rc::clone(&buffer), buffer.len())),
                AppendStep::Leave => drop(readers.pop()),
                AppendStep::Clear => {
                    let alone = Rc::get_mut(&mut buffer).map(AppendOnly::clear).is_some();
                    prop_assert_eq!(alone, readers.is_empty());
                    model.truncate(if alone { 0 } else { model.len() });
                }
            }
            prop_assert_eq!(buffer.bytes(), &model[..]);
            prop_assert_eq!(buffer.bytes().as_ptr(), at, "nothing is moved");
            prop_assert!(buffer.len() <= buffer.capacity());
            for (reader, len) in &readers {
                prop_assert_eq!(&reader.bytes()[..*len], &model[..*len]);
            }
        }
    }

    #[test]
    fn a_chain_in_use_is_counted(sizes in vec(0_usize..5000, 1..20)) {
        let pool = Pool::new();
        let mut chain = Chain::new();
        for (count, len) in sizes.iter().enumerate() {
            chain.push(&pool, &vec![count as u8; *len]);
            prop_assert!(pool.in_use() >= chain.len());
        }
        let held = pool.in_use();
        prop_assert!(held <= chain.len() + 8192 * (sizes.len() + 1), "and not much more than that");
        drop(chain);
        prop_assert_eq!(pool.in_use(), 0);
    }
}
