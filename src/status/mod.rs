//! What magent shows by `--status`, from a [`Report`] to the bytes of a reply. No I/O; all of it is bounded.
//!
//! | file | what it is for |
//! | --- | --- |
//! | `http` | from bytes to a request, from a page to a reply |
//! | `metrics` | for Prometheus |
//! | `health` | for load balancers: whether every key has a live copy, whether clients are served |
//! | `page` `chart` `words` | for people: the page, its curves, what it says in two languages |
//! | `history` `events` | what came before: samples of ten minutes, the last lines of the log |
//! | `text` | what all of them write with |

mod chart;
pub mod events;
mod health;
pub mod history;
pub mod http;
mod metrics;
mod page;
mod text;
mod words;

use crate::proxy::report::Report;
use events::Events;
use history::History;
use http::{Content, Parsed, Refusal};

/// What there is to be shown.
pub struct View<'a> {
    pub report: &'a Report<'a>,
    pub history: &'a History,
    pub events: &'a Events,
}

/// Whether what was read so far is to be answered, be it with a refusal.
pub fn is_complete(read: &[u8]) -> bool {
    http::parse(read) != Parsed::More
}

/// The reply to what was read, once it is complete.
pub fn answer(read: &[u8], view: &View<'_>) -> Vec<u8> {
    let time_s = view.report.unix_time_s;
    let (request, target) = match http::parse(read) {
        Parsed::More => return refuse_slow(time_s),
        Parsed::Refused(refusal) => return http::refuse(refusal, http::asks_for_headers(read), time_s),
        Parsed::Request(request, target) => (request, target),
    };
    let content = match target {
        b"/" => page::page(view, request.language),
        b"/metrics" => metrics::metrics(view.report),
        b"/health" => health::health(view.report),
        b"/ready" => health::ready(view.report),
        _ => return http::refuse(Refusal::NotFound, request.is_head, time_s),
    };
    content.written(request.is_head, time_s)
}

/// The reply to whom no more is read of.
pub fn refuse_slow(time_s: u64) -> Vec<u8> {
    http::refuse(Refusal::Timeout, false, time_s)
}

/// One line of plain text.
fn line(status: &'static str, text: String) -> Content {
    Content {
        status,
        headers: "Content-Type: text/plain; charset=utf-8\r\n",
        body: text + "\n",
    }
}
