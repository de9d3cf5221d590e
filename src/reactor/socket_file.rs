//! The file of a unix socket: made with its permissions, replaced only if it is dead, removed only if it is ours.

use crate::sys;
use mio::net::{UnixListener, UnixStream};
use std::fs::{self, File, Metadata, Permissions};
use std::io::{self, ErrorKind};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// The name of a unix socket in the file system, and which file that was when it was made. While its socket is open no
/// other file can have the same number.
pub struct SocketFile {
    path: PathBuf,
    identity: (u64, u64),
}

impl SocketFile {
    /// Binds and listens; the file has these permissions and this owner from its first moment. A socket that a dead
    /// process left behind is replaced; one that somebody answers on is in use, and a file that is no socket is not
    /// touched.
    pub fn bind(path: &Path, mode: u32, owner: Option<sys::Owner>) -> io::Result<(UnixListener, Self)> {
        sys::for_owner(owner, || {
            remove_stale(path)?;
            let listener = sys::with_mode(mode, || UnixListener::bind(path))?;
            let identity = identity(&fs::symlink_metadata(path)?);
            let path = path.to_owned();
            Ok((listener, Self { path, identity }))
        })
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether the name still leads to it.
    pub fn is_in_place(&self) -> bool {
        fs::symlink_metadata(&self.path).is_ok_and(|found| identity(&found) == self.identity)
    }

    /// Changes its permissions: those of this file, whatever the name leads to by then.
    pub fn set_mode(&self, mode: u32) -> io::Result<()> {
        let file = File::options()
            .read(true)
            .custom_flags(libc::O_PATH | libc::O_NOFOLLOW)
            .open(&self.path)?;
        if identity(&file.metadata()?) != self.identity {
            return Err(io::Error::new(ErrorKind::NotFound, "another file has taken its place"));
        }
        // A file that is open without being readable is reached by this name alone (proc(5)).
        let name = format!("/proc/self/fd/{}", file.as_raw_fd());
        fs::set_permissions(name, Permissions::from_mode(mode))
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if self.is_in_place() {
            // As another user we may not be allowed to; the next start replaces it.
            let _ = fs::remove_file(&self.path);
        }
    }
}

fn identity(file: &Metadata) -> (u64, u64) {
    (file.dev(), file.ino())
}

fn remove_stale(path: &Path) -> io::Result<()> {
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
        Ok(metadata) if !metadata.file_type().is_socket() => Err(io::Error::new(
            ErrorKind::AlreadyExists,
            "it exists and is not a socket",
        )),
        // Without blocking: where its queue is full somebody listens, and would block us as long as he likes.
        Ok(_) => match UnixStream::connect(path) {
            Err(error) if error.kind() == ErrorKind::ConnectionRefused => fs::remove_file(path),
            Err(error) if error.kind() == ErrorKind::PermissionDenied => Err(error),
            _ => Err(ErrorKind::AddrInUse.into()),
        },
    }
}
