//! The binary protocol of clients (`protocol_binary.h`): [`parse`] reads their packets, [`reply`] writes what they are told, and
//! [`operation`] says what their opcodes mean.
//!
//! ```text
//!  0       1       2               4       5       6               8               12              16                      24
//!  | magic |opcode | key bytes     |extras |   -   | vbucket or    | body bytes    | opaque        | cas unique            | extras, key, value
//!  |       |       |               | bytes |       | status        | in all        |               |                       |
//! ```
//! Servers are not asked in it: a memcached that was built without it will do. A key that a text command cannot name has a
//! [`name`](super::name) there.
//!
//! Memcached's own `proto_bin.c` (1.6.18 to 1.6.45) is the rule, and `tests/binary_protocol.rs` compares packet by packet.

pub mod operation;
pub mod parse;
pub mod reply;

/// The first byte of what a client says.
pub const REQUEST_MAGIC: u8 = 0x80;
/// The first byte of what it is told.
const RESPONSE_MAGIC: u8 = 0x81;
/// Bytes of a packet before its extras.
pub const HEADER_BYTES: usize = 24;
/// What stands for an exptime in a count that is not to make its item.
const NOT_TO_BE_MADE: u32 = u32::MAX;
