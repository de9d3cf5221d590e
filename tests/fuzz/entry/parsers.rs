//! The parsers alone, and the proxy's independence of how a client's bytes are split.

use super::world::World;
use magent::protocol::request::{self, Request};
use magent::protocol::response;

/// The first byte says where the rest is cut.
pub fn request(bytes: &[u8]) {
    let Some((&cut, bytes)) = bytes.split_first() else {
        return;
    };
    parse_alike(bytes);
    pieces_are_answered_alike(bytes, usize::from(cut) + 1);
}

/// A line means the same whatever is behind it, nothing before it has ended, and the same again as it is forwarded.
fn parse_alike(bytes: &[u8]) {
    let Some((len, parsed)) = request::parse(bytes) else {
        assert!(!bytes.contains(&b'\n'));
        return;
    };
    assert_eq!(bytes.iter().position(|&byte| byte == b'\n'), Some(len - 1));
    assert_eq!(request::parse(&bytes[..len - 1]), None);
    let alone = request::parse(&bytes[..len]);
    assert_eq!(alone, Some((len, parsed)));
    let Some((_, Ok(request))) = alone else { return };
    let text = request.line.bytes();
    assert!(
        !text.iter().any(|byte| b"\n\0".contains(byte)),
        "{}",
        text.escape_ascii()
    );
    if !is_forwarded(&request) {
        return;
    }
    let line = [text, b"\r\n"].concat();
    let Some((_, Ok(again))) = request::parse(&line) else {
        panic!("refused: {}", text.escape_ascii());
    };
    assert!(!again.noreply);
    assert_eq!(meaning(&again), meaning(&request), "{}", text.escape_ascii());
}

fn is_forwarded(request: &Request<'_>) -> bool {
    request.verb.is_storage() || request.verb.is_retrieval() || !request.key.is_empty()
}

fn meaning<'a>(request: &Request<'a>) -> impl PartialEq + std::fmt::Debug + use<'a> {
    let keys: Vec<&[u8]> = request.keys.collect();
    (
        request.verb,
        request.key,
        keys,
        (request.flags, request.exptime, request.value_len, request.number),
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
    let parsed = response::parse(bytes);
    let newline = bytes.iter().position(|&byte| byte == b'\n');
    match (parsed, newline) {
        (None, end) => assert_eq!(end, None),
        (Some(Err(_)), _) => {}
        (Some(Ok((len, response))), end) => {
            assert_eq!(end, Some(len - 1));
            assert_eq!(response::parse(&bytes[..len - 1]), None);
            assert_eq!(response::parse(&bytes[..len]), Some(Ok((len, response))));
        }
    }
}
