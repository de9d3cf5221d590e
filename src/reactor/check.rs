//! What is wrong with a configuration can in part be told only when the addresses of its names are known.

use super::Listen;
use crate::proxy::net::Address;
use crate::proxy::settings::{ServerName, Settings};
use std::fs;
use std::net::{IpAddr, SocketAddr, UdpSocket};

/// Finds a server that is named twice in one farm, and one that is magent itself: the error is one line. Returns what is
/// right but hardly meant, one line each.
pub fn check(settings: &Settings, listen: &[Listen]) -> Result<Vec<String>, String> {
    for farm in [&settings.primaries, &settings.backups] {
        for (index, server) in farm.iter().enumerate() {
            if let Some(other) = farm[..index].iter().find(|other| other.is_same(server)) {
                return Err(format!("server {server} is listed twice: {other} is the same"));
            }
        }
    }
    match settings.servers().find(|server| is_magent(server, listen)) {
        Some(server) => Err(format!("server {server} is where magent itself listens")),
        None => Ok(without_a_copy(&settings.primaries, &settings.backups)
            .into_iter()
            .collect()),
    }
}

/// What is said about keys that have one server in both farms. A second copy on the same server would be none.
fn without_a_copy(primaries: &[ServerName], backups: &[ServerName]) -> Option<String> {
    let [backup] = backups else {
        return None;
    };
    if !primaries.iter().any(|primary| primary.is_same(backup)) {
        return None;
    }
    Some(match primaries {
        [_] => format!("{backup} is the only primary and the only backup: no key has a second copy"),
        _ => format!("{backup} is a primary and the only backup: the keys of this primary have no second copy"),
    })
}

/// Whether requests for this server would come back to magent.
fn is_magent(server: &ServerName, listen: &[Listen]) -> bool {
    listen.iter().any(|listen| match (&server.address, listen) {
        (Address::Tcp(server), Listen::Tcp { address, .. } | Listen::Status { address, .. }) => {
            is_reached_at(*address, *server)
        }
        (Address::Unix(server), Listen::Unix { path, .. }) => {
            server == path || fs::canonicalize(server).is_ok_and(|real| fs::canonicalize(path).ok() == Some(real))
        }
        _ => false,
    })
}

fn is_reached_at(listening: SocketAddr, asked: SocketAddr) -> bool {
    let everywhere = listening.ip().is_unspecified();
    listening.port() == asked.port() && (listening.ip() == asked.ip() || everywhere && is_ours(asked.ip()))
}

/// Whether an address is this machine's: whether a socket can be bound to it.
fn is_ours(ip: IpAddr) -> bool {
    UdpSocket::bind((ip, 0)).is_ok()
}
