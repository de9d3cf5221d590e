//! How errors of the system, amounts of memory and keys are put into words, the same everywhere.

use std::fmt;
use std::io;

/// An error of the system as the administrator reads it: `Address already in use`, without Rust's ` (os error 98)`.
pub struct Reason<'a>(pub &'a io::Error);

impl fmt::Display for Reason<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = self.0.to_string();
        let number = self.0.raw_os_error().map(|code| format!(" (os error {code})"));
        let plain = number.and_then(|number| text.strip_suffix(&number));
        f.write_str(plain.unwrap_or(&text))
    }
}

/// A number of bytes as it is written for an option: `812 bytes`, `64k`, `1m`; with one decimal where it is not a whole
/// number of the unit.
pub struct Size(pub u64);

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (unit, letter) = match self.0 {
            bytes if bytes < 1 << 10 => return write!(f, "{bytes} bytes"),
            bytes if bytes < 1 << 20 => (1 << 10, 'k'),
            _ => (1 << 20, 'm'),
        };
        let (whole, rest) = (self.0 / unit, self.0 % unit);
        match rest {
            0 => write!(f, "{whole}{letter}"),
            _ => write!(f, "{whole}.{}{letter}", rest * 10 / unit),
        }
    }
}

/// A key as a word of one line: what is no visible character of ASCII, and the backslash, as `\x20`.
pub struct Shown<'a>(pub &'a [u8]);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for &byte in self.0 {
            match byte {
                b'\\' => write!(f, "\\x5c")?,
                b'!'..=b'~' => write!(f, "{}", char::from(byte))?,
                _ => write!(f, "\\x{byte:02x}")?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_one_word_of_one_line() {
        assert_eq!(Shown(b"user:1/a").to_string(), "user:1/a");
        assert_eq!(Shown(b"a b\r\\\xff").to_string(), "a\\x20b\\x0d\\x5c\\xff");
    }

    #[test]
    fn an_error_of_the_system_has_no_number() {
        let error = io::Error::from_raw_os_error(libc::EADDRINUSE);
        assert_eq!(Reason(&error).to_string(), "Address already in use");
        assert_eq!(
            Reason(&io::Error::other("it is no socket")).to_string(),
            "it is no socket"
        );
    }

    #[test]
    fn sizes_are_told_as_they_are_given() {
        for (bytes, text) in [
            (0, "0 bytes"),
            (1023, "1023 bytes"),
            (1 << 10, "1k"),
            ((1 << 20) - 1, "1023.9k"),
            (1 << 20, "1m"),
            (5 << 19, "2.5m"),
            (1 << 30, "1024m"),
        ] {
            assert_eq!(Size(bytes).to_string(), text);
        }
    }
}
