//! What is fuzzed: each entry takes any bytes, and panics if magent breaks a promise.
//!
//! ```text
//! proxy     the whole proxy over a net in memory: clients, servers, the clock, all driven by the bytes (world, script)
//! request   the request parser alone, and that it does not matter in what pieces a client's bytes come
//! response  the response parser alone
//! ```
//! cargo-fuzz drives them (`make fuzz`), and tests/fuzzing.rs by what the fuzzer has kept.

#![allow(dead_code)] // each target uses its part

mod account;
mod client;
#[path = "../../simulator/memcached/mod.rs"]
mod memcached;
mod net;
mod parsers;
mod script;
mod server;
mod world;

pub use parsers::{request, response};

/// Everything: see [`script`] for what the bytes mean.
pub fn proxy(bytes: &[u8]) {
    script::run(bytes);
}
