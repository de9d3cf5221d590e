//! What the operating system is asked for beyond sockets, and what the borrow checker cannot see: the only room with
//! `unsafe` in it.
//!
//! `append` is the buffer that `buffer` is built of; it depends on nothing. In the other files each function wraps one or a few calls of the C library, checks what they return, and gives an `io::Error` that the
//! caller can put into a sentence.

mod account;
mod append;
mod daemon;
mod log;
mod notify;
mod signals;
mod socket;

pub use account::{Account, current_account, drop_privileges, find_group, find_user, may_change_user};
pub use append::AppendOnly;
pub use daemon::{Launch, PidFile, background, raise_open_files};
pub use log::Log;
pub use notify::{monotonic_us, notify_manager};
pub use signals::{Signal, Signals};
pub use socket::{ignore_syns, listen_tcp, set_keepalive, set_keepalive_soon, set_reset_on_close};

use std::io;

/// The result of a call that says -1 for failure.
fn check(result: libc::c_int) -> io::Result<libc::c_int> {
    if result < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(result)
    }
}
