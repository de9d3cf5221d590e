//! What a server is asked for: what an answer is for, and who waits for it.

/// What an answer is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// Keys of a retrieval.
    Read(Ask),
    /// The touch that keeps the second copy in step with a gat.
    MirrorTouch,
    /// The same, which the reply does not wait for.
    MirrorTouchAlone,
    /// A write that both copies get alike, or what follows to the second what the first has decided.
    Write(Side),
    /// A write that its first server decides about.
    Decide,
    /// Whether the first server still has the item that it has stored.
    Confirm,
    /// What is on the second before the first has decided, to be replaced by what that stores and nothing else.
    Guard,
    /// What is on the second server's board: whether the first one decides, for all who use them.
    Rank,
    /// How large the value is that an append or prepend left.
    Size(Side),
    /// A command that all servers get; the number is the server's.
    Broadcast(usize),
    /// What the server says of itself, for a client.
    Survey,
    /// The item that a repair is to copy.
    RepairFetch,
    /// Whether the other server has it already.
    RepairCheck,
    /// The copy.
    RepairStore,
    /// Whether a server still has what was written.
    Compare(Side),
    /// What is on the server's board; and what is written there.
    Board,
    Post,
    /// Is the server there, and in which life?
    Probe,
    /// The removal of what a server missed while it was away.
    Forget,
    /// That an item is stale, said once more.
    GiveBack,
    /// Nobody any more: it was given up before the answer came.
    GivenUp {
        /// It was sent elsewhere since, to be decided there.
        fails_over: bool,
    },
}

impl Purpose {
    /// Whether a server is sent what changes a key on it, or all.
    pub fn changes(self) -> bool {
        match self {
            Purpose::MirrorTouch | Purpose::MirrorTouchAlone | Purpose::Write(_) | Purpose::Decide => true,
            Purpose::RepairStore | Purpose::Forget | Purpose::Broadcast(_) | Purpose::Post | Purpose::GiveBack => true,
            Purpose::Read(_) | Purpose::Confirm | Purpose::Guard | Purpose::Rank => false,
            Purpose::Size(_) | Purpose::Survey => false,
            Purpose::RepairFetch | Purpose::RepairCheck | Purpose::Compare(_) => false,
            Purpose::Board | Purpose::Probe | Purpose::GivenUp { .. } => false,
        }
    }

    /// Whether a transaction waits for the answer.
    pub fn has_transaction(self) -> bool {
        let is_fleets = matches!(
            self,
            Purpose::Probe
                | Purpose::Forget
                | Purpose::Board
                | Purpose::Post
                | Purpose::GiveBack
                | Purpose::GivenUp { .. }
        );
        let is_copiers = self.is_repair() || matches!(self, Purpose::Compare(_));
        !is_fleets && !is_copiers && self != Purpose::MirrorTouchAlone
    }

    /// Whether it is a look of magent's own at a client's item.
    pub fn looks(self) -> bool {
        let is_copiers = matches!(self, Purpose::RepairFetch | Purpose::RepairCheck | Purpose::Compare(_));
        is_copiers || matches!(self, Purpose::Confirm | Purpose::Guard | Purpose::Size(_))
    }

    /// Whether a repair of the copier's waits for the answer.
    pub fn is_repair(self) -> bool {
        matches!(self, Purpose::RepairFetch | Purpose::RepairCheck | Purpose::RepairStore)
    }
}

/// Why a server is asked for a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ask {
    /// Its word is the truth.
    First,
    /// It is the partner of that one, which does not have the key.
    SecondAfterMiss,
    /// The one that was asked first was lost.
    AfterLoss,
    /// The one that was asked first lets it wait; see `replicate::hedge`.
    Hedge,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    First,
    Second,
}
