//! A load generator for the benchmarks: some clients, each with so many requests in flight, in one of the three protocols. It mixes
//! nothing: all requests are of one kind, so that what one costs can be told.
//!
//! Each item's value begins with its key, and each reply has to have the length and the value that it should have; anything else ends the
//! run with an error. What it has measured is one line of JSON: requests, seconds, and microseconds that were waited.

mod requests;

use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};
use requests::{Command, KEY_BYTES, Load, Protocol};
use std::collections::VecDeque;
use std::io::{BufRead, Error, ErrorKind, Read, Result, Write};
use std::process::ExitCode;
use std::time::{Duration, Instant};

/// Longest that nothing may come: under valgrind, on a busy machine, 5 s were not enough.
const SILENCE_MAX: Duration = Duration::from_secs(30);

/// What each reply begins with.
fn beginning(load: &Load) -> &'static [u8] {
    match (load.protocol, load.command) {
        (Protocol::Text, Command::Get) => b"VALUE ",
        (Protocol::Meta, Command::Get) => b"VA ",
        (Protocol::Text, Command::Set) => b"STORED\r\n",
        (Protocol::Meta, Command::Set) => b"HD\r\n",
        (Protocol::Binary, Command::Get) => &[0x81, 0],
        (Protocol::Binary, Command::Set) => &[0x81, 1],
    }
}

/// Whether that is the reply to the request for these keys.
fn is_right(load: &Load, key: usize, reply: &[u8]) -> bool {
    let (before, behind, end) = load.parts_of_reply();
    let has_status = load.protocol != Protocol::Binary || reply[6..8] == [0, 0];
    let each = before + load.value_bytes + behind;
    let is_item = |(n, item): (usize, &[u8])| {
        let value = &item[before..];
        let number = value
            .get("key-".len()..KEY_BYTES)
            .and_then(|digits| std::str::from_utf8(digits).ok());
        number.and_then(|number| number.parse().ok()) == Some(load.number(key + n))
    };
    let items = match load.command {
        Command::Get => &reply[..reply.len() - end],
        Command::Set => &[],
    };
    reply.starts_with(beginning(load)) && has_status && items.chunks(each).enumerate().all(is_item)
}

fn check(load: &Load, key: usize, reply: &[u8]) -> Result<()> {
    if load.unchecked || is_right(load, key, reply) {
        return Ok(());
    }
    let shown = reply[..reply.len().min(60)].escape_ascii();
    Err(Error::other(format!("for key {} came {shown}", load.number(key))))
}

/// What has come of a reply that is not whole: a miss or an error is shorter, and would be waited for in vain.
fn check_part(load: &Load, part: &[u8]) -> Result<()> {
    let is_right = part.iter().zip(beginning(load)).all(|(is, should)| is == should);
    match load.unchecked || is_right {
        true => Ok(()),
        false => Err(Error::other(format!(
            "instead of a reply came {}",
            part[..part.len().min(60)].escape_ascii()
        ))),
    }
}

fn connect(load: &Load) -> Result<std::net::TcpStream> {
    let stream = std::net::TcpStream::connect(load.address)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(SILENCE_MAX))?;
    Ok(stream)
}

/// Stores all items.
fn fill(load: &Load) -> Result<()> {
    let mut stream = connect(load)?;
    let sets = Load {
        protocol: Protocol::Text,
        command: Command::Set,
        ..*load
    };
    let (mut request, mut replies) = (Vec::new(), vec![0; sets.reply_bytes() * 100]);
    for first in (0..load.keys).step_by(100) {
        let count = 100.min(load.keys - first);
        request.clear();
        (first..first + count).for_each(|key| sets.add_request(key, &mut request));
        stream.write_all(&request)?;
        let said = &mut replies[..count * sets.reply_bytes()];
        read_all(&sets, &mut stream, said)?;
        if !said.chunks(sets.reply_bytes()).all(|reply| reply == b"STORED\r\n") {
            return Err(Error::other(format!("an item was not stored: {}", said.escape_ascii())));
        }
    }
    Ok(())
}

