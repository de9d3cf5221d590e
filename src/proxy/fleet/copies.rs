//! Whether every key has a live copy: a server that is up, and answers for it.

use crate::proxy::fleet::Fleet;
use crate::proxy::fleet::ledger::Lacking;
use crate::proxy::fleet::server::Health;

/// Two servers that hold keys together, none of which has a live copy; or one that holds them alone.
pub type Lost = (usize, Option<usize>);

impl Fleet {
    /// In which farms a server is: among the primaries, and among the backups.
    pub fn roles(&self, server: usize) -> (bool, bool) {
        let backups = self.layout.backups.as_ref();
        (
            self.layout.primaries.1.contains(&server),
            backups.is_some_and(|(_, servers)| servers.contains(&server)),
        )
    }

    /// Since when a server is what it is, in milliseconds; None if it is up since magent was started.
    pub fn since_ms(&self, server: usize) -> Option<u64> {
        let server = &self.servers[server];
        match server.health {
            Health::Up | Health::Retired => server.returned_ms,
            Health::Down { away, .. } | Health::Rejoining { away, .. } => Some(away.since_ms),
        }
    }

    /// All whose keys have no live copy. Where both servers of a key are there they agree on it sooner or later; one alone answers
    /// for its keys unless its partner, which is away, may have what it lacks. A few keys that it is known to lack do not count.
    pub fn without_a_copy(&self) -> Vec<Lost> {
        let mut lost = Vec::new();
        for primary in 0..self.servers.len() {
            if self.roles(primary).0 && self.holds_alone(primary) && !self.is_up(primary) {
                lost.push((primary, None));
            }
        }
        for (one, partners) in self.partners.iter().enumerate() {
            for &other in partners.iter().filter(|&&other| one < other) {
                if !self.is_live(one, other) && !self.is_live(other, one) {
                    let is_primary = self.roles(one).0;
                    let (primary, backup) = if is_primary { (one, other) } else { (other, one) };
                    lost.push((primary, Some(backup)));
                }
            }
        }
        lost
    }

    /// Whether every key has a second server.
    pub fn has_two_copies(&self) -> bool {
        !(0..self.servers.len()).any(|server| self.roles(server).0 && self.holds_alone(server))
    }

    /// Whether there are keys that only this primary holds.
    fn holds_alone(&self, primary: usize) -> bool {
        let backups = self.layout.backups.as_ref();
        backups.is_none_or(|(_, servers)| servers.iter().all(|&backup| backup == primary))
    }

    /// Whether a server answers for the keys that it holds with this partner.
    fn is_live(&self, server: usize, partner: usize) -> bool {
        let account = self.ledger.account(server);
        let away = self.ledger.account(partner);
        let waits = account
            .lack(partner)
            .is_some_and(|lack| matches!(lack.what, Lacking::Everything | Lacking::Suspect | Lacking::Unlistable));
        account.is_up() && (away.is_up() || away.is_gone() || !waits)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proxy::fleet::ledger::{Event, Range};
    use crate::proxy::fleet::tests::fleet;
    use crate::ring::Distribution;

    fn down(fleet: &mut Fleet, servers: &[usize]) {
        for &server in servers {
            fleet.ledger.record(Event::Down { server, drains: false });
        }
    }

    #[test]
    fn of_two_servers_one_is_enough() {
        let mut fleet = fleet(&["10.0.0.1"], &["10.0.0.2"], Distribution::Modulo);
        assert_eq!(fleet.without_a_copy(), []);
        down(&mut fleet, &[1]);
        assert_eq!(fleet.without_a_copy(), []);
        down(&mut fleet, &[0]);
        assert_eq!(fleet.without_a_copy(), [(0, Some(1))]);
    }

    #[test]
    fn without_backups_every_server_is_needed() {
        let mut fleet = fleet(&["10.0.0.1", "10.0.0.2"], &[], Distribution::Ketama);
        down(&mut fleet, &[1]);
        assert_eq!(fleet.without_a_copy(), [(1, None)]);
    }

    /// By modulo the keys of the first primary are on the first backup.
    #[test]
    fn only_servers_that_hold_keys_together_stand_in_for_each_other() {
        let mut fleet = fleet(
            &["10.0.0.1", "10.0.0.2"],
            &["10.0.0.3", "10.0.0.4"],
            Distribution::Modulo,
        );
        down(&mut fleet, &[0, 3]);
        assert_eq!(fleet.without_a_copy(), []);
        down(&mut fleet, &[2]);
        assert_eq!(fleet.without_a_copy(), [(0, Some(2))]);
    }

    #[test]
    fn a_primary_that_is_the_only_backup_has_no_second_copy_of_its_own_keys() {
        let mut fleet = fleet(&["10.0.0.1", "10.0.0.2"], &["10.0.0.1"], Distribution::Modulo);
        down(&mut fleet, &[0]);
        assert_eq!(fleet.without_a_copy(), [(0, None)]);
    }

    #[test]
    fn a_server_that_waits_for_what_its_partner_has_is_no_copy_without_it() {
        let mut fleet = fleet(&["10.0.0.1"], &["10.0.0.2"], Distribution::Modulo);
        fleet.ledger.record(Event::Lacks {
            server: 1,
            from: 0,
            what: Lacking::Everything,
            of: Range::All,
        });
        assert_eq!(fleet.without_a_copy(), []);
        down(&mut fleet, &[0]);
        assert_eq!(fleet.without_a_copy(), [(0, Some(1))]);
        fleet.ledger.record(Event::Gone(0));
        assert_eq!(fleet.without_a_copy(), [], "there is nothing left to wait for");
    }
}
