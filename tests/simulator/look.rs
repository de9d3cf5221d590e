//! What magent's status page is told: at all times it agrees with itself, and when all is quiet with what is there. And what its journal says:
//! all that magent knows.

use super::net::{Peer, SimulatedNet};
use super::plan::{Class, Farms};
use super::simulation::{BOOT, Broken, Simulation};
use magent::proxy::control::{Memory, Remembered};
use magent::proxy::report::{Histogram, Kind, Lack, Report};
use magent::proxy::service::Service;

/// Powers of two, in microseconds, below which the page counts answers.
const BELOW_BITS: [u32; 3] = [8, 14, 20];

impl Simulation {
    /// At the end of a turn.
    pub fn look_at(&self, magent: usize) -> Result<(), Broken> {
        let Some(service) = &self.magents[magent] else {
            return Ok(());
        };
        self.look_at_journal(magent, service)?;
        let report = service.report();
        let wrong = |what: String| format!("magent {magent} would show on its page {what}");
        contradiction(&report).map_or(Ok(()), |what| Err(wrong(what)))?;
        let (primaries, backups): &Farms = &self.plan.more.farms;
        let changes = self.plan.more.reloads || self.plan.more.has_names;
        if changes || primaries.is_empty() {
            return Ok(());
        }
        for server in &report.servers {
            let known = self.servers.iter().position(|known| known.name == server.name);
            let roles = known.map(|index| (primaries.contains(&index), backups.contains(&index)));
            if roles != Some((server.is_primary, server.is_backup)) {
                return Err(wrong(format!("{} as what it is not", server.name)));
            }
        }
        Ok(())
    }

    /// What stands on the disk, if anything does, says all that the magent knows. It may say more of what has been made up for, unless the
    /// other server of a key may lack that: the next magent would take it from the one that has it. Where several things go wrong at once what
    /// that one has may be old, as who has missed its last write has forgotten that when the other lost its memory.
    fn look_at_journal(&self, magent: usize, service: &Service<SimulatedNet>) -> Result<(), Broken> {
        let network = self.network.borrow();
        let text = &network.disks[magent].text;
        let Some(whole) = service.proxy().whole_journal().filter(|_| !text.is_empty()) else {
            return Ok(());
        };
        let [(stands, is_damaged), (known, _)] = [text, &whole].map(|text| Remembered::read(text, BOOT));
        let same = |(stands, known): (&Memory, &Memory)| (&stands.name, stands.life) == (&known.name, known.life);
        // Of two that each missed a write which the other acknowledged what was written last counts: more than one thing went wrong.
        let is_missed_elsewhere =
            |key: &[u8]| self.plan.class == Class::Chaos && stands.servers.iter().any(|other| other.keys.contains(key));
        let says = |(stands, known): (&Memory, &Memory)| {
            let mut more = known.keys.difference(&stands.keys);
            let has_keys = stands.anything || more.all(|key| is_missed_elsewhere(key));
            has_keys && stands.anything >= known.anything && (stands.anything || stands.fill >= known.fill)
        };
        let is_as_long = stands.servers.len() == known.servers.len();
        let mut both = stands.servers.iter().zip(&known.servers);
        let is_all = !is_damaged && is_as_long && both.all(|pair| same(pair) && says(pair));
        let mut both = stands.servers.iter().zip(&known.servers);
        let takes_the_last = both.find_map(|(stands, alike)| {
            let mut more = stands.keys.difference(&alike.keys);
            more.find(|key| self.may_lack(key, &stands.name, &known))
        });
        match (is_all, takes_the_last) {
            (true, None) => Ok(()),
            (_, key) => Err(format!(
                "magent {magent} has written down {stands:?}, and knows {known:?}, key {:?}\n{}",
                key.map(|key| String::from_utf8_lossy(key)),
                String::from_utf8_lossy(text)
            )),
        }
    }

    /// Whether the other server of a key may lack it, by what a magent knows.
    fn may_lack(&self, key: &[u8], server: &str, known: &Remembered) -> bool {
        let planned = self.plan.keys.iter().find(|planned| planned.name.as_bytes() == key);
        let is_sure = self.plan.class != Class::Chaos && !self.plan.more.reloads && !self.plan.more.has_names;
        let Some(planned) = planned.filter(|_| is_sure) else {
            return false;
        };
        let names = planned.servers.iter().map(|&server| &self.servers[server].name);
        let mut others = names.filter(|name| *name != server);
        others.any(|other| {
            let mut known = known.servers.iter();
            known.any(|known| known.name == *other && (known.fill || known.keys.contains(key)))
        })
    }

    /// When nobody waits for anything, and servers that nothing is wrong with have had their time to be filled.
    pub fn look_when_quiet(&self) -> Result<(), Broken> {
        for (magent, service) in self.magents.iter().enumerate() {
            let Some(service) = service else {
                continue;
            };
            self.look_at(magent)?;
            let report = service.report();
            let is_client = |peer| matches!(peer, Peer::Client(_));
            let clients = self.network.borrow().open_with(magent, is_client);
            if report.clients != clients {
                return Err(format!(
                    "magent {magent} shows {} clients, and there are {clients}",
                    report.clients
                ));
            }
            for (index, server) in self.servers.iter().enumerate() {
                let shown = report.servers.iter().find(|shown| shown.name == server.name);
                let Some(shown) = shown.filter(|_| self.plan.heals() && self.is_up(index, 0)) else {
                    continue;
                };
                if !shown.is_up || shown.lacks != Lack::Nothing || shown.filling.is_some() {
                    return Err(format!(
                        "magent {magent} says that s{index} is up, and shows it as {}, lacking {:?}",
                        shown.state, shown.lacks
                    ));
                }
            }
        }
        Ok(())
    }
}

/// What of it cannot be.
fn contradiction(report: &Report<'_>) -> Option<String> {
    for server in &report.servers {
        if let Some(filling) = &server.filling {
            if filling
                .progress
                .total
                .is_some_and(|total| filling.progress.done > total)
            {
                return Some(format!("{} being filled, with {:?}", server.name, filling.progress));
            }
        }
        if !agrees(server.answered) {
            return Some(format!("answers of {} that do not add up", server.name));
        }
    }
    let mut kinds = Kind::ALL.iter();
    if let Some(kind) = kinds.find(|&&kind| !agrees(report.latencies.of(kind))) {
        return Some(format!("latencies of {} that do not add up", kind.name()));
    }
    let is_up = |place: usize| report.servers[place].is_up;
    let mut lost = report.lost.iter();
    let lost = lost.find(|&&(one, other)| is_up(one) && other.is_none_or(is_up))?;
    Some(format!("keys of {} lost that is up", report.servers[lost.0].name))
}

fn agrees(histogram: &Histogram) -> bool {
    let quantiles = [1, 500, 900, 990, 999, 1000].map(|per_mille| histogram.per_mille_us(per_mille));
    let counts = BELOW_BITS.map(|bits| histogram.count_below(1 << bits));
    let (count, longest) = (histogram.count(), histogram.max_us());
    quantiles.is_sorted()
        && quantiles[5] <= longest
        && counts.is_sorted()
        && counts[2] <= count
        && histogram.mean_us() <= longest
        && histogram.sum_us() <= longest.saturating_mul(count)
}
