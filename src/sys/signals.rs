//! Signals as events: a signalfd in the poll loop, no handler, so nothing ever runs in the middle of something else.

use super::check;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};

/// The signals that magent acts on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// SIGTERM, SIGINT: answer what is in flight, then end.
    Terminate,
    /// SIGHUP: read the configuration again.
    Reload,
    /// SIGUSR1: open the log file again.
    ReopenLog,
}

/// A descriptor that is readable when a signal has come.
pub struct Signals(OwnedFd);

impl Signals {
    /// Blocks the signals and opens the descriptor. SIGPIPE is ignored from here on: writing to a connection that the
    /// peer has closed is an error like any other.
    pub fn new() -> io::Result<Self> {
        // SAFETY: the set is initialised by sigemptyset before it is used; the descriptor is new and owned by nobody
        // else.
        unsafe {
            libc::signal(libc::SIGPIPE, libc::SIG_IGN);
            let mut set = MaybeUninit::<libc::sigset_t>::uninit();
            check(libc::sigemptyset(set.as_mut_ptr()))?;
            for signal in [libc::SIGTERM, libc::SIGINT, libc::SIGHUP, libc::SIGUSR1] {
                check(libc::sigaddset(set.as_mut_ptr(), signal))?;
            }
            check(libc::sigprocmask(libc::SIG_BLOCK, set.as_ptr(), std::ptr::null_mut()))?;
            let fd = check(libc::signalfd(-1, set.as_ptr(), libc::SFD_NONBLOCK | libc::SFD_CLOEXEC))?;
            Ok(Self(OwnedFd::from_raw_fd(fd)))
        }
    }

    /// The next signal that has come; None when there is none.
    pub fn take(&mut self) -> Option<Signal> {
        let mut info = MaybeUninit::<libc::signalfd_siginfo>::uninit();
        let size = size_of::<libc::signalfd_siginfo>();
        // SAFETY: the buffer has the size given, and is read only if the kernel filled all of it.
        let signal = unsafe {
            let count = libc::read(self.0.as_raw_fd(), info.as_mut_ptr().cast(), size);
            if count != size as isize {
                return None;
            }
            info.assume_init().ssi_signo as i32
        };
        Some(match signal {
            libc::SIGHUP => Signal::Reload,
            libc::SIGUSR1 => Signal::ReopenLog,
            _ => Signal::Terminate,
        })
    }
}

impl AsRawFd for Signals {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_raw_fd()
    }
}
