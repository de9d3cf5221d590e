//! Every key goes to the server that magent 0.7 sent it to, with `-k` and without.

use magent::ring::{Distribution, KeyHash, Ring};
use serde_json::Value;

fn names(farm: &Value) -> Vec<(String, u16)> {
    let name = |server: &Value| {
        let (host, port) = server.as_str()?.rsplit_once(':')?;
        Some((host.to_owned(), port.parse().ok()?))
    };
    let servers = farm["servers"].as_array().unwrap();
    servers.iter().map(|server| name(server).unwrap()).collect()
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
            let ring = Ring::new(distribution, &names(farm));
            for (key, expected) in keys.iter().zip(expected.as_array().unwrap()) {
                let key = key.as_str().unwrap();
                let owner = ring.owner(KeyHash::of(distribution, key.as_bytes()));
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

#[test]
fn walking_round_the_ring_meets_every_server() {
    for distribution in [Distribution::Ketama, Distribution::Modulo] {
        let names: Vec<_> = (1..=5).map(|i| (format!("10.0.0.{i}"), 11211)).collect();
        let ring = Ring::new(distribution, &names);
        for key in ["a", "b", "session:1"] {
            let hash = KeyHash::of(distribution, key.as_bytes());
            let mut met: Vec<usize> = ring.owners(hash).collect();
            assert_eq!(met.first(), Some(&ring.owner(hash)));
            met.sort_unstable();
            met.dedup();
            assert_eq!(met, [0, 1, 2, 3, 4]);
        }
    }
}
