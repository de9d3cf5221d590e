//! From a request to the transaction that it begins.

use crate::buffer::Slice;
use crate::protocol::codec::Room;
use crate::protocol::form::Form;
use crate::protocol::refusal::{self, After, Refusal};
use crate::protocol::reply::{Reply, Status};
use crate::protocol::request::{Kept, Request};
use crate::protocol::verb::Verb;
use crate::proxy::context::Context;
use crate::proxy::fleet::version::Version;
use crate::proxy::front::Front;
use crate::proxy::front::client::{Begun, Input, Stage};
use crate::proxy::front::pending::Pending;
use crate::proxy::front::replies::{Addressee, Weight};
use crate::proxy::net::{Level, Net};
use crate::proxy::replicate::Replicate;
use crate::proxy::replicate::transaction::{Allowance, END};
use crate::proxy::servers::Servers;
use crate::proxy::upstream::message::Message;

/// The end of a list of commands.
const MISS: &Reply = &Reply::plain(Status::MetaMiss);

/// What became of the bytes at the front of a client's input.
pub enum Step {
    /// So many of them are done with.
    Used(usize),
    /// So many of them are done with, and took long enough: the client goes on after the others' turn.
    UsedTurn(usize),
    /// They are the beginning of a request.
    Unfinished,
    /// The client said goodbye, or nobody can tell what it says next.
    Leave,
}

/// Bytes of a request that the log shows: the longest key, and numbers.
const SHOWN_BYTES_MAX: usize = 300;

impl<N: Net> Front<N> {
    /// Begins the request at the front of `bytes`. Where its data block is not all there, or refused, the client's
    /// input is set to take the rest.
    pub fn begin_request(
        &mut self,
        replicate: &mut Replicate,
        servers: &mut Servers<N>,
        client: usize,
        bytes: &[u8],
    ) -> Step {
        let codec = self.clients[client].codec;
        let mut room = Room::default();
        // The request is looked at where it is, for it is large.
        let Some((line_len, form, mut parsed)) = codec.parse(servers.fleet.behind(), bytes, &mut room) else {
            return Step::Unfinished;
        };
        servers.cx.statistics.cmd_meta += u64::from(matches!(form, Form::Meta(_)));
        let to = Addressee { client, form };
        let request = match &mut parsed {
            Ok(request) => request,
            Err(refusal) => {
                tell_of_request(&mut servers.cx, client, &bytes[..line_len]);
                self.clients[client].requests = self.clients[client].requests.saturating_add(1);
                return self.refuse(&mut servers.cx, replicate, to, refusal, bytes.split_at(line_len));
            }
        };
        if !servers.cx.settings.verbatim {
            request.verbatim = None;
        }
        let may_overtake = self.clients[client].pace.keys_in_flight > 0;
        let overtakes = may_overtake && replicate.would_overtake_read(servers, client, request);
        // These concern all that was asked before.
        let concerns_all = matches!(request.verb, Verb::FlushAll | Verb::Stats);
        if overtakes || concerns_all && !self.clients[client].queue.is_empty() {
            return self.raise_barrier(client);
        }
        tell_of_request(&mut servers.cx, client, &bytes[..line_len]);
        self.clients[client].requests = self.clients[client].requests.saturating_add(1);
        if request.verb.is_storage() && to.form.has_value_behind() {
            return Step::Used(line_len + self.begin_storage(replicate, servers, to, request, &bytes[line_len..]));
        }
        match request.verb {
            Verb::Quit => {
                self.answer_at_once(&mut servers.cx, replicate, to, &Reply::plain(Status::Bye));
                return Step::Leave;
            }
            Verb::Noop => self.answer_at_once(&mut servers.cx, replicate, to, &Reply::plain(Status::Ok)),
            Verb::Stats => {
                self.begin_stats(replicate, servers, to, request);
                return Step::UsedTurn(line_len);
            }
            Verb::Verbosity => self.set_verbosity(&mut servers.cx, replicate, to, request.number),
            Verb::ListKeys | Verb::ListAsCommands => {
                let end = list_end(servers, request.verb);
                self.answer_at_once(&mut servers.cx, replicate, to, end);
            }
            Verb::FlushAll | Verb::Version | Verb::CacheMemlimit => {
                self.begin_broadcast(replicate, servers, to, request);
            }
            _ => self.begin_keyed(replicate, servers, to, request),
        }
        Step::Used(line_len)
    }

