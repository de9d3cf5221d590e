//! The floor of the benchmarks: what a proxy would cost that only reads from its clients' sockets and writes to them. It takes the options
//! of the load, which say how long each request and its reply are, and looks at nothing: so many bytes are a request, and the reply is
//! always the same. `load --unchecked` asks it.

#[allow(dead_code)] // The load needs all of it.
mod requests;

use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token};
use requests::Load;
use slab::Slab;
use std::io::{Error, ErrorKind, Read, Result, Write};
use std::process::ExitCode;

const LISTENER: Token = Token(usize::MAX);
/// Read at once, and written at once at least if so much is due.
const BATCH_BYTES: usize = 1 << 16;

struct Client {
    socket: TcpStream,
    /// Of a request that has not come to its end.
    read_bytes: usize,
    /// Of replies, still to be written.
    due_bytes: usize,
}

struct Floor {
    request_bytes: usize,
    reply_bytes: usize,
    /// A reply, and as many more as one write may take.
    replies: Vec<u8>,
    scratch: Vec<u8>,
}

impl Floor {
    fn new(load: &Load) -> Self {
        let mut request = Vec::new();
        load.add_request(0, &mut request);
        let reply_bytes = load.reply_bytes();
        let count = BATCH_BYTES.div_ceil(reply_bytes);
        Self {
            request_bytes: request.len(),
            reply_bytes,
            replies: vec![b'x'; reply_bytes * count],
            scratch: vec![0; BATCH_BYTES],
        }
    }

    /// Takes what has come, and answers what can be; an error is the end of the connection.
    fn serve(&mut self, client: &mut Client) -> Result<()> {
        loop {
            match client.socket.read(&mut self.scratch) {
                Ok(0) => return Err(Error::from(ErrorKind::UnexpectedEof)),
                Ok(count) => {
                    let bytes = client.read_bytes + count;
                    client.read_bytes = bytes % self.request_bytes;
                    client.due_bytes += bytes / self.request_bytes * self.reply_bytes;
                    // There is no more, else it would have been read.
                    if count < self.scratch.len() {
                        break;
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        while client.due_bytes > 0 {
            let begin = (self.reply_bytes - client.due_bytes % self.reply_bytes) % self.reply_bytes;
            let end = self.replies.len().min(begin + client.due_bytes);
            match client.socket.write(&self.replies[begin..end]) {
                Ok(count) => client.due_bytes -= count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

fn accept(listener: &TcpListener, poll: &Poll, clients: &mut Slab<Client>) -> Result<()> {
    loop {
        let mut socket = match listener.accept() {
            Ok((socket, _)) => socket,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
            Err(error) => return Err(error),
        };
        socket.set_nodelay(true)?;
        let entry = clients.vacant_entry();
        let interest = Interest::READABLE | Interest::WRITABLE;
        poll.registry().register(&mut socket, Token(entry.key()), interest)?;
        entry.insert(Client {
            socket,
            read_bytes: 0,
            due_bytes: 0,
        });
    }
}

fn run(load: &Load) -> Result<()> {
    let (mut poll, mut events) = (Poll::new()?, Events::with_capacity(1024));
    let mut listener = TcpListener::bind(load.address)?;
    poll.registry().register(&mut listener, LISTENER, Interest::READABLE)?;
    let (mut floor, mut clients) = (Floor::new(load), Slab::new());
    loop {
        match poll.poll(&mut events, None) {
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            polled => polled?,
        }
        for event in &events {
            if event.token() == LISTENER {
                accept(&listener, &poll, &mut clients)?;
            } else if floor.serve(&mut clients[event.token().0]).is_err() {
                clients.remove(event.token().0);
            }
        }
    }
}

fn main() -> ExitCode {
    let ended = match Load::read(std::env::args().skip(1)) {
        Ok(load) => run(&load).map_err(|error| error.to_string()),
        Err(wrong) => Err(wrong),
    };
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("floor: {error}");
            ExitCode::FAILURE
        }
    }
}
