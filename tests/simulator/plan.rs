//! What a seed decides before anything happens: farms, settings, keys, clients, the weather on the network.

pub use super::class::Class;
use super::ingredients::Ingredients;
use super::pipe::Weather;
use super::random::Random;
use magent::proxy::net::Address;
use magent::proxy::settings::{Ack, Hedge, Limits, Miss, ServerName, Settings};
use magent::ring::{Distribution, Ring, Spread};

pub struct KeyPlan {
    pub name: String,
    /// Its values are numbers: incr and decr, and no append.
    pub numeric: bool,
    /// Written once, at the beginning, and read at the end.
    pub ballast: bool,
    /// The magent that its writes go through.
    pub writer: usize,
    /// The servers that hold it: primary, then backup if any.
    pub servers: Vec<usize>,
}

/// How clients behave.
pub struct Manners {
    pub think_min_us: u64,
    pub think_max_us: u64,
    pub pipeline_one_in: u64,
    /// Requests of a pipeline, and keys of a get, at most.
    pub pipeline_max: u64,
    pub get_keys_max: u64,
    pub noreply_one_in: u64,
    pub leave_one_in: u64,
    pub ttl_one_in: u64,
    pub large_one_in: u64,
    pub flush_one_in: u64,
    /// gat and gats are among what they say.
    pub get_and_touch: bool,
    /// Weights of reads, plain writes, conditional writes, arithmetic, and changes of the exptime.
    pub weights: [u32; 5],
}

pub struct Plan {
    pub class: Class,
    pub servers: Vec<ServerName>,
    pub has_meta: Vec<bool>,
    pub can_list: Vec<bool>,
    /// By magent.
    pub settings: Vec<Settings>,
    pub keys: Vec<KeyPlan>,
    pub clients: usize,
    pub manners: Manners,
    pub weather: Weather,
    pub capacity: usize,
    pub faults: u64,
    /// By server: seconds by which its clock is ahead.
    pub clocks_ahead_s: Vec<i64>,
    /// The largest item of servers.
    pub item_max: usize,
    /// The size of values that nobody takes, if clients try.
    pub refused_bytes: Option<usize>,
    /// What the newer classes add.
    pub more: Ingredients,
    /// Magents write down what servers miss.
    pub journals: bool,
    /// Some clients speak the binary protocol.
    pub tongues: bool,
}

/// The largest item, and value, of class refusing: more than clients' other values.
const REFUSING_ITEM_MAX: usize = 50_000;

pub fn server_name(index: usize) -> ServerName {
    let host = format!("10.0.0.{}", index + 1);
    ServerName {
        address: Address::Tcp(format!("{host}:11211").parse().expect("an address")),
        host,
        port: 11211,
        weight: 1,
        ring_name: None,
    }
}

/// The host name of a server, where servers have some.
pub fn renamed(index: usize) -> String {
    format!("cache{index}")
}

/// Primaries and backups, as indices of servers.
pub type Farms = (Vec<usize>, Vec<usize>);

/// The farms of each magent.
fn farms(class: Class, random: &mut Random) -> Vec<Farms> {
    match class {
        Class::Crossed | Class::Foul | Class::Threads => vec![(vec![0], vec![1]), (vec![1], vec![0])],
        Class::Duel | Class::Parted => match random.one_in(2) {
            true => vec![(vec![0], vec![1]), (vec![1], vec![0])],
            false => vec![(vec![0, 1], vec![0, 1]); 2],
        },
        Class::Three => vec![(vec![0], vec![1]), (vec![1], vec![0]), (vec![0], vec![1])],
        Class::Keeping => vec![(vec![0], vec![1])],
        Class::Alone => match random.one_in(2) {
            true => vec![(vec![0], vec![])],
            false => vec![(vec![0, 1, 2], vec![])],
        },
        _ => match random.below(8) {
            0..4 => vec![(vec![0], vec![1])],
            4 => vec![(vec![0, 1], vec![2])],
            5 => vec![(vec![0, 1], vec![2, 3])],
            6 => vec![(vec![0, 1, 2], vec![0, 1, 2])],
            _ => vec![(vec![0, 1], vec![1, 2])],
        },
    }
}

