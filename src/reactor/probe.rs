//! `magent --check`: whether a magent serves, for whoever watches over it and has nothing else to ask with, as in a container
//! that holds one program.

use super::stream::Stream;
use crate::proxy::net::Address;
use crate::proxy::settings::ServerName;
use crate::words::Reason;
use std::io::{self, Read, Write};
use std::net::ToSocketAddrs;
use std::time::Duration;

/// Each step is waited for so long. Who watches gives up after a second or a few.
const PATIENCE: Duration = Duration::from_secs(1);
/// The answer is one line, and no longer than this.
const ANSWER_BYTES_MAX: u64 = 256;

/// Asks for the version, which magent answers as long as a server of its own is there to serve clients from. Returns what is
/// to be said; an error is one line: nobody answers, or the answer is another one.
pub fn probe(name: &ServerName) -> Result<String, String> {
    let said = ask(name).map_err(|error| format!("--check: {name}: {}", Reason(&error)))?;
    match said.starts_with("VERSION ") {
        true => Ok(format!("{name} serves: {said}\n")),
        false => Err(format!("--check: {name}: it answers \"{said}\"")),
    }
}

fn ask(name: &ServerName) -> io::Result<String> {
    let mut stream = Stream::connect(&find(name)?, PATIENCE, PATIENCE)?;
    stream.write_all(b"version\r\nquit\r\n")?;
    let mut answer = Vec::new();
    // It hangs up once it has answered.
    stream.take(ANSWER_BYTES_MAX).read_to_end(&mut answer)?;
    match answer.split(|&byte| byte == b'\n').next() {
        None | Some([]) => Err(io::ErrorKind::UnexpectedEof.into()),
        Some(line) => Ok(line.trim_ascii().escape_ascii().to_string()),
    }
}

/// Its address; that of a name is looked up.
fn find(name: &ServerName) -> io::Result<Address> {
    match &name.address {
        Address::Unresolved => match (&*name.host, name.port).to_socket_addrs()?.next() {
            Some(address) => Ok(Address::Tcp(address)),
            None => Ok(Address::Unresolved),
        },
        known => Ok(known.clone()),
    }
}
