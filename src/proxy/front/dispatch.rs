//! From a request to the transaction that it begins.

use crate::buffer::Slice;
use crate::protocol::LINE_END;
use crate::protocol::reply::{Reply, Status};
use crate::protocol::request::{Kept, Request};
use crate::protocol::text::parse::parse;
use crate::protocol::text::refusal::{self, After, Refusal};
use crate::protocol::text::reply::line;
use crate::protocol::verb::Verb;
use crate::proxy::Proxy;
use crate::proxy::fleet::life::Version;
use crate::proxy::front::client::{Input, Stage};
use crate::proxy::front::transaction::END;
use crate::proxy::net::{Level, Net};
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

impl<N: Net> Proxy<N> {
    /// Begins the request at the front of `bytes`. Where its data block is not all there, or refused, the client's
    /// input is set to take the rest.
    pub(in crate::proxy) fn begin_request(&mut self, client: usize, bytes: &[u8]) -> Step {
        let Some((line_len, parsed)) = parse(self.dialect, bytes) else {
            return Step::Unfinished;
        };
        let mut request = match parsed {
            Ok(request) => request,
            Err(refusal) => {
                self.tell_of_request(client, &bytes[..line_len]);
                return self.refuse(client, &refusal, line_len, &bytes[line_len..]);
            }
        };
        if !self.settings.verbatim {
            request.verbatim = None;
        }
        let overtakes = self.clients[client].pace.keys_in_flight > 0 && self.would_overtake_read(client, &request);
        // These concern all that was asked before.
        let concerns_all = matches!(request.verb, Verb::FlushAll | Verb::Stats);
        if overtakes || concerns_all && !self.clients[client].queue.is_empty() {
            return self.raise_barrier(client);
        }
        self.tell_of_request(client, &bytes[..line_len]);
        if request.verb.is_storage() {
            return Step::Used(line_len + self.begin_storage(client, request, &bytes[line_len..]));
        }
        match request.verb {
            Verb::Quit => return Step::Leave,
            Verb::Stats => {
                self.begin_stats(client, &request);
                return Step::UsedTurn(line_len);
            }
            Verb::Verbosity => {
                // A client may not have the keys of others written down.
                self.log.set_verbosity(request.number.min(1) as u32);
                self.answer_at_once(client, request.noreply, &Reply::plain(Status::Ok));
            }
            Verb::ListKeys | Verb::ListAsCommands => {
                self.answer_at_once(client, false, self.list_end(request.verb));
            }
            Verb::FlushAll | Verb::Version | Verb::CacheMemlimit => {
                let id = self.open(client, request.noreply, line_len);
                if request.verb == Verb::FlushAll {
                    self.clients[client].stage = Stage::Barrier;
                }
                self.start_broadcast(id, &request);
            }
            _ => {
                let owner = &self.clients[client];
                let keys = request.key_count.min(owner.pace.portion_keys(&self.settings.limits));
                let foreseen = owner.pace.foreseen_bytes(keys);
                let id = self.open(client, request.noreply, line_len + foreseen);
                self.transactions[id].keys = keys;
                self.clients[client].pace.keys_in_flight += keys;
                self.begin_transaction(id, Message::from(&request));
            }
        }
        Step::Used(line_len)
    }

    /// Tells the log of a line that is answered or begun now, whatever is in it.
    fn tell_of_request(&mut self, client: usize, line: &[u8]) {
        if self.log.shows(Level::Debug) {
            let line = line.trim_ascii_end();
            let shown = line[..line.len().min(SHOWN_BYTES_MAX)].escape_ascii();
            self.log
                .say(Level::Debug, format_args!("client {client}: asks {shown}"));
        }
    }

