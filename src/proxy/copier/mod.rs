//! Copying: one key to its partner, and all keys to a server that returned.

pub(in crate::proxy) mod listing;
pub(in crate::proxy) mod repair;
pub(in crate::proxy) mod resync;
