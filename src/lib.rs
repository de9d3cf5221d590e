//! magent: a memcached proxy that keeps a second copy of every item, so that a dead server costs nothing.
//!
//! # The rooms
//!
//! Dependencies point one way, from top to bottom.
//!
//! ```text
//! main        command line -> Config -> background -> run
//! config      options, one validated Config; every error names its source
//! sys         the only room with unsafe: background, users, files, limits, signals, the terminal, the log; bytes to append to
//! reactor     the only room with sockets, epoll and clocks: listeners, the poll loop, names, the configuration's file
//! status      what is shown by --status: a page, metrics, health; no I/O
//! top         what `magent --top` shows: the statistics of a magent in, lines for a terminal out
//! proxy       a conductor over five owners, and the values that pass between them; again from top to bottom:
//!   front       clients: requests, replies in the order asked, limits, every byte charged to somebody
//!   copier      repair, resync, the list of a server's keys
//!   replicate   one request on its way: the gate of its key, its plan, its reply
//!   fleet       servers: life, health, which of them hold a key, and the ledger: what each of them missed or lacks
//!   upstream    links to servers and the legs on them
//! ring        modulo and ketama, by magent's own rules, libmemcached's or twemproxy's: key -> server
//! protocol    bytes <-> values; no I/O, no allocation: requests, answers and whether they fit, numbers
//! buffer      the buffer chain, made of sys's bytes to append to
//! words       errors of the system and amounts of memory in words
//! ```
//!
//! [`proxy`] knows the world only through two traits: [`proxy::net::Net`] (connect, read, write, close, the time, the log) and
//! [`proxy::control::Control`] (listeners, reloading, names, the end). [`reactor`] implements them with mio,
//! `tests/simulator` with pipes in memory and a clock of its own, so that any failure can be replayed from a seed.
//!
//! # The way of a request
//!
//! ```text
//!  client readable                                      server readable
//!    read once into the reactor's scratch                 read once into the same scratch
//!      parse requests             protocol::codec           parse answers             protocol::server
//!        its place, and its form  front::replies              oldest leg of the link    upstream::answers
//!          the gate of its key    replicate::gate               its transaction's plan   replicate::read, write
//!            key -> servers       fleet, ring                     all legs in? reply      handoff: Reply
//!              bytes on links     upstream                          written by its form     protocol::form
//!  ------- after the whole batch of events: one writev per connection with something to say (Proxy::flush) -------
//! ```
//!
//! An owner calls those below it, and tells those above it by a handoff in a queue ([`proxy`]'s `handoff`), which the conductor
//! empties whenever an owner has come to its end: `Reply`, `GoOn`, `Heal`, `BreakOff` and so on. Legs that were cut off wait
//! longer, until no link is being read.
//!
//! Nothing is written while events are handled, so that the requests of many clients share one write to a server, and
//! pipelined replies share one to a client. A socket is registered once, for both directions, edge-triggered: no
//! epoll_ctl a request. A read that was short has drained the socket: no second one to be told so.
//!
//! # Where to begin to read
//!
//! An hour, in this order:
//!
//! 1. `src/proxy/conductor.rs`: everything that the owners, which `mod.rs` beside it lists, hand on to each other.
//! 2. `src/proxy/replicate/write.rs`: a `set`, from its pass through the gate to its reply; what a plan is.
//! 3. `src/proxy/fleet/ledger/mod.rs`: what is believed of two servers that were not always there; its principles are why the
//!    rest is as it is.
//! 4. `src/proxy/fleet/health.rs`: how a server goes, is looked for, and comes back.
//! 5. `tests/simulator/README.md`: how all that is shown to be right, and the schedules that taught each rule (R1 to R64).

pub mod buffer;
pub mod config;
pub mod protocol;
pub mod proxy;
pub mod reactor;
pub mod ring;
pub mod status;
pub mod sys;
pub mod top;
pub mod words;
