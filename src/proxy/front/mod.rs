//! Clients: reading requests, replies in the order asked, limits, and every byte charged to somebody.

pub(in crate::proxy) mod client;
pub(in crate::proxy) mod dispatch;
pub(in crate::proxy) mod memory;
pub(in crate::proxy) mod pace;
pub(in crate::proxy) mod transaction;
