//! The conductor: what the world tells goes to its owner, and what owners hand on goes to others.

use crate::proxy::Proxy;
use crate::proxy::handoff::{Handoff, Urgency};
use crate::proxy::net::{Net, Readiness, Token};
use crate::proxy::upstream::Failure;
use crate::proxy::upstream::message::Message;

impl<N: Net> Proxy<N> {
    /// Handles an event. `scratch` is where reads go; its content means nothing between calls.
    pub fn ready(&mut self, token: Token, readiness: Readiness, scratch: &mut [u8]) {
        match token {
            Token::Client(index) => {
                if self.front.is_ready(self.servers.cx.now, index, readiness) {
                    self.read_client(index, readiness.closed, scratch);
                }
            }
            Token::Link(index) => self.link_ready(index, readiness, scratch),
        }
    }

    /// Does what is due: servers that let a request wait too long are down, and those that are down are looked for.
    pub fn tick(&mut self) {
        if let Some(silent) = self.servers.wake() {
            self.servers.flush_tick();
            self.copier.listing_tick(&mut self.servers);
            self.copier.repairs_tick(&mut self.replicate, &mut self.servers);
            self.replicate.surveys_tick(&mut self.servers);
            self.servers.tick(silent);
            self.servers.read_boards();
            self.front.slow_tick(&mut self.servers.cx);
            let front = &self.front;
            self.replicate
                .hedge_late_reads(&mut self.servers, |client, id| front.is_first(client, id));
            self.hand_on();
        }
    }

    /// After a batch of events: one write per connection that has something to say, and what follows from it.
    pub fn flush(&mut self, scratch: &mut [u8]) {
        self.settle(); // before anything is begun that should know of it
        for index in self.servers.upstream.take_reading() {
            self.read_on(index, scratch);
        }
        self.settle();
        self.go_on_reading();
        let requested_ms = self.front.requested_ms();
        self.copier
            .resync_step(&mut self.replicate, &mut self.servers, requested_ms, scratch);
        self.replicate.flush_again(&mut self.servers);
        self.hand_on();
        for _ in 0..2 {
            self.write_dirty();
            let resuming = self.front.take_resuming();
            if resuming.is_empty() {
                break;
            }
            for index in resuming {
                if self.front.resume(&mut self.replicate, &mut self.servers, index) {
                    self.read_client(index, true, scratch);
                }
            }
            self.settle();
        }
        self.write_dirty();
        self.front.keep_within_memory(&mut self.servers.cx, &mut self.replicate);
        self.give_memory_back();
        self.hand_on();
        self.servers.end_turn();
    }

    /// Reads from a client, and begins what it asks, as far as its limits allow; the rest after the others' turn.
    pub(in crate::proxy) fn read_client(&mut self, index: usize, to_the_end: bool, scratch: &mut [u8]) {
        let (front, replicate, servers) = (&mut self.front, &mut self.replicate, &mut self.servers);
        let mut reads = servers.cx.settings.limits.client_reads;
        while let Some(count) = front.read(&mut servers.cx, replicate, index, to_the_end, scratch) {
            front.take(replicate, servers, index, &scratch[..count]);
            reads -= 1;
            if reads == 0 {
                front.resume_later(index);
                break;
            }
        }
        front.leave_if_heard_out(index);
        self.hand_on();
    }

    /// Gives memory back that was needed for many requests at a time.
    #[inline]
    fn give_memory_back(&mut self) {
        if self.replicate.is_idle() {
            let kept = self.servers.cx.settings.limits.transactions_kept;
            self.replicate.shrink(kept);
            self.front.shrink(kept);
        }
    }

    /// Lets the legs of dead links fail over, and what had to wait for that begin.
    #[inline(always)]
    fn settle(&mut self) {
        self.hand_on();
        if self.servers.upstream.has_failed() || self.replicate.has_deferred() {
            self.settle_all();
        }
    }

    #[cold]
    fn settle_all(&mut self) {
        loop {
            match self.servers.upstream.next_failure() {
                Some(Failure::Unreachable(server, error)) => self.servers.link_refused(server, &error),
                Some(Failure::Lost(server, leg)) => self.leg_lost(server, &leg),
                None if self.replicate.begin_put_off(&mut self.servers) => {}
                None if self.replicate.decide_deferred(&mut self.servers) => {}
                None => break,
            }
            self.hand_on();
        }
    }