fn weather(class: Class, random: &mut Random) -> Weather {
    let latency_min_us = *random.pick(&[20, 20, 100, 500]);
    if matches!(class, Class::Crossed | Class::Three) {
        // One magent's copying can undo another's delete whose two halves arrive further apart than the copying takes;
        // nothing but a lock on both servers would help, and the manual says so.
        return Weather {
            latency_min_us,
            latency_max_us: latency_min_us + latency_min_us / 4,
            split_one_in: 0,
            hiccup_one_in: 0,
        };
    }
    Weather {
        latency_min_us,
        latency_max_us: latency_min_us * *random.pick(&[1, 4, 20]) + 10,
        split_one_in: *random.pick(&[0, 20, 8, 2]),
        hiccup_one_in: *random.pick(&[0, 0, 200, 30]),
    }
}

fn manners(random: &mut Random) -> Manners {
    Manners {
        think_min_us: *random.pick(&[100, 1000, 5000]),
        think_max_us: *random.pick(&[5_000, 20_000, 60_000, 200_000]),
        pipeline_one_in: *random.pick(&[0, 12, 4]),
        pipeline_max: 4,
        get_keys_max: 5,
        noreply_one_in: *random.pick(&[0, 12, 5]),
        leave_one_in: *random.pick(&[0, 0, 80, 25]),
        ttl_one_in: *random.pick(&[0, 10, 3]),
        large_one_in: *random.pick(&[0, 0, 60, 12]),
        flush_one_in: *random.pick(&[0, 0, 150]),
        get_and_touch: std::env::var("WITHOUT").as_deref() != Ok("gat"),
        weights: std::array::from_fn(|_| *random.pick(&[1, 4, 12])),
    }
}

/// Pipelines come to their end, gets of a few keys are asked for in portions, and these wait for their turn.
fn small() -> Limits {
    Limits {
        requests_in_flight: 4,
        client_bytes: 4 << 10,
        portion_bytes: 4 << 10,
        portion_keys: 8,
        bulk_bytes_min: 1,
        bulk_bytes: 1500,
        ..Limits::default()
    }
}

impl Plan {
    pub fn new(class: Class, small_limits: bool, random: &mut Random) -> Self {
        let farms = farms(class, random);
        let count = farms
            .iter()
            .flat_map(|(primaries, backups)| primaries.iter().chain(backups))
            .max();
        let count = count.map_or(0, |last| last + 1);
        let servers: Vec<ServerName> = (0..count).map(server_name).collect();
        let distribution = match random.one_in(4) {
            true => Distribution::Ketama,
            false => Distribution::Modulo,
        };
        let one_of_all = |one_in: u64, random: &mut Random| -> Vec<bool> {
            let old = random.one_in(one_in);
            (0..count).map(|_| !(old && random.one_in(2))).collect()
        };
        let keeps = class == Class::Keeping;
        let has_meta = one_of_all(if class.is_shared() || keeps { 0 } else { 16 }, random);
        let can_list = one_of_all(
            if keeps || matches!(class, Class::Duel | Class::Parted) {
                0
            } else {
                16
            },
            random,
        );
        let (ack, miss) = (
            // Where one magent acknowledges early, the other may still read what was before.
            if random.one_in(6) && !class.is_shared() {
                Ack::Primary
            } else {
                Ack::All
            },
            if random.one_in(6) { Miss::Cold } else { Miss::Partner },
        );
        let timeout_ms = *random.pick(&[500, 500, 200, 1000]);
        let refuses = class == Class::Refusing;
        let item_max = if refuses { REFUSING_ITEM_MAX } else { 1 << 20 };
        // Whether magent refuses, or lets servers do it.
        let magents_max = if refuses && random.one_in(2) {
            REFUSING_ITEM_MAX
        } else {
            1 << 20
        };
        let clock = |random: &mut Random| *random.pick(&[0, 0, 1, 3600, -7200]);
        let clocks_ahead_s = (0..count).map(|_| if refuses { clock(random) } else { 0 }).collect();
        let settings: Vec<Settings> = farms
            .iter()
            .map(|(primaries, backups)| Settings {
                primaries: primaries.iter().map(|&index| servers[index].clone()).collect(),
                backups: backups.iter().map(|&index| servers[index].clone()).collect(),
                spread: Spread::plain(distribution),
                links_max: 1,
                clients_max: 4096,
                timeout_ms,
                adaptive_timeout: false,
                ack,
                miss,
                hedge: match miss {
                    Miss::Partner => Hedge::Adaptive,
                    Miss::Cold => Hedge::After(1),
                },
                slow_us: 100_000,
                item_bytes_max: magents_max,
                memory_bytes_max: 64 << 20,
                limits: if small_limits { small() } else { Limits::default() },
                verbatim: true,
                board: class.is_shared(),
            })
            .collect();
        let capacity = match class {
            // Copying must not take many turns here: see `weather`.
            Class::Crossed | Class::Three => 200_000,
            // Nor must values that are refused, for a dozen of them may be asked for in a row, and all of that is waited for.
            Class::Refusing => *random.pick(&[10_000, 20_000, 200_000]),
            _ => *random.pick(&[300, 2000, 20_000, 200_000]),
        };
        let keys = keys(&settings, &farms, keeps, random);
        let mut manners = manners(random);
        if class.is_shared() || keeps {
            // Of servers that keep their items it matters how many the other one has.
            manners.flush_one_in = 0;
        }
        let mut plan = Self {
            class,
            servers,
            has_meta,
            can_list,
            settings,
            keys,
            clients: random.between(1, 6) as usize,
            manners,
            weather: weather(class, random),
            capacity,
            faults: random.between(1, 3),
            clocks_ahead_s,
            item_max,
            refused_bytes: refuses.then_some(REFUSING_ITEM_MAX + 1),
            more: Ingredients::default(),
            journals: false,
            tongues: false,
        };
        Ingredients::add(&mut plan, &farms, random);
        plan
    }

