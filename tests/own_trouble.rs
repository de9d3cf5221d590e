//! What magent itself lacks: servers are not blamed for it.

mod common;

use common::{Memcached, Two, eventually, hit};

fn failures(client: &mut common::Client, server: &Memcached) -> String {
    client.stat("stats servers", &format!("{}:failures", server.name))
}

#[test]
fn a_link_that_magent_cannot_open_is_no_failure_of_its_server() {
    let mut two = Two::start(&[]);
    let mut client = two.client();
    client.check("set key 3 0 5\r\nvalue\r\n", "STORED\r\n");
    two.magent.forbid_new_files();
    two.primary.restart();
    eventually("magent notices", || {
        let said = "is down: magent cannot open a connection: Too many open files; requests failed over: ";
        two.magent
            .log()
            .contains(&format!("server {} {said}", two.primary.name))
    });
    // The link to the backup goes on.
    client.check("get key\r\n", hit("key", 3, "value"));
    client.check("set key 3 0 5\r\nother\r\n", "STORED\r\n");
    two.magent.set_open_files(1024);
    two.magent.wait_for(&two.primary, "up");
    client.check("get key\r\n", hit("key", 3, "other"));
    assert_eq!(failures(&mut client, &two.primary), "0");
    // And it is told apart from a server that refuses.
    two.primary.kill();
    two.magent.wait_for(&two.primary, "down");
    assert_eq!(failures(&mut client, &two.primary), "1");
}