    fn write_dirty(&mut self) {
        // A write can fail, which costs a link, which makes others dirty.
        while self.servers.upstream.is_dirty() || self.front.is_dirty() {
            let links = self.servers.upstream.take_dirty();
            for &index in &links {
                self.servers.write_link(index);
            }
            self.servers.upstream.give_back(links);
            let clients = self.front.take_dirty();
            for &index in &clients {
                self.front.write(&mut self.servers.cx, &mut self.replicate, index);
            }
            self.front.give_back(clients);
            self.settle();
        }
    }

    /// Goes on with retrievals that have waited for their turn.
    fn go_on_reading(&mut self) {
        for id in self.replicate.take_put_off() {
            self.go_on(id);
        }
        for server in self.servers.upstream.take_bulk_done() {
            // Each of them may come to wait again.
            for _ in 0..self.servers.upstream.waiting(server) {
                let Some(id) = self.replicate.next_in_turn(&mut self.servers, server) else {
                    break;
                };
                self.go_on(id);
            }
            self.servers.upstream.end_turn(server);
        }
        self.hand_on();
    }

    /// Asks for the next portion of a retrieval, if its client has taken the replies so far and it waits for nothing else.
    fn go_on(&mut self, id: usize) {
        let (replicate, servers) = (&mut self.replicate, &mut self.servers);
        let client = replicate.waits_for_client(id);
        if let Some(allowance) = client.and_then(|client| self.front.may_go_on(&servers.cx, client, id)) {
            replicate.ask_portion(servers, id, allowance);
        }
    }

    /// Hands on what the owners have for each other.
    #[inline(always)]
    pub(in crate::proxy) fn hand_on(&mut self) {
        if self.servers.cx.has_handoffs() {
            self.hand_on_all();
        }
    }

    #[inline(never)]
    fn hand_on_all(&mut self) {
        while let Some(handoff) = self.servers.cx.next_handoff() {
            let (front, replicate, servers) = (&mut self.front, &mut self.replicate, &mut self.servers);
            match handoff {
                Handoff::Reply(id, reply) => match front.follow(id, &reply) {
                    Some(request) => replicate.go_on_with(servers, id, Message::from(&request)),
                    None => front.answer(&mut servers.cx, replicate, id, &reply),
                },
                Handoff::Values(id, mut values) => {
                    front.values(&servers.cx, id, &mut values);
                    replicate.keep_merge(values);
                }
                Handoff::Surveyed(id, survey) => front.surveyed(replicate, servers, id, &survey),
                Handoff::Portion(id, keys) => {
                    front.portion_answered(id, keys);
                    self.go_on(id);
                }
                Handoff::GoOn(id) => self.go_on(id),
                Handoff::RaceOver(id) => {
                    for leg in replicate.raced(servers, id) {
                        front.note_late(servers, leg.0, leg.1);
                    }
                    replicate.race_over(servers, id);
                }
                Handoff::DecideElsewhere(id) => {
                    let client = replicate.client_of(id);
                    let may_wait = client.is_none_or(|client| front.is_last(client, id));
                    if replicate.decide_elsewhere(servers, id, may_wait) {
                        front.bar_what_follows(id);
                    }
                }
                Handoff::Heal(heal) => {
                    if let Urgency::Waited(waiting) = &heal.urgency {
                        front.note_asked(servers, waiting.write, (&heal.key, 1), heal.to);
                    }
                    self.copier.heal(replicate, servers, *heal);
                }
                Handoff::Written(written) => self.copier.compare(servers, *written),
                Handoff::Moving { pair, key } => self.copier.watch(servers, pair, key.bytes()),
                Handoff::FoundOnOne { from, to, key } => self.copier.found_on_one(servers, from, to, &key),
                Handoff::RepairTurn(repair, pass) => self.copier.has_turn(replicate, servers, repair, pass),
                Handoff::BreakOff(server, reason) => self.copier.break_off_resync(servers, server, reason),
                Handoff::MissedByOthers(server) => self.copier.source_is_missed(servers, server),
                Handoff::Lacking => self.copier.want_resync(),
                Handoff::Started => front.let_begin(&servers.cx),
            }
        }
    }
}
