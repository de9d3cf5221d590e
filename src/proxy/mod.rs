//! The state machines: clients, links, servers, requests in progress, and the two copies of every item.
//!
//! Five owners, each with fields of its own, hand each other values; [`Proxy`] only conducts. An owner may use those below it,
//! and tells those above it by a [`Handoff`], which is handed on when the owner that is at work has come to its
//! end.
//!
//! | owner | what it is for |
//! | --- | --- |
//! | `front` | clients (`client`): reading requests (`reading` `dispatch`), replies in the order asked (`replies` `pending` `queue`), limits (`pace` `memory` `tight`), how long they wait (`waits` `slow`), the keys asked most (`hot`), magent's own statistics (`statistics`) |
//! | `copier` | one key to its partner (`repair` `command` `due`), or what other magents have left different (`compare`); all that a server lacks (`resync` `shares` `pacing`), from its partner's list of keys (`listing`); what that takes of others (`wish` `filling` `list_link`); its `tests` |
//! | `replicate` | one request on its way (`transaction` `transactions` `begin` `answers`): through the `gate` of its key (`reading`: what its own client must not overtake), and then by its `plan`: `read` `portion` `merge` `hedge` `touch` `write` `decide` `agree` `missed` `broadcast` `survey` `topic`; what is refused (`refusal`), and what a server refuses (`refused`); numbers with blanks behind them (`padding`) |
//! | `fleet` | servers: `server` `health`, and when they are given up (`silence`); what is believed of them and of keys (`ledger`); which of them hold a key (`farms` `layout` `arcs` `place`); whether one was started anew, and what it may have from before (`life` `introduction` `version` `past` `holdings` `unique`); what is written down of what they miss (`journal` `remembering`); host names (`names`); other magents (`others` `board` `posting`), and who decides for all of them when a server is lost (`heirs` `leaving`); what a cut between them and servers means (`parted` `contact` `marks` `own`); flushes, delayed ones too, and clocks (`flush` `delayed_flush` `clock`); what is told of them (`report`), and whether every key has a live copy (`copies`) |
//! | `upstream` | links: a connection to a server (`link`), a request on its way (`message`) and what it is for (`purpose`), what comes back (`answers` `exchange`), links of a server that fell silent (`quarantine`), what the network loses (`losses`), large portions (`bulk` `turns`), what a server lets wait for longer than it mostly takes (`hedge` `budget` `answer_times`), a link for a list of keys (`lists`) |
//!
//! | room | what it is for |
//! | --- | --- |
//! | `conductor` `links` `handoff` | what is handed on between the owners, and what comes from servers to them; what they tell those above them |
//! | `servers` `context` `permit` | the two lower owners together; what all rooms use; who may change a server |
//! | `service` `control` | magent as a process: letting clients in, reloading, ending; what that asks of the world |
//! | `net` `settings` `limits` | what the proxy asks of the world, what it is told by the configuration, and the bounds that nobody tells it |
//! | `report` | what magent knows of itself and its servers, for who looks at it from outside |
//! | `statistics` `latency` `timers` `log` | counters; how long requests and answers take; when to wake up; what is to be said in the log at the end of the turn |
//! | `check` `wrong` | whether all books agree, for tests |
//!
//! A leg that was cut off is not handled where its link died but put on a list and handled before the next flush, so a
//! failure never surprises the code that happened to meet it.

mod check;
mod conductor;
mod context;
pub mod control;
mod copier;
mod fleet;
mod front;
mod handoff;
mod latency;
pub mod limits;
mod links;
mod log;
pub mod net;
mod permit;
mod replicate;
pub mod report;
mod servers;
pub mod service;
pub mod settings;
mod statistics;
mod timers;
mod upstream;
mod wrong;

use context::Context;
use control::Remembered;
use copier::Copier;
pub use fleet::farms::Holders;
use front::Front;
#[cfg(debug_assertions)]
use handoff::Handoff;
use net::Net;
use replicate::Replicate;
use servers::Servers;
use settings::Settings;
use std::net::IpAddr;

/// The whole proxy: the owners, and what is handed on between them.
pub struct Proxy<N: Net> {
    front: Front<N>,
    copier: Copier,
    replicate: Replicate,
    servers: Servers<N>,
}

/// What the world does with it. It tells of accepted connections ([`accept`](Self::accept)) and of events ([`ready`](Self::ready)),
/// asks it to write when a batch of events is done ([`flush`](Self::flush)), and wakes it at [`deadline_ms`](Self::deadline_ms)
/// at the latest ([`tick`](Self::tick)).
impl<N: Net> Proxy<N> {
    pub fn new(net: N, settings: Settings) -> Self {
        Self {
            front: Front::new(!settings.backups.is_empty()),
            copier: Copier::default(),
            replicate: Replicate::new(&settings.limits),
            servers: Servers::new(Context::new(net, settings)),
        }
    }

