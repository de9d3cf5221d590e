//! Servers that are given by host names: names that are not known yet, that change, and that nobody answers for.

mod common;

use common::{Client, Configured, Ended, Hosts, Magent, Memcached, NO_SERVER, Port, Two};
use common::{eventually, hit, is_root, run, run_command};
use std::net::UdpSocket;

/// The server's name with a host name in it.
fn by_name(server: &Memcached, host: &str) -> String {
    let (_, port) = server.name.rsplit_once(':').expect("a port");
    format!("{host}:{port}")
}

fn eventually_says(magent: &Magent, what: &str) {
    eventually(&format!("the log says: {what}"), || magent.log().contains(what));
}

#[test]
fn a_name_that_is_not_known_yet_is_a_server_that_is_not_there_yet() {
    let (primary, backup, hosts) = (Memcached::start(), Memcached::start(), Hosts::saying(&[]));
    let name = by_name(&primary, "cache.test");
    let magent = Magent::start_by(hosts.command(), &["-s", &name, "-b", &backup.name]);
    eventually_says(&magent, "cannot find host 'cache.test': ");
    let mut client = magent.client();
    client.check("set key 3 0 5\r\nvalue\r\n", "STORED\r\n");
    client.check("get key\r\n", hit("key", 3, "value"));
    hosts.say(&[("127.0.0.1", "cache.test")]);
    eventually_says(
        &magent,
        &format!("server {name} has been found: it is looked for at {}", primary.name),
    );
    eventually("it is filled", || primary.ask("get key\r\n") == hit("key", 3, "value"));
    client.check("get key\r\n", hit("key", 3, "value"));
}

#[test]
fn a_name_that_is_not_known_yet_is_warned_of_by_a_test_of_the_configuration() {
    let hosts = Hosts::saying(&[]);
    let ended = run_command(hosts.command().args(["-t", "-s", "cache.test"]));
    assert_eq!(ended.status, Some(0), "{ended:?}");
    assert!(
        ended.errors.starts_with("magent: cannot find host 'cache.test': "),
        "{ended:?}"
    );
    let ended = run_command(hosts.command().args(["-D", "-s", "127.0.0.1:1", "-l", "cache.test"]));
    assert_eq!(ended.status, Some(1), "{ended:?}");
    assert!(
        ended
            .errors
            .starts_with("magent: -l cache.test: cannot find host 'cache.test': "),
        "{ended:?}"
    );
}

#[test]
fn a_machine_that_was_replaced_is_found_at_its_new_address() {
    let (mut old, backup) = (Memcached::start(), Memcached::start());
    let hosts = Hosts::saying(&[("127.0.0.1", "cache.test")]);
    let name = by_name(&old, "cache.test");
    let magent = Magent::start_by(hosts.command(), &["-s", &name, "-b", &backup.name]);
    let mut client = magent.client();
    client.check("set key 3 0 5\r\nvalue\r\n", "STORED\r\n");
    assert_eq!(old.ask("get key\r\n"), hit("key", 3, "value"));
    old.kill();
    let new = old.at("127.0.0.2");
    hosts.say(&[("127.0.0.2", "cache.test")]);
    let said = format!(
        "server {name} is looked for at {} now, no longer at {}",
        new.name, old.name
    );
    eventually_says(&magent, &said);
    eventually("it is filled", || new.ask("get key\r\n") == hit("key", 3, "value"));
    client.check("set key 3 0 5\r\nother\r\n", "STORED\r\n");
    assert_eq!(new.ask("get key\r\n"), hit("key", 3, "other"));
}

#[test]
fn a_server_that_is_up_keeps_its_address_whatever_its_name_says() {
    let server = Memcached::start();
    let hosts = Hosts::saying(&[("127.0.0.1", "cache.test")]);
    let magent = Magent::start_by(hosts.command(), &["-s", &by_name(&server, "cache.test")]);
    hosts.say(&[]);
    let mut client = magent.client();
    client.check("set key 0 0 1\r\nx\r\n", "STORED\r\n");
    // Also for the links that are opened later, once it was away for a moment.
    let mut server = server;
    server.restart();
    eventually("it is used again", || {
        client.ask("set key 0 0 1\r\nx\r\n") == "STORED\r\n"
    });
}

#[test]
fn a_silent_name_server_holds_up_neither_the_start_nor_anybody_at_a_reload() {
    if !is_root() {
        return; // who cannot be a name server cannot be a silent one
    }
    // On an address that nothing else uses.
    let _silent = UdpSocket::bind("127.66.112.53:53").expect("a name server's port");
    let (server, hosts) = (Memcached::start(), Hosts::beside("127.66.112.53", &[]));
    let lines = format!("masters = {}, cache.test\n", server.name);
    let mut command = hosts.command();
    command.arg("--timeout=1000");
    let magent = Configured::start_by(command, &lines);
    eventually_says(&magent.magent, "cannot find host 'cache.test': no answer in time");
    let mut client = magent.magent.client();
    // Some keys are those of the server that is there.
    let key = (0..100).map(|number| format!("key{number}"));
    let key = key
        .into_iter()
        .find(|key| client.ask(format!("set {key} 0 0 1\r\nx\r\n")) == "STORED\r\n");
    let key = key.expect("a key of the server that is there");
    // The thread is busy with the old name, and is asked for another one.
    magent.reload(&lines.replace("cache.test", "other.test"));
    client.check(format!("get {key}\r\n"), hit(&key, 0, "x"));
    magent.reload(&lines);
    client.check(format!("get {key}\r\n"), hit(&key, 0, "x"));
}

