//! One request on its way to the servers of its keys: plans for both copies, what has to wait for what, its reply.

pub(in crate::proxy) mod begin;
pub(in crate::proxy) mod broadcast;
pub(in crate::proxy) mod conditional;
pub(in crate::proxy) mod gate;
pub(in crate::proxy) mod merge;
pub(in crate::proxy) mod padding;
pub(in crate::proxy) mod permit;
pub(in crate::proxy) mod read;
pub(in crate::proxy) mod reading;
pub(in crate::proxy) mod refusal;
pub(in crate::proxy) mod survey;
pub(in crate::proxy) mod touch;
pub(in crate::proxy) mod write;
