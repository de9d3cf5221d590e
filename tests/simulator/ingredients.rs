//! What the newer classes add to a plan. It is drawn behind everything else, so that seeds of older classes mean what they
//! meant.

use super::class::Class;
use super::faults::Kind;
use super::garble::OVERSIZED_BYTES;
use super::memcached::Version;
use super::net::NoWay;
use super::plan::{Farms, Plan, name_keys, renamed, server_name};
use super::random::Random;
use super::server::Lists;
use std::io::ErrorKind;

/// None of this is in a schedule of an older class.
#[derive(Default)]
pub struct Ingredients {
    /// One in so many connections of clients is read slowly; 0 for none.
    pub slow_one_in: u64,
    /// Clients may be told that there are too many.
    pub turns_away: bool,
    /// Clients may be closed because memory is short.
    pub sheds: bool,
    /// What may go wrong, if not the usual.
    pub kinds: Option<&'static [Kind]>,
    /// One in so many requests of clients concerns no key, and after one in so many they say nothing more; 0 for none.
    pub odd_one_in: u64,
    pub shut_one_in: u64,
    /// One in so many of gat and gats has several keys.
    pub wide_touch_one_in: u64,
    /// Servers are known by names, and administrators do more with a magent.
    pub has_names: bool,
    /// Servers have no memory now and then.
    pub fills_up: bool,
    /// Crawlers have something else to do now and then.
    pub are_busy: bool,
    pub lists: Lists,
    /// Servers do a part of what has come on a connection, and the rest a little later.
    pub do_a_part: bool,
    /// Clients who change the same keys through all magents.
    pub duelists: usize,
    /// By server, where they are not all the same.
    pub versions: Vec<Version>,
    /// Servers' clocks are others after a restart, and dates are said.
    pub clocks_jump: bool,
    /// Settings change now and then.
    pub reloads: bool,
    /// And with them which of the servers has a key.
    pub remaps: bool,
    /// What farms magent has, where they change.
    pub farms: Farms,
    /// The longest timeout that there was, where that changes.
    pub timeout_most_ms: u64,
    /// When a magent last read its configuration where names may lead elsewhere.
    pub renamed_us: u64,
}

const NO_WAY: Kind = Kind::NoWay {
    way: NoWay {
        kind: ErrorKind::QuotaExceeded,
        after_us: 0,
    },
    breaks: true,
};

/// Farms of which one follows another. Each two have a server of some keys in common, and none of others.
pub const FARMS: [ListedFarms; 7] = [
    ListedFarms(&[0], &[1]),
    ListedFarms(&[0], &[2]),
    ListedFarms(&[1], &[0]),
    ListedFarms(&[0, 3], &[1]),
    ListedFarms(&[0, 1], &[2, 3]),
    ListedFarms(&[0, 1, 2], &[0, 1, 2]),
    ListedFarms(&[3, 0], &[1, 4]),
];

pub struct ListedFarms(&'static [usize], &'static [usize]);

impl ListedFarms {
    pub fn to_farms(&self) -> Farms {
        (self.0.to_vec(), self.1.to_vec())
    }
}

impl Ingredients {
    /// Whether a server is in the farms.
    pub fn serves(&self, server: usize) -> bool {
        let (primaries, backups) = &self.farms;
        primaries.is_empty() || primaries.contains(&server) || backups.contains(&server)
    }

    pub fn add(plan: &mut Plan, farms: &[Farms], random: &mut Random) {
        match plan.class {
            Class::Deep => deep(plan, farms, random),
            Class::Shrunk => shrunk(plan, farms, random),
            Class::Full => plan.more.fills_up = true,
            Class::Aged => aged(plan, random),
            Class::Unreachable => {
                plan.more.kinds = Some(&[NO_WAY, NO_WAY, NO_WAY, Kind::Exhaust, Kind::Kill, Kind::Cut]);
            }
            Class::Clocks => clocks(plan, random),
            Class::Reloaded => reloaded(plan, random),
            Class::Duel => plan.more.duelists = random.between(2, 6) as usize,
            Class::Parted => parted(plan, random),
            Class::Threads => threads(plan, farms, random),
            Class::Odd => odd(plan, random),
            Class::Babbling => babbling(plan),
            Class::Named => named(plan, farms, random),
            Class::Remapped => {
                reloaded(plan, random);
                plan.more.remaps = true;
            }
            Class::Delayed => delayed(plan, random),
            _ => {}
        }
    }
}

