//! One direction of a connection: bytes on their way, bytes that have arrived, and the end of the stream.

use super::random::Random;
use std::collections::VecDeque;

/// Microseconds of the virtual clock.
pub type Us = u64;

/// How a stream ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// In order: end-of-file.
    Closed,
    /// With an error.
    Reset,
}

/// No network takes longer, but for what it loses.
const HELD_UP_US: Us = 50_000;

/// Within this the other end's kernel acknowledges what comes.
pub const ACKNOWLEDGED_US: Us = 150_000;

#[derive(Clone, Copy)]
enum Flight {
    Bytes(usize),
    End(End),
}

/// The longest that a packet is held up.
pub const HICCUP_MAX_US: Us = 15_000;

/// How long bytes take, and in what portions they arrive.
#[derive(Clone, Copy)]
pub struct Weather {
    pub latency_min_us: Us,
    pub latency_max_us: Us,
    /// Once in so many writes the bytes arrive in several portions; 0 for never.
    pub split_one_in: u64,
    /// Once in so many writes they take a good while longer; 0 for never.
    pub hiccup_one_in: u64,
}

pub struct Pipe {
    /// What has arrived and is not read, then what is on its way.
    bytes: VecDeque<u8>,
    arrived: usize,
    flights: VecDeque<(Us, Flight)>,
    last_arrival: Us,
    last_sent: Us,
    /// What arrives by then was lost on its way, and is sent again.
    delayed_until: Us,
    held_up: u32,
    /// The end has arrived; bytes before it may still be read, unless it is a reset.
    end: Option<End>,
    ending: bool,
    capacity: usize,
    /// The writer was told that there is no room, and wants to know when there is.
    pub wants_room: bool,
}

impl Pipe {
    pub fn new(capacity: usize) -> Self {
        Self {
            bytes: VecDeque::new(),
            arrived: 0,
            flights: VecDeque::new(),
            last_arrival: 0,
            last_sent: 0,
            delayed_until: 0,
            held_up: 0,
            end: None,
            ending: false,
            capacity,
            wants_room: false,
        }
    }

    pub fn room(&self) -> usize {
        self.capacity.saturating_sub(self.bytes.len())
    }

    /// Whether there is enough room to say so: a socket does not wake its writer for every byte.
    pub fn is_roomy(&self) -> bool {
        self.room() * 3 >= self.capacity
    }

    /// What has arrived and is not read yet.
    pub fn unread(&self) -> Vec<u8> {
        self.bytes.iter().take(self.arrived).copied().collect()
    }

    pub fn arrived(&self) -> usize {
        self.arrived
    }

    pub fn end(&self) -> Option<End> {
        self.end
    }

    pub fn in_flight(&self) -> bool {
        !self.flights.is_empty()
    }

    /// Sends bytes, at most as many as there is room for; says when the portions arrive.
    pub fn send(&mut self, bytes: &[u8], now: Us, weather: &Weather, random: &mut Random, mut at: impl FnMut(Us)) {
        debug_assert!(bytes.len() <= self.room());
        if bytes.is_empty() || self.ending {
            return;
        }
        self.bytes.extend(bytes);
        let mut left = bytes.len();
        while left > 0 {
            let part = match left > 1 && random.one_in(weather.split_one_in) {
                true => random.between(1, left as u64) as usize,
                false => left,
            };
            left -= part;
            at(self.launch(Flight::Bytes(part), now, weather, random));
        }
    }

    /// Ends the stream behind what was sent.
    pub fn send_end(&mut self, end: End, now: Us, weather: &Weather, random: &mut Random) -> Option<Us> {
        if self.ending {
            return None;
        }
        self.ending = true;
        Some(self.launch(Flight::End(end), now, weather, random))
    }

    fn launch(&mut self, flight: Flight, now: Us, weather: &Weather, random: &mut Random) -> Us {
        let mut latency = random.skewed(weather.latency_min_us, weather.latency_max_us);
        if random.one_in(weather.hiccup_one_in) {
            latency += random.between(1_000, HICCUP_MAX_US);
        }
        let time = (now + latency).max(self.last_arrival);
        (self.last_arrival, self.last_sent) = (time, now);
        self.flights.push_back((time, flight));
        time
    }

    /// Lets arrive what is due. True if anything did.
    pub fn arrive(&mut self, now: Us) -> bool {
        let mut any = false;
        while let Some(&(_, flight)) = self.flights.front().filter(|flight| flight.0 <= now) {
            self.flights.pop_front();
            any = true;
            match flight {
                Flight::Bytes(count) => self.arrived += count,
                Flight::End(end) => self.end = Some(end),
            }
        }
        any
    }

    /// Puts off what is on its way to `time` at the earliest.
    pub fn delay_until(&mut self, time: Us) {
        for flight in &mut self.flights {
            flight.0 = flight.0.max(time);
        }
        self.last_arrival = self.last_arrival.max(time);
        self.delayed_until = time;
        self.held_up += 1;
    }

    /// Whether something was lost on its way and is to be sent again.
    pub fn is_held_up(&self, now: Us) -> bool {
        self.flights.back().is_some_and(|&(time, _)| time > now + HELD_UP_US)
    }

    pub fn last_sent_us(&self) -> Us {
        self.last_sent
    }

    /// How often something was lost on its way, and sent again.
    pub fn held_up(&self) -> u32 {
        self.held_up
    }

    /// Whether something that was sent has not come.
    pub fn is_under_way(&self) -> bool {
        !self.flights.is_empty()
    }

    /// Whether something that was sent should have come by now.
    pub fn is_unheard(&self, now: Us) -> bool {
        let is_late = |time: Us| time + ACKNOWLEDGED_US <= now || time <= self.delayed_until;
        self.flights.front().is_some_and(|&(time, _)| is_late(time))
    }

    /// Loses what is on its way.
    pub fn lose_flights(&mut self) {
        self.bytes.truncate(self.arrived);
        self.flights.clear();
        self.ending = self.end.is_some();
    }

    /// Loses what has arrived as well.
    pub fn lose_all(&mut self) {
        self.lose_flights();
        self.bytes.clear();
        self.arrived = 0;
    }

    /// The stream ends with a reset, at once.
    pub fn reset(&mut self) {
        self.lose_all();
        self.ending = true;
        self.end = Some(End::Reset);
    }

    /// Takes what has arrived, as far as it fits.
    pub fn read(&mut self, into: &mut [u8]) -> usize {
        let count = into.len().min(self.arrived);
        let (front, back) = self.bytes.as_slices();
        let from_front = count.min(front.len());
        into[..from_front].copy_from_slice(&front[..from_front]);
        into[from_front..count].copy_from_slice(&back[..count - from_front]);
        self.bytes.drain(..count);
        self.arrived -= count;
        count
    }

    pub fn read_some(&mut self, most: usize, into: &mut Vec<u8>) {
        let start = into.len();
        into.resize(start + self.arrived.min(most), 0);
        self.read(&mut into[start..]);
    }
}
