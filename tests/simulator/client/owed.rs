//! What clients may have in a magent's memory, by what they have asked and have not been told.

use super::{Client, Kind, Scene};
use crate::pipe::Us;
use magent::proxy::settings::Settings;

/// Less than this is little.
const MUCH_BYTES: usize = 8 << 10;
/// A reply that waits for one before it has a block of its own, however short it is (`buffer::BLOCK_BYTES`).
const REPLY_BYTES: usize = 4 << 10;
/// What a request or a reply needs beside its values.
pub(super) const BESIDE_BYTES: usize = 300;

/// By client: bytes that it has sent since it was last told everything, and the largest replies that it may get.
pub struct Owed {
    bytes: Vec<usize>,
    all: usize,
    /// When all of it last was near the limit.
    pub crowded_us: Us,
}

impl Owed {
    pub fn new(clients: usize) -> Self {
        Self {
            bytes: vec![0; clients],
            all: 0,
            crowded_us: 0,
        }
    }

    /// It has been told everything, or will not be.
    pub fn pay(&mut self, client: usize) {
        self.all -= std::mem::take(&mut self.bytes[client]);
    }

    /// Whether a client may be closed because of what it may have in memory, and all together: buffers may be twice as
    /// large as what is in them.
    pub fn is_much(&self, client: usize, settings: &Settings) -> bool {
        self.bytes[client] >= MUCH_BYTES && 2 * self.all >= settings.memory_bytes_max
    }
}

impl Client {
    /// It has said so many bytes just now.
    pub(super) fn note_owed(&mut self, scene: &mut Scene<'_>, said: usize) {
        let now = scene.network.now;
        let mut bytes = said;
        for asked in self.asked.iter().rev().take_while(|asked| asked.asked_us == now) {
            bytes += REPLY_BYTES;
            if matches!(asked.kind, Kind::Retrieval) {
                let keys = asked.parts.iter().map(|part| part.key);
                let values = keys.map(|key| BESIDE_BYTES + scene.checker.largest_bytes(key));
                bytes += values.sum::<usize>();
            }
        }
        scene.owed.bytes[self.index] += bytes;
        scene.owed.all += bytes;
        if 2 * scene.owed.all >= scene.plan.settings[self.magent].memory_bytes_max {
            scene.owed.crowded_us = now;
        }
    }
}
