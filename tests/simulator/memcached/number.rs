//! Numbers as memcached reads them: with C's `strtol` and its kin, so with signs, leading blanks and anything behind a
//! blank, and silently cut to the width of the variable.

/// A number at the beginning of `text`: its sign and its magnitude. None unless a blank, a NUL or nothing follows.
fn read(text: &[u8]) -> Option<(bool, u128)> {
    let text = before_nul(text);
    let start = text.iter().position(|&byte| !is_blank(byte))?;
    let (negative, digits) = match text[start] {
        b'-' => (true, &text[start + 1..]),
        b'+' => (false, &text[start + 1..]),
        _ => (false, &text[start..]),
    };
    let len = digits.iter().take_while(|byte| byte.is_ascii_digit()).count();
    if len == 0 || digits.get(len).is_some_and(|&byte| !is_blank(byte)) {
        return None;
    }
    let append = |number: u128, digit: &u8| number.saturating_mul(10).saturating_add(u128::from(digit - b'0'));
    Some((negative, digits[..len].iter().fold(0, append)))
}

fn before_nul(text: &[u8]) -> &[u8] {
    text.split(|&byte| byte == 0).next().unwrap_or_default()
}

fn is_blank(byte: u8) -> bool {
    byte == b' ' || (b'\t'..=b'\r').contains(&byte)
}

/// An exptime, a delay, the length of a value: 64 bits are read, 32 are kept, so 4294967296 is 0.
pub fn signed(text: &[u8]) -> Option<i32> {
    let (negative, magnitude) = read(text)?;
    let magnitude = i128::try_from(magnitude).ok()?;
    let number = i64::try_from(if negative { -magnitude } else { magnitude }).ok()?;
    Some(number as i32)
}

/// A delta, a cas unique, a value that is a number.
pub fn unsigned(text: &[u8]) -> Option<u64> {
    let (negative, magnitude) = read(text)?;
    let magnitude = u64::try_from(magnitude).ok()?;
    let number = if negative { magnitude.wrapping_neg() } else { magnitude };
    // A minus sign counts only if the number is a large one, so -18446744073709551615 is 1; but then it counts
    // wherever it is. (The real one even looks behind the end of a value, in what older items left there.)
    let is_refused = (number as i64) < 0 && before_nul(text).contains(&b'-');
    (!is_refused).then_some(number)
}

/// Flags: read as 64 bits, cut to 32.
pub fn flags(text: &[u8]) -> Option<u32> {
    unsigned(text).map(|number| number as u32)
}
