//! What the bytes of an input mean: the first how the world is made, the others what happens in it, one thing at a time.

use super::client::CLIENTS;
use super::net::End;
use super::world::World;

/// Steps of the clock.
const STEPS_MS: [u64; 8] = [1, 10, 60, 200, 500, 1000, 3000, 61_000];
/// Longest inputs that are looked at; longer ones find nothing that these do not.
const BYTES_MAX: usize = 4096;

struct Script<'a>(&'a [u8]);

impl<'a> Script<'a> {
    fn byte(&mut self) -> u8 {
        match self.0 {
            [first, rest @ ..] => {
                self.0 = rest;
                *first
            }
            [] => 0,
        }
    }

    fn bytes(&mut self, most: usize) -> &'a [u8] {
        let (taken, rest) = self.0.split_at(most.min(self.0.len()));
        self.0 = rest;
        taken
    }
}

/// Plays an input to its end; returns the most bytes that the proxy held.
pub fn run(bytes: &[u8]) -> isize {
    let mut script = Script(&bytes[..bytes.len().min(BYTES_MAX)]);
    let mut world = World::new(script.byte());
    while !script.0.is_empty() {
        let what = script.byte();
        act(&mut world, &mut script, what % 32);
        match what / 32 {
            // Several things in one batch.
            0 => {}
            1 => world.turn(),
            2 => world.serve(),
            _ => world.settle(),
        }
    }
    world.drain()
}

fn act(world: &mut World, script: &mut Script<'_>, what: u8) {
    let which = script.byte();
    let client = usize::from(which) % CLIENTS;
    let server = usize::from(which) % world.servers.len();
    let unix_ms = world.unix_ms();
    match what {
        // In full, or in pieces.
        0..=11 => {
            let (request, key) = (script.byte(), script.byte());
            let len = value_len(which);
            world.clients[client].say(request, key, len);
            world.send(client, if request < 200 { usize::MAX } else { usize::from(key) });
        }
        12 | 13 => {
            let len = usize::from(script.byte() % 64);
            world.clients[client].say_raw(script.bytes(len));
            world.send(client, usize::MAX);
        }
        14 => {
            let most = usize::from(script.byte());
            world.send(client, most);
        }
        15 => world.clients[client].is_deaf = !world.clients[client].is_deaf,
        16 => {
            let end = if which < 200 { End::Closed } else { End::Reset };
            world.leave(client, end);
        }
        17 => world.reconnect(client),
        18 | 19 => world.servers[server].is_held = !world.servers[server].is_held,
        20 | 21 => {
            let (link, how) = (script.byte(), script.byte());
            world.servers[server].spoil(&mut world.wires.borrow_mut(), link, how, unix_ms);
        }
        22 | 23 => {
            let (link, lie) = (script.byte(), script.byte());
            let raw = if lie < 32 {
                &[][..]
            } else {
                script.bytes(usize::from(lie % 64))
            };
            world.servers[server].lie(&mut world.wires.borrow_mut(), link, lie, raw);
        }
        24 => {
            let link = script.byte();
            world.servers[server].close_one(&mut world.wires.borrow_mut(), link);
        }
        25 => world.servers[server].restart(&mut world.wires.borrow_mut(), unix_ms),
        26 => world.servers[server].refuses = !world.servers[server].refuses,
        27 => world.servers[server].evict(script.byte(), unix_ms),
        // The same request many times.
        28 => {
            let (request, key, count) = (script.byte(), script.byte(), script.byte());
            let len = value_len(which);
            // As many bytes at most as a client may have in flight, and some.
            for _ in 0..usize::from(count).min(1 + (2 << 20) / (len + 1)) {
                world.clients[client].say(request, key, len);
            }
            world.send(client, usize::MAX);
        }
        _ => world.advance(STEPS_MS[usize::from(which) % STEPS_MS.len()]),
    }
}

/// Mostly small, sometimes so large that it is not copied, or that few of them fill the memory, or too large.
fn value_len(which: u8) -> usize {
    match which / 16 {
        0..=9 => usize::from(which / 4),
        10 | 11 => 1500,
        12 | 13 => 9000,
        14 => 60_000,
        _ => 65_537,
    }
}