    /// Answers a line that is no request, and sees to it that no value behind it is taken for commands.
    fn refuse(&mut self, client: usize, refusal: &Refusal, line_len: usize, behind: &[u8]) -> Step {
        self.answer_at_once(client, refusal.noreply, refusal.reply);
        match refusal.after {
            After::NextLine => Step::Used(line_len),
            After::Swallow(len) => Step::Used(line_len + self.swallow(client, len, behind)),
            After::Close => {
                self.log.say(
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
    pub(in crate::proxy) fn raise_barrier(&mut self, client: usize) -> Step {
        let client = &mut self.clients[client];
        if client.stage == Stage::Open {
            client.stage = Stage::Barrier;
        }
        Step::Unfinished
    }

    /// Begins a storage command if its data block is all there, else arranges for the rest of the block to be gathered
    /// or, if the item is too large, to be thrown away. Returns how many bytes of `block` are done with.
    fn begin_storage<'a>(&mut self, client: usize, mut request: Request<'a>, block: &'a [u8]) -> usize {
        let block_len = request.value_len + LINE_END.len();
        if request.value_len > self.settings.item_bytes_max {
            self.statistics.store_too_large += 1;
            self.refuse_large(client, &request);
            return self.swallow(client, block_len, block);
        }
        let Some((value, end)) = block.get(..block_len).map(|data| data.split_at(request.value_len)) else {
            let head = request.head();
            let head_len: usize = head.iter().map(|part| part.len()).sum();
            let mut gather = self.pool.gather(head_len + block_len);
            head.iter().for_each(|part| gather.extend(part));
            gather.extend(block);
            self.clients[client].input = Input::Value {
                gather,
                missing: block_len - block.len(),
                kept: Box::new(request.kept_behind_head()),
            };
            return block.len();
        };
        request.value = value;
        self.begin_item(client, Message::from(&request), end);
        block_len
    }

    /// Begins a storage command that was gathered whole.
    pub(in crate::proxy) fn begin_gathered(&mut self, client: usize, item: &Slice, kept: &Kept) {
        let bytes = item.bytes();
        let request = kept.request(bytes);
        let end = &bytes[bytes.len() - LINE_END.len()..];
        self.begin_item(client, Message::in_piece(&request, item), end);
    }

    /// Begins a storage command whose value, with the `end` behind it, has come.
    fn begin_item(&mut self, client: usize, message: Message<'_>, end: &[u8]) {
        let request = message.request;
        if end != LINE_END {
            self.statistics.count_write(request.verb);
            return self.answer_at_once(client, request.noreply, refusal::BAD_CHUNK);
        }
        let cost = request.value_len + LINE_END.len() + request.key.len();
        let id = self.open(client, request.noreply, cost);
        self.begin_transaction(id, message);
    }

    /// Too large an item. As in memcached, a set takes away what was there before, so that nobody reads it as new.
    fn refuse_large(&mut self, client: usize, request: &Request<'_>) {
        if request.verb != Verb::Set {
            return self.answer_at_once(client, request.noreply, refusal::TOO_LARGE);
        }
        let id = self.open(client, request.noreply, request.key.len());
        self.start_removal(id, request.key, refusal::TOO_LARGE);
    }

    /// The end of a list of keys that has none: magent lists nobody's keys, and a tool that asks waits for an end.
    fn list_end(&self, verb: Verb) -> &'static Reply {
        let mut servers = self.farm.servers.iter();
        match verb {
            Verb::ListAsCommands if !servers.all(|server| server.is_since(Version::HAS_MGDUMP)) => refusal::ERROR,
            Verb::ListAsCommands => MISS,
            _ => END,
        }
    }

    /// Answers a request that needs no server, in its turn.
    pub(in crate::proxy) fn answer_at_once(&mut self, client: usize, noreply: bool, reply: &Reply) {
        if !noreply {
            self.answer_written_at_once(client, &line(reply));
        }
    }

    /// The same where the reply has been written before.
    pub(in crate::proxy) fn answer_written_at_once(&mut self, client: usize, reply: &[u8]) {
        let owner = &mut self.clients[client];
        if owner.queue.is_empty() {
            owner.output.push(&self.pool, reply);
            self.output_grew(client);
        } else {
            let id = self.open(client, false, reply.len());
            self.answer_written(id, reply);
        }
    }
}
