//! Which of two copies of a key is right, whose servers were parted; see `parted`.

/// How a key of two parted servers is to be judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Marks {
    /// The unique of what this magent wrote last to the server that is copied from, meanwhile. If something else is there, another wrote that,
    /// or what it had under way came late.
    pub stored: Option<u64>,
    /// What has a unique above this was written meanwhile: on the server that is copied from, if the former is not known; and to.
    pub from_above: u64,
    pub to_above: u64,
    /// What is on the server that is copied to may be this magent's own, from before; it is, if it has this unique.
    pub to_is_own: bool,
    pub late: Option<u64>,
    /// The server that is copied from is the senior.
    pub from_is_senior: bool,
}

/// Which of two copies is right.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Right {
    /// What is on the server that is copied from, or that nothing is.
    From,
    To,
    /// Both, if their exptimes are the same: neither was written meanwhile.
    Either,
}

impl Marks {
    /// Which copy of a key is right, of which two servers have the items with these uniques, or none.
    pub fn right(&self, from: Option<u64>, to: Option<u64>) -> Right {
        let is_late = to.is_some() && to == self.late;
        let is_written_to = to.is_some_and(|unique| unique > self.to_above) && !self.to_is_own && !is_late;
        let is_written_from = from.is_some_and(|unique| match self.stored {
            Some(stored) => unique == stored,
            None => unique > self.from_above,
        });
        match (is_written_from, is_written_to) {
            (true, true) if self.from_is_senior => Right::From,
            (_, true) => Right::To,
            (false, false) if from.is_some() && to.is_some() => Right::Either,
            (_, false) => Right::From,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_while_they_were_parted_is_right() {
        let marks = |to_is_own, from_is_senior| Marks {
            stored: None,
            from_above: 10,
            to_above: 20,
            to_is_own,
            late: Some(22),
            from_is_senior,
        };
        let (old_from, new_from, old_to, new_to) = (Some(10), Some(11), Some(20), Some(21));
        for senior in [true, false] {
            let right = |from, to| marks(false, senior).right(from, to);
            assert_eq!(right(new_from, old_to), Right::From);
            assert_eq!(right(new_from, None), Right::From);
            assert_eq!(right(old_from, new_to), Right::To);
            assert_eq!(
                right(None, new_to),
                Right::To,
                "nothing is deleted because it is absent"
            );
            assert_eq!(right(None, old_to), Right::From, "it was deleted there");
            assert_eq!(right(old_from, old_to), Right::Either);
            let both = if senior { Right::From } else { Right::To };
            assert_eq!(right(new_from, new_to), both);
            // What this magent had under way itself is not somebody else's.
            for (from, right) in [(old_from, Right::Either), (new_from, Right::From), (None, Right::From)] {
                assert_eq!(marks(true, senior).right(from, new_to), right);
                assert_eq!(marks(false, senior).right(from, Some(22)), right);
            }
        }
    }
}
