//! From what was said to one validated configuration.

use super::values::{Value, Values};
use super::{Config, ConfigError, address};
use crate::proxy::net::Address;
use crate::proxy::settings::{Ack, Hedge, Limits, Miss, NEVER_SLOW, ServerName, Settings};
use crate::reactor::{Listen, names};
use crate::ring::hash::Hash;
use crate::ring::{Distribution, HashTag, Spread};
use crate::sys::{self, Account};
use crate::words::Reason;
use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

const DEFAULT_ADDRESS: &str = "0.0.0.0";
const DEFAULT_PORT: u64 = 11211;
const DEFAULT_CLIENTS: u64 = 4096;
const DEFAULT_LINKS: u64 = 20;
const DEFAULT_TIMEOUT_MS: u64 = 500;
const DEFAULT_SLOW_MS: u64 = 100;
const DEFAULT_ITEM_BYTES: u64 = 1 << 20;
const DEFAULT_MEMORY_BYTES: u64 = 64 << 20;
const DEFAULT_SOCKET_MODE: u32 = 0o700;
/// Room in a unix socket's address, less the byte that ends it (unix(7)).
const SOCKET_PATH_BYTES_MAX: usize = 107;

/// In the environment of a test: commands and values are written anew; see `Settings::verbatim`.
const ANEW: &str = "MAGENT_TEST_ANEW";

/// Relative paths are relative to `directory`.
pub fn config(values: &Values, directory: &Path) -> Result<Config, ConfigError> {
    let spread = spread(values)?;
    let primaries = servers(values, "server", &spread)?;
    if primaries.is_empty() {
        return Err(ConfigError(match (&values.file, &values.no_primaries) {
            (_, Some(source)) => format!("{source}: no primary server: at least one is needed"),
            (Some(file), None) => {
                format!(
                    "{file}: no primary server: the key server (magent 0.7: masters) is missing, and there is no -s"
                )
            }
            (None, None) => {
                "no primary server: at least one -s is needed, or the key server in the file of -c; see magent -h"
                    .to_owned()
            }
        }));
    }
    let account = account(values)?;
    let timeout_ms = values.number_or_auto("timeout", 10, 600_000)?;
    let settings = Settings {
        primaries,
        backups: servers(values, "backup", &spread)?,
        spread,
        links_max: values.number("maxidle", DEFAULT_LINKS, 1, 1000)? as usize,
        clients_max: values.number("maxconns", DEFAULT_CLIENTS, 1, 1_000_000)? as usize,
        timeout_ms: timeout_ms.unwrap_or(DEFAULT_TIMEOUT_MS),
        adaptive_timeout: timeout_ms.is_none(),
        ack: values.choice("ack", &[("all", Ack::All), ("primary", Ack::Primary)])?,
        hedge: match values.number_or_auto("hedge", 0, 600_000)? {
            None => Hedge::Adaptive,
            Some(0) => Hedge::Never,
            Some(ms) => Hedge::After(ms),
        },
        slow_us: slow_us(values)?,
        miss: values.choice("miss", &[("partner", Miss::Partner), ("cold", Miss::Cold)])?,
        item_bytes_max: values.size("max-item-size", DEFAULT_ITEM_BYTES, 1 << 10, 1 << 30)? as usize,
        memory_bytes_max: values.size("max-memory", DEFAULT_MEMORY_BYTES, 1 << 20, 1 << 40)? as usize,
        limits: Limits::default(),
        // Tests of the unoptimized build may try the other way.
        verbatim: !cfg!(debug_assertions) || std::env::var_os(ANEW).is_none(),
        board: values.choice("board", &[("on", true), ("off", false)])?,
    };
    let verbosity = verbosity(values)?;
    // -v is for somebody who watches; the key in the file is for the log of a daemon.
    let watched = values.is_overridden("verbose");
    Ok(Config {
        listen: listen(values, directory, account.as_ref(), settings.timeout_ms)?,
        settings,
        account,
        background: !values.flag("foreground")? && !watched,
        verbosity,
        pid_file: values.value("pidfile").map(|value| directory.join(&value.text)),
        log_dir: directory_of(values, "logdir", directory)?,
        state_dir: directory_of(values, "state-dir", directory)?,
    })
}

