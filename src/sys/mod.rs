//! What the operating system is asked for beyond sockets, and what the borrow checker cannot see: the only room with
//! `unsafe` in it.
//!
//! `append` is the buffer that `buffer` is built of, and `lanes` a register of the processor; they depend on nothing. In the other files each function wraps one or
//! a few calls of the C library, checks what they return, and gives an `io::Error` that the caller can put into a sentence.

mod account;
mod append;
mod daemon;
mod files;
#[cfg(target_arch = "x86_64")]
mod lanes;
mod log;
mod notify;
mod signals;
mod socket;
mod terminal;

pub use account::{Account, current_account, drop_privileges, find_group, find_user, may_change_user};
pub use append::AppendOnly;
pub use daemon::{Launch, PidFile, background, raise_open_files};
pub use files::{Owner, for_owner, lock, with_mode};
#[cfg(target_arch = "x86_64")]
pub use lanes::Lanes;
pub use log::{Log, is_journal, local_time};
pub use notify::{monotonic_us, notify_manager};
pub use signals::{Signal, Signals};
pub use socket::{
    BACKLOG, ignore_syns, listen_tcp, lost_packets, set_keepalive, set_keepalive_soon, set_reset_on_close,
    set_reuse_port, unacknowledged_for_ms,
};
pub use terminal::{Happened, Terminal};

use std::io;
use std::time::Duration;

/// Processor time that this process has used, in its own code and in the system's; zero if the system does not say.
pub fn cpu_time() -> (Duration, Duration) {
    // SAFETY: rusage is made of numbers, for which zero is a value; getrusage writes no more than one of it.
    let usage = unsafe {
        let mut usage: libc::rusage = std::mem::zeroed();
        if libc::getrusage(libc::RUSAGE_SELF, &mut usage) < 0 {
            return Default::default();
        }
        usage
    };
    let duration = |time: libc::timeval| Duration::new(time.tv_sec as u64, time.tv_usec as u32 * 1000);
    (duration(usage.ru_utime), duration(usage.ru_stime))
}

/// Memory that this process has, in bytes: the second number of /proc/self/statm, in pages (proc(5)). 0 if there is no such file.
pub fn resident_bytes() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages = statm.split_whitespace().nth(1).and_then(|pages| pages.parse().ok());
    // SAFETY: sysconf takes a number and has no other effect.
    let page_bytes = u64::try_from(unsafe { libc::sysconf(libc::_SC_PAGESIZE) });
    pages.unwrap_or(0u64).saturating_mul(page_bytes.unwrap_or(0))
}

/// The result of a call that says -1 for failure.
fn check(result: libc::c_int) -> io::Result<libc::c_int> {
    if result < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(result)
    }
}
