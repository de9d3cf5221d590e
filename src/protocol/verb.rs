//! The commands that magent knows.

/// The command of a request, by its name in `protocol.txt`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verb {
    Get,
    Gets,
    Gat,
    Gats,
    Set,
    Add,
    Replace,
    Append,
    Prepend,
    Cas,
    Incr,
    Decr,
    Touch,
    Delete,
    FlushAll,
    Version,
    Verbosity,
    Stats,
    /// `mg`.
    MetaGet,
    /// `mg` that sets the exptime.
    MetaGetAndTouch,
    /// `mg` that makes an empty item where there is none, and tells who is to store it.
    MetaMake,
    /// `md` that marks an item as stale.
    MetaInvalidate,
    /// `md`.
    MetaDelete,
    /// `me`.
    MetaDebug,
    /// `lru_crawler metadump`.
    ListKeys,
    /// `lru_crawler mgdump`.
    ListAsCommands,
    CacheMemlimit,
    /// Says that all before it has been answered.
    Noop,
    Quit,
}

impl Verb {
    /// What the line of the command begins with.
    pub fn name(self) -> &'static str {
        match self {
            Verb::Get => "get",
            Verb::Gets => "gets",
            Verb::Gat => "gat",
            Verb::Gats => "gats",
            Verb::Set => "set",
            Verb::Add => "add",
            Verb::Replace => "replace",
            Verb::Append => "append",
            Verb::Prepend => "prepend",
            Verb::Cas => "cas",
            Verb::Incr => "incr",
            Verb::Decr => "decr",
            Verb::Touch => "touch",
            Verb::Delete => "delete",
            Verb::FlushAll => "flush_all",
            Verb::Version => "version",
            Verb::Verbosity => "verbosity",
            Verb::Stats => "stats",
            Verb::MetaGet | Verb::MetaGetAndTouch | Verb::MetaMake => "mg",
            Verb::MetaInvalidate | Verb::MetaDelete => "md",
            Verb::MetaDebug => "me",
            Verb::ListKeys => "lru_crawler metadump",
            Verb::ListAsCommands => "lru_crawler mgdump",
            Verb::CacheMemlimit => "cache_memlimit",
            Verb::Noop => "mn",
            Verb::Quit => "quit",
        }
    }

    /// get, gets, gat, gats, mg, me: answered by items.
    pub fn is_retrieval(self) -> bool {
        matches!(self, Verb::Get | Verb::Gets | Verb::MetaGet | Verb::MetaDebug) || self.is_get_and_touch()
    }

    /// incr, decr.
    pub fn is_count(self) -> bool {
        matches!(self, Verb::Incr | Verb::Decr)
    }

    /// cas, and a meta delete: done only to the item of one unique.
    pub fn names_unique(self) -> bool {
        matches!(self, Verb::Cas | Verb::MetaDelete)
    }

    /// get, gets, mg, me: what is asked for stays as it is.
    pub fn only_reads(self) -> bool {
        self.is_retrieval() && !self.is_get_and_touch()
    }

    /// gat, gats, mg with an exptime: a retrieval that also sets that.
    pub fn is_get_and_touch(self) -> bool {
        matches!(self, Verb::Gat | Verb::Gats | Verb::MetaGetAndTouch)
    }

    /// Commands that give an item an exptime.
    pub fn has_exptime(self) -> bool {
        let gives_it = matches!(self, Verb::Set | Verb::Add | Verb::Replace | Verb::Cas | Verb::Touch);
        let may_give_it = matches!(self, Verb::MetaMake | Verb::MetaInvalidate);
        gives_it || may_give_it || self.is_get_and_touch()
    }

    /// Commands with a data block behind the line.
    pub fn is_storage(self) -> bool {
        matches!(
            self,
            Verb::Set | Verb::Add | Verb::Replace | Verb::Append | Verb::Prepend | Verb::Cas
        )
    }
}
