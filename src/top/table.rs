//! Tables: columns that are left out where they do not fit.

use super::text::{Line, Style};

/// Blanks between two columns.
const GAP: usize = 2;
/// The first column is never narrower than this.
const NAME_MIN: usize = 12;

/// What stands in a table at one place.
#[derive(Clone, Debug, Default)]
pub struct Cell(pub Style, pub String);

impl Cell {
    pub fn plain(text: String) -> Self {
        Self(Style::Plain, text)
    }

    /// Whether it says nothing that one would miss.
    fn is_idle(&self) -> bool {
        self.1.is_empty() || self.1 == "0"
    }
}

/// A table. The first columns have words, to the left; the others numbers, to the right.
pub struct Table {
    /// How many have words.
    pub words: usize,
    /// Heading of each column, and its place among those that are left out: the greatest first, those that say nothing before all others.
    pub columns: &'static [(&'static str, u8)],
    /// As many cells in each as there are columns.
    pub rows: Vec<Vec<Cell>>,
}

impl Table {
    /// The heading and each row, no wider than there is room for as long as the first column has some of it.
    pub fn lines(&self, columns_max: usize) -> Vec<Line> {
        let mut shown: Vec<usize> = (0..self.columns.len())
            .filter(|&column| !self.is_empty(column))
            .collect();
        let mut widths: Vec<usize> = (0..self.columns.len()).map(|column| self.width(column)).collect();
        let total = |shown: &[usize], widths: &[usize]| -> usize {
            shown.iter().map(|&column| widths[column] + GAP).sum::<usize>() - GAP
        };
        let name_min = widths[0].min(NAME_MIN);
        loop {
            let wide = total(&shown, &widths);
            // What says something is worth more than the whole of a name.
            let has_idle = shown[1..].iter().any(|&column| self.is_idle(column));
            let needed = if has_idle { wide } else { wide - widths[0] + name_min };
            if shown.len() == 1 || needed <= columns_max {
                break;
            }
            self.leave_one_out(&mut shown);
        }
        widths[0] = widths[0]
            .min((columns_max + widths[0]).saturating_sub(total(&shown, &widths)))
            .max(name_min);
        let headings = self
            .columns
            .iter()
            .map(|(heading, _)| Cell(Style::Heading, (*heading).to_owned()));
        let mut lines = vec![self.row(&headings.collect::<Vec<_>>(), &shown, &widths)];
        lines.extend(self.rows.iter().map(|cells| self.row(cells, &shown, &widths)));
        lines
    }

    fn leave_one_out(&self, shown: &mut Vec<usize>) {
        let last = shown[1..]
            .iter()
            .max_by_key(|&&column| (self.is_idle(column), self.columns[column].1));
        if let Some(&last) = last {
            shown.retain(|&column| column != last);
        }
    }

    /// Nothing is known of it: the name of a column without numbers tells nothing.
    fn is_empty(&self, column: usize) -> bool {
        column > 0 && self.rows.iter().all(|row| row[column].1.is_empty())
    }

    fn is_idle(&self, column: usize) -> bool {
        self.rows.iter().all(|row| row[column].is_idle())
    }

    fn width(&self, column: usize) -> usize {
        let cells = self.rows.iter().map(|row| row[column].1.chars().count());
        cells.max().unwrap_or(0).max(self.columns[column].0.len())
    }

    fn row(&self, cells: &[Cell], shown: &[usize], widths: &[usize]) -> Line {
        let mut line = Line::default();
        for &column in shown {
            let Cell(style, text) = &cells[column];
            let text = end_of(text, widths[column]);
            let missing = " ".repeat(widths[column].saturating_sub(text.chars().count()));
            let gap = if column == 0 { 0 } else { GAP };
            line.push(Style::Plain, &" ".repeat(gap));
            if column < self.words {
                line.push(*style, &text);
                line.push(Style::Plain, &missing);
            } else {
                line.push(Style::Plain, &missing);
                line.push(*style, &text);
            }
        }
        line
    }
}

/// A text of at most so many characters: of one that is longer its end, in which names differ.
fn end_of(text: &str, width: usize) -> String {
    let count = text.chars().count();
    match count > width {
        true => ".."
            .chars()
            .chain(text.chars().skip(count + 2 - width.max(2)))
            .collect(),
        false => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table() -> Table {
        let rows = [
            ["10.0.0.1:11211", "up", "7", "0", ""],
            ["10.0.0.2:11211", "down", "0", "0", ""],
        ];
        Table {
            words: 2,
            columns: &[("server", 0), ("state", 1), ("writes", 3), ("errors", 2), ("p99", 4)],
            rows: rows
                .iter()
                .map(|row| row.iter().map(|&text| Cell::plain(text.to_owned())).collect())
                .collect(),
        }
    }

    fn shown(columns_max: usize) -> Vec<String> {
        let plain = |line: &Line| {
            let mut text = String::new();
            line.write_plain(&mut text);
            text
        };
        table().lines(columns_max).iter().map(plain).collect()
    }

    #[test]
    fn a_column_of_which_nothing_is_known_is_not_shown() {
        assert_eq!(
            shown(200),
            [
                "server          state  writes  errors",
                "10.0.0.1:11211  up          7       0",
                "10.0.0.2:11211  down        0       0"
            ]
        );
    }

    #[test]
    fn what_does_not_fit_is_left_out_zeros_first_and_names_are_cut_last() {
        assert_eq!(shown(36)[1], "10.0.0.1:11211  up          7");
        assert_eq!(shown(28)[2], "..0.0.2:11211  down        0");
        assert_eq!(shown(20)[2], "..0.0.2:11211  down");
        assert_eq!(shown(1)[1], "...0.1:11211");
    }
}
