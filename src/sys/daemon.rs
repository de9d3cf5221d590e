//! Becoming a daemon: the background, the pid file, the number of open files.

use super::check;
use super::files::{Owner, open_plain};
use std::fmt;
use std::fs::{self, File, Metadata, OpenOptions, Permissions};
use std::io::{self, Read, Write};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// The pid file is for everybody to read: who serves is no secret.
const PID_FILE_MODE: u32 = 0o644;

/// Tells the process that the terminal waits for how the daemon's start went. If it is dropped without a word, that
/// process ends with status 1.
pub struct Launch(File);

impl Launch {
    /// The daemon serves: the waiting process ends with status 0.
    pub fn succeeded(mut self) {
        // If nobody waits any more there is nobody to tell.
        let _ = self.0.write_all(&[0]);
    }

    /// The waiting process prints `line` and ends with status 1.
    pub fn failed(mut self, line: fmt::Arguments<'_>) {
        let _ = writeln!(self.0, "{line}");
    }
}

/// Goes to the background: a child in a session of its own goes on, in `/`, without a terminal. The parent waits for what
/// the child says by [`Launch`], and ends.
pub fn background() -> io::Result<Launch> {
    let null = OpenOptions::new().read(true).write(true).open("/dev/null")?;
    let (mut reader, writer) = pipe()?;
    // SAFETY: there is one thread, so the child has all of the process; the others leave without running destructors
    // that would remove what the child uses. The second fork gives up the session's lead, so that no terminal is ever
    // acquired. The descriptors are open.
    unsafe {
        if check(libc::fork())? != 0 {
            drop(writer);
            let mut said = Vec::new();
            let _ = reader.read_to_end(&mut said);
            if said == [0] {
                libc::_exit(0);
            }
            let _ = io::stderr().write_all(&said);
            libc::_exit(1);
        }
        check(libc::setsid())?;
        if check(libc::fork())? != 0 {
            libc::_exit(0);
        }
        libc::umask(0o027);
        for standard in 0..=2 {
            check(libc::dup2(null.as_raw_fd(), standard))?;
        }
    }
    std::env::set_current_dir("/")?;
    Ok(Launch(writer))
}

/// A pipe: the end to read from, and the one to write to. No program that is started inherits them.
fn pipe() -> io::Result<(File, File)> {
    let mut ends = [0; 2];
    // SAFETY: the array has room for both descriptors, which are open and nobody else's when the call has succeeded.
    let (reader, writer) = unsafe {
        check(libc::pipe2(ends.as_mut_ptr(), libc::O_CLOEXEC))?;
        (OwnedFd::from_raw_fd(ends[0]), OwnedFd::from_raw_fd(ends[1]))
    };
    Ok((File::from(reader), File::from(writer)))
}

/// Raises the number of files that may be open to `wanted`, as far as the system lets us. Returns the number in force.
pub fn raise_open_files(wanted: u64) -> io::Result<u64> {
    let mut limit = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: the struct is valid for both calls.
    unsafe {
        check(libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit))?;
        if limit.rlim_cur >= wanted {
            return Ok(limit.rlim_cur);
        }
        let raised = libc::rlimit {
            rlim_cur: wanted,
            rlim_max: wanted.max(limit.rlim_max),
        };
        if libc::setrlimit(libc::RLIMIT_NOFILE, &raised) == 0 {
            return Ok(wanted);
        }
        // Not root: up to the hard limit.
        let raised = libc::rlimit {
            rlim_cur: wanted.min(limit.rlim_max),
            rlim_max: limit.rlim_max,
        };
        check(libc::setrlimit(libc::RLIMIT_NOFILE, &raised))?;
        Ok(raised.rlim_cur)
    }
}

/// A file with the process's number, removed when this is dropped, unless a successor has written its own into it.
pub struct PidFile {
    path: PathBuf,
    identity: (u64, u64),
}

impl PidFile {
    /// Writes the file, over whatever a process that was killed left there. Everybody may read it.
    pub fn write(path: &Path, owner: Option<Owner>) -> io::Result<Self> {
        let mut file = open_plain(path, File::options().write(true).create(true), owner)?;
        file.set_len(0)?;
        writeln!(file, "{}", std::process::id())?;
        let metadata = file.metadata()?;
        if metadata.mode() & 0o777 != PID_FILE_MODE {
            file.set_permissions(Permissions::from_mode(PID_FILE_MODE))?;
        }
        Ok(Self {
            path: path.to_owned(),
            identity: (metadata.dev(), metadata.ino()),
        })
    }

    /// Writes the number once more, which changes the file's time: whoever has told this process by a signal to do something
    /// can see that it has done it. The file's time stays if this process may not write the file any more.
    pub fn renew(&self) {
        if self.is_ours() {
            let file = open_plain(&self.path, File::options().write(true), None);
            let _ = file.and_then(|mut file| writeln!(file, "{}", std::process::id()));
        }
    }

    /// Whether the name still leads to the file that was written, with the number that was written.
    fn is_ours(&self) -> bool {
        let same = |found: Metadata| found.is_file() && (found.dev(), found.ino()) == self.identity;
        fs::symlink_metadata(&self.path).is_ok_and(same)
            && fs::read_to_string(&self.path).is_ok_and(|text| text.trim() == std::process::id().to_string())
    }
}

impl Drop for PidFile {
    fn drop(&mut self) {
        if self.is_ours() {
            // As another user we may not be allowed to remove it; then a stale file remains, as after a kill.
            let _ = fs::remove_file(&self.path);
        }
    }
}
