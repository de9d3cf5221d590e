//! Every key goes to the server that magent 0.7 sent it to, with `-k` and without, or libmemcached or twemproxy, if it is told so.

use magent::config::{self, Command};
use magent::proxy::Holders;
use magent::proxy::settings::Settings;
use magent::ring::{Distribution, Member, Ring, Spread};
use serde_json::Value;
use std::collections::BTreeSet;
use std::path::Path;

fn members(farm: &Value) -> Vec<Member<'_>> {
    fn member(server: &Value) -> Option<Member<'_>> {
        let (host, port) = server.as_str()?.rsplit_once(':')?;
        Some(Member::plain(host, port.parse().ok()?))
    }
    let servers = farm["servers"].as_array().unwrap();
    servers.iter().map(|server| member(server).unwrap()).collect()
}

/// The settings by these arguments.
fn settings(arguments: &[String]) -> Settings {
    match config::parse(arguments, Path::new("/")) {
        Ok(Command::Run(config)) => config.settings,
        Err(error) => panic!("{arguments:?}: {error}"),
        Ok(_) => panic!("{arguments:?}"),
    }
}

/// The settings of a recorded run, in which some servers are in the other farm too.
fn settings_of(run: &Value, backups: &[&str]) -> Settings {
    let words = |name: &str| run[name].as_array().unwrap().iter().map(|word| word.as_str().unwrap());
    let mut arguments: Vec<String> = words("options").map(str::to_owned).collect();
    for (option, servers) in [("-s", words("servers").collect()), ("-b", backups.to_vec())] {
        arguments.extend(
            servers
                .iter()
                .flat_map(|server| [option.to_owned(), (*server).to_owned()]),
        );
    }
    settings(&arguments)
}

fn recorded() -> Value {
    serde_json::from_str(include_str!("vectors/rings.json")).unwrap()
}

#[test]
fn keys_go_where_magent_0_7_sent_them() {
    let vectors: Value = serde_json::from_str(include_str!("vectors/distribution.json")).unwrap();
    let keys = vectors["keys"].as_array().unwrap();
    let farms = vectors["farms"].as_array().unwrap();
    let mut compared = 0;
    for farm in farms {
        for (distribution, expected) in [
            (Distribution::Ketama, &farm["ketama"]),
            (Distribution::Modulo, &farm["modulo"]),
        ] {
            let spread = Spread::plain(distribution);
            let ring = Ring::new(&spread, &members(farm));
            for (key, expected) in keys.iter().zip(expected.as_array().unwrap()) {
                let key = key.as_str().unwrap();
                let owner = ring.owner(spread.hash(key.as_bytes()));
                assert_eq!(
                    owner as u64,
                    expected.as_u64().unwrap(),
                    "{distribution:?} {key:?} {farm}"
                );
                compared += 1;
            }
        }
    }
    assert_eq!(compared, 131 * 6 * 2);
}

/// From the command line to the server of the key.
#[test]
fn keys_go_where_libmemcached_and_twemproxy_sent_them() {
    let vectors = recorded();
    let keys: Vec<&str> = vectors["keys"]
        .as_array()
        .unwrap()
        .iter()
        .flat_map(Value::as_str)
        .collect();
    let (mut compared, mut by_client) = (0, [0; 3]);
    for run in vectors["runs"].as_array().unwrap() {
        let client = run["client"].as_str().unwrap();
        let at = ["pylibmc", "php-memcached", "nutcracker"]
            .iter()
            .position(|&one| one == client);
        let holders = Holders::new(&settings_of(run, &[]));
        let owners = run["owners"].as_str().unwrap();
        assert_eq!(owners.len(), keys.len());
        for (key, owner) in keys.iter().zip(owners.chars()) {
            if owner == '-' {
                assert!(client == "php-memcached" && !key.is_ascii(), "{key}");
                continue;
            }
            let found = holders.owners(key.as_bytes());
            let expected = owner.to_digit(10).unwrap() as usize;
            assert_eq!(found, (expected, None), "{key} {run}");
            compared += 1;
            by_client[at.unwrap()] += 1;
        }
    }
    assert!(
        compared > 20_000 && by_client.iter().all(|&keys| keys > 3000),
        "{compared} {by_client:?}"
    );
}

