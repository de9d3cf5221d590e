//! Numbers as memcached reads them: C's `strtol` and `strtoull` with everything that those let through.

/// The space characters of C's `isspace`, less the space itself, which ends a token before it gets here.
fn is_space(byte: u8) -> bool {
    matches!(byte, b'\t' | 0x0b | 0x0c | b'\r')
}

/// The sign and the digits of a token: leading space and one sign are accepted, and anything after a space behind the
/// digits is ignored (`safe_strtoull` of memcached's util.c). The value is None when there are no digits, when something
/// else follows them, or beyond 64 bits.
fn magnitude(token: &[u8]) -> Option<(bool, u64)> {
    let start = token.iter().position(|&byte| !is_space(byte))?;
    let (negative, digits) = match &token[start..] {
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] => (false, rest),
        rest => (false, rest),
    };
    let mut value: u64 = 0;
    let mut seen = false;
    for &byte in digits {
        if byte.is_ascii_digit() {
            value = value.checked_mul(10)?.checked_add(u64::from(byte - b'0'))?;
            seen = true;
        } else if seen && is_space(byte) {
            break;
        } else {
            return None;
        }
    }
    seen.then_some((negative, value))
}

/// An unsigned number; a minus sign is accepted before zero only.
pub fn unsigned(token: &[u8]) -> Option<u64> {
    match magnitude(token)? {
        (true, value) if value != 0 => None,
        (_, value) => Some(value),
    }
}

/// A signed 64-bit number.
pub fn signed(token: &[u8]) -> Option<i64> {
    let (negative, value) = magnitude(token)?;
    if negative {
        0_i64.checked_sub_unsigned(value)
    } else {
        i64::try_from(value).ok()
    }
}

/// Whether every memcached reads the token as the same number that this module does: digits alone, at most nine of them
/// (any 32-bit type holds those), with a minus sign where `sign` allows one.
pub fn is_plain(token: &[u8], sign: bool) -> bool {
    let digits = match token {
        [b'-', rest @ ..] if sign => rest,
        all => all,
    };
    (1..=9).contains(&digits.len()) && digits.iter().all(u8::is_ascii_digit)
}

/// Digits of a number, for output without the formatting machinery.
pub struct Decimal {
    digits: [u8; 20],
    start: usize,
}

impl Decimal {
    pub fn new(mut value: u64) -> Self {
        let mut digits = [0; 20];
        let mut start = digits.len();
        loop {
            start -= 1;
            digits[start] = b'0' + (value % 10) as u8;
            value /= 10;
            if value == 0 {
                return Self { digits, start };
            }
        }
    }

    pub fn as_bytes(&self) -> &[u8] {
        &self.digits[self.start..]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_as_memcached_reads_them() {
        assert_eq!(unsigned(b"0"), Some(0));
        assert_eq!(unsigned(b"+3"), Some(3));
        assert_eq!(unsigned(b"\t3"), Some(3));
        assert_eq!(unsigned(b"3\tx"), Some(3));
        assert_eq!(unsigned(b"-0"), Some(0));
        assert_eq!(unsigned(b"18446744073709551615"), Some(u64::MAX));
        for bad in [
            &b""[..],
            b"-",
            b"+",
            b"x",
            b"3x",
            b"-1",
            b"0x3",
            b"18446744073709551616",
            b"\t",
        ] {
            assert_eq!(unsigned(bad), None, "{bad:?}");
        }
        assert_eq!(signed(b"-9223372036854775808"), Some(i64::MIN));
        assert_eq!(signed(b"9223372036854775807"), Some(i64::MAX));
        assert_eq!(signed(b"9223372036854775808"), None);
        assert_eq!(signed(b"-9223372036854775809"), None);
    }

    #[test]
    fn plain_numbers_are_those_that_nobody_reads_differently() {
        assert!(is_plain(b"0", false) && is_plain(b"999999999", false) && is_plain(b"-1", true));
        for odd in [&b""[..], b"+1", b"-1", b"1000000000", b"1\t", b"-"] {
            assert!(!is_plain(odd, false), "{odd:?}");
        }
    }

    #[test]
    fn digits_come_out_as_they_went_in() {
        for value in [0, 7, 10, 12345, u64::MAX] {
            assert_eq!(Decimal::new(value).as_bytes(), value.to_string().as_bytes());
        }
    }
}
