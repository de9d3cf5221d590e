//! What goes wrong with servers that talk nonsense or are known by name, and with reading a configuration.

use super::net::Failure;
use super::pipe::Us;
use super::plan::renamed;
use super::simulation::Simulation;
use magent::proxy::control::Order;
use magent::proxy::net::Address;
use magent::proxy::settings::Settings;
use std::net::{IpAddr, SocketAddr};

/// How long it takes at most until a configuration that is to be read again has been, twice.
const RELOADING_MAX_US: Us = 4_000_000;

impl Simulation {
    pub fn babble(&mut self, server: usize) {
        self.babbled_until_us[server] = Us::MAX;
        self.servers[server].babbles_one_in = self.chance(|random| *random.pick(&[1, 2, 5]));
    }

    pub fn come_to_its_mind(&mut self, server: usize) {
        self.servers[server].babbles_one_in = 0;
        self.babbled_until_us[server] = self.now();
    }

    /// A machine dies. What its name leads to meanwhile may be wrong in every way.
    pub fn move_away(&mut self, server: usize) {
        let magents = self.magents.len();
        let network = &mut *self.network.borrow_mut();
        let is_silent = network.random.one_in(2);
        match is_silent {
            false => self.servers[server].kill(network),
            true => {
                (0..magents).for_each(|magent| network.cut(magent, server));
                self.servers[server].lose_power(network);
            }
        }
        let SocketAddr::V4(before) = address_of(&network.addresses[server]) else {
            return;
        };
        let [a, b, c, d] = before.ip().octets();
        let there = IpAddr::from([a, b, c + 1, d]);
        network.addresses[server] = Address::Tcp(SocketAddr::new(there, before.port()));
        let others = network.addresses.len() as u64;
        let other = network.random.below(others) as usize;
        let elsewhere = address_of(&network.addresses[other]).ip();
        let mut says = *network
            .random
            .pick(&[None, Some(there), Some(elsewhere), Some(IpAddr::V4(*before.ip()))]);
        if other != server && says == Some(elsewhere) {
            // Who reads the configuration now takes two servers for one, until it is read again.
            match network.now < self.ordered_us + RELOADING_MAX_US {
                true => says = None,
                false => self.is_astray = true,
            }
        }
        network.hosts.say(server, says);
        network.note(
            format_args!("s{server}"),
            format_args!("moves to {there}; its name leads to {says:?}"),
        );
    }

    /// Another machine has taken its place, and its name leads there.
    pub fn move_in(&mut self, server: usize) {
        {
            let network = &mut *self.network.borrow_mut();
            let there = address_of(&network.addresses[server]).ip();
            network.hosts.say(server, Some(there));
            self.is_astray = false;
        }
        self.start_server(server, 0);
        for magent in 0..self.magents.len() {
            self.network.borrow_mut().heal(magent, server, 0);
        }
        self.keep_links_alive(server);
    }

    /// A magent is about to be told to end: clients connect just then, and somebody wants it to read its configuration.
    pub fn crowd_in(&mut self, magent: usize) {
        for client in 0..self.clients.len() {
            self.with_client(client, |client, scene| client.come_again(scene));
        }
        let reloads = self.chance(|random| random.one_in(2));
        if reloads {
            self.reload(magent);
        }
    }

    /// What a magent begins with: names are looked up before, one of them in vain perhaps.
    pub fn settings_at_start(&mut self, magent: usize) -> Settings {
        let mut settings = self.plan.settings[magent].clone();
        if !self.plan.more.has_names {
            return settings;
        }
        let network = &mut *self.network.borrow_mut();
        network.hosts.forget(magent);
        network.hosts.fill_in(&mut settings);
        let count = self.plan.servers.len() as u64;
        // Later it would be a second fault, of a server, at the same time.
        if network.now == 0 && network.random.one_in(2) {
            let unknown = renamed(network.random.below(count) as usize);
            let unknown = |name: &&mut magent::proxy::settings::ServerName| name.host == unknown;
            settings
                .servers_mut()
                .filter(unknown)
                .for_each(|name| name.address = Address::Unresolved);
        }
        settings
    }

    /// What goes wrong when a configuration is read, and how much its magent is to tell of clients.
    pub fn draw_failure(&mut self) -> (Failure, u32) {
        const FAILURES: [Failure; 6] = [
            Failure::None,
            Failure::None,
            Failure::None,
            Failure::Thread,
            Failure::Listen,
            Failure::Check,
        ];
        match self.plan.more.has_names {
            true => self.chance(|random| (*random.pick(&FAILURES), random.below(4) as u32)),
            false => (Failure::None, 0),
        }
    }

    /// Now and then somebody moves the log, or changes the configuration.
    pub fn order_something(&mut self) {
        let order = self.chance(|random| random.below(60));
        let is_twice = match order {
            0 => return self.give_order(0, Order::ReopenLog),
            1 if !self.is_astray => false,
            2 if !self.is_astray => true,
            _ => return,
        };
        self.ordered_us = self.now();
        self.reload(0);
        if is_twice {
            self.give_order(0, Order::Reload);
        }
    }
}

fn address_of(address: &Address) -> SocketAddr {
    match address {
        Address::Tcp(address) => *address,
        _ => unreachable!("servers of this world have addresses"),
    }
}