    /// Sets how much is logged, at a client's wish, which may not have the keys of others written down.
    fn set_verbosity(&mut self, cx: &mut Context<N>, replicate: &mut Replicate, to: Addressee, level: u64) {
        cx.log.set_verbosity(level.min(1) as u32);
        self.answer_at_once(cx, replicate, to, &Reply::plain(Status::Ok));
    }

    /// Begins what all servers are asked.
    fn begin_broadcast(
        &mut self,
        replicate: &mut Replicate,
        servers: &mut Servers<N>,
        to: Addressee,
        request: &Request<'_>,
    ) {
        let client = to.client;
        let id = self.open(&servers.cx, replicate, to, Weight::of(request), Allowance::default());
        if request.verb == Verb::FlushAll {
            self.clients[client].stage = Stage::Barrier;
        }
        replicate.start_broadcast(servers, id, request);
    }

    /// Begins a request with keys and without a data block.
    fn begin_keyed(
        &mut self,
        replicate: &mut Replicate,
        servers: &mut Servers<N>,
        to: Addressee,
        request: &Request<'_>,
    ) {
        let client = to.client;
        let (mut allowance, mut foreseen, mut keys) = (Allowance::default(), 0, 0);
        if request.key_count > 0 {
            let owner = &self.clients[client];
            keys = request
                .key_count
                .min(owner.pace.portion_keys(&servers.cx.settings.limits));
            foreseen = owner.pace.foreseen_bytes(keys);
            let (wanted, is_front) = (request.key_count, owner.queue.is_empty());
            allowance = self.allowance(&servers.cx, client, wanted, is_front);
        }
        let mut weight = Weight::of(request);
        (weight.cost, weight.keys) = (weight.cost + foreseen, keys);
        let id = self.open(&servers.cx, replicate, to, weight, allowance);
        self.begin(replicate, servers, client, id, Message::from(request));
    }

