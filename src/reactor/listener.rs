//! Where clients connect: TCP ports and unix sockets; and the port of `--status`.

use super::Socket;
use super::socket_file::SocketFile;
use crate::sys;
use mio::net::{TcpListener, UnixListener};
use mio::{Interest, Registry, Token};
use std::fmt;
use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::os::unix::fs::fchown;
use std::path::PathBuf;

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
        owner: Option<sys::Owner>,
    },
    /// Not for clients: for who asks how it goes.
    Status {
        address: SocketAddr,
        /// Share it with the magent that takes over from this one.
        reuse_port: bool,
    },
}

impl fmt::Display for Listen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Listen::Tcp { address, .. } => write!(f, "{address}"),
            Listen::Status { address, .. } => write!(f, "http://{address} (--status)"),
            Listen::Unix { path, .. } => write!(f, "unix:{}", path.display()),
        }
    }
}

enum Kind {
    Tcp(TcpListener),
    // The file goes before the socket is closed: until then no other file has its number.
    Unix(SocketFile, UnixListener),
}

/// A socket that accepts.
pub struct Listener {
    kind: Kind,
    name: Listen,
    /// There may be connections to accept.
    pub ready: bool,
}

impl Listener {
    /// Binds and listens; see [`SocketFile::bind`] for what is done with a unix socket's file.
    pub fn bind(listen: &Listen) -> io::Result<Self> {
        let kind = match listen {
            Listen::Tcp { address, reuse_port } | Listen::Status { address, reuse_port } => {
                Self::bind_tcp(*address, *reuse_port)?
            }
            Listen::Unix { path, mode, owner } => {
                let (listener, file) = SocketFile::bind(path, *mode, *owner)?;
                Kind::Unix(file, listener)
            }
        };
        Ok(Self {
            kind,
            name: listen.clone(),
            ready: false,
        })
    }

    fn bind_tcp(address: SocketAddr, reuse_port: bool) -> io::Result<Kind> {
        Ok(Kind::Tcp(TcpListener::from_std(sys::listen_tcp(address, reuse_port)?)))
    }

    /// The same while others of this process listen, which may have the port under another of its addresses: they and the
    /// new one share it meanwhile. (The kernel goes on to let processes of this user in that ask to share it.)
    pub(super) fn bind_beside(listen: &Listen, others: &[Listener]) -> io::Result<Self> {
        let Listen::Tcp { address, reuse_port } = listen else {
            return Self::bind(listen);
        };
        let error = match Self::bind(listen) {
            Err(error) if error.kind() == ErrorKind::AddrInUse => error,
            result => return result,
        };
        let mut in_the_way = others
            .iter()
            .filter(|other| other.port() == Some(address.port()))
            .peekable();
        if in_the_way.peek().is_none() {
            return Err(error);
        }
        let in_the_way: Vec<&Listener> = in_the_way.collect();
        in_the_way.iter().try_for_each(|other| other.share(true))?;
        let bound = Self::bind_tcp(*address, true);
        for other in in_the_way {
            other.share(other.is_shared())?;
        }
        let new = Self {
            kind: bound?,
            name: listen.clone(),
            ready: false,
        };
        new.share(*reuse_port)?;
        Ok(new)
    }

    /// Whether it listens where this says, though perhaps in another manner, and can still be reached there.
    pub(super) fn is_at(&self, listen: &Listen) -> bool {
        match (&self.kind, &self.name, listen) {
            (_, Listen::Tcp { address, .. }, Listen::Tcp { address: other, .. }) => address == other,
            (_, Listen::Status { address, .. }, Listen::Status { address: other, .. }) => address == other,
            (Kind::Unix(file, _), _, Listen::Unix { path, .. }) => file.path() == path && file.is_in_place(),
            _ => false,
        }
    }

    /// What it was bound to, in the manner of now.
    pub(super) fn name(&self) -> &Listen {
        &self.name
    }

    /// Listens in this manner from now on; the place is the same.
    pub(super) fn adjust(&mut self, listen: &Listen) -> io::Result<()> {
        match (&self.kind, listen) {
            (Kind::Tcp(_), Listen::Tcp { reuse_port, .. } | Listen::Status { reuse_port, .. })
                if *reuse_port != self.is_shared() =>
            {
                self.share(*reuse_port)?;
            }
            (Kind::Unix(file, _), Listen::Unix { mode, .. }) if Some(*mode) != self.mode() => file.set_mode(*mode)?,
            _ => {}
        }
        self.name = listen.clone();
        Ok(())
    }

    fn share(&self, shared: bool) -> io::Result<()> {
        match &self.kind {
            Kind::Tcp(listener) => sys::set_reuse_port(listener, shared),
            Kind::Unix(..) => Ok(()),
        }
    }

    fn port(&self) -> Option<u16> {
        match &self.name {
            Listen::Tcp { address, .. } => Some(address.port()),
            Listen::Unix { .. } | Listen::Status { .. } => None,
        }
    }

    fn mode(&self) -> Option<u32> {
        match &self.name {
            Listen::Tcp { .. } | Listen::Status { .. } => None,
            Listen::Unix { mode, .. } => Some(*mode),
        }
    }

    /// Gives a port that root has bound to the user who will serve: for the kernel, only sockets of one user can share it,
    /// and a reload may want that. If it cannot be given, such a reload is refused.
    pub fn give_to(&self, (uid, gid): sys::Owner) {
        if let Kind::Tcp(listener) = &self.kind {
            let _ = fchown(listener, Some(uid), Some(gid));
        }
    }

    pub(super) fn register(&mut self, registry: &Registry, token: Token) -> io::Result<()> {
        match &mut self.kind {
            Kind::Tcp(listener) => registry.register(listener, token, Interest::READABLE),
            Kind::Unix(_, listener) => registry.register(listener, token, Interest::READABLE),
        }
    }

    /// Whether it is no place for clients.
    pub(super) fn is_status(&self) -> bool {
        matches!(self.name, Listen::Status { .. })
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

    /// The next connection, and where it comes from if that is a TCP address.
    pub(super) fn accept(&self) -> io::Result<(Socket, Option<SocketAddr>)> {
        match &self.kind {
            Kind::Tcp(listener) => listener
                .accept()
                .map(|(stream, from)| (Socket::Tcp(stream), Some(from))),
            Kind::Unix(_, listener) => listener.accept().map(|(stream, _)| (Socket::Unix(stream), None)),
        }
    }
}

impl fmt::Display for Listener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.name.fmt(f)
    }
}
