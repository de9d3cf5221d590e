//! Socket options, and listening with options that must be set before the port is bound.

use super::check;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

/// Connections that may wait to be accepted; the kernel lowers it to net.core.somaxconn.
pub const BACKLOG: libc::c_int = 4096;

/// Seconds of silence on a link after which the kernel asks whether the other end is still there, and between its asking
/// (R21).
const KEEPALIVE_S: libc::c_int = 2;
/// Times that it asks in vain before the link is broken.
const KEEPALIVE_PROBES: libc::c_int = 3;

/// Sets an option that is an int.
fn set(socket: &impl AsRawFd, level: libc::c_int, option: libc::c_int, value: libc::c_int) -> io::Result<()> {
    let size = size_of_val(&value) as libc::socklen_t;
    // SAFETY: the descriptor is open while `socket` is borrowed, and the option is an int of the size given.
    check(unsafe { libc::setsockopt(socket.as_raw_fd(), level, option, (&raw const value).cast(), size) })?;
    Ok(())
}

fn switch_on(socket: &impl AsRawFd, level: libc::c_int, option: libc::c_int) -> io::Result<()> {
    set(socket, level, option, 1)
}

/// Makes a listening TCP socket ignore packets that begin a connection, while what has begun goes on. The client sends
/// its packet again after a second (RFC 6298, 2.1). Connections accepted from here on ignore them, too, and expect none.
pub fn ignore_syns(listener: &impl AsRawFd) -> io::Result<()> {
    // Of the TCP header, where a packet begins for a filter of a TCP socket (RFC 9293, 3.1).
    const FLAGS_OFFSET: u32 = 13;
    const SYN: u32 = 0x02;
    const ACK: u32 = 0x10;
    let instruction = |code: u32, k: u32| libc::sock_filter {
        code: code as u16,
        jt: 0,
        jf: 0,
        k,
    };
    let mut program = [
        instruction(libc::BPF_LD | libc::BPF_B | libc::BPF_ABS, FLAGS_OFFSET),
        instruction(libc::BPF_ALU | libc::BPF_AND | libc::BPF_K, SYN | ACK),
        libc::sock_filter {
            // If it is not a SYN alone, skip the next.
            jf: 1,
            ..instruction(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, SYN)
        },
        // The bytes to keep: none is a drop.
        instruction(libc::BPF_RET | libc::BPF_K, 0),
        instruction(libc::BPF_RET | libc::BPF_K, u32::MAX),
    ];
    let filter = libc::sock_fprog {
        len: program.len() as u16,
        filter: program.as_mut_ptr(),
    };
    let (level, option, size) = (libc::SOL_SOCKET, libc::SO_ATTACH_FILTER, size_of_val(&filter));
    let (fd, value) = (listener.as_raw_fd(), (&raw const filter).cast());
    // SAFETY: the descriptor is open while `listener` is borrowed; the option is a sock_fprog of the size given; the
    // kernel copies the program that it points to, of the length given, before it returns.
    check(unsafe { libc::setsockopt(fd, level, option, value, size as libc::socklen_t) })?;
    Ok(())
}

/// Lets the kernel find out, after hours, that a peer vanished without a word.
pub fn set_keepalive(socket: &impl AsRawFd) -> io::Result<()> {
    switch_on(socket, libc::SOL_SOCKET, libc::SO_KEEPALIVE)
}

/// The same within seconds, for a link that nobody may use for long: a machine that lost its power and came back knows
/// nothing of it, and has an empty memcached, which is to be filled before its partner fails too.
pub fn set_keepalive_soon(socket: &impl AsRawFd) -> io::Result<()> {
    set(socket, libc::IPPROTO_TCP, libc::TCP_KEEPIDLE, KEEPALIVE_S)?;
    set(socket, libc::IPPROTO_TCP, libc::TCP_KEEPINTVL, KEEPALIVE_S)?;
    set(socket, libc::IPPROTO_TCP, libc::TCP_KEEPCNT, KEEPALIVE_PROBES)
}

/// Lets closing a socket throw away what it has not sent (socket(7), SO_LINGER), rather than have the kernel send it
/// again and again for minutes: a write that was given up must not reach its server behind those that came after it.
pub fn set_reset_on_close(socket: &impl AsRawFd) -> io::Result<()> {
    let linger = libc::linger {
        l_onoff: 1,
        l_linger: 0,
    };
    let (fd, size) = (socket.as_raw_fd(), size_of_val(&linger) as libc::socklen_t);
    let value = (&raw const linger).cast();
    // SAFETY: the descriptor is open while `socket` is borrowed, and the option is a linger of the size given.
    check(unsafe { libc::setsockopt(fd, libc::SOL_SOCKET, libc::SO_LINGER, value, size) })?;
    Ok(())
}

