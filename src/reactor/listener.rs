//! Where clients connect: TCP ports and unix sockets.

use super::Socket;
use crate::sys;
use mio::net::{TcpListener, UnixListener};
use mio::{Interest, Registry, Token};
use std::fmt;
use std::fs;
use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::os::unix::fs::{FileTypeExt, PermissionsExt, chown};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

/// What to listen on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Listen {
    Tcp {
        address: SocketAddr,
        /// Share the port with other processes that do the same.
        reuse_port: bool,
    },
    Unix {
        path: PathBuf,
        mode: u32,
        owner: Option<(u32, u32)>,
    },
}

impl fmt::Display for Listen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Listen::Tcp { address, .. } => write!(f, "{address}"),
            Listen::Unix { path, .. } => write!(f, "unix:{}", path.display()),
        }
    }
}

enum Kind {
    Tcp(TcpListener),
    Unix(UnixListener, PathBuf),
}

/// A socket that accepts.
pub struct Listener {
    kind: Kind,
    name: Listen,
    /// There may be connections to accept.
    pub ready: bool,
}

impl Listener {
    /// Binds and listens. A unix socket that a dead process left behind is replaced; one that somebody answers on is in
    /// use, and a file that is no socket is not touched.
    pub fn bind(listen: &Listen) -> io::Result<Self> {
        let kind = match listen {
            Listen::Tcp { address, reuse_port } => {
                Kind::Tcp(TcpListener::from_std(sys::listen_tcp(*address, *reuse_port)?))
            }
            Listen::Unix { path, mode, owner } => {
                remove_stale(path)?;
                let listener = UnixListener::bind(path)?;
                fs::set_permissions(path, fs::Permissions::from_mode(*mode))?;
                if let Some((uid, gid)) = owner {
                    chown(path, Some(*uid), Some(*gid))?;
                }
                Kind::Unix(listener, path.clone())
            }
        };
        Ok(Self {
            kind,
            name: listen.clone(),
            ready: false,
        })
    }

    /// What it was bound to.
    pub(super) fn name(&self) -> &Listen {
        &self.name
    }

    pub(super) fn register(&mut self, registry: &Registry, token: Token) -> io::Result<()> {
        match &mut self.kind {
            Kind::Tcp(listener) => registry.register(listener, token, Interest::READABLE),
            Kind::Unix(listener, _) => registry.register(listener, token, Interest::READABLE),
        }
    }

    /// Whether other processes may listen on the same port, and go on when this one ends.
    pub(super) fn is_shared(&self) -> bool {
        matches!(self.name, Listen::Tcp { reuse_port: true, .. })
    }

    /// Begins no connection any more; those that clients have begun can still be accepted.
    pub(super) fn begin_no_more(&self) -> io::Result<()> {
        match &self.kind {
            Kind::Tcp(listener) => sys::ignore_syns(listener),
            // Connecting to a unix socket is one step: there is nothing between begun and accepted.
            Kind::Unix(..) => Ok(()),
        }
    }

    pub(super) fn accept(&self) -> io::Result<Socket> {
        match &self.kind {
            Kind::Tcp(listener) => listener.accept().map(|(stream, _)| Socket::Tcp(stream)),
            Kind::Unix(listener, _) => listener.accept().map(|(stream, _)| Socket::Unix(stream)),
        }
    }
}

impl fmt::Display for Listener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.name.fmt(f)
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        if let Kind::Unix(_, path) = &self.kind {
            // As another user we may not be allowed to; the next start replaces it.
            let _ = fs::remove_file(path);
        }
    }
}

fn remove_stale(path: &Path) -> io::Result<()> {
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
        Ok(metadata) if !metadata.file_type().is_socket() => Err(io::Error::new(
            ErrorKind::AlreadyExists,
            "it exists and is not a socket",
        )),
        Ok(_) => match UnixStream::connect(path) {
            Ok(_) => Err(ErrorKind::AddrInUse.into()),
            Err(_) => fs::remove_file(path),
        },
    }
}
