//! Ports that belong to one test.

use std::fmt;
use std::io::{Error, ErrorKind, Result};
use std::mem;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

/// A TCP port of 127.0.0.1, and of ::1 where there is that, which nobody is given while this lives, also while nobody
/// listens on it.
///
/// It is held by a socket that is bound to it and does not listen. Connections to it are refused. A program that asks for
/// this number and sets `SO_REUSEADDR`, as memcached and magent do, may listen on it, because the socket that holds it does
/// not listen. The kernel chooses no port that is bound, neither for a connection nor for a server that leaves the choice to
/// it, and so cannot choose this one either.
pub struct Port {
    pub number: u16,
    _held: Vec<OwnedFd>,
}

impl Port {
    /// One that the kernel chooses.
    pub fn free() -> Self {
        loop {
            let (v4, number) = hold(v4_loopback(0)).expect("a free port of 127.0.0.1");
            match hold(v6_loopback(number)) {
                Ok((v6, _)) => {
                    let _held = vec![v4, v6];
                    return Self { number, _held };
                }
                // Somebody has this number on ::1.
                Err(error) if error.kind() == ErrorKind::AddrInUse => {}
                // There is no ::1 here.
                Err(_) => {
                    let _held = vec![v4];
                    return Self { number, _held };
                }
            }
        }
    }
}

impl fmt::Display for Port {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.number.fmt(f)
    }
}

fn v4_loopback(port: u16) -> libc::sockaddr_in {
    // SAFETY: all zeros is a valid address.
    let mut address: libc::sockaddr_in = unsafe { mem::zeroed() };
    address.sin_family = libc::AF_INET as libc::sa_family_t;
    address.sin_port = port.to_be();
    address.sin_addr.s_addr = libc::INADDR_LOOPBACK.to_be();
    address
}

fn v6_loopback(port: u16) -> libc::sockaddr_in6 {
    // SAFETY: all zeros is a valid address.
    let mut address: libc::sockaddr_in6 = unsafe { mem::zeroed() };
    address.sin6_family = libc::AF_INET6 as libc::sa_family_t;
    address.sin6_port = port.to_be();
    address.sin6_addr.s6_addr[15] = 1;
    address
}

/// A socket bound to an address of either family, which begins with the family and the port; and the port that it got.
fn hold<A>(mut address: A) -> Result<(OwnedFd, u16)> {
    let address_ptr: *mut A = &mut address;
    let address_ptr: *mut libc::sockaddr = address_ptr.cast();
    let mut len = mem::size_of::<A>() as libc::socklen_t;
    let one: libc::c_int = 1;
    // SAFETY: the addresses and the option are valid for the calls, their lengths are their own, and the new descriptor is
    // owned by nobody else.
    unsafe {
        let family = libc::c_int::from((*address_ptr).sa_family);
        let number = succeeded(libc::socket(family, libc::SOCK_STREAM | libc::SOCK_CLOEXEC, 0))?;
        let socket = OwnedFd::from_raw_fd(number);
        let socket_number = socket.as_raw_fd();
        let one_len = mem::size_of_val(&one) as libc::socklen_t;
        let one_ptr: *const libc::c_int = &one;
        let option = (libc::SOL_SOCKET, libc::SO_REUSEADDR);
        succeeded(libc::setsockopt(
            socket_number,
            option.0,
            option.1,
            one_ptr.cast(),
            one_len,
        ))?;
        succeeded(libc::bind(socket_number, address_ptr, len))?;
        succeeded(libc::getsockname(socket_number, address_ptr, &mut len))?;
        let port = (*address_ptr.cast::<libc::sockaddr_in>()).sin_port;
        Ok((socket, u16::from_be(port)))
    }
}

fn succeeded(result: libc::c_int) -> Result<libc::c_int> {
    if result < 0 {
        Err(Error::last_os_error())
    } else {
        Ok(result)
    }
}
