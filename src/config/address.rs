//! Addresses as an administrator writes them.

use crate::proxy::net::Address;
use crate::proxy::settings::ServerName;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

/// memcached's port.
const DEFAULT_PORT: u16 = 11211;

/// `ip`, `host`, `host:port`, `[v6]`, `[v6]:port`, `v6` or `unix:/path`. Names are not looked up here. Errors say what is wrong,
/// without the source.
pub fn server(text: &str) -> Result<ServerName, String> {
    if let Some(path) = text.strip_prefix("unix:") {
        if !path.starts_with('/') {
            return Err("a unix socket needs a full path (unix:/path)".to_owned());
        }
        return Ok(ServerName {
            host: path.to_owned(),
            port: 0,
            address: Address::Unix(path.into()),
        });
    }
    let (host, port) = split(text)?;
    let address = match host.parse::<IpAddr>() {
        Ok(ip) => Address::Tcp(SocketAddr::new(ip, port)),
        Err(_) => Address::Unresolved,
    };
    Ok(ServerName {
        host: host.to_owned(),
        port,
        address,
    })
}

/// Host and port of `text`; the port is memcached's if left out.
fn split(text: &str) -> Result<(&str, u16), String> {
    let (host, port) = if let Some(rest) = text.strip_prefix('[') {
        let (host, behind) = rest.split_once(']').ok_or("missing ] behind the address")?;
        if host.parse::<std::net::Ipv6Addr>().is_err() {
            return Err("what is in [] must be an IPv6 address".to_owned());
        }
        match behind.strip_prefix(':') {
            Some(port) => (host, Some(port)),
            None if behind.is_empty() => (host, None),
            None => return Err("only :port may stand behind ]".to_owned()),
        }
    } else if text.parse::<std::net::Ipv6Addr>().is_ok() {
        (text, None)
    } else {
        match text.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (text, None),
        }
    };
    if host.is_empty() || host.contains(no_part_of_a_name) || is_bad_ipv4(host) {
        return Err("not an address (ip, host:port, [ipv6]:port or unix:/path)".to_owned());
    }
    Ok((host, port.map_or(Ok(DEFAULT_PORT), server_port)?))
}

/// A name that is not found counts as a server that is not there yet, so what cannot be a name is refused here.
fn no_part_of_a_name(c: char) -> bool {
    c.is_ascii() && !c.is_ascii_alphanumeric() && !matches!(c, '-' | '.' | '_' | ':')
}

/// Four numbers that are no IPv4 address, as in `10.0.0.300`.
fn is_bad_ipv4(host: &str) -> bool {
    let numbers = host
        .split('.')
        .filter(|part| part.bytes().all(|byte| byte.is_ascii_digit()));
    numbers.count() == 4 && host.split('.').count() == 4 && host.parse::<std::net::Ipv4Addr>().is_err()
}

fn server_port(text: &str) -> Result<u16, String> {
    let port = text.parse::<u64>().map_err(|_| "port is not a number (1-65535)")?;
    match u16::try_from(port) {
        Ok(port) if port > 0 => Ok(port),
        _ => Err("port out of range (1-65535)".to_owned()),
    }
}

/// Where `--status` listens: `port` on 127.0.0.1, `ip:port` or `[v6]:port`.
pub fn status(text: &str) -> Result<SocketAddr, String> {
    let address = match text.parse::<u16>() {
        Ok(port) => Some(SocketAddr::from((Ipv4Addr::LOCALHOST, port))),
        Err(_) => text.parse().ok(),
    };
    address
        .filter(|address| address.port() > 0)
        .ok_or_else(|| "not a port (1-65535), ip:port or [ipv6]:port".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_in_every_form() {
        for (text, name, address) in [
            ("10.0.0.1", "10.0.0.1:11211", "10.0.0.1:11211"),
            ("10.0.0.1:99", "10.0.0.1:99", "10.0.0.1:99"),
            ("[::1]:99", "[::1]:99", "[::1]:99"),
            ("[::1]", "[::1]:11211", "[::1]:11211"),
            ("::1", "[::1]:11211", "[::1]:11211"),
        ] {
            let server = server(text).unwrap();
            assert_eq!(server.to_string(), name);
            assert_eq!(server.address, Address::Tcp(address.parse().unwrap()));
        }
        let by_name = server("localhost:99").unwrap();
        assert_eq!(
            (by_name.to_string().as_str(), by_name.address),
            ("localhost:99", Address::Unresolved)
        );
        let unix = server("unix:/run/memcached.sock").unwrap();
        assert_eq!(unix.to_string(), "unix:/run/memcached.sock");
    }

    #[test]
    fn the_status_port_is_on_this_machine_unless_told_otherwise() {
        for (text, address) in [
            ("9150", "127.0.0.1:9150"),
            ("10.0.0.1:9150", "10.0.0.1:9150"),
            ("[::]:9150", "[::]:9150"),
        ] {
            assert_eq!(status(text), Ok(address.parse().unwrap()));
        }
        for text in [
            "",
            "0",
            "65536",
            "localhost:1",
            "10.0.0.1",
            "10.0.0.1:0",
            "::1:9150x",
            "unix:/a",
        ] {
            let error = "not a port (1-65535), ip:port or [ipv6]:port".to_owned();
            assert_eq!(status(text), Err(error), "{text}");
        }
    }

    #[test]
    fn a_bad_address_says_what_is_wrong() {
        for (text, error) in [
            ("10.0.0.1:99999", "port out of range (1-65535)"),
            ("10.0.0.1:0", "port out of range (1-65535)"),
            ("10.0.0.1:x", "port is not a number (1-65535)"),
            ("10.0.0.1:", "port is not a number (1-65535)"),
            (":11211", "not an address (ip, host:port, [ipv6]:port or unix:/path)"),
            ("", "not an address (ip, host:port, [ipv6]:port or unix:/path)"),
            (
                "10.0.0.1;10.0.0.2",
                "not an address (ip, host:port, [ipv6]:port or unix:/path)",
            ),
            (
                "10.0.0.300",
                "not an address (ip, host:port, [ipv6]:port or unix:/path)",
            ),
            (
                "10.0.0.300:1",
                "not an address (ip, host:port, [ipv6]:port or unix:/path)",
            ),
            ("[::1", "missing ] behind the address"),
            ("[10.0.0.1]:1", "what is in [] must be an IPv6 address"),
            ("unix:relative", "a unix socket needs a full path (unix:/path)"),
        ] {
            assert_eq!(server(text), Err(error.to_owned()), "{text}");
        }
    }
}
