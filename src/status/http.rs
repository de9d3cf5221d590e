//! As much of HTTP/1.1 (RFC 9112) as it takes to be read by browsers, Prometheus and load balancers: GET and HEAD, one request a
//! connection.

use super::text::Text;
use super::words::Language;

/// Bytes of a request line and its headers at most.
pub const HEAD_BYTES_MAX: usize = 4096;

/// What bytes of a client came to.
#[derive(Debug, PartialEq, Eq)]
pub enum Parsed<'a> {
    /// It is not complete yet.
    More,
    /// A request, and the path that it asks for.
    Request(Request, &'a [u8]),
    Refused(Refusal),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Request {
    /// Only the headers are wanted.
    pub is_head: bool,
    pub language: Language,
}

/// Why a request is not answered as asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    BadRequest,
    NotFound,
    Method,
    Timeout,
    TargetTooLong,
    HeadersTooLarge,
    Version,
}

/// A page of its own kind.
pub struct Content {
    /// The number and its words.
    pub status: &'static str,
    /// What this kind says beside what all replies say.
    pub headers: &'static str,
    pub body: String,
}

impl Content {
    /// The whole reply.
    pub fn written(&self, is_head: bool, time_s: u64) -> Vec<u8> {
        let mut reply = Text::default();
        reply.add("HTTP/1.1 ").add(self.status).add("\r\nDate: ");
        date(&mut reply, time_s);
        reply.add("\r\n").add(self.headers);
        reply.add("Content-Length: ").number(self.body.len() as u64);
        reply.add("\r\nConnection: close\r\nCache-Control: no-store\r\nX-Content-Type-Options: nosniff\r\n\r\n");
        if !is_head {
            reply.add(&self.body);
        }
        reply.0.into_bytes()
    }
}

/// The reply that says why there is no other.
pub fn refuse(refusal: Refusal, is_head: bool, time_s: u64) -> Vec<u8> {
    let (status, why) = match refusal {
        Refusal::BadRequest => ("400 Bad Request", "not a request of HTTP/1.0 or HTTP/1.1"),
        Refusal::NotFound => ("404 Not Found", "not here; there are /, /metrics, /health and /ready"),
        Refusal::Method => ("405 Method Not Allowed", "only GET and HEAD are answered"),
        Refusal::Timeout => ("408 Request Timeout", "the request did not come in time"),
        Refusal::TargetTooLong => ("414 URI Too Long", "the first line is longer than 4096 bytes"),
        Refusal::HeadersTooLarge => (
            "431 Request Header Fields Too Large",
            "request line and headers are longer than 4096 bytes",
        ),
        Refusal::Version => (
            "505 HTTP Version Not Supported",
            "only HTTP/1.0 and HTTP/1.1 are spoken",
        ),
    };
    let mut content = super::line(status, why.to_owned());
    if refusal == Refusal::Method {
        content.headers = "Allow: GET, HEAD\r\nContent-Type: text/plain; charset=utf-8\r\n";
    }
    content.written(is_head, time_s)
}

/// Whether only the headers of a reply are wanted, be the rest of the request what it may.
pub fn asks_for_headers(read: &[u8]) -> bool {
    read.trim_ascii_start().starts_with(b"HEAD ")
}

/// Reads a request. A body, which no GET has a use for, is not looked at.
pub fn parse(read: &[u8]) -> Parsed<'_> {
    // What is behind that makes no difference, however much of it is there already.
    let read = &read[..read.len().min(HEAD_BYTES_MAX)];
    // An empty line in front is none of it (section 2.2).
    let start = read.iter().take_while(|byte| matches!(byte, b'\r' | b'\n')).count();
    let mut lines = Lines(&read[start..]);
    let Some(first) = lines.next_line() else {
        return match read.len() < HEAD_BYTES_MAX {
            true => Parsed::More,
            false => Parsed::Refused(Refusal::TargetTooLong),
        };
    };
    let (is_head, target, needs_host) = match request_line(first) {
        Ok(parts) => parts,
        Err(refusal) => return Parsed::Refused(refusal),
    };
    let (mut hosts, mut language) = (0, Language::English);
    loop {
        let line = match lines.next_line() {
            Some(b"") => break,
            Some(line) => line,
            None if read.len() < HEAD_BYTES_MAX => return Parsed::More,
            None => return Parsed::Refused(Refusal::HeadersTooLarge),
        };
        // A name that ends in a blank, and a line that goes on with the one before it, are errors (section 5).
        let colon = line.iter().position(|&byte| byte == b':');
        let Some((name, value)) = colon.map(|colon| (&line[..colon], &line[colon + 1..])) else {
            return Parsed::Refused(Refusal::BadRequest);
        };
        if name.is_empty() || !name.iter().all(is_token) {
            return Parsed::Refused(Refusal::BadRequest);
        }
        hosts += u32::from(name.eq_ignore_ascii_case(b"host"));
        if name.eq_ignore_ascii_case(b"accept-language") {
            language = Language::wanted(value);
        }
    }
    let has_host = hosts == 1 || hosts == 0 && !needs_host;
    match target {
        Some(path) if has_host => Parsed::Request(Request { is_head, language }, path),
        _ => Parsed::Refused(Refusal::BadRequest),
    }
}

