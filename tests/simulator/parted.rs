//! A cut between two machines, with a server and a magent on each, whose clients go on. When it is over both servers have the same, of
//! each key what the clients of one side have written last, and nothing is gone that a side had. What was on its way when the cut came
//! counts as one of both sides.

use super::duel::{Ask, KEYS};
use super::net::Cut;
use super::pipe::Us;
use super::simulation::{Broken, Simulation};

/// After a cut both servers have the same within this, but for what is sent again late.
const ALIKE_WITHIN_US: Us = 5_000_000;
/// What was written so shortly before a cut may have been under way, or be taken for written meanwhile.
const ABOUT_US: Us = 250_000;

/// What the clients of one side did to a register.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Did {
    Set(u64),
    Deleted,
    Touched,
}

struct Act {
    side: usize,
    did: Did,
    asked_us: Us,
    answered_us: Option<Us>,
    /// It waited when its magent found out that it had lost the other side's server, which may have got it: nobody there can tell it from
    /// what was written there.
    may_be_on_both: bool,
}

/// What is known of all registers since both servers were known to be alike.
#[derive(Default)]
pub struct Sides {
    acts: [Vec<Act>; KEYS],
    /// What each held then.
    began_with: [Option<u64>; KEYS],
    cut_us: Us,
}

impl Sides {
    /// A client has been told this, or nothing. `lost_us`: when its magent has last lost a server.
    pub fn learn(
        &mut self,
        side: usize,
        ask: Ask,
        said: &str,
        (asked_us, now_us): (Us, Us),
        lost_us: Option<Us>,
    ) -> Result<(), Broken> {
        let (key, did, done) = match ask {
            Ask::Set(key, value) => (key, Did::Set(value), "STORED"),
            Ask::Delete(key) => (key, Did::Deleted, "DELETED"),
            Ask::Touch(key) => (key, Did::Touched, "TOUCHED"),
            _ => return Ok(()),
        };
        match said {
            "NOT_FOUND" if did == Did::Touched => return Ok(()),
            "NOT_FOUND" if did == Did::Deleted => {}
            said if said == done => {}
            _ => return Err(format!("register{key}: {did:?} on side {side} was answered: {said}")),
        }
        self.acts[key].push(Act {
            side,
            did,
            asked_us,
            answered_us: Some(now_us),
            may_be_on_both: lost_us > Some(self.cut_us) && Some(asked_us) <= lost_us,
        });
        Ok(())
    }

    /// Whether a register may hold this. A touch on one side may keep what was deleted on the other.
    fn may_hold(&self, key: usize, held: Option<u64>) -> bool {
        let acts = &self.acts[key];
        if self.may_be_left_by_others(key, held) {
            return true;
        }
        let since_us = self.cut_us.saturating_sub(ABOUT_US);
        let acted = |side: usize| {
            acts.iter()
                .any(|act| act.side == side && act.answered_us > Some(since_us))
        };
        let sides: &[usize] = match [acted(0), acted(1)] {
            [true, false] => &[0],
            [false, true] => &[1],
            _ => &[0, 1],
        };
        sides.iter().any(|&side| {
            let of_side = |act: &&Act| act.side == side && act.answered_us > Some(self.cut_us);
            let of_side: Vec<_> = acts.iter().filter(of_side).collect();
            // What was under way may have come before what the other side had done.
            let since = |act: &&Act| act.asked_us >= self.cut_us && act.did != Did::Touched;
            match of_side.iter().any(since) {
                true => may_be_last(of_side, held, Us::MAX).unwrap_or_default(),
                false => {
                    let before = acts.iter().filter(|act| act.asked_us < self.cut_us);
                    let before = may_be_last(before.collect(), held, self.cut_us);
                    before.unwrap_or(held == self.began_with[key])
                }
            }
        })
    }

    /// Whether a side may hold this because it got it from the other one, which was just being parted from it, and nobody there has
    /// written the key since.
    fn may_be_left_by_others(&self, key: usize, held: Option<u64>) -> bool {
        let acts = &self.acts[key];
        let leaves = |act: &&Act| act.may_be_on_both && act.leaves(held);
        acts.iter().filter(leaves).any(|one| {
            let follows = |other: &Act| other.side != one.side && one.answered_us < Some(other.asked_us);
            !acts.iter().any(|other| other.did != Did::Touched && follows(other))
        })
    }
}

impl Act {
    /// Whether the register holds this after it.
    fn leaves(&self, held: Option<u64>) -> bool {
        match self.did {
            Did::Set(value) => held == Some(value),
            Did::Deleted => held.is_none(),
            Did::Touched => false,
        }
    }
}

