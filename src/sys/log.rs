//! Where the log goes: to the terminal or the journal in the foreground, to syslog in the background, or to a file.

use super::files::{Owner, give, open_plain};
use std::ffi::CString;
use std::fmt;
use std::fs::{self, File};
use std::io::{self, Write};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// The name of the file in the directory that the configuration names.
const FILE_NAME: &str = "magent.log";

/// A sink for lines of the log. A line that cannot be written is lost: the proxy does not stop for its log.
#[derive(Debug)]
pub enum Log {
    Stderr,
    /// Standard error, where systemd's journal is at its other end.
    Journal,
    Syslog,
    File {
        path: PathBuf,
        file: File,
    },
}

impl Log {
    /// Standard error, in the form that is right for whoever reads it.
    pub fn standard_error() -> Self {
        match is_journal(io::stderr().as_fd()) {
            true => Log::Journal,
            false => Log::Stderr,
        }
    }

    /// Opens syslog, with facility daemon, under the name magent and with the process's number.
    pub fn syslog() -> Self {
        // SAFETY: the name is a C string constant, which syslog keeps a pointer to.
        unsafe { libc::openlog(c"magent".as_ptr(), libc::LOG_PID | libc::LOG_NDELAY, libc::LOG_DAEMON) };
        Log::Syslog
    }

    /// Opens magent.log in `directory`, for appending, and gives it to the user and group that will write it.
    pub fn file(directory: &Path, owner: Option<Owner>) -> io::Result<Self> {
        let path = fs::canonicalize(directory)?.join(FILE_NAME);
        let file = append(&path, owner)?;
        give(&file, &path, owner)?;
        Ok(Log::File { path, file })
    }

    /// Opens the file again, after logrotate has moved it away. On failure the old one goes on being written.
    pub fn reopen(&mut self) -> io::Result<()> {
        if let Log::File { path, file } = self {
            *file = append(path, None)?;
        }
        Ok(())
    }

    /// Writes one line with a syslog priority (`LOG_ERR`, ...).
    pub fn write(&mut self, priority: i32, line: fmt::Arguments<'_>) {
        match self {
            Log::Stderr => {
                // In one piece: standard error has no buffer.
                let _ = io::stderr().write_all(format!("magent: {line}\n").as_bytes());
            }
            Log::Journal => {
                // The journal puts the program's name in front, and takes the priority from there (sd-daemon(3)).
                let _ = io::stderr().write_all(format!("<{priority}>{line}\n").as_bytes());
            }
            Log::Syslog => {
                let Ok(text) = CString::new(line.to_string().replace('\0', "?")) else {
                    return;
                };
                // SAFETY: the format takes one string, which is given; it is not the line itself.
                unsafe { libc::syslog(priority, c"%s".as_ptr(), text.as_ptr()) };
            }
            Log::File { file, .. } => {
                // In one piece, so that lines of several processes do not mix.
                let text = format!("{} magent[{}]: {line}\n", local_time(), std::process::id());
                let _ = file.write_all(text.as_bytes());
            }
        }
    }
}

/// Whether systemd's journal reads what this process writes to `descriptor`: `$JOURNAL_STREAM` has the device and the inode
/// of what systemd gave to it (systemd.exec(5)), which a redirection may have replaced, or a parent may have been given.
pub fn is_journal(descriptor: BorrowedFd<'_>) -> bool {
    let Ok(stream) = std::env::var("JOURNAL_STREAM") else {
        return false;
    };
    let metadata = descriptor
        .try_clone_to_owned()
        .and_then(|descriptor| File::from(descriptor).metadata());
    metadata.is_ok_and(|metadata| stream == format!("{}:{}", metadata.dev(), metadata.ino()))
}

fn append(path: &Path, owner: Option<Owner>) -> io::Result<File> {
    open_plain(path, File::options().append(true).create(true).mode(0o640), owner)
}

/// The local time as `2026-11-22 18:00:00`.
pub fn local_time() -> String {
    let mut broken_down = MaybeUninit::<libc::tm>::zeroed();
    // SAFETY: time takes a null pointer, localtime_r fills the struct that it is given, and a struct of zeros is a valid
    // one if it does not.
    let tm = unsafe {
        let now = libc::time(std::ptr::null_mut());
        libc::localtime_r(&now, broken_down.as_mut_ptr());
        broken_down.assume_init()
    };
    format!(
        "{:04}-{:02}-{:02} {:02}:{:02}:{:02}",
        tm.tm_year + 1900,
        tm.tm_mon + 1,
        tm.tm_mday,
        tm.tm_hour,
        tm.tm_min,
        tm.tm_sec
    )
}