/// What a first line asks for: whether by HEAD, the path if it is one, and whether a host is to be named.
fn request_line(line: &[u8]) -> Result<(bool, Option<&[u8]>, bool), Refusal> {
    let mut words = line.split(|&byte| byte == b' ');
    let (Some(method), Some(target), Some(version), None) = (words.next(), words.next(), words.next(), words.next())
    else {
        return Err(Refusal::BadRequest);
    };
    if method.is_empty() || !method.iter().all(is_token) || !target.iter().all(u8::is_ascii_graphic) {
        return Err(Refusal::BadRequest);
    }
    let needs_host = match version {
        b"HTTP/1.0" => false,
        b"HTTP/1.1" => true,
        _ if version.starts_with(b"HTTP/") => return Err(Refusal::Version),
        _ => return Err(Refusal::BadRequest),
    };
    match method {
        b"GET" | b"HEAD" => Ok((method == b"HEAD", path(target), needs_host)),
        _ => Err(Refusal::Method),
    }
}

/// The path of a target: of `/path?query`, and of `http://host/path` (section 3.2.2).
fn path(target: &[u8]) -> Option<&[u8]> {
    let path = match target.first() {
        Some(b'/') => target,
        _ => {
            let scheme = target
                .get(..7)
                .filter(|scheme| scheme.eq_ignore_ascii_case(b"http://"))?;
            let rest = &target[scheme.len()..];
            let host = rest.iter().position(|&byte| byte == b'/' || byte == b'?');
            host.map_or(&b"/"[..], |end| &rest[end..])
        }
    };
    match path.split(|&byte| byte == b'?').next() {
        Some(b"") => Some(b"/"),
        path => path,
    }
}

/// Of what names of methods and headers are made (RFC 9110, 5.6.2).
fn is_token(byte: &u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte)
}

/// What is not read yet, line by line; a line ends in `\r\n` or `\n`.
struct Lines<'a>(&'a [u8]);

impl<'a> Lines<'a> {
    fn next_line(&mut self) -> Option<&'a [u8]> {
        let end = self.0.iter().position(|&byte| byte == b'\n')?;
        let line = &self.0[..end];
        self.0 = &self.0[end + 1..];
        Some(line.strip_suffix(b"\r").unwrap_or(line))
    }
}