    /// Sets how much is told in the log: 0 up to notices, 1 clients' connections too, 2 and more also their requests.
    pub fn set_verbosity(&mut self, verbosity: u32) {
        self.servers.cx.log.set_verbosity(verbosity);
    }

    /// The world.
    pub fn net(&mut self) -> &mut N {
        &mut self.servers.cx.net
    }

    /// The same, to look at.
    pub fn world(&self) -> &N {
        &self.servers.cx.net
    }

    /// What all rooms use.
    pub(in crate::proxy) fn context(&mut self) -> &mut Context<N> {
        &mut self.servers.cx
    }

    /// Looks for all servers, so that those that are not there are known before anybody asks for them.
    pub fn start(&mut self) {
        self.servers.start();
        self.servers.read_boards();
    }

    /// Writes a journal of what servers miss from now on, and begins with what is remembered from before; to be called before
    /// [`start`](Self::start). `boot`: which start of the machine this is.
    pub fn keep_journal(&mut self, remembered: &Remembered, boot: String) {
        self.servers.keep_journal(remembered, boot);
    }

    /// Takes over what another process has left.
    pub fn remember(&mut self, remembered: &Remembered) {
        self.servers.remember(remembered);
        self.servers.write_journal_anew();
        self.hand_on();
    }

    /// See [`Journal::Failed`](control::Journal::Failed).
    pub fn journal_failed(&mut self, begun: u64, reason: &str) {
        self.servers.journal_failed(begun, reason);
    }

    /// What the journal is that is begun now, for who checks what stands there; None where none is kept.
    pub fn whole_journal(&self) -> Option<Vec<u8>> {
        self.servers.whole_journal()
    }

    /// The journal was written anew.
    pub fn journal_written(&mut self) {
        self.servers.journal_written();
    }

    /// magent ends in good order.
    pub fn end_journal(&mut self) {
        self.servers.end_journal();
    }

    /// Takes over an accepted connection. One too many is told so and closed.
    pub fn accept(&mut self, socket: N::Socket) {
        self.front.accept(&mut self.servers.cx, socket);
    }

    /// Takes the time; to be called before the events of a batch.
    pub fn begin_batch(&mut self) {
        self.servers.cx.now = self.servers.cx.net.now();
        self.servers.follow_own_clock();
    }

    /// When `tick` is due, on the clock of [`Net::now_ms`]; None if there is nothing to wait for but events.
    pub fn deadline_ms(&self) -> Option<u64> {
        let cx = &self.servers.cx;
        let is_busy = self.front.is_busy(cx)
            || self.servers.upstream.is_busy()
            || self.replicate.is_busy()
            || self.copier.may_read_list()
            || self.copier.is_to_take_up();
        match is_busy {
            true => Some(cx.now.ms()),
            false => cx.timers.next_deadline_ms(),
        }
    }

    /// Works by new settings from here on. Clients stay connected and servers that are in both keep their links.
    pub fn reconfigure(&mut self, settings: Settings) {
        self.servers.reconfigure(settings);
        self.servers.read_boards();
        self.copier.break_off_resync_if_moved(&mut self.servers);
        self.hand_on();
    }

    /// The host names that are to be looked up, each answer to be given to [`Proxy::name_found`]; empty afterwards.
    #[must_use]
    pub fn take_wanted_names(&mut self) -> Vec<String> {
        self.servers.take_wanted_names()
    }

    /// A host has these addresses. A server that is up keeps the one it is reached at; so does one whose name still has it.
    pub fn name_found(&mut self, host: &str, found: &[IpAddr]) {
        self.servers.name_found(host, found);
        self.hand_on();
    }

    /// Ends the conversation with all clients: what they have asked is answered, including what waits in their sockets,
    /// and no more is read. A client that has only just connected may ask once, until [`Proxy::leave_silent`].
    pub fn leave(&mut self, scratch: &mut [u8]) {
        for index in self.front.leave() {
            self.read_client(index, true, scratch);
        }
    }

    /// Gives up on the clients that have not asked anything yet.
    pub fn leave_silent(&mut self) {
        self.front.leave_silent();
    }

    /// Whether nothing is in progress any more.
    pub fn is_idle(&self) -> bool {
        self.front.count() == 0 && self.replicate.is_idle() && self.copier.is_idle()
    }

    /// Connections of clients that are open.
    pub fn client_count(&self) -> usize {
        self.front.count()
    }
}

/// Whoever was let in through a gate leaves again, also where everything ends.
#[cfg(debug_assertions)]
impl<N: Net> Drop for Proxy<N> {
    fn drop(&mut self) {
        self.copier.leave_behind(self.replicate.gate());
        while let Some(handoff) = self.servers.cx.next_handoff() {
            if let Handoff::RepairTurn(_, pass) = handoff {
                self.replicate.gate().abandon(pass);
            }
        }
        self.replicate.leave_behind();
    }
}
