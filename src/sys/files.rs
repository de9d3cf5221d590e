//! Making files where another user may have a say: what root makes for the user that it becomes is that user's from the
//! first moment, and nothing is changed by a name that somebody else may have put in place.

use super::check;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, fchown};
use std::path::Path;

/// Whom a file is for: user and group.
pub type Owner = (u32, u32);

/// The capabilities by which root passes over the modes and owners of files (capabilities(7)); setfsuid takes them away.
const CAP_DAC_OVERRIDE: u32 = 1;
const CAP_FOWNER: u32 = 3;
/// Version 3 of the structures below: two words for each set.
const CAPABILITY_VERSION: u32 = 0x2008_0522;

#[repr(C)]
struct CapabilityHeader {
    version: u32,
    pid: libc::c_int,
}

#[repr(C)]
#[derive(Clone, Copy, Default)]
struct CapabilityWords {
    effective: u32,
    permitted: u32,
    inheritable: u32,
}

/// Does something with files as their `owner` would: first with that user's rights, so that root is led nowhere that the
/// user could not go; and if these do not suffice, with root's, while what is made belongs to the owner all the same. Who
/// is not root does it as it is.
pub fn for_owner<T>(owner: Option<Owner>, action: impl Fn() -> io::Result<T>) -> io::Result<T> {
    let Some((uid, gid)) = other_than_root(owner) else {
        return action();
    };
    let _identity = FileIdentity::take(uid, gid);
    match action() {
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            pass_over_modes()?;
            action()
        }
        result => result,
    }
}

/// Locks a file for this process alone, until it is closed; an error if another one has it (flock(2)).
pub fn lock(file: &File) -> io::Result<()> {
    // SAFETY: the descriptor is open while `file` is borrowed.
    check(unsafe { libc::flock(file.as_raw_fd(), libc::LOCK_EX | libc::LOCK_NB) }).map(drop)
}

/// The owner, if it is root that has to make files for somebody else.
fn other_than_root(owner: Option<Owner>) -> Option<Owner> {
    // SAFETY: geteuid cannot fail.
    let is_root = unsafe { libc::geteuid() == 0 };
    owner.filter(|&(uid, _)| is_root && uid != 0)
}

/// Opens a plain file for writing, and makes it if it is not there. Links of either kind, devices and pipes are refused.
///
/// Where nobody but root can put names in place it is opened as root. Elsewhere it is opened with the owner's rights, and
/// root makes a new one for the owner where these do not suffice, but touches none that is there.
pub(super) fn open_plain(path: &Path, options: &OpenOptions, owner: Option<Owner>) -> io::Result<File> {
    let open = |options: &OpenOptions| {
        let mut options = options.clone();
        let file = options.custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK).open(path)?;
        let metadata = file.metadata()?;
        if !metadata.is_file() || metadata.nlink() != 1 {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is not a plain file"));
        }
        Ok(file)
    };
    let Some((uid, gid)) = other_than_root(owner).filter(|_| !is_roots_alone(path)) else {
        return open(options);
    };
    let _identity = FileIdentity::take(uid, gid);
    match open(options) {
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            pass_over_modes()?;
            open(options.clone().create_new(true)).map_err(|_| error)
        }
        result => result,
    }
}

/// Gives an open file to its owner, if no other user can have put it where it is.
pub(super) fn give(file: &File, path: &Path, owner: Option<Owner>) -> io::Result<()> {
    match other_than_root(owner) {
        Some((uid, gid)) if is_roots_alone(path) => fchown(file, Some(uid), Some(gid)),
        _ => Ok(()),
    }
}

/// Whether root alone can put names into the directory of `path`, and into those above it.
fn is_roots_alone(path: &Path) -> bool {
    let Some(Ok(directory)) = path.parent().map(fs::canonicalize) else {
        return false;
    };
    let roots = |directory: &Path| {
        fs::symlink_metadata(directory).is_ok_and(|found| found.uid() == 0 && found.mode() & 0o022 == 0)
    };
    directory.ancestors().all(roots)
}

/// The identity by which this thread makes files, until it is dropped.
struct FileIdentity {
    uid: u32,
    gid: u32,
}

impl FileIdentity {
    fn take(uid: u32, gid: u32) -> Self {
        // SAFETY: both take and give numbers, for this thread alone. The group is first, as root may still do that.
        unsafe {
            let gid = libc::setfsgid(gid) as u32;
            let uid = libc::setfsuid(uid) as u32;
            Self { uid, gid }
        }
    }
}

impl Drop for FileIdentity {
    fn drop(&mut self) {
        // SAFETY: as above. With root's identity its capabilities come back as well.
        unsafe {
            libc::setfsuid(self.uid);
            libc::setfsgid(self.gid);
        }
    }
}

/// Lets this thread pass over the modes of files again, if it may.
fn pass_over_modes() -> io::Result<()> {
    let mut header = CapabilityHeader {
        version: CAPABILITY_VERSION,
        pid: 0,
    };
    let mut words = [CapabilityWords::default(); 2];
    // SAFETY: the header says that it is this thread, and the version whose two words the array has room for.
    unsafe {
        let (header, words) = (&raw mut header, &raw mut words);
        check(libc::syscall(libc::SYS_capget, header, words) as libc::c_int)?;
        let first = &mut (*words)[0];
        first.effective |= first.permitted & (1 << CAP_DAC_OVERRIDE | 1 << CAP_FOWNER);
        check(libc::syscall(libc::SYS_capset, header, words) as libc::c_int)?;
    }
    Ok(())
}

/// Does something while new files get no more than the permissions in `mode`.
pub fn with_mode<T>(mode: u32, action: impl FnOnce() -> T) -> T {
    // SAFETY: umask takes and gives a number, and cannot fail.
    let before = unsafe { libc::umask(!mode & 0o777) };
    let result = action();
    // SAFETY: as above.
    unsafe { libc::umask(before) };
    result
}
