//! The parsers alone, and the proxy's independence of how a client's bytes are split.

use super::world::World;
use magent::protocol::form::Parsed;
use magent::protocol::keys::KeyList;
use magent::protocol::request::{Kept, Request};
use magent::protocol::server::answer;
use magent::protocol::server::encode::{Words, encode};
use magent::protocol::text::dialect::Dialect;
use magent::protocol::text::parse;
use magent::protocol::verb::Verb;

/// The first byte says where the rest is cut.
pub fn request(bytes: &[u8]) {
    let Some((&cut, bytes)) = bytes.split_first() else {
        return;
    };
    parse_alike(bytes);
    pieces_are_answered_alike(bytes, usize::from(cut) + 1);
}

/// A line means the same whatever is behind it, nothing before it has ended, and the same again as it is kept and as it is
/// forwarded, as it came or written anew.
fn parse_alike(bytes: &[u8]) {
    fn parse(bytes: &[u8]) -> Option<Parsed<'_>> {
        parse::parse(Dialect::New, bytes)
    }
    let Some((len, form, parsed)) = parse(bytes) else {
        assert!(!bytes.contains(&b'\n'));
        return;
    };
    assert_eq!(bytes.iter().position(|&byte| byte == b'\n'), Some(len - 1));
    assert_eq!(parse(&bytes[..len - 1]), None);
    let alone = parse(&bytes[..len]);
    assert_eq!(alone, Some((len, form, parsed)));
    let Some((_, _, Ok(request))) = alone else { return };
    let kept = Kept::of(&request, bytes).request(bytes);
    assert_eq!(meaning(&kept), meaning(&request));
    if !is_forwarded(&request) {
        return;
    }
    let value = &[b'v'; 100][..request.value_len.min(100)];
    let mut list = KeyList::default();
    request.keys.for_each(|key| list.push(key));
    let anew = match request.key_count {
        2.. => Request::retrieval(request.manner(), &list, request.key_count),
        _ => Request {
            verbatim: None,
            value,
            value_len: value.len(),
            ..request
        },
    };
    let as_it_came = request.verbatim.map(|_| request);
    for said in as_it_came.into_iter().chain([anew]) {
        let mut words = Words::default();
        let line = encode(&said, &mut words).head().concat();
        let shown = line.escape_ascii().to_string();
        assert!(
            !line[..line.len() - 2].iter().any(|byte| b"\n\0".contains(byte)),
            "{shown}"
        );
        let Some((_, _, Ok(again))) = parse(&line) else {
            panic!("refused: {shown}");
        };
        assert!(!again.noreply);
        assert_eq!(meaning(&again), meaning(&said), "{shown}");
    }
}

fn is_forwarded(request: &Request<'_>) -> bool {
    let is_one = matches!(request.verb, Verb::Incr | Verb::Decr | Verb::Touch | Verb::Delete);
    is_one || request.verb.is_storage() || request.verb.is_retrieval()
}

fn meaning<'a>(request: &Request<'a>) -> impl PartialEq + std::fmt::Debug + use<'a> {
    let keys: Vec<&[u8]> = request.keys_concerned().collect();
    (
        request.verb,
        request.key,
        keys,
        (request.flags, request.exptime, request.number),
    )
}

/// One client says the same at once and in pieces.
fn pieces_are_answered_alike(bytes: &[u8], piece: usize) {
    const BYTES_MAX: usize = 600;
    // It counts bytes and turns.
    if bytes.len() > BYTES_MAX || bytes.windows(5).any(|word| word == b"stats") {
        return;
    }
    let whole = World::answers(&[bytes]);
    let pieces: Vec<&[u8]> = bytes.chunks(piece).collect();
    let split = World::answers(&pieces);
    assert_eq!(
        whole.escape_ascii().to_string(),
        split.escape_ascii().to_string(),
        "{} in pieces of {piece}",
        bytes.escape_ascii()
    );
}

/// An answer means the same whatever is behind it, and nothing before it has ended.
pub fn response(bytes: &[u8]) {
    let parsed = answer::parse(bytes);
    let newline = bytes.iter().position(|&byte| byte == b'\n');
    match (parsed, newline) {
        (None, end) => assert_eq!(end, None),
        (Some(Err(_)), _) => {}
        (Some(Ok((len, response))), end) => {
            assert_eq!(end, Some(len - 1));
            assert_eq!(answer::parse(&bytes[..len - 1]), None);
            assert_eq!(answer::parse(&bytes[..len]), Some(Ok((len, response))));
        }
    }
}