/// Where `--top` looks for a magent: at the address that it is given, else where the other options say that one listens.
pub fn top(values: &Values, given: Option<&String>, directory: &Path) -> Result<Vec<ServerName>, ConfigError> {
    let Some(text) = given else {
        let listen = listen(values, directory, None, DEFAULT_TIMEOUT_MS)?;
        return Ok(listen.into_iter().filter_map(reached_at).collect());
    };
    let error = |why: String| ConfigError(format!("--top {text}: {why}"));
    let mut server = address::magent(text).map_err(error)?;
    if server.address == Address::Unresolved {
        let ip = names::find_within(&server.host, Duration::from_millis(DEFAULT_TIMEOUT_MS)).map_err(error)?;
        server.address = Address::Tcp(SocketAddr::new(ip, server.port));
    }
    Ok(vec![server])
}

/// How a listener for clients is reached from its own machine.
fn reached_at(listen: Listen) -> Option<ServerName> {
    Some(match listen {
        Listen::Tcp { mut address, .. } => {
            match address.ip() {
                IpAddr::V4(ip) if ip.is_unspecified() => address.set_ip(Ipv4Addr::LOCALHOST.into()),
                IpAddr::V6(ip) if ip.is_unspecified() => address.set_ip(Ipv6Addr::LOCALHOST.into()),
                _ => {}
            }
            ServerName {
                host: address.ip().to_string(),
                port: address.port(),
                weight: 1,
                ring_name: None,
                address: Address::Tcp(address),
            }
        }
        Listen::Unix { path, .. } => ServerName {
            host: path.display().to_string(),
            port: 0,
            weight: 1,
            ring_name: None,
            address: Address::Unix(path),
        },
        Listen::Status { .. } => return None,
    })
}

fn directory_of(values: &Values, name: &str, directory: &Path) -> Result<Option<PathBuf>, ConfigError> {
    let Some(value) = values.value(name) else {
        return Ok(None);
    };
    let path = directory.join(&value.text);
    match fs::metadata(&path) {
        Ok(found) if found.is_dir() => Ok(Some(path)),
        Ok(_) => Err(value.error("Not a directory")),
        Err(error) => Err(value.error(Reason(&error))),
    }
}

fn slow_us(values: &Values) -> Result<u32, ConfigError> {
    Ok(match values.number("slow", DEFAULT_SLOW_MS, 0, 600_000)? {
        0 => NEVER_SLOW,
        ms => ms as u32 * 1000,
    })
}

fn verbosity(values: &Values) -> Result<u32, ConfigError> {
    match values.value("verbose") {
        Some(value) => match super::values::truth(&value.text) {
            Some(on) => Ok(u32::from(on)),
            None => Ok(values.number("verbose", 0, 0, 9)? as u32),
        },
        None => Ok(0),
    }
}

/// How keys are spread. `-k` is the short way to say `--distribution=ketama`.
fn spread(values: &Values) -> Result<Spread, ConfigError> {
    let distribution = distribution(values)?;
    let hash = values.choice("hash", &Hash::CHOICES)?;
    let hash = values.value("hash").map(|_| hash);
    Ok(Spread::new(distribution, hash, hash_tag(values)?))
}

/// The command line's word takes the place of the file's, whichever of the two options it is. Who says both must mean one.
fn distribution(values: &Values) -> Result<Distribution, ConfigError> {
    let choice = values.choice("distribution", &Distribution::CHOICES)?;
    let is_ketama = values.flag("ketama")?;
    let by_flag = match is_ketama {
        true => Distribution::Ketama,
        false => Distribution::Modulo,
    };
    let (Some(value), Some(flag)) = (values.value("distribution"), values.value("ketama")) else {
        return Ok(values.value("ketama").map_or(choice, |_| by_flag));
    };
    match (values.is_overridden("distribution"), values.is_overridden("ketama")) {
        (true, false) => Ok(choice),
        (false, true) => Ok(by_flag),
        _ if is_ketama == (choice == Distribution::Ketama) => Ok(choice),
        (true, true) => Err(value.error(format_args!("contradicts {}", flag.source))),
        (false, false) => Err(value.error(format_args!("contradicts {} {}", flag.source, flag.text))),
    }
}

/// The two characters between which a key's tag stands, if any.
fn hash_tag(values: &Values) -> Result<Option<HashTag>, ConfigError> {
    let Some(value) = values.value("hash-tag") else {
        return Ok(None);
    };
    match value.text.as_bytes() {
        &[open, close] if open.is_ascii_graphic() && close.is_ascii_graphic() => Ok(Some((open, close))),
        _ => Err(value.error("not two characters of ASCII, as in {}")),
    }
}

