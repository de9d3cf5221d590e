//! The meta commands of clients (`mg ms md ma me mn`): [`parse`] reads their lines, which may stand among text commands, [`flags`]
//! what follows the key, and [`reply`] writes what they are told, word by word ([`told`]).
//!
//! | asked | becomes | and then |
//! | --- | --- | --- |
//! | `mg` | a meta get; `get` or `gets` where a server knows no meta | |
//! | `mg` with `T` | a meta get that touches; `gat` or `gats` there | |
//! | `ms` | set, or by its mode add, replace, append, prepend; with `C` cas | an append with `N` that finds nothing: add; with `s`: a look at its size |
//! | `mg` with `N` | a meta get | where there is nothing: on both servers an empty item is made, and it is read |
//! | `md` | delete; with `C` a meta delete; with `x` replace or cas by an empty value | with `I` too a mark |
//! | `md` with `I` | a mark that it is stale, on both servers | |
//! | `md` with `I` and `C` | a look at its unique | the mark |
//! | `ma` | incr or decr | with `N`, where there is nothing: add; with `T`: touch; with `t`: a look at what is left of its time |
//! | `me` | a meta debug | |
//! | `mn` | noop | |
//!
//! A flag that the servers behind do not know is refused as they refuse it. So are those that magent does not know: a unique of the
//! client's own (`E`), and one that a count or an append must find (`C`). What an `ms` with `I` would store as stale, because it is
//! older than what is there, is not stored. Each look at what is stale gives a token away, so that one client stores it anew; what
//! magent's own look is given it gives back.
//! Servers get a key that is in base64 decoded, or by its [`name`](super::name), so that one that was stored in base64 is told as it is
//! to who asks for it so.
//!
//! Memcached's `proto_text.c` and `proto_parser.c` (1.6.18 to 1.6.45) are the rule, and `tests/meta_protocol.rs` compares line by line.

mod flags;
pub mod parse;
pub mod reply;
mod told;

/// Whether a line that begins so may be one of these; they begin with `m`, before which the old parser takes blanks.
#[inline]
pub fn may_begin(bytes: &[u8]) -> bool {
    matches!(bytes, [b'm' | b' ', ..])
}

/// What the servers know of meta commands, and all that others knew before.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Generation {
    /// Nothing: memcached before 1.6.
    Nothing,
    /// What 1.6.10 knew.
    Basic,
    /// An append may make its item, and the size of what is stored is told: 1.6.20.
    MakesWhatIsPadded,
    /// An item's value may be removed, and its unique given: 1.6.27.
    #[default]
    RemovesValues,
}
