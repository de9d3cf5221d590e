//! A server that says what the test tells it to, for what no real memcached does.

use super::Memcached;
use std::io::{self, BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::time::UNIX_EPOCH;

/// Answers lines by a function of the line; data blocks are lines like any other. `None` closes the connection.
pub struct Fake {
    /// As on magent's command line.
    pub name: String,
}

/// What magent asks a server on every new connection, and what a fake server always says to it.
const STATS: &[u8] = b"STAT pid 1\r\nEND\r\n";

/// What a fake server says to a line.
type Answer = dyn Fn(&str) -> Option<Vec<u8>> + Send + Sync;

impl Fake {
    /// Starts one. The line is given without its end; what is answered is sent as it is.
    pub fn start(answer: impl Fn(&str) -> Option<Vec<u8>> + Send + Sync + 'static) -> Self {
        Self::start_as(Arc::new(answer), |_| false, Some(STATS))
    }

    /// One that says this of itself, all lines with their ends.
    pub fn start_saying(
        stats: &'static [u8],
        answer: impl Fn(&str) -> Option<Vec<u8>> + Send + Sync + 'static,
    ) -> Self {
        Self::start_as(Arc::new(answer), |_| false, Some(stats))
    }

    /// One that is asked for its `stats` like for anything else.
    pub fn start_with_stats(answer: impl Fn(&str) -> Option<Vec<u8>> + Send + Sync + 'static) -> Self {
        Self::start_as(Arc::new(answer), |_| false, None)
    }

    /// One that was started in the same second as that memcached, with a lower process number, so that it decides.
    pub fn start_older(than: &Memcached, answer: impl Fn(&str) -> Option<Vec<u8>> + Send + Sync + 'static) -> Self {
        let started_s = than.stat("time") - than.stat("uptime");
        Self::start_with_stats(move |line| match line {
            "stats" => {
                let time_s = UNIX_EPOCH.elapsed().expect("a time").as_secs();
                let uptime_s = time_s.saturating_sub(started_s);
                Some(format!("STAT pid 1\r\nSTAT uptime {uptime_s}\r\nSTAT time {time_s}\r\nEND\r\n").into_bytes())
            }
            line => answer(line),
        })
    }

    /// One that closes every connection at the first line.
    pub fn start_and_refuse(seen: impl Fn() + Send + Sync + 'static) -> Self {
        let answer = move |_: &str| {
            seen();
            None
        };
        Self::start_as(Arc::new(answer), |_| false, None)
    }

    /// One that closes the connection after an answer that is no whole line, or that is not `END` where it must be.
    pub fn start_and_close(answer: impl Fn(&str) -> Option<Vec<u8>> + Send + Sync + 'static) -> Self {
        let ends = |reply: &[u8]| reply.starts_with(b"VALUE") && !reply.ends_with(b"END\r\n");
        Self::start_as(Arc::new(answer), ends, Some(STATS))
    }

    /// One that does what it likes for each line, `stats` too; an error ends the connection.
    pub fn start_by(serve: impl Fn(&mut &TcpStream, &str) -> io::Result<()> + Send + Sync + 'static) -> Self {
        let serve = Arc::new(serve);
        Self::listen(move |stream| {
            let serve = Arc::clone(&serve);
            std::thread::spawn(move || {
                for line in BufReader::new(&stream).split(b'\n').map_while(Result::ok) {
                    let text = String::from_utf8_lossy(&line);
                    if serve(&mut &stream, text.trim_end_matches('\r')).is_err() {
                        return;
                    }
                }
            });
        })
    }

    fn listen(serve: impl Fn(TcpStream) + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let name = listener.local_addr().expect("an address").to_string();
        // Its threads end with the test process.
        std::thread::spawn(move || listener.incoming().flatten().for_each(serve));
        Self { name }
    }

    fn start_as(answer: Arc<Answer>, ends: fn(&[u8]) -> bool, stats: Option<&'static [u8]>) -> Self {
        Self::listen(move |stream| {
            let answer = Arc::clone(&answer);
            std::thread::spawn(move || serve(&stream, &*answer, ends, stats));
        })
    }
}

fn serve(mut stream: &TcpStream, answer: &Answer, ends: fn(&[u8]) -> bool, stats: Option<&[u8]>) {
    for line in BufReader::new(stream).split(b'\n') {
        let Ok(line) = line else {
            return;
        };
        let text = String::from_utf8_lossy(&line);
        let text = text.trim_end_matches('\r');
        let introduction = stats.filter(|_| text == "stats").map(<[u8]>::to_vec);
        let reply = introduction.or_else(|| answer(text));
        match reply {
            Some(reply) if stream.write_all(&reply).is_ok() && !ends(&reply) => {}
            _ => return,
        }
    }
}
