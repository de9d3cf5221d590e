//! A `flush_all` that takes effect later, and what goes wrong meanwhile.

use super::faults::{Fault, Kind};
use super::model::{Operation, Seen, Verb};
use super::pipe::Us;
use super::simulation::{Broken, Simulation};

/// memcached flushes up to two seconds early, for it counts whole seconds, and each server from its own start.
const EARLY_US: Us = 2_500_000;
/// By then every server has, and what clients asked before that has been answered.
const LATE_US: Us = 2_500_000;
const FAULTS: [Kind; 6] = [
    Kind::Kill,
    Kind::Kill,
    Kind::PowerLoss,
    Kind::Stop,
    Kind::Cut,
    Kind::Break,
];

impl Simulation {
    /// One flush after the other, with a fault that begins before it is asked for, before it is due, or around that time.
    pub fn flush_later(&mut self) -> Result<(), Broken> {
        for _ in 0..self.plan.faults {
            let pause = self.chance(|random| random.between(50_000, 800_000));
            self.live(pause)?;
            let mut fault = self.think_of_fault(&FAULTS);
            let is_first = self.chance(|random| random.one_in(3));
            if is_first {
                fault.duration = fault.duration.max(100_000);
                self.begin_fault(&fault);
                let known_us = self.chance(|random| random.between(0, fault.duration));
                self.live(known_us)?;
                fault.duration -= known_us;
            }
            // What has begun may go on until then.
            let most_s = if is_first { 3 } else { 8 };
            let delay_s = self.chance(|random| random.between(1, most_s));
            self.ask_to_flush(delay_s)?;
            let due = self.now() + delay_s * 1_000_000;
            self.live_through_flush(&fault, is_first, due)?;
            if !self.heal(fault.server())? {
                break;
            }
        }
        let pause = self.chance(|random| random.between(50_000, 500_000));
        self.live(pause)
    }

    /// A client asks that all be gone so many seconds later, as soon as it waits for nothing.
    fn ask_to_flush(&mut self, delay_s: u64) -> Result<(), Broken> {
        self.note(format_args!("all is to be flushed in {delay_s} s"));
        // By a date, now and then.
        let since_s = match self.chance(|random| random.one_in(4)) {
            true => self.network.borrow().unix_s_of(0) as u64,
            false => 0,
        };
        while !self.with_client(0, |client, scene| client.flush_later(scene, since_s + delay_s)) {
            self.run_for(1_000)?;
        }
        Ok(())
    }

    /// Lives until a while after the flush is due, with a fault that has begun or does so somewhen.
    fn live_through_flush(&mut self, fault: &Fault, has_begun: bool, due: Us) -> Result<(), Broken> {
        let asked = self.now();
        let (since, until) = (due.saturating_sub(EARLY_US).max(asked), due + LATE_US);
        let begins = match has_begun {
            true => asked,
            false => self.chance(|random| random.between(asked, due)),
        };
        let ends = begins + fault.duration;
        let mut steps = vec![(since, Step::May), (until, Step::Has), (ends, Step::End)];
        if !has_begun {
            steps.push((begins, Step::Begin));
        }
        steps.sort_by_key(|&(time, step)| (time, step));
        let mut flush = Vec::new();
        for (time, step) in steps {
            let pause = time.saturating_sub(self.now());
            self.live(pause)?;
            match step {
                Step::Begin => self.begin_fault(fault),
                Step::End => self.end_fault(fault),
                Step::May => {
                    self.checker.evicts = true;
                    self.checker.now_ms = self.now_ms();
                    flush = self.checker.flush_begins(self.flush());
                }
                Step::Has => {
                    self.checker.evicts = false;
                    self.checker.now_ms = self.now_ms();
                    self.checker.flush_ends(&flush)?;
                }
            }
        }
        Ok(())
    }

    fn flush(&self) -> Operation {
        Operation {
            verb: Verb::FlushAll,
            value: 0,
            flags: 0,
            exptime: 0,
            delta: 0,
            unique: 0,
            unique_seen: Seen::default(),
            asked_ms: self.now_ms(),
            too_large: false,
            repeats: false,
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Step {
    Begin,
    /// From here on what is there may be gone.
    May,
    /// What was there before is gone.
    Has,
    End,
}
