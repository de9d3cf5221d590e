//! Connections to servers: sending, and understanding what comes back.

pub(in crate::proxy) mod exchange;
pub(in crate::proxy) mod link;
pub(in crate::proxy) mod message;
pub(in crate::proxy) mod quarantine;