fn deep(plan: &mut Plan, farms: &[Farms], random: &mut Random) {
    let working = *random.pick(&[20, 60, 150]);
    plan.keys = name_keys(&plan.settings, farms, working, *random.pick(&[0, 20]), random);
    plan.manners.pipeline_one_in = *random.pick(&[2, 5]);
    plan.manners.pipeline_max = *random.pick(&[20, 100, 300]);
    plan.manners.get_keys_max = *random.pick(&[5, 40, 200]);
    plan.manners.large_one_in = *random.pick(&[0, 60, 12]);
    plan.more.slow_one_in = *random.pick(&[0, 2, 5]);
    plan.capacity = *random.pick(&[10_000, 60_000, 200_000]);
    plan.clients = random.between(2, 5) as usize;
    if random.one_in(3) {
        plan.more.turns_away = true;
        plan.manners.leave_one_in = 10;
        // All clients and the administrator's eyes are one too many.
        let most = plan.clients.max(plan.settings.len()) + plan.settings.len() - 1;
        for settings in &mut plan.settings {
            settings.clients_max = most;
        }
    }
}

fn shrunk(plan: &mut Plan, farms: &[Farms], random: &mut Random) {
    deep(plan, farms, random);
    plan.more.sheds = true;
    plan.manners.large_one_in = *random.pick(&[4, 12]);
    plan.more.slow_one_in = 2;
    for settings in &mut plan.settings {
        settings.memory_bytes_max = *random.pick(&[128 << 10, 512 << 10, 2 << 20]);
        settings.limits.portion_keys = *random.pick(&[1, 3, 8]);
        settings.limits.portion_bytes = *random.pick(&[1 << 10, 32 << 10]);
        settings.limits.bulk_bytes_min = *random.pick(&[1, 2000]);
        settings.limits.bulk_bytes = *random.pick(&[1500, 20_000]);
        settings.limits.requests_in_flight = *random.pick(&[2, 4, 40]);
        settings.limits.client_bytes = *random.pick(&[2 << 10, 64 << 10]);
        // A few keys each.
        settings.limits.missed_bytes = *random.pick(&[150, 1000, 4 << 20]);
        settings.limits.lacking_bytes = *random.pick(&[150, 1000, 4 << 20]);
        settings.limits.listed_keys = *random.pick(&[30, 200]);
        settings.limits.read_repairs = *random.pick(&[1, 10]);
        settings.limits.repairs = *random.pick(&[1, 10]);
        settings.limits.keys_looked_at = *random.pick(&[1, 10]);
        settings.limits.read_counts = *random.pick(&[1, 16]);
        settings.limits.client_reads = 1;
        settings.limits.link_reads = 1;
        settings.limits.list_reads = 1;
        settings.limits.relaxed_in_a_turn = 1;
        settings.limits.tags_remembered = 2;
    }
}

fn parted(plan: &mut Plan, random: &mut Random) {
    plan.more.duelists = random.between(2, 6) as usize;
    if plan.more.duelists == 2 {
        // What is missed is too much to remember.
        for settings in &mut plan.settings {
            settings.limits.missed_bytes = 1;
        }
    }
}

/// Keys are written all the time while they are copied, and copying them takes its time.
fn threads(plan: &mut Plan, farms: &[Farms], random: &mut Random) {
    let working = *random.pick(&[5, 20, 60]);
    plan.keys = name_keys(&plan.settings, farms, working, 0, random);
    plan.clients = random.between(4, 6) as usize;
    plan.manners.pipeline_one_in = *random.pick(&[2, 5]);
    plan.manners.pipeline_max = 20;
    plan.manners.think_min_us = 100;
    plan.manners.think_max_us = *random.pick(&[1_000, 5_000, 20_000]);
    plan.more.do_a_part = true;
}

fn aged(plan: &mut Plan, random: &mut Random) {
    let of_all = |random: &mut Random| *random.pick(&Version::ALL);
    plan.more.versions = plan.servers.iter().map(|_| of_all(random)).collect();
    plan.has_meta = plan
        .more
        .versions
        .iter()
        .map(|&version| version >= Version::HAS_META)
        .collect();
    plan.can_list.fill(true);
    plan.manners.get_and_touch &= plan.more.versions.iter().all(|&version| version >= Version::HAS_GAT);
    plan.more.lists = Lists {
        are_slow: random.one_in(2),
        break_one_in: *random.pick(&[0, 3]),
    };
    plan.more.are_busy = random.one_in(2);
    plan.more.kinds = Some(&[
        Kind::Kill,
        Kind::Kill,
        Kind::PowerLoss,
        Kind::Stop,
        Kind::Cut,
        Kind::Break,
    ]);
    if random.one_in(3) {
        // Of servers that keep their items it matters how many the other one has.
        plan.more.kinds = Some(&[Kind::Keep, Kind::Keep, Kind::Stop, Kind::Break]);
        plan.manners.flush_one_in = 0;
    } else {
        plan.manners.flush_one_in = *random.pick(&[0, 30, 150]);
    }
}

