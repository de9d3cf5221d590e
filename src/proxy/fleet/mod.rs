//! The servers: their lives and health, which of them hold a key, what each of them missed or lacks.

pub(in crate::proxy) mod clock;
pub(in crate::proxy) mod farm;
pub(in crate::proxy) mod flush;
pub(in crate::proxy) mod health;
pub(in crate::proxy) mod layout;
pub(in crate::proxy) mod ledger;
pub(in crate::proxy) mod life;
pub(in crate::proxy) mod names;
pub(in crate::proxy) mod past;
pub(in crate::proxy) mod server;
pub(in crate::proxy) mod unique;
