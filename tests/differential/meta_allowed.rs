//! What [`Allowed`](super::allowed::Allowed) means of meta commands: the line that makes memcached do what magent does.

use super::keys::key_of;
use super::lines_allowed::words;
use super::stream::expand;

const COMMANDS: [&[u8]; 4] = [b"mg", b"ms", b"md", b"ma"];

/// The line with a flag more that nobody knows, which is refused as one that magent does not know.
fn refused(line: &[u8]) -> Vec<u8> {
    let text = line.trim_ascii_end();
    let end = &line[text.len()..];
    [text, b" y", end].concat()
}

/// Its command, and what is behind the key, or behind the length of a value.
fn flags(line: &[u8]) -> Option<(Vec<u8>, Vec<Vec<u8>>)> {
    // What stands for a unique is a number.
    let line = expand(line, |_, _| "0");
    let words = words(&line);
    let command = words.first().filter(|name| COMMANDS.contains(name))?;
    let skipped = if *command == b"ms" { 3 } else { 2 };
    let flags = words.get(skipped..).filter(|flags| are_sound(flags))?;
    let is_base64 = flags.contains(&&b"b"[..]);
    if is_base64 && key_of(words[1], true) == words[1] {
        return None;
    }
    Some((command.to_vec(), flags.iter().map(|flag| flag.to_vec()).collect()))
}

/// Whether nothing else is wrong with them: that would be said first.
fn are_sound(flags: &[&[u8]]) -> bool {
    let is_number = |text: &[u8]| !text.is_empty() && text.iter().all(u8::is_ascii_digit);
    let sound = |flag: &&[u8]| match flag.split_first() {
        Some((b'T' | b'N' | b'R', text)) => is_number(text.strip_prefix(b"-").unwrap_or(text)),
        Some((b'F' | b'C' | b'E' | b'J' | b'D', text)) => is_number(text),
        _ => true,
    };
    flags.iter().all(sound)
}

fn has(flags: &[Vec<u8>], letter: u8) -> bool {
    flags.iter().any(|flag| flag.first() == Some(&letter))
}

/// A line that is refused for its long opaque, before anything is done.
pub fn refused_for_opaque(line: &[u8]) -> Vec<u8> {
    const OPAQUE_BYTES_MAX: usize = 32;
    let text = line.trim_ascii_end();
    match flags(line) {
        Some((name, flags))
            if name != b"ms"
                && flags
                    .iter()
                    .any(|flag| flag[0] == b'O' && flag.len() > OPAQUE_BYTES_MAX) =>
        {
            [b"mg nobodys_key O<x*40>", &line[text.len()..]].concat()
        }
        _ => line.to_vec(),
    }
}

/// The letter of its mode, of which another is refused before its unique is; 0 without.
fn mode(name: &[u8], flags: &[Vec<u8>]) -> Option<u8> {
    let known: &[u8] = match name {
        b"ms" => b"SREAP",
        b"ma" => b"I+D-",
        _ => return Some(0),
    };
    let Some(mode) = flags.iter().find(|flag| flag.first() == Some(&b'M')) else {
        return Some(0);
    };
    mode.get(1).copied().filter(|mode| known.contains(mode))
}

/// A unique of the client's own.
pub fn without_given_unique(line: &[u8]) -> Vec<u8> {
    match flags(line) {
        Some((name, flags)) if has(&flags, b'E') && mode(&name, &flags).is_some() => refused(line),
        _ => line.to_vec(),
    }
}

/// A unique that a count, or an append, must find.
pub fn without_unique_of_count(line: &[u8]) -> Vec<u8> {
    let is_meant = |name: &[u8], flags: &[Vec<u8>]| match (name, mode(name, flags)) {
        (b"ma", mode) => mode.is_some(),
        (b"ms", mode) => matches!(mode, Some(b'A' | b'P')),
        _ => false,
    };
    match flags(line) {
        Some((name, flags)) if has(&flags, b'C') && is_meant(&name, &flags) => refused(line),
        _ => line.to_vec(),
    }
}

/// A store that would be done though its unique is another: without the flag that says so.
pub fn without_stale_store(line: &[u8]) -> Vec<u8> {
    match flags(line) {
        Some((name, flags)) if name == b"ms" && has(&flags, b'C') && has(&flags, b'I') => {
            let words = line.split_inclusive(|&byte| byte == b' ');
            let kept = words.map(|word| match word {
                b"I " => &b" "[..],
                b"I\r\n" => b"\r\n",
                b"I\n" => b"\n",
                word => word,
            });
            kept.collect::<Vec<_>>().concat()
        }
        _ => line.to_vec(),
    }
}