fn clocks(plan: &mut Plan, random: &mut Random) {
    plan.more.clocks_jump = true;
    let clock = |random: &mut Random| *random.pick(&[0, 0, 1, 3600, -7200]);
    plan.clocks_ahead_s = plan.servers.iter().map(|_| clock(random)).collect();
    plan.manners.ttl_one_in = *random.pick(&[1, 3]);
    plan.more.kinds = Some(&[
        Kind::SetClock { by_s: 0 },
        Kind::SetClock { by_s: 0 },
        Kind::Kill,
        Kind::Kill,
        Kind::Break,
        Kind::KillMagent,
    ]);
}

fn reloaded(plan: &mut Plan, random: &mut Random) {
    const SERVERS: usize = 5;
    plan.servers = (0..SERVERS).map(server_name).collect();
    plan.has_meta = vec![true; SERVERS];
    plan.can_list = vec![true; SERVERS];
    plan.clocks_ahead_s = vec![0; SERVERS];
    let farms = random.pick(&FARMS).to_farms();
    let names = |servers: &[usize]| servers.iter().map(|&server| server_name(server)).collect();
    plan.settings[0].primaries = names(&farms.0);
    plan.settings[0].backups = names(&farms.1);
    let working = random.between(1, 8) as usize;
    plan.keys = name_keys(
        &plan.settings,
        std::slice::from_ref(&farms),
        working,
        *random.pick(&[0, 20]),
        random,
    );
    plan.manners.flush_one_in = 0;
    plan.faults = random.between(2, 5);
    plan.more.farms = farms;
    plan.more.reloads = true;
    plan.more.kinds = Some(&[
        Kind::Reload,
        Kind::Reload,
        Kind::Reload,
        Kind::EndMagent,
        Kind::EndMagent,
        Kind::Kill,
        Kind::Stop,
        Kind::Break,
        Kind::KillMagent,
    ]);
}

fn odd(plan: &mut Plan, random: &mut Random) {
    plan.more.odd_one_in = *random.pick(&[3, 8]);
    plan.more.shut_one_in = *random.pick(&[0, 30]);
    plan.more.wide_touch_one_in = 2;
    plan.manners.pipeline_one_in = *random.pick(&[2, 4]);
    // All that a client may be told of the servers is what servers of this version say.
    plan.has_meta.fill(true);
    plan.can_list.fill(true);
    let version = *random.pick(&[Version::MODELLED, Version::PARSES_ANEW]);
    plan.more.versions = vec![version; plan.servers.len()];
    for settings in &mut plan.settings {
        settings.limits.surveys = *random.pick(&[1, 4]);
        // What more than this took is given back.
        settings.limits.transactions_kept = 1;
        settings.limits.legs_kept = 1;
    }
}

fn babbling(plan: &mut Plan) {
    plan.more.kinds = Some(&[Kind::Babble, Kind::Babble, Kind::Babble, Kind::Kill, Kind::Break]);
    plan.more.wide_touch_one_in = 2;
    plan.manners.large_one_in = 0;
    for settings in &mut plan.settings {
        settings.item_bytes_max = OVERSIZED_BYTES - 1;
    }
}

fn named(plan: &mut Plan, farms: &[Farms], random: &mut Random) {
    for (index, server) in plan.servers.iter_mut().enumerate() {
        server.host = renamed(index);
    }
    for (settings, (primaries, backups)) in plan.settings.iter_mut().zip(farms) {
        let names = |indices: &[usize]| indices.iter().map(|&index| plan.servers[index].clone()).collect();
        (settings.primaries, settings.backups) = (names(primaries), names(backups));
    }
    let working = random.between(1, 5) as usize;
    plan.keys = name_keys(&plan.settings, farms, working, *random.pick(&[0, 20]), random);
    plan.manners.leave_one_in = *random.pick(&[5, 25]);
    plan.more.has_names = true;
    plan.more.kinds = Some(&[
        Kind::Move,
        Kind::Move,
        Kind::Move,
        Kind::Kill,
        Kind::Exhaust,
        Kind::KillMagent,
        Kind::EndMagent,
        Kind::EndAtOnce,
    ]);
}

fn delayed(plan: &mut Plan, random: &mut Random) {
    // One flush at a time, and that is the schedule's.
    plan.manners.flush_one_in = 0;
    plan.manners.ttl_one_in = *random.pick(&[0, 10]);
    // Keys that are gone are asked for twice, in many portions perhaps: not too many, for whoever waits.
    plan.keys.truncate(30);
    plan.has_meta.fill(true);
    plan.can_list.fill(true);
}
