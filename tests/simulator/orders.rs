//! What an administrator does in the middle of everything: the configuration is read again, magent is told to end.

use super::faults::Kind;
use super::pipe::Us;
use super::plan::Farms;
use super::simulation::{Broken, Simulation};
use magent::proxy::settings::{Miss, Settings};

/// Ends are faults of their own here: one thing at a time.
const FAULTS: [Kind; 9] = [
    Kind::Kill,
    Kind::PowerLoss,
    Kind::Stop,
    Kind::Cut,
    Kind::Break,
    Kind::EndConnections,
    Kind::Slow { extra_us: 0 },
    Kind::EndMagent,
    Kind::EndMagent,
];
/// Beside the timeout, how long an end may take where all servers answer and all clients take their replies: clients that
/// have connected and not asked anything are waited for.
const ENDING_MAX_US: Us = 700_000;

impl Simulation {
    /// One thing fails at a time, and reloads come whenever they like.
    pub fn obey(&mut self) -> Result<(), Broken> {
        for _ in 0..self.plan.faults {
            self.live_with_reloads(800_000)?;
            let fault = self.think_of_fault(&FAULTS);
            self.checker.evicts |= !self.plan.heals();
            self.begin_fault(&fault);
            if fault.kind == Kind::EndMagent {
                self.let_end_in_time(fault.victim)?;
            }
            self.live_with_reloads(fault.duration)?;
            self.end_fault(&fault);
            let reloads = self.chance(|random| random.one_in(2));
            if reloads {
                self.live_with_reloads(300_000)?;
            }
            if !self.heal(fault.server())? {
                break;
            }
        }
        self.live_with_reloads(500_000)
    }

    /// Lives for so long at most, with some reloads.
    fn live_with_reloads(&mut self, most: Us) -> Result<(), Broken> {
        let end = self.now() + self.chance(|random| random.between(0, most));
        while self.now() < end {
            let pause = self.chance(|random| random.between(0, most.max(1)));
            self.live(pause.min(end - self.now()))?;
            let magent = self.chance(|random| random.below(8)) as usize;
            if self.magents.get(magent).is_some_and(Option::is_some) {
                self.reload(magent);
            }
        }
        Ok(())
    }

    /// The configuration is changed, or taken away, and read again.
    pub fn reload(&mut self, magent: usize) {
        let settings = self.plan.settings[magent].clone();
        let settings = self.chance(|random| match random.one_in(8) {
            true => None,
            false => Some(Settings {
                // Never longer: that is what clients are told to wait.
                timeout_ms: *random.pick(&[settings.timeout_ms, settings.timeout_ms / 2]),
                miss: *random.pick(&[settings.miss, Miss::Partner]),
                ..settings
            }),
        });
        let changes = settings.is_some();
        self.note(format_args!(
            "ORDER magent {magent}: reload, of a file that is there: {changes}"
        ));
        let is_wrong = settings.is_none();
        let settings = settings.unwrap_or_else(|| self.plan.settings[magent].clone());
        self.hand_out(magent, settings, Farms::default(), is_wrong);
    }

    /// A magent that was told to end does so.
    fn let_end_in_time(&mut self, magent: usize) -> Result<(), Broken> {
        let ended = |simulation: &mut Self| simulation.magents[magent].is_none();
        let timeout_us = self.plan.settings[magent].timeout_ms * 1000;
        match self.wait_for(timeout_us + ENDING_MAX_US, 20_000, ended)? {
            true => Ok(()),
            false => Err(format!("magent {magent} has not ended")),
        }
    }
}
