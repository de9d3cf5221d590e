//! What load balancers ask: 200 or 503, and one line that says why.

use super::http::Content;
use super::line;
use super::text::Text;
use crate::proxy::report::Report;

const OK: &str = "200 OK";
const UNAVAILABLE: &str = "503 Service Unavailable";
const STARTING: &str = "magent does not know yet what the servers hold";

/// Whether every key has a live copy.
pub fn health(report: &Report<'_>) -> Content {
    match lost(report) {
        _ if report.is_starting => line(UNAVAILABLE, STARTING.to_owned()),
        None => line(OK, "ok".to_owned()),
        Some(reason) => line(UNAVAILABLE, reason),
    }
}

/// Whether a client that connects now would be served: what the servers hold is known, one of them is up at least, there is room for
/// a client more, and magent does not end.
pub fn ready(report: &Report<'_>) -> Content {
    let reason = match report {
        _ if report.is_leaving => "magent was told to end",
        _ if report.is_starting => STARTING,
        _ if !report.servers.iter().any(|server| server.is_up) => "no server is up",
        _ if report.clients >= report.clients_max => "there are as many clients as there may be (-n)",
        _ => return line(OK, "ok".to_owned()),
    };
    line(UNAVAILABLE, reason.to_owned())
}

/// Whose keys have no live copy, if there are such keys: in one line.
pub fn lost(report: &Report<'_>) -> Option<String> {
    let &(one, other) = report.lost.first()?;
    let mut reason = Text::default();
    let server = &report.servers[one];
    reason
        .add("keys without a live copy: ")
        .add(&server.name)
        .add(" is ")
        .add(word(server.state));
    match other.map(|other| &report.servers[other]) {
        None => reason.add(" and its keys have no backup"),
        Some(other) => reason
            .add(", its partner ")
            .add(&other.name)
            .add(" is ")
            .add(word(other.state)),
    };
    match report.lost.len() - 1 {
        0 => {}
        1 => _ = reason.add("; and one pair more"),
        more => _ = reason.add("; and ").number(more as u64).add(" pairs more"),
    }
    Some(reason.0)
}

/// A state in a sentence.
fn word(state: &str) -> &str {
    match state {
        "up" | "up, cold" => "up and lacks what that had",
        state => state,
    }
}
