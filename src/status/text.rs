//! Text that is put together: no more machinery than it takes. Nothing of it is inlined: it is called at hundreds of places, by nobody
//! who is in a hurry.

/// What is written so far.
#[derive(Default)]
pub struct Text(pub String);

impl Text {
    /// As it is.
    #[inline(never)]
    pub fn add(&mut self, text: &str) -> &mut Self {
        self.0.push_str(text);
        self
    }

    /// What may hold anything, so that it is text in HTML and in its attributes.
    #[inline(never)]
    pub fn escaped(&mut self, text: &str) -> &mut Self {
        for c in text.chars() {
            match c {
                '&' => self.0.push_str("&amp;"),
                '<' => self.0.push_str("&lt;"),
                '>' => self.0.push_str("&gt;"),
                '"' => self.0.push_str("&quot;"),
                '\'' => self.0.push_str("&#39;"),
                // Control characters, which HTML has no place for.
                c if c.is_control() => self.0.push('\u{fffd}'),
                c => self.0.push(c),
            }
        }
        self
    }

    #[inline(never)]
    pub fn number(&mut self, number: u64) -> &mut Self {
        self.digits(number, 1)
    }

    /// With zeros in front where it has fewer digits than that, up to 20.
    #[inline(never)]
    pub fn digits(&mut self, mut number: u64, count: usize) -> &mut Self {
        let mut digits = [b'0'; 20];
        let mut at = digits.len();
        while number > 0 {
            at -= 1;
            digits[at] = b'0' + (number % 10) as u8;
            number /= 10;
        }
        for &digit in &digits[at.min(digits.len() - count)..] {
            self.0.push(char::from(digit));
        }
        self
    }

    /// A number of which so many digits are behind the point; zeros at its end are left out.
    #[inline(never)]
    pub fn fraction(&mut self, number: u64, digits: u32) -> &mut Self {
        let (mut unit, mut digits) = (10_u64.pow(digits), digits as usize);
        let (whole, mut rest) = (number / unit, number % unit);
        self.number(whole);
        while digits > 0 && rest % 10 == 0 {
            (rest, unit, digits) = (rest / 10, unit / 10, digits - 1);
        }
        if digits > 0 {
            self.add(".").digits(rest, digits);
        }
        self
    }

    /// With a comma before every three digits.
    #[inline(never)]
    pub fn grouped(&mut self, number: u64) -> &mut Self {
        if number < 1000 {
            return self.number(number);
        }
        self.grouped(number / 1000).add(",").digits(number % 1000, 3)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_written_as_people_and_prometheus_read_them() {
        let written = |write: &dyn Fn(&mut Text)| {
            let mut text = Text::default();
            write(&mut text);
            text.0
        };
        assert_eq!(written(&|text| _ = text.number(0)), "0");
        assert_eq!(written(&|text| _ = text.number(u64::MAX)), u64::MAX.to_string());
        assert_eq!(written(&|text| _ = text.digits(7, 3)), "007");
        for (number, digits, expected) in [
            (0, 6, "0"),
            (64, 6, "0.000064"),
            (1_048_576, 6, "1.048576"),
            (1_500_000, 6, "1.5"),
            (2_000_000, 6, "2"),
            (123, 1, "12.3"),
            (7, 0, "7"),
        ] {
            assert_eq!(written(&|text| _ = text.fraction(number, digits)), expected);
        }
        for (number, expected) in [(0, "0"), (999, "999"), (1000, "1,000"), (1_234_005, "1,234,005")] {
            assert_eq!(written(&|text| _ = text.grouped(number)), expected);
        }
    }

    #[test]
    fn nothing_that_is_escaped_can_be_taken_for_html() {
        let mut text = Text::default();
        text.escaped("<a href=\"x\" id='y'>&\0\u{1b}中文");
        assert_eq!(
            text.0,
            "&lt;a href=&quot;x&quot; id=&#39;y&#39;&gt;&amp;\u{fffd}\u{fffd}中文"
        );
    }
}
