//! `magent --top`: asks a magent for its statistics once a second, and shows them.

use super::stream::Stream;
use crate::proxy::settings::ServerName;
use crate::sys::{Terminal, monotonic_us};
use crate::top::{REQUEST, Room, Sample, Watch};
use crate::words::Reason;
use std::io::{self, Read, Write};
use std::os::fd::AsRawFd;
use std::thread;
use std::time::Duration;

/// Between two samples.
const PAUSE_MS: u64 = 1000;
/// A connection is waited for so long. Nobody can quit meanwhile.
const TO_CONNECT: Duration = Duration::from_secs(1);
/// An answer is late after this, and no longer waited for after that: a magent asks its servers, and waits for those that hang.
const LATE_MS: u64 = 2000;
const PATIENCE_MS: u64 = 10_000;
/// Nothing that a magent answers has more bytes.
const ANSWER_BYTES_MAX: usize = 8 << 20;
const READ_BYTES: usize = 16 << 10;

/// One second of a magent, as plain text. An error is one line.
pub fn top_once(at: &[ServerName]) -> Result<String, String> {
    let (mut link, mut watch) = begin(at)?;
    thread::sleep(Duration::from_millis(PAUSE_MS));
    watch.take(link.wait().map_err(|error| cannot_ask(&watch.name, &error))?);
    Ok(watch.plain(now_ms()))
}

/// Shows a magent on the terminal until told to end. An error is one line: there was none at the start, or there is no terminal.
pub fn top(at: &[ServerName]) -> Result<(), String> {
    if !Terminal::can_draw() {
        let text = top_once(at)?;
        return io::stdout()
            .write_all(text.as_bytes())
            .map_err(|error| format!("cannot write: {}", Reason(&error)));
    }
    let (link, watch) = begin(at)?;
    let shown = Terminal::open().and_then(|terminal| {
        let mut show = Show {
            at,
            watch,
            link: Some(link),
            terminal,
            colours: std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty()),
        };
        show.run()
    });
    shown.map_err(|error| format!("--top: cannot use the terminal: {}", Reason(&error)))
}

fn now_ms() -> u64 {
    monotonic_us() / 1000
}

/// The first sample.
fn begin(at: &[ServerName]) -> Result<(Link, Watch), String> {
    let (mut link, name) = Link::connect(at)?;
    let sample = link.wait().map_err(|error| cannot_ask(&name, &error))?;
    if !sample.is_of_magent() {
        return Err(format!("--top: {name}: what answers there is no magent"));
    }
    let mut watch = Watch::new(name);
    watch.take(sample);
    Ok((link, watch))
}

fn cannot_ask(name: &str, error: &io::Error) -> String {
    let reason = match error.kind() {
        // What a time limit of a socket is called.
        io::ErrorKind::WouldBlock => "no answer in time".to_owned(),
        _ => Reason(error).to_string(),
    };
    format!("--top: {name}: {reason}")
}

/// A connection to a magent.
struct Link {
    stream: Stream,
    answer: Vec<u8>,
    /// When it was asked what it has not answered.
    asked_ms: Option<u64>,
}

impl Link {
    /// To the first address where somebody listens, whose name is returned, too.
    fn connect(at: &[ServerName]) -> Result<(Self, String), String> {
        let mut failed = String::new();
        for server in at {
            let name = server.to_string();
            match Stream::connect(&server.address, TO_CONNECT, Duration::from_millis(PATIENCE_MS)) {
                Ok(stream) => {
                    let link = Self {
                        stream,
                        answer: Vec::new(),
                        asked_ms: None,
                    };
                    return Ok((link, name));
                }
                // The first one says most: it is where clients go.
                Err(error) if failed.is_empty() => failed = cannot_ask(&name, &error),
                Err(_) => {}
            }
        }
        Err(failed)
    }

    fn ask(&mut self) -> io::Result<()> {
        self.answer.clear();
        self.asked_ms = Some(now_ms());
        self.stream.write_all(REQUEST)
    }

    /// Reads once. There is a sample when all is there.
    fn read(&mut self) -> io::Result<Option<Sample>> {
        let mut bytes = [0; READ_BYTES];
        let count = self.stream.read(&mut bytes)?;
        if count == 0 {
            return Err(io::Error::other("the connection is closed"));
        }
        self.answer.extend_from_slice(&bytes[..count]);
        if self.answer.len() > ANSWER_BYTES_MAX {
            return Err(io::Error::other("the answer does not end"));
        }
        let sample = Sample::read(&self.answer, now_ms());
        if sample.is_some() {
            self.asked_ms = None;
        }
        Ok(sample)
    }

    /// Asks, and waits for the answer.
    fn wait(&mut self) -> io::Result<Sample> {
        self.ask()?;
        loop {
            if let Some(sample) = self.read()? {
                return Ok(sample);
            }
        }
    }
}

/// A magent on the terminal.
struct Show<'a> {
    at: &'a [ServerName],
    watch: Watch,
    /// None while there is none that answers.
    link: Option<Link>,
    terminal: Terminal,
    colours: bool,
}

impl Show<'_> {
    fn run(&mut self) -> io::Result<()> {
        let mut due_ms = now_ms() + PAUSE_MS;
        self.draw()?;
        loop {
            let fd = self.link.as_ref().map(|link| link.stream.as_raw_fd());
            let happened = self.terminal.wait(fd, due_ms.saturating_sub(now_ms()))?;
            if happened.end {
                return Ok(());
            }
            let mut redraw = happened.redraw || happened.readable && self.read();
            if now_ms() >= due_ms {
                due_ms = now_ms() + PAUSE_MS;
                redraw |= self.ask();
            }
            if redraw {
                self.draw()?;
            }
        }
    }

    fn draw(&mut self) -> io::Result<()> {
        let (columns, rows) = self.terminal.size();
        let text = self.watch.painted(Room { columns, rows }, self.colours, now_ms());
        self.terminal.draw(text.as_bytes())
    }

    fn lost(&mut self, why: &str) {
        self.link = None;
        self.watch.lost(why.to_owned(), now_ms());
    }

    /// Takes what has come. Returns whether there is something new to see.
    fn read(&mut self) -> bool {
        match self.link.as_mut().map(Link::read) {
            Some(Ok(Some(sample))) => self.watch.take(sample),
            Some(Err(error)) => self.lost(&Reason(&error).to_string()),
            Some(Ok(None)) | None => return false,
        }
        true
    }

    /// Asks anew, on another connection if the last one is lost. Returns whether there is something new to see before the answer.
    fn ask(&mut self) -> bool {
        let waited_ms = self
            .link
            .as_ref()
            .and_then(|link| link.asked_ms)
            .map(|ms| now_ms() - ms);
        match waited_ms {
            Some(ms) if ms >= PATIENCE_MS => self.lost("no answer in time"),
            Some(ms) if ms >= LATE_MS => self.watch.lost("no answer yet".to_owned(), now_ms()),
            Some(_) => return false,
            None => return self.ask_anew(),
        }
        true
    }

    fn ask_anew(&mut self) -> bool {
        if self.link.is_none() {
            match Link::connect(self.at) {
                Ok((link, name)) => {
                    self.watch.name = name;
                    self.link = Some(link);
                }
                Err(why) => {
                    let why = why.strip_prefix("--top: ").unwrap_or(&why);
                    self.lost(why);
                }
            }
        }
        if let Some(Err(error)) = self.link.as_mut().map(Link::ask) {
            self.lost(&Reason(&error).to_string());
        }
        self.link.is_none()
    }
}