fn read_all(load: &Load, stream: &mut std::net::TcpStream, replies: &mut [u8]) -> Result<()> {
    let mut len = 0;
    while len < replies.len() {
        match stream.read(&mut replies[len..]) {
            Ok(0) => return Err(Error::other("the connection was closed")),
            Ok(count) => len += count,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
        check_part(load, &replies[..len])?;
    }
    Ok(())
}

struct Client {
    socket: TcpStream,
    output: Vec<u8>,
    written: usize,
    input: Vec<u8>,
    /// The first key of each request that is not answered, and when it was sent.
    asked: VecDeque<(usize, Instant)>,
}

struct Run {
    load: Load,
    random: u64,
    /// Requests that are still to be sent, and those that are not answered.
    left: usize,
    in_flight: usize,
    /// The client that asked last, where they take turns.
    turn: usize,
    waits_us: Vec<u32>,
}

impl Run {
    fn new(load: Load) -> Self {
        Self {
            left: load.requests,
            load,
            random: 0x9e37_79b9_7f4a_7c15,
            in_flight: 0,
            turn: 0,
            waits_us: Vec::new(),
        }
    }

    fn next_key(&mut self) -> usize {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        (self.random % self.load.keys as u64) as usize
    }

    /// Connects all clients. Each is answered once, so that the server has accepted it, and so that what happens once for each is
    /// not measured.
    fn connect(&mut self, poll: &Poll) -> Result<Vec<Client>> {
        let mut reply = vec![0; self.load.reply_bytes()];
        let mut clients = Vec::new();
        for token in 0..self.load.clients {
            let (mut stream, key) = (connect(&self.load)?, self.next_key());
            let mut request = Vec::new();
            self.load.add_request(key, &mut request);
            stream.write_all(&request)?;
            read_all(&self.load, &mut stream, &mut reply)?;
            check(&self.load, key, &reply)?;
            stream.set_nonblocking(true)?;
            let mut socket = TcpStream::from_std(stream);
            let interest = Interest::READABLE | Interest::WRITABLE;
            poll.registry().register(&mut socket, Token(token), interest)?;
            clients.push(Client {
                socket,
                output: Vec::new(),
                written: 0,
                input: Vec::new(),
                asked: VecDeque::new(),
            });
        }
        Ok(clients)
    }

    /// As many requests as there may be of this client.
    fn ask(&mut self, client: &mut Client) -> Result<()> {
        while client.asked.len() < self.load.depth && self.left > 0 {
            self.left -= 1;
            self.in_flight += 1;
            let key = self.next_key();
            self.load.add_request(key, &mut client.output);
            client.asked.push_back((key, Instant::now()));
        }
        self.write(client)
    }

    /// One request, of the next client that is waiting for none.
    fn ask_next(&mut self, clients: &mut [Client]) -> Result<()> {
        let count = clients.len();
        let turns = (1..=count).map(|n| (self.turn + n) % count);
        if let Some(next) = turns.into_iter().find(|&next| clients[next].asked.is_empty()) {
            self.turn = next;
            self.ask(&mut clients[next])?;
        }
        Ok(())
    }

    fn write(&self, client: &mut Client) -> Result<()> {
        while client.written < client.output.len() {
            match client.socket.write(&client.output[client.written..]) {
                Ok(count) => client.written += count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        client.output.clear();
        client.written = 0;
        Ok(())
    }

    /// Takes what has come: so many replies.
    fn read(&mut self, client: &mut Client, scratch: &mut [u8]) -> Result<usize> {
        loop {
            match client.socket.read(scratch) {
                Ok(0) => return Err(Error::other("the connection was closed")),
                Ok(count) => client.input.extend_from_slice(&scratch[..count]),
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        let (len, now) = (self.load.reply_bytes(), Instant::now());
        let whole = client.input.len() / len;
        for reply in client.input.chunks_exact(len).take(whole) {
            let (key, sent) = client
                .asked
                .pop_front()
                .ok_or(Error::other("more came than was asked"))?;
            check(&self.load, key, reply)?;
            self.waits_us.push((now - sent).as_micros() as u32);
        }
        client.input.drain(..whole * len);
        check_part(&self.load, &client.input)?;
        self.in_flight -= whole;
        Ok(whole)
    }

    /// Asks until it is time, and waits for the last reply; so many seconds.
    fn play(&mut self, poll: &mut Poll, clients: &mut [Client]) -> Result<f64> {
        let mut events = Events::with_capacity(1024);
        let mut scratch = vec![0; 1 << 16];
        let begun = Instant::now();
        match self.load.at_once {
            Some(count) => (0..count).try_for_each(|_| self.ask_next(clients))?,
            None => clients.iter_mut().try_for_each(|client| self.ask(client))?,
        }
        while self.in_flight > 0 {
            poll.poll(&mut events, Some(SILENCE_MAX))?;
            if events.is_empty() {
                return Err(Error::other("nothing comes any more"));
            }
            if begun.elapsed().as_secs_f64() >= self.load.seconds {
                self.left = 0;
            }
            for event in &events {
                let client = &mut clients[event.token().0];
                let answered = self.read(client, &mut scratch)?;
                match self.load.at_once {
                    None => self.ask(client)?,
                    Some(_) => {
                        self.write(client)?;
                        (0..answered).try_for_each(|_| self.ask_next(clients))?;
                    }
                }
            }
        }
        Ok(begun.elapsed().as_secs_f64())
    }

    /// Says that it is ready, if it should, and whether it may go on.
    fn may_begin(&self) -> Result<bool> {
        if !self.load.steps {
            return Ok(true);
        }
        println!("ready");
        Ok(std::io::stdin().lock().read_line(&mut String::new())? > 0)
    }

    /// The line that says what was measured; `None` if it was told not to begin.
    fn all(&mut self) -> Result<Option<String>> {
        if !self.load.unchecked {
            fill(&self.load)?;
        }
        let mut poll = Poll::new()?;
        let mut clients = self.connect(&poll)?;
        if !self.may_begin()? {
            return Ok(None);
        }
        let seconds = self.play(&mut poll, &mut clients)?;
        self.waits_us.sort_unstable();
        let at = |part: f64| {
            let last = self.waits_us.len().saturating_sub(1);
            self.waits_us.get((last as f64 * part) as usize).copied().unwrap_or(0)
        };
        Ok(Some(format!(
            "{{\"requests\": {}, \"seconds\": {seconds:.3}, \"p50_us\": {}, \"p99_us\": {}, \"max_us\": {}}}",
            self.waits_us.len(),
            at(0.5),
            at(0.99),
            at(1.0)
        )))
    }
}

fn main() -> ExitCode {
    let load = match Load::read(std::env::args().skip(1)) {
        Ok(load) => load,
        Err(wrong) => {
            eprintln!("{wrong}");
            return ExitCode::from(2);
        }
    };
    match Run::new(load).all() {
        Ok(line) => {
            line.into_iter().for_each(|line| println!("{line}"));
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("load: {error}");
            ExitCode::FAILURE
        }
    }
}
