//! What a server holds, by its own account; see `past`.

/// What a server has said of its items.
#[derive(Clone, Copy, Debug, Default)]
pub struct Holdings {
    /// `curr_items`.
    pub items: u64,
    /// `total_items`.
    pub stored: u64,
    /// Commands that may have stored one each; those that missed count too, because meta and binary ones may store then.
    pub commands: u64,
}

impl Holdings {
    /// Whether items are there that no command of this life has stored. After `stats reset` nobody can tell.
    pub fn has_restored(&self) -> bool {
        self.stored >= self.items && self.items > self.commands
    }

    /// Whether servers that held so many items may have had a copy of all that this one has. Half is enough: items that have
    /// expired are counted until they are asked for.
    pub fn may_all_be_on(&self, others: u64) -> bool {
        others.saturating_mul(2) >= self.items
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn items_that_no_command_stored_were_taken_back() {
        let holdings = |items, stored, commands| Holdings {
            items,
            stored,
            commands,
        };
        assert!(holdings(3, 3, 0).has_restored());
        assert!(holdings(4, 7, 3).has_restored());
        assert!(!holdings(3, 3, 3).has_restored());
        assert!(
            !holdings(3, 9, 3).has_restored(),
            "items are counted again when they are moved"
        );
        assert!(!holdings(0, 3, 0).has_restored(), "nothing is left of them");
        assert!(!holdings(3, 0, 0).has_restored(), "after stats reset nobody can tell");
    }

    #[test]
    fn a_server_that_has_more_than_its_partners_ever_had_is_not_suspect() {
        let holdings = Holdings {
            items: 100,
            ..Holdings::default()
        };
        assert!(holdings.may_all_be_on(100) && holdings.may_all_be_on(50));
        assert!(!holdings.may_all_be_on(49) && !holdings.may_all_be_on(0));
    }
}
