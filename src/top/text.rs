//! Pieces of a line with a style, with and without escape codes; numbers in words.

/// What a piece of text is like.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Style {
    #[default]
    Plain,
    Bold,
    Faint,
    /// The headings of a table.
    Heading,
    Good,
    Warning,
    Bad,
}

impl Style {
    /// Its escape code (ECMA-48, SGR): colours only if they are wanted, and never the only difference of what is bad.
    fn code(self, colours: bool) -> &'static str {
        match (self, colours) {
            (Style::Plain, _) | (Style::Good, false) => "",
            (Style::Bold, _) | (Style::Warning, false) => "\x1b[1m",
            (Style::Faint, _) => "\x1b[2m",
            (Style::Heading, _) => "\x1b[4m",
            (Style::Good, true) => "\x1b[32m",
            (Style::Warning, true) => "\x1b[33m",
            (Style::Bad, true) => "\x1b[1;31m",
            (Style::Bad, false) => "\x1b[1;7m",
        }
    }
}

/// A line, of pieces.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Line(Vec<(Style, String)>);

impl Line {
    pub fn new(style: Style, text: String) -> Self {
        Self(vec![(style, text)])
    }

    pub fn push(&mut self, style: Style, text: &str) {
        self.0.push((style, text.to_owned()));
    }

    /// Its characters.
    pub fn width(&self) -> usize {
        self.0.iter().map(|(_, text)| text.chars().count()).sum()
    }

    /// Blanks up to a column, or one if it is past that.
    pub fn pad(&mut self, column: usize) {
        let missing = column.saturating_sub(self.width()).max(1);
        self.push(Style::Plain, &" ".repeat(missing));
    }

    /// Adds it without its styles, and without the blanks at its end.
    pub fn write_plain(&self, into: &mut String) {
        let start = into.len();
        self.0.iter().for_each(|(_, text)| into.push_str(text));
        into.truncate(start + into[start..].trim_end().len());
    }

    /// Adds it with escape codes, cut to so many characters.
    pub fn write_painted(&self, columns: usize, colours: bool, into: &mut String) {
        let mut room = columns;
        for (style, text) in &self.0 {
            let code = style.code(colours);
            into.push_str(code);
            let end = text.char_indices().nth(room).map_or(text.len(), |(at, _)| at);
            into.push_str(&text[..end]);
            room = room.saturating_sub(text.chars().count());
            if !code.is_empty() {
                into.push_str("\x1b[0m");
            }
        }
    }
}

/// A whole number with commas; in millions where it has more than seven digits.
pub fn count(number: u64) -> String {
    if number > 9_999_999 {
        return format!("{}M", count(number / 1_000_000));
    }
    let digits = number.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at) % 3 == 0 {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Microseconds in milliseconds, without a unit, with four digits or so.
pub fn milliseconds(us: u64) -> String {
    let (whole, rest) = (us / 1000, us % 1000);
    match whole {
        0..=9 => format!("{whole}.{rest:03}"),
        10..=99 => format!("{whole}.{:02}", rest / 10),
        100..=999 => format!("{whole}.{}", rest / 100),
        _ => count(whole),
    }
}

/// A share of a whole in percent, with one decimal; nothing of nothing.
pub fn percent(part: u64, whole: u64) -> Option<String> {
    let per_mille = (u128::from(part) * 1000).checked_div(u128::from(whole))?;
    Some(format!("{}.{} %", per_mille / 10, per_mille % 10))
}

/// Seconds as a duration: `0:07`, `4:05:06`, `3d 04:05:06`.
pub fn duration(seconds: u64) -> String {
    let (minutes, s) = (seconds / 60, seconds % 60);
    let (hours, m) = (minutes / 60, minutes % 60);
    match (hours / 24, hours % 24) {
        (0, 0) => format!("{m}:{s:02}"),
        (0, h) => format!("{h}:{m:02}:{s:02}"),
        (d, h) => format!("{d}d {h:02}:{m:02}:{s:02}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_told_in_few_digits() {
        for (number, text) in [
            (0, "0"),
            (999, "999"),
            (1000, "1,000"),
            (9_999_999, "9,999,999"),
            (10_000_000, "10M"),
            (12_345_678_901, "12,345M"),
        ] {
            assert_eq!(count(number), text);
        }
        for (us, text) in [
            (0, "0.000"),
            (85, "0.085"),
            (12_345, "12.34"),
            (123_456, "123.4"),
            (1_500_000, "1,500"),
        ] {
            assert_eq!(milliseconds(us), text);
        }
        for (s, text) in [
            (7, "0:07"),
            (3599, "59:59"),
            (14_706, "4:05:06"),
            (273_906, "3d 04:05:06"),
        ] {
            assert_eq!(duration(s), text);
        }
        assert_eq!(percent(1, 3).as_deref(), Some("33.3 %"));
        assert_eq!(percent(0, 0), None);
    }

    #[test]
    fn a_line_is_cut_between_characters_and_its_styles_end() {
        let mut line = Line::new(Style::Bad, "döwn".to_owned());
        line.push(Style::Plain, " for long");
        let mut text = String::new();
        line.write_painted(2, true, &mut text);
        assert_eq!(text, "\x1b[1;31mdö\x1b[0m");
        text.clear();
        line.write_painted(6, false, &mut text);
        assert_eq!(text, "\x1b[1;7mdöwn\x1b[0m f");
        text.clear();
        line.pad(20);
        line.write_plain(&mut text);
        assert_eq!(text, "döwn for long");
    }
}
