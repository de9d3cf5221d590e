//! `magent --check`: what watches over a magent is told in its exit status and in one line whether clients are served.

mod common;

use common::{Ended, Magent, Memcached, eventually, run, scratch};
use std::net::TcpListener;

fn asked(name: &str) -> Ended {
    run(&[&format!("--check={name}")])
}

#[test]
fn one_that_serves_is_told_from_one_whose_servers_are_gone() {
    let mut server = Memcached::start();
    let files = scratch();
    let socket = files.path("magent.sock");
    let magent = Magent::start(&["-s", &server.name, "-f", &socket]);
    assert_eq!(asked(&magent.port.to_string()).status, Some(0), "a number alone");
    for name in [
        magent.name.clone(),
        format!("localhost:{}", magent.port),
        format!("unix:{socket}"),
    ] {
        let ended = asked(&name);
        assert_eq!((ended.status, ended.errors.as_str()), (Some(0), ""), "{name}");
        assert!(
            ended.output.starts_with(&format!("{name} serves: VERSION ")),
            "{}",
            ended.output
        );
    }
    server.kill();
    let refusal = Ended::refusing(&format!(
        "--check: {}: it answers \"SERVER_ERROR no server available\"",
        magent.name
    ));
    eventually("it says that it cannot serve", || asked(&magent.name) == refusal);
}

#[test]
fn where_no_magent_answers_it_is_said_why() {
    // It is connected to, and says nothing.
    let silent = TcpListener::bind("127.0.0.1:0").expect("a port");
    let name = silent.local_addr().expect("its address").to_string();
    let ended = asked(&name);
    assert_eq!((ended.status, ended.output.as_str()), (Some(1), ""));
    assert!(
        ended.errors.starts_with(&format!("magent: --check: {name}: ")),
        "{}",
        ended.errors
    );
    drop(silent);
    assert_eq!(
        asked(&name),
        Ended::refusing(&format!("--check: {name}: Connection refused"))
    );
    assert_eq!(
        asked("127.0.0.1:0"),
        Ended::refusing("--check=127.0.0.1:0: port out of range (1-65535)")
    );
}
