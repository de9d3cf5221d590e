//! A magent's end of its connections: its events, its turns, its kernel.

use super::{Event, Name, Network, Peer, Port, State};
use crate::pipe::{End, Us};
use magent::proxy::net::{Readiness, Token};

impl Network {
    /// Something happened to a magent's socket: an event, unless one is waiting already.
    pub(super) fn raise(&mut self, name: Name) {
        let Some(connection) = self.connection(name) else {
            return;
        };
        if connection.token.is_none() || connection.queued || connection.state == State::Left {
            return;
        }
        connection.queued = true;
        let magent = connection.magent;
        self.ports[magent].events.push(name);
        self.wake(magent);
    }

    pub(super) fn wake(&mut self, magent: usize) {
        let delay = self.random.skewed(1, 60);
        self.turn_by(magent, self.now + delay);
    }

    /// A magent's loop turns at `time` at the latest.
    pub fn turn_by(&mut self, magent: usize, time: Us) {
        let port = &mut self.ports[magent];
        let time = time.max(port.stalled_until);
        if port.turn_at.is_none_or(|turn_at| time < turn_at) {
            port.turn_at = Some(time);
            self.at(time, Event::Turn(magent));
        }
    }

    /// Whether a turn that comes up now is the one that counts.
    pub fn take_turn(&mut self, magent: usize) -> bool {
        let now = self.now;
        let port = &mut self.ports[magent];
        if port.turn_at != Some(now) {
            return false;
        }
        port.turn_at = None;
        if port.stalled_until > now {
            let until = port.stalled_until;
            self.turn_by(magent, until);
            return false;
        }
        true
    }

    /// The events of a batch, each with the state of its socket now.
    pub fn take_events(&mut self, magent: usize) -> Vec<(Token, Readiness)> {
        self.meters[magent].worked |= !self.ports[magent].events.is_empty();
        let mut names = std::mem::take(&mut self.ports[magent].events);
        if self.random.one_in(16) && names.len() > 1 {
            let (a, b) = (
                self.random.below(names.len() as u64),
                self.random.below(names.len() as u64),
            );
            names.swap(a as usize, b as usize);
        }
        if self.random.one_in(128) {
            let all = self.names(|connection| connection.magent == magent && connection.token.is_some());
            if !all.is_empty() {
                names.push(*self.random.pick(&all)); // a spurious one
            }
        }
        let mut events = Vec::with_capacity(names.len());
        for name in names {
            if let Some(connection) = self.connection(name) {
                if let Some(token) = connection.token {
                    connection.queued = false;
                    let readiness = connection.readiness();
                    if readiness != Readiness::default() {
                        events.push((token, readiness));
                    }
                }
            }
        }
        events
    }

    /// The magent's process has died: its kernel ends its connections. What servers that do not read have of it is lost:
    /// no other magent could know of it.
    pub fn magent_died(&mut self, magent: usize, silent: &[bool]) {
        self.ports[magent] = Port::default();
        for name in self.names(|connection| connection.magent == magent) {
            if let Some(connection) = self.connection(name) {
                if let Peer::Server(server) = connection.peer {
                    if silent[server] {
                        connection.outward.lose_all();
                    }
                }
            }
        }
        for name in self.names(|connection| connection.magent == magent && connection.state != State::Left) {
            self.close_socket(name);
        }
    }

    pub(super) fn close_socket(&mut self, name: Name) {
        let now = self.now;
        let Some(connection) = self.connection(name) else {
            return;
        };
        let was = std::mem::replace(&mut connection.state, State::Left);
        let unread = connection.inward.arrived() > 0;
        let held_up = connection.outward.is_held_up(now);
        connection.inward.lose_flights();
        connection.backlog.clear();
        let (magent, peer) = (connection.magent, connection.peer);
        if matches!(was, State::Failed(_)) || (was == State::Connecting && connection.accepted.is_none()) {
            connection.peer_left = true;
        } else if !connection.peer_left {
            // A kernel that throws away unread bytes says so with a reset, which may overtake what was sent.
            let (mut end, mut loses) = match unread {
                true => (End::Reset, self.random.one_in(2)),
                false => (End::Closed, false),
            };
            if let Peer::Server(_) = peer {
                // Links are reset: what the kernel would have to send again is thrown away.
                end = End::Reset;
                loses |= self.is_cut(magent, peer) || held_up;
            }
            let weather = self.weather_of(true, peer);
            if let Some(connection) = self.connections[name.index].as_mut() {
                if loses {
                    connection.outward.lose_flights();
                }
                if let Some(time) = connection.outward.send_end(end, now, &weather, &mut self.random) {
                    self.at(time, Event::Arrive { name, inward: false });
                }
            }
        }
        self.remove_if_over(name);
    }
}
