//! Where a key is.

/// The servers that hold a key, in the order in which they are asked now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// Its word is the truth: of a retrieval the primary's, of what changes the key the senior's, unless that is down or lacks
    /// what the other has. It is up if either is.
    pub first: usize,
    /// Its partner, up or not. None without a backup farm, or where it has no other server than the primary.
    pub second: Option<usize>,
    /// Keys in one slot are counted together.
    pub slot: u16,
}