    pub fn describe(&self) -> String {
        let Settings {
            primaries,
            backups,
            spread: Spread { distribution, .. },
            timeout_ms,
            ack,
            miss,
            ..
        } = &self.settings[0];
        let list = |names: &[ServerName]| {
            names
                .iter()
                .map(|name| name.host.as_str())
                .collect::<Vec<_>>()
                .join(",")
        };
        format!(
            "{}: -s {} -b {} {distribution:?} timeout {timeout_ms} ms, ack {ack:?}, miss {miss:?}, {} clients, meta {:?}, \
             lists {:?}",
            self.class.name(),
            list(primaries),
            list(backups),
            self.clients,
            self.has_meta,
            self.can_list,
        )
    }

    /// Whether every server tells what the filling of another needs: then redundancy must come back by itself.
    pub fn heals(&self) -> bool {
        self.has_meta.iter().chain(&self.can_list).all(|&can| can)
    }
}

fn keys(settings: &[Settings], farms: &[Farms], much_ballast: bool, random: &mut Random) -> Vec<KeyPlan> {
    let working = random.between(1, 5) as usize;
    let ballast = *random.pick(if much_ballast { &[20, 120] } else { &[0, 3, 20, 120][..] });
    name_keys(settings, farms, working, ballast, random)
}

pub fn name_keys(
    settings: &[Settings],
    farms: &[Farms],
    working: usize,
    ballast: usize,
    random: &mut Random,
) -> Vec<KeyPlan> {
    let places = Places::new(&settings[0], &farms[0]);
    let suffix = random.below(1000);
    (0..working + ballast)
        .map(|index| {
            let is_ballast = index >= working;
            let letter = if is_ballast { "b" } else { "k" };
            let name = format!("{letter}{index}:{suffix}");
            let servers = places.of(&name);
            KeyPlan {
                name,
                numeric: !is_ballast && random.one_in(3),
                ballast: is_ballast,
                writer: random.below(settings.len() as u64) as usize,
                servers,
            }
        })
        .collect()
}

/// Which servers hold a key.
pub struct Places<'a> {
    spread: Spread,
    farms: &'a Farms,
    primaries: Ring,
    backups: Option<Ring>,
}

impl<'a> Places<'a> {
    pub fn new(settings: &Settings, farms: &'a Farms) -> Self {
        let ring = |names: &[ServerName]| {
            let members: Vec<_> = names.iter().map(ServerName::member).collect();
            Ring::new(&settings.spread, &members)
        };
        Self {
            spread: settings.spread,
            farms,
            primaries: ring(&settings.primaries),
            backups: (!farms.1.is_empty()).then(|| ring(&settings.backups)),
        }
    }

    /// The primary, then the backup if any.
    pub fn of(&self, key: &str) -> Vec<usize> {
        let (primaries, backups) = self.farms;
        let hash = self.spread.hash(key.as_bytes());
        let primary = primaries[self.primaries.owner(hash)];
        let backup = self.backups.as_ref().and_then(|ring| {
            ring.owners(hash)
                .map(|owner| backups[owner])
                .find(|&server| server != primary)
        });
        [Some(primary), backup].into_iter().flatten().collect()
    }
}