fn servers(values: &Values, name: &str, spread: &Spread) -> Result<Vec<ServerName>, ConfigError> {
    let distribution = spread.distribution;
    let mut servers: Vec<ServerName> = Vec::new();
    let (mut is_weighted, mut weight) = (false, 0);
    for value in values.list(name) {
        let server = address::server(&value.text).map_err(|why| value.error(why))?;
        if servers.iter().any(|other| other.is_same(&server)) {
            return Err(value.error("this server is listed twice"));
        }
        if server.ring_name.is_some() {
            if !distribution.knows_names() {
                return Err(value.error("a name behind the weight goes with twemproxy's distributions only"));
            }
            if servers.iter().any(|other| other.ring_name == server.ring_name) {
                return Err(value.error("another server has this name"));
            }
        }
        weight += u64::from(server.weight);
        is_weighted |= server.weight > 1;
        if let Some(max) = distribution.weights_max().filter(|&max| is_weighted && weight > max) {
            let word = distribution.word();
            return Err(value.error(format_args!("the weights of a farm add up to {max} at most by {word}")));
        }
        servers.push(server);
    }
    Ok(servers)
}

fn listen(
    values: &Values,
    directory: &Path,
    account: Option<&Account>,
    timeout_ms: u64,
) -> Result<Vec<Listen>, ConfigError> {
    let mut listen = Vec::new();
    let mode = socket_mode(values.value("socket-mode"))?;
    let reuse_port = values.flag("reuse-port")?;
    let port = values.number("port", DEFAULT_PORT, 0, 65535)? as u16;
    let host = values.value("listen");
    let text = host.map_or(DEFAULT_ADDRESS, |value| value.text.as_str());
    let bare = text
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'))
        .unwrap_or(text);
    let ip = match bare.parse::<IpAddr>() {
        Ok(ip) => Ok(ip),
        Err(_) => names::find_within(bare, Duration::from_millis(timeout_ms)),
    };
    let ip = ip.map_err(|why| host.map_or(ConfigError(why.clone()), |value| value.error(why)))?;
    let address = SocketAddr::new(ip, port);
    if port != 0 {
        listen.push(Listen::Tcp { address, reuse_port });
    }
    if let Some(value) = values.value("socket") {
        if !(1..=SOCKET_PATH_BYTES_MAX).contains(&value.text.len()) {
            return Err(value.error(format_args!("not a path of 1 to {SOCKET_PATH_BYTES_MAX} bytes")));
        }
        listen.push(Listen::Unix {
            path: directory.join(&value.text),
            mode,
            owner: account.map(|account| (account.uid, account.gid)),
        });
    }
    if listen.is_empty() {
        return Err(ConfigError(
            "nothing to listen on: -p is 0 and there is no -f".to_owned(),
        ));
    }
    if let Some(value) = values.value("status") {
        let status = address::status(&value.text).map_err(|why| value.error(why))?;
        let is_same_ip = status.ip() == ip || status.ip().is_unspecified() || ip.is_unspecified();
        if status.port() == port && is_same_ip {
            return Err(value.error(format_args!(
                "clients are listened for at {address}, so it needs another port"
            )));
        }
        listen.push(Listen::Status {
            address: status,
            reuse_port,
        });
    }
    Ok(listen)
}

fn socket_mode(value: Option<&Value>) -> Result<u32, ConfigError> {
    let Some(value) = value else {
        return Ok(DEFAULT_SOCKET_MODE);
    };
    match u32::from_str_radix(&value.text, 8) {
        Ok(mode) if mode <= 0o777 => Ok(mode),
        _ => Err(value.error("not an octal mode from 0 to 777")),
    }
}

fn account(values: &Values) -> Result<Option<Account>, ConfigError> {
    let (user, group) = (values.value("user"), values.value("group"));
    let Some(asked) = user.or(group) else {
        return Ok(None);
    };
    let mut account = match user {
        Some(value) => sys::find_user(&value.text).ok_or_else(|| value.error("no such user"))?,
        None => sys::current_account(),
    };
    if let Some(value) = group {
        account.gid = sys::find_group(&value.text).ok_or_else(|| value.error("no such group"))?;
    }
    if account != sys::current_account() && !sys::may_change_user() {
        return Err(asked.error("only root can run magent as somebody else"));
    }
    Ok(Some(account))
}