#[test]
fn a_reload_waits_for_the_names_of_new_servers() {
    let (one, two) = (Memcached::start(), Memcached::start());
    let hosts = Hosts::saying(&[("127.0.0.1", "one.test"), ("127.0.0.1", "two.test")]);
    let magent = Configured::start_by(hosts.command(), &format!("masters = {}\n", by_name(&one, "one.test")));
    let mut client = magent.magent.client();
    magent.reload(&format!(
        "masters = {}, {}\n",
        by_name(&one, "one.test"),
        by_name(&two, "two.test")
    ));
    for number in 0..40 {
        client.check(format!("set key{number} 0 0 1\r\nx\r\n"), "STORED\r\n");
    }
    assert!(two.stat("curr_items") > 0);
}

#[test]
fn a_reload_goes_to_the_new_address_of_a_name_though_the_old_one_answers() {
    let (old, backup) = (Memcached::start(), Memcached::start());
    let new = old.at("127.0.0.2");
    let hosts = Hosts::saying(&[("127.0.0.1", "cache.test")]);
    let name = by_name(&old, "cache.test");
    let lines = format!("masters = {name}\nbackups = {}\n", backup.name);
    let magent = Configured::start_by(hosts.command(), &lines);
    let mut client = magent.magent.client();
    client.check("set key 3 0 5\r\nvalue\r\n", "STORED\r\n");
    // What the other machine has had of these keys is old.
    assert_eq!(new.ask("set key 0 0 3\r\nold\r\n"), "STORED\r\n");
    hosts.say(&[("127.0.0.2", "cache.test")]);
    magent.reload(&lines);
    client.check("get key\r\n", hit("key", 3, "value"));
    eventually("it is filled", || new.ask("get key\r\n") == hit("key", 3, "value"));
    client.check("set key 3 0 5\r\nother\r\n", "STORED\r\n");
    assert_eq!(new.ask("get key\r\n"), hit("key", 3, "other"));
    assert_eq!(
        old.ask("get key\r\n"),
        hit("key", 3, "value"),
        "nobody writes to it any more"
    );
}

#[test]
fn a_name_and_the_address_that_it_stands_for_are_one_server() {
    let server = Memcached::start();
    let name = by_name(&server, "localhost");
    let magent = Magent::start(&["-s", &name, "-b", &server.name]);
    assert_eq!(magent.stat("servers"), 1);
    assert!(
        magent
            .log()
            .contains(&format!("{} is the only primary and the only backup", server.name))
    );
    let error = format!("server {} is listed twice: {name} is the same", server.name);
    assert_eq!(
        run(&[
            "-D",
            "-p",
            "0",
            "-f",
            "/nowhere/s",
            "-s",
            &name,
            "-s",
            &server.name,
            "-t"
        ]),
        Ended::refusing(&error)
    );
}

#[test]
fn a_name_that_turns_out_to_be_that_of_another_server_is_not_used() {
    let (server, hosts) = (Memcached::start(), Hosts::saying(&[]));
    let name = by_name(&server, "cache.test");
    let magent = Magent::start_by(hosts.command(), &["-s", &name, "-b", &server.name]);
    hosts.say(&[("127.0.0.1", "cache.test")]);
    let said = format!(
        "server {name} is not used: its host name leads to {0}, where {0} is",
        server.name
    );
    eventually_says(&magent, &said);
    let mut client = magent.client();
    // By two servers in one place it would be 12.
    client.check("set number 0 0 1\r\n0\r\n", "STORED\r\n");
    client.check("incr number 6\r\n", "6\r\n");
    assert_eq!(magent.log().matches(&said).count(), 1);
}

#[test]
fn magent_as_its_own_server_is_refused() {
    let port = Port::free();
    let (number, own) = (port.to_string(), format!("127.0.0.1:{port}"));
    for (listen, server) in [
        ("127.0.0.1", &own),
        ("0.0.0.0", &own),
        ("0.0.0.0", &format!("localhost:{port}")),
    ] {
        let ended = run(&["-D", "-l", listen, "-p", &number, "-s", server]);
        assert_eq!(
            ended,
            Ended::refusing(&format!("server {server} is where magent itself listens"))
        );
    }
    let two = Two::start(&[]);
    let path = format!("{}/m", std::env::temp_dir().display());
    let unix = format!("unix:{path}");
    let ended = run(&["-D", "-p", "0", "-f", &path, "-s", &two.primary.name, "-b", &unix]);
    assert_eq!(
        ended,
        Ended::refusing(&format!("server {unix} is where magent itself listens"))
    );
}

#[test]
fn magent_that_finds_itself_behind_a_name_says_so_and_answers() {
    let (port, hosts) = (Port::free(), Hosts::saying(&[]));
    let (number, own) = (port.to_string(), format!("127.0.0.1:{port}"));
    let mut command = hosts.command();
    command.args([
        "-D",
        "-l",
        "127.0.0.1",
        "-p",
        &number,
        "-s",
        &format!("self.test:{number}"),
    ]);
    let magent = Magent::launch(command, own.clone(), port);
    hosts.say(&[("127.0.0.1", "self.test")]);
    eventually_says(&magent, &format!("{own} leads back to this magent: it is no server"));
    let mut client = Client::connect(&own);
    client.check("get key\r\n", NO_SERVER);
    client.check("set key 0 0 1\r\nx\r\n", NO_SERVER);
}