/// Where not all that was sent on a TCP connection is acknowledged: for how many milliseconds nothing was. The machine of a process that
/// only hangs acknowledges what comes.
pub fn unacknowledged_for_ms(socket: &impl AsRawFd) -> Option<u32> {
    let info = tcp_info(socket).filter(|info| info.tcpi_unacked > 0)?;
    Some(info.tcpi_last_ack_recv)
}

/// How many packets of a TCP connection were lost since it was opened: sent again, and not because the other end only put off its
/// acknowledgement, of which it tells (RFC 2883; Linux counts that since 4.19).
pub fn lost_packets(socket: &impl AsRawFd) -> u32 {
    tcp_info(socket).map_or(0, |info| info.tcpi_total_retrans.saturating_sub(info.tcpi_dsack_dups))
}

/// What the kernel knows of a TCP connection (tcp(7)); what it is too old to know is 0.
fn tcp_info(socket: &impl AsRawFd) -> Option<libc::tcp_info> {
    // SAFETY: all zeros is a valid tcp_info.
    let mut info: libc::tcp_info = unsafe { std::mem::zeroed() };
    let mut size = size_of_val(&info) as libc::socklen_t;
    let (fd, value) = (socket.as_raw_fd(), (&raw mut info).cast());
    // SAFETY: the descriptor is open while `socket` is borrowed; the kernel writes no more than the size given.
    let result = check(unsafe { libc::getsockopt(fd, libc::IPPROTO_TCP, libc::TCP_INFO, value, &raw mut size) });
    result.ok().map(|_| info)
}

/// Lets a socket share its port with others of the same user that say the same, from now on, or no longer.
pub fn set_reuse_port(socket: &impl AsRawFd, shared: bool) -> io::Result<()> {
    set(socket, libc::SOL_SOCKET, libc::SO_REUSEPORT, libc::c_int::from(shared))
}

/// Listens on a TCP address, without blocking. With `reuse_port`, other processes of the same user may listen on it too,
/// and the kernel spreads connections over them (socket(7), SO_REUSEPORT).
pub fn listen_tcp(address: SocketAddr, reuse_port: bool) -> io::Result<TcpListener> {
    let family = if address.is_ipv4() {
        libc::AF_INET
    } else {
        libc::AF_INET6
    };
    let kind = libc::SOCK_STREAM | libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC;
    // SAFETY: the descriptor is new and owned by nobody else.
    let socket = unsafe { OwnedFd::from_raw_fd(check(libc::socket(family, kind, 0))?) };
    switch_on(&socket, libc::SOL_SOCKET, libc::SO_REUSEADDR)?;
    if reuse_port {
        set_reuse_port(&socket, true)?;
    }
    bind(&socket, address)?;
    // SAFETY: the descriptor is open.
    check(unsafe { libc::listen(socket.as_raw_fd(), BACKLOG) })?;
    Ok(TcpListener::from(socket))
}

fn bind(socket: &OwnedFd, address: SocketAddr) -> io::Result<()> {
    let fd = socket.as_raw_fd();
    match address {
        SocketAddr::V4(v4) => {
            let name = libc::sockaddr_in {
                sin_family: libc::AF_INET as libc::sa_family_t,
                sin_port: v4.port().to_be(),
                sin_addr: libc::in_addr {
                    s_addr: u32::from_ne_bytes(v4.ip().octets()),
                },
                sin_zero: [0; 8],
            };
            let size = size_of_val(&name) as libc::socklen_t;
            // SAFETY: the descriptor is open, and the address has the size given.
            check(unsafe { libc::bind(fd, (&raw const name).cast(), size) })?;
        }
        SocketAddr::V6(v6) => {
            let name = libc::sockaddr_in6 {
                sin6_family: libc::AF_INET6 as libc::sa_family_t,
                sin6_port: v6.port().to_be(),
                sin6_flowinfo: v6.flowinfo(),
                sin6_addr: libc::in6_addr {
                    s6_addr: v6.ip().octets(),
                },
                sin6_scope_id: v6.scope_id(),
            };
            let size = size_of_val(&name) as libc::socklen_t;
            // SAFETY: as above.
            check(unsafe { libc::bind(fd, (&raw const name).cast(), size) })?;
        }
    }
    Ok(())
}
