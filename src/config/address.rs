//! Addresses as an administrator writes them.

use crate::proxy::net::Address;
use crate::proxy::settings::ServerName;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

/// memcached's port.
const DEFAULT_PORT: u16 = 11211;

/// Upper bound of a weight: memory in megabytes may be written as it is.
const WEIGHT_MAX: u32 = 1_000_000;

/// `ip`, `host`, `host:port`, `[v6]`, `[v6]:port`, `v6` or `unix:/path`; behind a port or path a `:weight`, and behind that,
/// after a space, twemproxy's name of it. Names are not looked up here. Errors say what is wrong, without the source.
pub fn server(text: &str) -> Result<ServerName, String> {
    let (host, port, address, rest) = match text.strip_prefix("unix:") {
        Some(text) => {
            let (path, rest) = unix(text)?;
            (path, 0, Address::Unix(path.into()), rest)
        }
        None => {
            let (host, port, rest) = split(text)?;
            let address = match host.parse::<IpAddr>() {
                Ok(ip) => Address::Tcp(SocketAddr::new(ip, port)),
                Err(_) => Address::Unresolved,
            };
            (host, port, address, rest)
        }
    };
    let (weight, ring_name) = rest.map_or(Ok((1, None)), weight_and_name)?;
    Ok(ServerName {
        host: host.to_owned(),
        port,
        address,
        weight,
        ring_name,
    })
}

/// A path, and what stands behind the last colon, if that begins with a number.
fn unix(text: &str) -> Result<(&str, Option<&str>), String> {
    let weighed = |before_name: &str| -> Option<usize> {
        let (path, weight) = before_name.rsplit_once(':')?;
        let is_number = !weight.is_empty() && weight.bytes().all(|byte| byte.is_ascii_digit());
        is_number.then_some(path.len())
    };
    let before_name = text.split_once(' ').map_or(text, |(before, _)| before);
    let (path, rest) = match weighed(before_name) {
        Some(end) => (&text[..end], Some(&text[end + 1..])),
        None => (text, None),
    };
    match path.starts_with('/') {
        true => Ok((path, rest)),
        false => Err("a unix socket needs a full path (unix:/path)".to_owned()),
    }
}

/// Host and port of `text`, and what stands behind the port; the port is memcached's if left out.
fn split(text: &str) -> Result<(&str, u16, Option<&str>), String> {
    let (host, port) = if let Some(rest) = text.strip_prefix('[') {
        let (host, behind) = rest.split_once(']').ok_or("missing ] behind the address")?;
        if host.parse::<std::net::Ipv6Addr>().is_err() {
            return Err("what is in [] must be an IPv6 address".to_owned());
        }
        match behind.strip_prefix(':') {
            Some(port) => (host, Some(port)),
            None if behind.is_empty() => (host, None),
            None => return Err("only :port or :port:weight may stand behind ]".to_owned()),
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
    let (port, weight) = match port.map(|text| text.split_once(':').unzip()) {
        Some((Some(port), weight)) => (Some(port), weight),
        _ => (port, None),
    };
    Ok((host, port.map_or(Ok(DEFAULT_PORT), server_port)?, weight))
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

/// Where a magent is asked: as a server is written, or a number alone, which is a port of this machine.
pub fn magent(text: &str) -> Result<ServerName, String> {
    match text.bytes().all(|byte| byte.is_ascii_digit()) {
        true => server(&format!("127.0.0.1:{text}")),
        false => server(text),
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

fn weight_and_name(text: &str) -> Result<(u32, Option<String>), String> {
    let mut words = text.split_whitespace();
    let weight = words.next().unwrap_or("").parse();
    let (name, more) = (words.next(), words.next());
    match weight {
        Ok(weight) if (1..=WEIGHT_MAX).contains(&weight) && more.is_none() => Ok((weight, name.map(str::to_owned))),
        Ok(_) if more.is_some() => Err("only one name may stand behind a weight".to_owned()),
        _ => Err(format!("weight is not a number from 1 to {WEIGHT_MAX}")),
    }
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
    fn a_weight_and_a_name_may_stand_behind_every_form_with_a_port() {
        for (text, shown, weight, ring_name) in [
            ("10.0.0.1:99:5", "10.0.0.1:99", 5, None),
            ("[::1]:99:1000000", "[::1]:99", 1_000_000, None),
            ("unix:/run/memcached.sock:7", "unix:/run/memcached.sock", 7, None),
            ("unix:/run/a:b", "unix:/run/a:b", 1, None),
            ("unix:/run/a:5:1", "unix:/run/a:5", 1, None),
            ("cache1:99:5 one", "cache1:99", 5, Some("one")),
            ("10.0.0.1:11211:1 a:b", "10.0.0.1:11211", 1, Some("a:b")),
            ("unix:/run/a.sock:2  two:2", "unix:/run/a.sock", 2, Some("two:2")),
            ("unix:/run/a b.sock", "unix:/run/a b.sock", 1, None),
        ] {
            let server = server(text).unwrap();
            let found = (server.to_string(), server.weight, server.ring_name.as_deref());
            assert_eq!(found, (shown.to_owned(), weight, ring_name), "{text}");
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
            ("[::1]9", "only :port or :port:weight may stand behind ]"),
            ("10.0.0.1:1:0", "weight is not a number from 1 to 1000000"),
            ("10.0.0.1:1:1000001", "weight is not a number from 1 to 1000000"),
            ("10.0.0.1:1:", "weight is not a number from 1 to 1000000"),
            ("10.0.0.1:1:2:3", "weight is not a number from 1 to 1000000"),
            ("unix:/run/a.sock:0", "weight is not a number from 1 to 1000000"),
            ("10.0.0.1:1 one", "port is not a number (1-65535)"),
            ("10.0.0.1:1:2 one two", "only one name may stand behind a weight"),
            ("unix:relative", "a unix socket needs a full path (unix:/path)"),
        ] {
            assert_eq!(server(text), Err(error.to_owned()), "{text}");
        }
    }
}
