//! magent: a memcached proxy that keeps a second copy of every item, so that a dead server costs nothing.
//!
//! # The rooms
//!
//! Dependencies point one way, from top to bottom.
//!
//! ```text
//! main        command line -> Config -> background -> run
//! config      options, one validated Config; every error names its source
//! sys         the only room with unsafe: background, users, files, limits, signals, the log; bytes to append to
//! reactor     the only room with sockets, epoll and clocks: listeners, the poll loop, timers, names, reloading
//! proxy       the state machines, and the values that pass between them:
//!   front       clients: requests, replies in the order asked, limits
//!   replicate   one request on its way: the gate of its key, reads, two copies
//!   upstream    links to servers and the legs on them
//!   fleet       servers: life, health, which of them hold a key, what each of them missed
//!   copier      repair, resync, the list of a server's keys
//! ring        modulo and ketama: key -> server
//! protocol    bytes <-> meaning; no I/O, no allocation: requests, answers and whether they fit, numbers
//! buffer      the buffer chain, made of sys's bytes to append to
//! words       errors of the system and amounts of memory in words
//! ```
//!
//! [`proxy`] knows the world only through [`proxy::net::Net`]: connect, read, write, close, the time, the log.
//! [`reactor`] implements it with mio, `tests/simulator` with pipes in memory and a clock of its own, so that any failure
//! can be replayed from a seed.
//!
//! # The way of a request
//!
//! ```text
//!  client readable                                      server readable
//!    read once into the reactor's scratch                 read once into the same scratch
//!      parse requests             protocol::text            parse answers             protocol::server
//!        key -> primary, backup   fleet::farm, ring           oldest leg of the link  upstream::answers
//!          transaction and legs   front::dispatch               its transaction       replicate::read, write
//!            bytes on each        upstream                        all legs in? reply  front::transaction
//!            link's chain                                         on the client's chain
//!  ------- after the whole batch of events: one writev per connection with something to say (Proxy::flush) -------
//! ```
//!
//! Nothing is written while events are handled, so that the requests of many clients share one write to a server, and
//! pipelined replies share one to a client. A socket is registered once, for both directions, edge-triggered: no
//! epoll_ctl a request. A read that was short has drained the socket: no second one to be told so.

pub mod buffer;
pub mod config;
pub mod protocol;
pub mod proxy;
pub mod reactor;
pub mod ring;
pub mod sys;
pub mod words;
