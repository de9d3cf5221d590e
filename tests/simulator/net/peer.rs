//! The other ends of a magent's connections: servers and clients.

use super::{Event, Name, Network, Peer, State};
use crate::pipe::End;
use std::io::ErrorKind;

impl Network {
    /// A server's answer to a request to connect is on its way. Refused where no process listens.
    pub fn knock(&mut self, name: Name) -> bool {
        let Some(connection) = self.connection(name) else {
            return false;
        };
        let (magent, peer, state) = (connection.magent, connection.peer, connection.state);
        let Peer::Server(server) = peer else {
            return false;
        };
        if state != State::Connecting || self.is_cut(magent, peer) {
            return false;
        }
        let accepted = self.listening[server];
        let weather = self.weather;
        let delay = self.random.skewed(weather.latency_min_us, weather.latency_max_us);
        self.at(self.now + delay, Event::Knocked { name, accepted });
        accepted
    }

    pub fn knocked(&mut self, name: Name, accepted: bool) {
        let Some(connection) = self.connection(name) else {
            return;
        };
        let (magent, peer) = (connection.magent, connection.peer);
        let no_way = match peer {
            Peer::Server(server) => self.no_way[server],
            Peer::Client(_) => None,
        };
        let kind = no_way.map_or(ErrorKind::ConnectionRefused, |no_way| no_way.kind);
        let Some(connection) = self.connection(name) else {
            return;
        };
        if connection.state == State::Connecting {
            connection.state = if accepted { State::Open } else { State::Failed(kind) };
            self.meters[magent].worked = true;
            self.raise(name);
        }
    }

    /// The peer says something.
    pub fn peer_send(&mut self, name: Name, bytes: &[u8]) {
        if let Some(connection) = self.connection(name) {
            if connection.state != State::Left && !connection.peer_left {
                connection.backlog.extend_from_slice(bytes);
                self.push_backlog(name);
            }
        }
    }

    /// The peer says nothing more, and goes on listening. False, and nothing is changed, where it has not said all it had to.
    pub fn peer_shut(&mut self, name: Name) -> bool {
        let now = self.now;
        let Some(peer) = self.connection(name).map(|connection| connection.peer) else {
            return false;
        };
        let weather = self.weather_of(false, peer);
        let Some(connection) = self.connections[name.index].as_mut() else {
            return false;
        };
        if !connection.backlog.is_empty() || connection.peer_left || connection.state == State::Left {
            return false;
        }
        if let Some(time) = connection.inward.send_end(End::Closed, now, &weather, &mut self.random) {
            self.at(time, Event::Arrive { name, inward: true });
        }
        true
    }

    /// A machine that knows nothing of a connection says so when it is asked.
    pub fn keep_alive(&mut self, name: Name) {
        let Some(connection) = self.connection(name) else {
            return;
        };
        let (magent, peer) = (connection.magent, connection.peer);
        if connection.forgotten && connection.state == State::Open && !self.is_cut(magent, peer) {
            self.peer_resets(name);
        }
    }

    /// Whether all that the peer said is on its way: a memcached reads no more before that.
    pub fn peer_is_through(&mut self, name: Name) -> bool {
        self.connection(name)
            .is_none_or(|connection| connection.backlog.is_empty())
    }

    pub fn push_backlog(&mut self, name: Name) {
        let Some(peer) = self.connection(name).map(|connection| connection.peer) else {
            return;
        };
        let weather = self.weather_of(false, peer);
        let now = self.now;
        let mut times = Vec::new();
        if let Some(connection) = self.connections[name.index].as_mut() {
            let count = connection.backlog.len().min(connection.inward.room());
            let random = &mut self.random;
            connection
                .inward
                .send(&connection.backlog[..count], now, &weather, random, |time| {
                    times.push(time)
                });
            connection.backlog.drain(..count);
            connection.inward.wants_room = !connection.backlog.is_empty();
        }
        for time in times {
            self.at(time, Event::Arrive { name, inward: true });
        }
    }

    /// Gives the peer what has arrived, and how the stream ended if it has.
    pub fn peer_take(&mut self, name: Name, into: &mut Vec<u8>) -> Option<End> {
        self.peer_take_some(name, usize::MAX, into)
    }

    /// The same, and no more than so many bytes. The end comes with the last of them.
    pub fn peer_take_some(&mut self, name: Name, most: usize, into: &mut Vec<u8>) -> Option<End> {
        let connection = self.connection(name)?;
        connection.outward.read_some(most, into);
        let end = connection.outward.end().filter(|_| connection.outward.arrived() == 0);
        if connection.outward.wants_room && connection.outward.is_roomy() {
            connection.outward.wants_room = false;
            self.raise(name);
        }
        end
    }

    /// The peer ends the connection.
    pub fn peer_close(&mut self, name: Name, end: End) {
        let now = self.now;
        let Some(connection) = self.connection(name) else {
            return;
        };
        if std::mem::replace(&mut connection.peer_left, true) {
            return;
        }
        connection.backlog.clear();
        // Who closes a socket with bytes unread, or to which some are on their way, resets the connection: a magent that waits
        // for room is told.
        let outward = &connection.outward;
        let unread = matches!(connection.peer, Peer::Client(_)) && (outward.arrived() > 0 || outward.in_flight());
        let end = if connection.outward.wants_room || unread {
            End::Reset
        } else {
            end
        };
        connection.outward.lose_flights();
        let (state, peer) = (connection.state, connection.peer);
        if state != State::Left {
            let weather = self.weather_of(false, peer);
            if let Some(connection) = self.connections[name.index].as_mut() {
                if let Some(time) = connection.inward.send_end(end, now, &weather, &mut self.random) {
                    self.at(time, Event::Arrive { name, inward: true });
                }
            }
        }
        self.remove_if_over(name);
    }

    /// Bytes reached a machine that knows nothing of their connection: a reset comes back.
    pub fn peer_resets(&mut self, name: Name) {
        let Some(connection) = self.connection(name) else {
            return;
        };
        connection.inward.lose_flights();
        // Though it ended the connection before: that may have been on its way just now.
        connection.peer_left = false;
        self.peer_close(name, End::Reset);
    }
}