/// By every distribution, the weights and names of all recorded farms, the lightest server of which may have no point.
#[test]
fn two_copies_are_never_on_one_server_whatever_the_distribution() {
    let vectors = recorded();
    for run in vectors["runs"].as_array().unwrap() {
        let mut servers: Vec<&str> = run["servers"]
            .as_array()
            .unwrap()
            .iter()
            .flat_map(Value::as_str)
            .collect();
        servers.reverse();
        let holders = Holders::new(&settings_of(run, &servers));
        for key in vectors["keys"].as_array().unwrap() {
            let (primary, backup) = holders.owners(key.as_str().unwrap().as_bytes());
            let is_alone = servers.len() == 1;
            assert_eq!(backup.is_none(), is_alone, "{key} {run}");
            assert_ne!(backup, Some(primary), "{key} {run}");
        }
    }
}

#[test]
fn a_server_gets_keys_in_proportion_to_its_weight() {
    for (distribution, _) in Distribution::CHOICES {
        let arguments = [
            format!("--distribution={distribution}"),
            "-s10.0.0.1:11211:1,10.0.0.2:11211:3,10.0.0.3:11211:6".to_owned(),
        ];
        let holders = Holders::new(&settings(&arguments));
        let mut counts = [0_i32; 3];
        for key in 0..10_000 {
            counts[holders.owners(format!("key{key}").as_bytes()).0] += 1;
        }
        let expected = match distribution {
            "libmemcached-modula" => [3333, 3333, 3333], // which knows no weights
            _ => [1000, 3000, 6000],
        };
        for (count, expected) in counts.iter().zip(expected) {
            assert!((count - expected).abs() < 900, "{distribution} {counts:?}");
        }
    }
}

#[test]
fn keys_of_one_tag_are_on_one_server() {
    for (word, _) in Distribution::CHOICES {
        let arguments = [
            format!("--distribution={word}"),
            "--hash-tag=<>".to_owned(),
            "-s10.0.0.1,10.0.0.2,10.0.0.3,10.0.0.4,10.0.0.5".to_owned(),
        ];
        let holders = Holders::new(&settings(&arguments));
        let owners = |form: fn(usize) -> String| -> Vec<usize> {
            (0..100).map(|key| holders.owners(form(key).as_bytes()).0).collect()
        };
        // By fnv1a keys that only differ at their end are near each other on the circle.
        let alone = owners(|key| format!("{key}-of-many"));
        assert_eq!(owners(|key| format!("user:<{key}-of-many>:name")), alone, "{word}");
        assert_eq!(owners(|key| format!("<{key}-of-many>")), alone, "{word}");
        assert_ne!(owners(|key| format!("user:{{{key}-of-many}}:name")), alone, "{word}");
        assert!(alone.iter().collect::<BTreeSet<_>>().len() > 1, "{word}");
    }
}

#[test]
fn walking_round_the_ring_meets_every_server() {
    for (_, distribution) in Distribution::CHOICES {
        let hosts: Vec<_> = (1..=5).map(|i| format!("10.0.0.{i}")).collect();
        let members: Vec<_> = hosts.iter().map(|host| Member::plain(host, 11211)).collect();
        let spread = Spread::plain(distribution);
        let ring = Ring::new(&spread, &members);
        for key in ["a", "b", "session:1"] {
            let hash = spread.hash(key.as_bytes());
            let mut met: Vec<usize> = ring.owners(hash).collect();
            assert_eq!(met.first(), Some(&ring.owner(hash)));
            met.sort_unstable();
            met.dedup();
            assert_eq!(met, [0, 1, 2, 3, 4]);
        }
    }
}
