//! The text protocol of clients: [`parse`] reads their lines, nearly all of them in one pass ([`common`]), as the memcached behind magent
//! would ([`dialect`]), and says what becomes of a line that is no request ([`refusal`]); [`reply`] writes what they are told.

mod admin;
mod common;
pub mod dialect;
mod keyed;
pub mod parse;
pub mod refusal;
pub mod reply;
mod storage;
mod words;