/// Whether one of these may be the last, and leave this; what was answered after `until_us` nobody need have followed. None if none of them
/// leaves anything else than was there.
fn may_be_last(acts: Vec<&Act>, held: Option<u64>, until_us: Us) -> Option<bool> {
    let acts: Vec<_> = acts.into_iter().filter(|act| act.did != Did::Touched).collect();
    let follows =
        |other: &Act, one: &Act| one.answered_us < Some(other.asked_us) && other.answered_us <= Some(until_us);
    let is_last = |one: &Act| !acts.iter().any(|other| follows(other, one));
    (!acts.is_empty()).then(|| acts.iter().any(|act| is_last(act) && act.leaves(held)))
}

impl Simulation {
    /// Cuts of every length, in both directions or in one, while the clients of both sides write.
    pub fn part(&mut self) -> Result<(), Broken> {
        for _ in 0..self.plan.faults {
            self.begin_side_by_side();
            let pause = self.chance(|random| random.between(300_000, 800_000));
            self.live(pause)?;
            self.cut_between()?;
            let rests_at_once = self.chance(|random| random.one_in(2));
            if !rests_at_once {
                let pause = self.chance(|random| random.between(10_000, 2_000_000));
                self.live(pause)?;
            }
            self.end_side_by_side()?;
            self.heal(None)?;
        }
        Ok(())
    }

    fn begin_side_by_side(&mut self) {
        let held = std::array::from_fn(|key| self.register_on(0, key));
        self.duel.sides = Some(Sides {
            began_with: held,
            ..Sides::default()
        });
        self.with_duelists(|duelist, scene| duelist.begin(scene));
    }

    fn cut_between(&mut self) -> Result<(), Broken> {
        let timeout_us = self.plan.settings[0].timeout_ms * 1000;
        let (duration, way) = self.chance(|random| {
            let short = random.between(timeout_us / 2, timeout_us + 200_000);
            let long = random.between(timeout_us + 200_000, 4_000_000);
            (*random.pick(&[short, long, long]), random.below(3))
        });
        self.note(format_args!("CUT between the two sides, way {way}, for {duration} us"));
        let cut_us = self.now();
        self.impaired_ms.fill(u64::MAX);
        if let Some(sides) = &mut self.duel.sides {
            sides.cut_us = cut_us;
        }
        let (there, back) = match way {
            0 => (Cut::All, Cut::All),
            1 => (Cut::All, Cut::Replies),
            _ => (Cut::Replies, Cut::All),
        };
        self.network.borrow_mut().cut_so(0, 1, there);
        self.network.borrow_mut().cut_so(1, 0, back);
        self.live(duration)?;
        self.note(format_args!("the CUT is over"));
        let patience = self.chance(|random| *random.pick(&[50_000, 400_000, super::faults::RETRANSMISSION_MAX_US]));
        self.resent_us = self.now() + patience;
        self.network.borrow_mut().heal(0, 1, patience);
        self.network.borrow_mut().heal(1, 0, patience);
        Ok(())
    }

    /// Lets all come to rest, and looks at what is left.
    fn end_side_by_side(&mut self) -> Result<(), Broken> {
        for duelist in &mut self.duelists {
            duelist.rests = true;
        }
        let answered = |simulation: &mut Self| !simulation.duelists.iter().any(|duelist| duelist.is_waiting());
        if !self.wait_for(ALIKE_WITHIN_US, 10_000, answered)? {
            return Err("a client never got the reply that it waited for".to_owned());
        }
        // In the beginning neither has been found again.
        let found_us = self.resent_us.saturating_sub(self.now()) + 3_000_000;
        self.run_for(found_us)?;
        let alike = |simulation: &mut Self| {
            (0..KEYS).all(|key| simulation.register_on(0, key) == simulation.register_on(1, key))
        };
        if !self.wait_for(ALIKE_WITHIN_US - 3_000_000, 20_000, alike)? {
            let held: Vec<_> = (0..KEYS)
                .map(|key| [0, 1].map(|server| self.register_on(server, key)))
                .collect();
            return Err(format!("after a cut the servers have {held:?} in the registers"));
        }
        self.duel.verdict()?;
        let sides = self.duel.sides.take().unwrap_or_default();
        for key in 0..KEYS {
            let held = self.register_on(0, key);
            if !sides.may_hold(key, held) {
                return Err(format!(
                    "register{key} is {held:?}, which neither side has written last"
                ));
            }
        }
        Ok(())
    }

    fn register_on(&self, server: usize, key: usize) -> Option<u64> {
        self.item_on(server, &format!("register{key}"))?.trim_end().parse().ok()
    }
}
