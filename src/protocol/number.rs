//! Numbers as memcached reads them: C's `strtol` and `strtoull` with everything that those let through.

/// The space characters of C's `isspace`.
fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | 0x0b | 0x0c | b'\r')
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
        } else if seen && (is_space(byte) || byte == 0) {
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

/// An unsigned number as C's `strtoull` gives it: a minus sign turns it round, and what is negative as a signed number is
/// refused (`safe_strtoull` of memcached's util.c).
pub fn wrapping_unsigned(token: &[u8]) -> Option<u64> {
    match magnitude(token)? {
        (true, value) => Some(value.wrapping_neg()).filter(|&value| value as i64 >= 0),
        (false, value) => Some(value),
    }
}

/// Digits alone, in at most `len_max` characters; no digit at all is 0, as in memcached's mcmc.c.
pub fn strict_unsigned(token: &[u8], len_max: usize) -> Option<u64> {
    if token.len() > len_max {
        return None;
    }
    token.iter().try_fold(0_u64, |value, &byte| {
        let digit = byte.is_ascii_digit().then(|| u64::from(byte - b'0'))?;
        value.checked_mul(10)?.checked_add(digit)
    })
}

/// The same with a minus sign in front where there is one.
pub fn strict_signed(token: &[u8], len_max: usize) -> Option<i64> {
    match token {
        [b'-', digits @ ..] if token.len() <= len_max => 0_i64.checked_sub_unsigned(strict_unsigned(digits, len_max)?),
        _ => i64::try_from(strict_unsigned(token, len_max)?).ok(),
    }
}

/// Whether the token is this number as everybody writes it, so that no reader can take it for another one: digits without
/// a zero in front, and a minus sign before what is negative.
pub fn is_plain(token: &[u8], number: i64) -> bool {
    match token {
        [b'-', digits @ ..] => number < 0 && is_plain_unsigned(digits, number.unsigned_abs()),
        digits => number >= 0 && is_plain_unsigned(digits, number.unsigned_abs()),
    }
}

/// The same for an unsigned number.
pub fn is_plain_unsigned(token: &[u8], number: u64) -> bool {
    // Read, not written and compared: to multiply is cheaper than to divide.
    matches!(leading_plain(token), Some((value, [])) if value == number)
}

/// The number that `text` begins with as everybody writes it, and what stands behind it: behind a zero in front that may be more
/// digits. None beyond 64 bits.
#[inline]
pub fn leading_plain(text: &[u8]) -> Option<(u64, &[u8])> {
    /// So many digits always fit.
    const DIGITS_THAT_FIT: usize = 19;
    let (mut value, mut rest) = match text {
        [b'0', rest @ ..] => return Some((0, rest)),
        [byte @ b'1'..=b'9', rest @ ..] => (u64::from(byte - b'0'), rest),
        _ => return None,
    };
    while let [byte @ b'0'..=b'9', behind @ ..] = rest {
        value = value.wrapping_mul(10).wrapping_add(u64::from(byte - b'0'));
        rest = behind;
    }
    let count = text.len() - rest.len();
    match count <= DIGITS_THAT_FIT {
        true => Some((value, rest)),
        false => strict_unsigned(&text[..count], count).map(|value| (value, rest)),
    }
}

/// The same of a number with a space in front.
#[inline]
pub fn plain_behind_space(text: &[u8]) -> Option<(u64, &[u8])> {
    leading_plain(text.strip_prefix(b" ")?)
}

/// Digits of a number, for output without the formatting machinery.
pub struct Decimal {
    digits: [u8; 20],
    start: usize,
}

impl Decimal {
    /// Not inlined: the compiler unrolls the loop, to 1 KB at each place.
    #[inline(never)]
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
    fn a_minus_sign_turns_an_unsigned_number_round() {
        assert_eq!(wrapping_unsigned(b"-0"), Some(0));
        assert_eq!(wrapping_unsigned(b"-18446744073709551615"), Some(1));
        assert_eq!(wrapping_unsigned(b"-1"), None);
        assert_eq!(wrapping_unsigned(b"18446744073709551615"), Some(u64::MAX));
    }

    #[test]
    fn strict_numbers_are_digits_alone() {
        assert_eq!(strict_unsigned(b"18446744073709551615", 22), Some(u64::MAX));
        assert_eq!(strict_signed(b"-2147483648", 11), Some(-2147483648));
        assert_eq!((strict_unsigned(b"", 11), strict_signed(b"-", 11)), (Some(0), Some(0)));
        for bad in [
            &b"+1"[..],
            b" 1",
            b"1\t",
            b"1\0",
            b"--1",
            b"000000000001",
            b"18446744073709551616",
        ] {
            assert_eq!(
                (strict_unsigned(bad, 11), strict_signed(bad, 11)),
                (None, None),
                "{bad:?}"
            );
        }
    }

    #[test]
    fn plain_numbers_are_written_in_one_way() {
        for number in [0, 7, -1, 2147483647, i64::MIN, i64::MAX] {
            assert!(is_plain(number.to_string().as_bytes(), number), "{number}");
        }
        assert!(is_plain_unsigned(b"18446744073709551615", u64::MAX));
        for (odd, number) in [
            ("", 0),
            ("-", 0),
            ("-0", 0),
            ("+1", 1),
            ("01", 1),
            ("1\t", 1),
            ("4294967299", 3),
            ("--1", -1),
        ] {
            assert!(!is_plain(odd.as_bytes(), number), "{odd:?}");
        }
    }

    #[test]
    fn a_number_is_read_as_far_as_its_digits_go() {
        assert_eq!(leading_plain(b"7 x"), Some((7, &b" x"[..])));
        assert_eq!(leading_plain(b"07"), Some((0, &b"7"[..])));
        assert_eq!(
            leading_plain(b"9999999999999999999"),
            Some((9_999_999_999_999_999_999, &b""[..]))
        );
        assert_eq!(
            leading_plain(b"18446744073709551615\r\n"),
            Some((u64::MAX, &b"\r\n"[..]))
        );
        for odd in [
            &b""[..],
            b" 7",
            b"-7",
            b"+7",
            b"x",
            b"18446744073709551616",
            b"99999999999999999999",
            b"100000000000000000000000000000000000000000",
        ] {
            assert_eq!(leading_plain(odd), None, "{}", odd.escape_ascii());
        }
        assert_eq!(plain_behind_space(b" 7\r\n"), Some((7, &b"\r\n"[..])));
        assert_eq!((plain_behind_space(b"7"), plain_behind_space(b"  7")), (None, None));
    }

    #[test]
    fn digits_come_out_as_they_went_in() {
        for value in [0, 7, 10, 12345, u64::MAX] {
            assert_eq!(Decimal::new(value).as_bytes(), value.to_string().as_bytes());
        }
    }
}