/// The time as `Sun, 06 Nov 1994 08:49:37 GMT` (RFC 9110, 5.6.7).
fn date(out: &mut Text, time_s: u64) {
    const DAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
    const MONTHS: [(&str, u64); 12] = [
        ("Jan", 31),
        ("Feb", 28),
        ("Mar", 31),
        ("Apr", 30),
        ("May", 31),
        ("Jun", 30),
        ("Jul", 31),
        ("Aug", 31),
        ("Sep", 30),
        ("Oct", 31),
        ("Nov", 30),
        ("Dec", 31),
    ];
    let days = time_s / 86_400;
    let (mut year, mut day) = (1970, days);
    let is_leap = |year: u64| year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    while day >= 365 + u64::from(is_leap(year)) {
        day -= 365 + u64::from(is_leap(year));
        year += 1;
    }
    let mut month = "";
    for (name, length) in MONTHS {
        let length = length + u64::from(name == "Feb" && is_leap(year));
        month = name;
        if day < length {
            break;
        }
        day -= length;
    }
    out.add(DAYS[(days % 7) as usize]).add(", ").digits(day + 1, 2).add(" ");
    out.add(month).add(" ").number(year);
    for (between, number) in [(" ", time_s / 3600 % 24), (":", time_s / 60 % 60), (":", time_s % 60)] {
        out.add(between).digits(number, 2);
    }
    out.add(" GMT");
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn asked(text: &str) -> Result<(bool, &str), Refusal> {
        match parse(text.as_bytes()) {
            Parsed::Request(request, path) => Ok((request.is_head, std::str::from_utf8(path).unwrap())),
            Parsed::Refused(refusal) => Err(refusal),
            Parsed::More => panic!("{text:?} is complete"),
        }
    }

    #[test]
    fn what_clients_send_is_understood() {
        for (text, expected) in [
            ("GET / HTTP/1.1\r\nHost: a\r\n\r\n", (false, "/")),
            ("HEAD /metrics HTTP/1.1\r\nhost:a\r\n\r\n", (true, "/metrics")),
            ("GET /health HTTP/1.0\r\n\r\n", (false, "/health")),
            ("GET /health HTTP/1.0\n\n", (false, "/health")),
            ("\r\nGET /ready?probe=1 HTTP/1.1\r\nHost: a\r\n\r\n", (false, "/ready")),
            (
                "GET http://a:1/metrics HTTP/1.1\r\nHost: a:1\r\n\r\n",
                (false, "/metrics"),
            ),
            ("GET http://a HTTP/1.1\r\nHost: a\r\n\r\n", (false, "/")),
        ] {
            assert_eq!(asked(text), Ok(expected), "{text:?}");
        }
    }

    #[test]
    fn what_is_none_is_refused() {
        for (text, refusal) in [
            ("GET /\r\n\r\n", Refusal::BadRequest),
            ("GET / HTTP/1.1\r\n\r\n", Refusal::BadRequest),
            ("GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", Refusal::BadRequest),
            ("GET / HTTP/1.1\r\nHost: a\r\n folded\r\n\r\n", Refusal::BadRequest),
            ("GET / HTTP/1.1\r\nHost : a\r\n\r\n", Refusal::BadRequest),
            ("GET  / HTTP/1.1\r\nHost: a\r\n\r\n", Refusal::BadRequest),
            ("GET relative HTTP/1.1\r\nHost: a\r\n\r\n", Refusal::BadRequest),
            ("get key\r\n\r\n", Refusal::BadRequest),
            ("GET / HTTP/2.0\r\n\r\n", Refusal::Version),
            ("POST / HTTP/1.1\r\nHost: a\r\n\r\n", Refusal::Method),
            ("get / HTTP/1.1\r\nHost: a\r\n\r\n", Refusal::Method),
        ] {
            assert_eq!(asked(text), Err(refusal), "{text:?}");
        }
    }

    #[test]
    fn too_much_is_refused() {
        let long = "a".repeat(HEAD_BYTES_MAX);
        assert_eq!(asked(&long), Err(Refusal::TargetTooLong));
        let headers = format!("GET / HTTP/1.1\r\nHost: {long}");
        assert_eq!(asked(&headers), Err(Refusal::HeadersTooLarge));
        assert_eq!(asked(&(headers + "\r\n\r\n")), Err(Refusal::HeadersTooLarge));
    }

    #[test]
    fn a_reply_says_how_long_it_is_and_head_leaves_it_out() {
        let content = super::super::line("200 OK", "ok".to_owned());
        let [whole, head] =
            [false, true].map(|is_head| String::from_utf8(content.written(is_head, 784_111_777)).unwrap());
        assert!(
            whole.starts_with("HTTP/1.1 200 OK\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\n"),
            "{whole}"
        );
        assert!(whole.contains("\r\nContent-Length: 3\r\n") && whole.contains("\r\nConnection: close\r\n"));
        assert_eq!(whole, head + "ok\n");
    }

    #[test]
    fn dates_are_right_in_leap_years_too() {
        for (time_s, expected) in [
            (0, "Thu, 01 Jan 1970 00:00:00 GMT"),
            (951_782_400, "Tue, 29 Feb 2000 00:00:00 GMT"),
            (1_798_761_599, "Thu, 31 Dec 2026 23:59:59 GMT"),
        ] {
            let mut out = Text::default();
            date(&mut out, time_s);
            assert_eq!(out.0, expected);
        }
    }

    proptest! {
        #[test]
        fn however_it_comes_it_means_the_same(bytes in prop::collection::vec(any::<u8>(), 0..200), cut in 0..200_usize) {
            let whole = [b"GET / HTTP/1.1\r\nHost: a\r\n".as_slice(), &bytes, b"\r\n\r\n"].concat();
            let cut = cut.min(whole.len());
            match parse(&whole[..cut]) {
                Parsed::More => {}
                before => prop_assert_eq!(before, parse(&whole)),
            }
        }
    }
}
