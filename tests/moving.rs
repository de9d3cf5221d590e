//! What magent-guide(7) says of moving a warm cache to magent, and of changing servers: each step as it is written there.

mod common;

use common::{Configured, Magent, Memcached, eventually, hit, masters, names};

const KEYS: usize = 200;

fn found(magent: &Magent) -> usize {
    let mut client = magent.client();
    (0..KEYS)
        .filter(|number| {
            client.ask(format!("get key:{number}\r\n")) == hit(&format!("key:{number}"), 0, "value").as_str()
        })
        .count()
}

/// As somebody before magent has left them, who placed keys in the same way: each on one server.
fn warm_cache(servers: &[&Memcached]) {
    let before = Configured::start(&masters(servers));
    let mut client = before.magent.client();
    for number in 0..KEYS {
        client.check(format!("set key:{number} 0 0 5\r\nvalue\r\n"), "STORED\r\n");
    }
}

fn lists(primaries: &[&Memcached], backups: &[&Memcached]) -> String {
    format!("{}backups = {}\n", masters(primaries), names(backups))
}

/// Until each of its servers has all that it is to have, so that any one may fail.
fn until_filled(magent: &Magent, servers: &[&Memcached]) {
    for server in servers {
        eventually(&format!("{} is filled", server.name), || {
            magent.server_stat(server, "state") == "up"
        });
    }
}

#[test]
fn a_cache_stays_whole_where_the_first_start_has_no_backups() {
    let (mut one, two) = (Memcached::start(), Memcached::start());
    warm_cache(&[&one, &two]);
    let configured = Configured::start(&masters(&[&one, &two]));
    let magent = &configured.magent;
    assert_eq!(found(magent), KEYS, "without backups");

    configured.reload(&lists(&[&one, &two], &[&one, &two]));
    until_filled(magent, &[&one, &two]);
    assert_eq!(found(magent), KEYS, "with backups");
    one.kill();
    assert_eq!(found(magent), KEYS, "each key has its second copy");
}

#[test]
fn no_key_is_missed_while_a_server_is_added_to_one_list_after_the_other() {
    let (mut one, two, three) = (Memcached::start(), Memcached::start(), Memcached::start());
    let configured = Configured::start(&lists(&[&one, &two], &[&one, &two]));
    let magent = &configured.magent;
    let mut client = magent.client();
    for number in 0..KEYS {
        client.check(format!("set key:{number} 0 0 5\r\nvalue\r\n"), "STORED\r\n");
    }
    for backups in [&[&one, &two][..], &[&one, &two, &three]] {
        configured.reload(&lists(&[&one, &two, &three], backups));
        assert_eq!(found(magent), KEYS, "at once, with {} backups", backups.len());
        until_filled(magent, &[&one, &two, &three]);
        assert_eq!(found(magent), KEYS, "later, with {} backups", backups.len());
    }
    one.kill();
    assert_eq!(found(magent), KEYS, "each key has its second copy");
}