    /// An answer has come that makes the reply: or what is to be asked next for the same request.
    #[inline]
    pub fn follow(&mut self, id: usize, said: &Reply) -> Option<Request<'_>> {
        let Pending { client, form, kept, .. } = &mut self.pending[id];
        (*client)?;
        let request = form.follow(said)?;
        Some(match kept {
            Some(kept) if request.verb.is_storage() => Request {
                value: kept.bytes(),
                value_len: kept.len(),
                ..request
            },
            _ => request,
        })
    }

    /// Hands a request on. What its client asks next has to wait where this does.
    fn begin(
        &mut self,
        replicate: &mut Replicate,
        servers: &mut Servers<N>,
        client: usize,
        id: usize,
        message: Message<'_>,
    ) {
        self.hot.asked(message.request);
        let may_go_on = self.pending[id].form.may_go_on();
        if may_go_on {
            replicate.has_parts(id);
        }
        replicate.begin_transaction(servers, id, message);
        if replicate.is_waiting(id) || may_go_on {
            self.raise_barrier(client);
        }
    }

    /// Answers a line that is no request, and sees to it that no value `behind` it is taken for commands.
    fn refuse(
        &mut self,
        cx: &mut Context<N>,
        replicate: &mut Replicate,
        to: Addressee,
        refusal: &Refusal,
        (line, behind): (&[u8], &[u8]),
    ) -> Step {
        let client = to.client;
        self.answer_at_once(cx, replicate, to, refusal.reply);
        match refusal.after {
            After::NextLine => Step::Used(line.len()),
            After::Swallow(len) => Step::Used(line.len() + self.swallow(client, len, behind)),
            After::Close => {
                cx.log.say(
                    Level::Info,
                    format_args!("client {client}: a refused line may have a value behind it, connection closed"),
                );
                Step::Leave
            }
        }
    }

    /// Throws away the next `len` bytes of a client's. Returns how many of `bytes` they are.
    fn swallow(&mut self, client: usize, len: usize, bytes: &[u8]) -> usize {
        let skipped = len.min(bytes.len());
        if skipped < len {
            let missing = len - skipped;
            self.clients[client].input = Input::Swallow { missing };
        }
        skipped
    }

    /// Lets a request wait until all that the client asked before it is answered; its line is read again then.
    pub fn raise_barrier(&mut self, client: usize) -> Step {
        let client = &mut self.clients[client];
        if client.stage == Stage::Open {
            client.stage = Stage::Barrier;
        }
        Step::Unfinished
    }

    /// The same for what the client of a request that has to wait asks behind it.
    pub fn bar_what_follows(&mut self, id: usize) {
        if let Some(client) = self.pending[id].client {
            self.raise_barrier(client);
        }
    }

    /// Begins a storage command if its data block is all there, else arranges for the rest of the block to be gathered
    /// or, if the item is too large, to be thrown away. Returns how many bytes of `block` are done with.
    fn begin_storage<'a>(
        &mut self,
        replicate: &mut Replicate,
        servers: &mut Servers<N>,
        to: Addressee,
        request: &mut Request<'a>,
        block: &'a [u8],
    ) -> usize {
        let client = to.client;
        let block_len = request.value_len + self.clients[client].codec.value_end().len();
        if request.value_len > servers.cx.settings.item_bytes_max {
            servers.cx.statistics.store_too_large += 1;
            self.refuse_large(replicate, servers, to, request);
            return self.swallow(client, block_len, block);
        }
        let Some((value, end)) = block.get(..block_len).map(|data| data.split_at(request.value_len)) else {
            let head = request.head();
            let head_len: usize = head.iter().map(|part| part.len()).sum();
            let mut gather = servers.cx.pool.gather(head_len + block_len);
            head.iter().for_each(|part| gather.extend(part));
            gather.extend(block);
            self.clients[client].input = Input::Value(Box::new(Begun {
                gather,
                missing: block_len - block.len(),
                form: to.form,
                kept: request.kept_behind_head(),
            }));
            return block.len();
        };
        request.value = value;
        self.begin_item(replicate, servers, to, Message::from(&*request), end);
        block_len
    }

    /// Begins a storage command that was gathered whole.
    pub fn begin_gathered(
        &mut self,
        replicate: &mut Replicate,
        servers: &mut Servers<N>,
        to: Addressee,
        item: &Slice,
        kept: &Kept,
    ) {
        let bytes = item.bytes();
        let request = kept.request(bytes);
        let end_len = self.clients[to.client].codec.value_end().len();
        let end = &bytes[bytes.len() - end_len..];
        self.begin_item(replicate, servers, to, Message::in_piece(&request, item), end);
    }

    /// Begins a storage command whose value, with the `end` behind it, has come.
    fn begin_item(
        &mut self,
        replicate: &mut Replicate,
        servers: &mut Servers<N>,
        to: Addressee,
        message: Message<'_>,
        end: &[u8],
    ) {
        let (client, request) = (to.client, message.request);
        if end != self.clients[client].codec.value_end() {
            servers.cx.statistics.count_write(request.verb);
            let bad = refusal::BAD_CHUNK;
            return self.answer_at_once(&mut servers.cx, replicate, to, bad);
        }
        let keep = || {
            let part = message.piece().and_then(|piece| piece.part_of(request.value));
            part.unwrap_or_else(|| servers.cx.pool.copy(&[request.value]))
        };
        let kept = to.form.keeps_value().then(keep);
        let weight = Weight::of(request);
        let id = self.open(&servers.cx, replicate, to, weight, Allowance::default());
        self.pending[id].kept = kept;
        self.begin(replicate, servers, client, id, message);
    }

    /// Too large an item. As in memcached, a set takes away what was there before, so that nobody reads it as new.
    fn refuse_large(
        &mut self,
        replicate: &mut Replicate,
        servers: &mut Servers<N>,
        to: Addressee,
        request: &Request<'_>,
    ) {
        if request.verb != Verb::Set && !to.form.always_makes_room() {
            let too_large = refusal::TOO_LARGE;
            return self.answer_at_once(&mut servers.cx, replicate, to, too_large);
        }
        let client = to.client;
        // Its value is thrown away.
        let weight = Weight::of(&Request::new(request.verb, request.key));
        let id = self.open(&servers.cx, replicate, to, weight, Allowance::default());
        replicate.start_removal(servers, id, request.key, refusal::TOO_LARGE);
        if replicate.is_waiting(id) {
            self.raise_barrier(client);
        }
    }
}

/// Tells the log of a line that is answered or begun now, whatever is in it.
fn tell_of_request<N: Net>(cx: &mut Context<N>, client: usize, line: &[u8]) {
    if cx.log.shows(Level::Debug) {
        let line = line.trim_ascii_end();
        let shown = line[..line.len().min(SHOWN_BYTES_MAX)].escape_ascii();
        cx.log.say(Level::Debug, format_args!("client {client}: asks {shown}"));
    }
}

/// The end of a list of keys that has none: magent lists nobody's keys, and a tool that asks waits for an end.
fn list_end<N: Net>(servers: &Servers<N>, verb: Verb) -> &'static Reply {
    match verb {
        Verb::ListAsCommands if !servers.fleet.are_since(Version::HAS_MGDUMP) => refusal::ERROR,
        Verb::ListAsCommands => MISS,
        _ => END,
    }
}
