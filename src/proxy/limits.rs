//! Every bound of the proxy that no option sets, in one place: a simulated world may make each of them small, so that what
//! takes a busy farm elsewhere happens to a few clients there. Those that the protocol sets are in `protocol`.

/// What may be in flight at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Room {
    pub keys: usize,
    pub bytes: usize,
}

/// Upper bounds, inclusive. None may be 0.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    // Clients.
    /// Requests of a client in flight; with more its socket is not read.
    pub requests_in_flight: usize,
    /// Bytes that are held for a client, and replies that are foreseen; with more its socket is not read.
    pub client_bytes: usize,
    /// Bytes that a client may have whatever the others hold: some requests, or a portion of small values.
    pub client_bytes_min: usize,
    /// Reads of one client in a row before the others get their turn.
    pub client_reads: usize,
    /// Bytes of a read where there is no memory left.
    pub squeezed_read_bytes: usize,
    /// Bytes held of a client; with less it is not among those that are looked through when memory is short.
    pub light_bytes: usize,
    /// Clients that go on in a turn when there is memory again.
    pub relaxed_in_a_turn: usize,
    /// Transactions that there is room kept for though there are none.
    pub transactions_kept: usize,
    /// Connections that `stats conns` lists.
    pub connections_listed: usize,

    // Requests.
    /// What the values of one portion of a retrieval should come to, judged by those seen lately.
    pub portion_bytes: usize,
    /// Keys of a portion.
    pub portion_keys: usize,
    /// A portion that is foreseen to come to so many bytes waits for its turn on each of its servers.
    pub bulk_bytes_min: usize,
    /// Bytes of such portions that one server is asked for at a time, or one portion: what others wait for at most.
    pub bulk_bytes: usize,
    /// Times that a server which may lack a key is asked for it again, while a write to it is on its way to both servers; one
    /// takes as long as the other.
    pub reads_again: u8,
    /// Keys of a retrieval that are looked at for an earlier write which they have to wait for.
    pub keys_looked_at: usize,
    /// Counts in the table of the keys that clients are reading, 8 bytes each, at most 65,536. A write to a key that shares one
    /// with two that its client is reading waits for these.
    pub read_counts: usize,
    /// Counts in the table of the keys that are being written, 4 bytes each, at most 65,536. Where a key that shares one is
    /// being written, a copy of a key is made later, or left as it is.
    pub write_counts: usize,
    /// Surveys in progress at a time; each may hold as many lines as `survey_lines`.
    pub surveys: usize,
    /// Names kept of one survey. `stats sizes` has the most: one for every 32 bytes of a size up to 1 MiB.
    pub survey_lines: usize,

    // Links.
    /// Reads of one link in a row before the others get their turn.
    pub link_reads: usize,
    /// Legs that there is room kept for on a link though nobody waits for an answer.
    pub legs_kept: usize,

    // Servers.
    /// Bytes of missed keys remembered for one server; when more are missed, all of it is flushed when it returns.
    pub missed_bytes: usize,
    /// Bytes of the keys that a server is known to lack of one partner's; with more it is filled with all that the partner has.
    pub lacking_bytes: usize,
    /// Tags of servers' earlier lives that are not given again.
    pub tags_remembered: usize,

    // Copies.
    /// Repairs in progress at a time, beside those of a resync; what is not repaired now is repaired when it is read again.
    pub repairs: usize,
    /// Keys that were read on one server only and wait to be copied.
    pub read_repairs: usize,
    /// In flight in a resync, by the list's sizes (one item may be larger), while no client asks for anything.
    pub resync_idle: Room,
    /// The same while clients ask: so much at a time, and then nothing until the next millisecond. Where a little is always in
    /// flight, magent and both servers never rest, and every request of a client meets it: its latency grows by as much as
    /// it is. In bursts the same server is asked for all at once, and most requests meet nothing.
    pub resync_busy: Room,
    /// Listed keys that wait to be copied, some 100 bytes each. Where there are more the list is gone through several times,
    /// and a share of the keys taken each time; memcached cannot be made to wait with it.
    pub listed_keys: usize,
    /// Keys of a list that tell whether most of them are there already.
    pub listed_keys_telling: u64,
    /// Times that a partner is listed. What was moved about while it was listed is found the second time; a server that
    /// never comes to an end loses as fast as it is filled.
    pub list_passes: u32,
    /// Reads of a list in a turn.
    pub list_reads: usize,
    /// Reads in a row of a list that nobody wants any more before the others get their turn.
    pub unwanted_list_reads: usize,
}

impl Limits {
    pub const DEFAULT: Self = Self {
        requests_in_flight: 1024,
        client_bytes: 1 << 20,
        client_bytes_min: 8 << 10,
        client_reads: 8,
        squeezed_read_bytes: 4 << 10,
        light_bytes: 16 << 10,
        relaxed_in_a_turn: 16,
        transactions_kept: 8 << 10,
        connections_listed: 1000,
        portion_bytes: 512 << 10,
        portion_keys: 256,
        bulk_bytes_min: 64 << 10,
        bulk_bytes: 512 << 10,
        reads_again: 16,
        keys_looked_at: 1024,
        read_counts: 1 << 14,
        write_counts: 1 << 12,
        surveys: 16,
        survey_lines: 33_000,
        link_reads: 16,
        legs_kept: 1024,
        missed_bytes: 4 << 20,
        lacking_bytes: 4 << 20,
        tags_remembered: 1024,
        repairs: 64,
        read_repairs: 1024,
        resync_idle: Room {
            keys: 64,
            bytes: 1 << 20,
        },
        resync_busy: Room {
            keys: 8,
            bytes: 64 << 10,
        },
        listed_keys: 200_000,
        listed_keys_telling: 100,
        list_passes: 4,
        list_reads: 4,
        unwanted_list_reads: 16,
    };
}

impl Default for Limits {
    fn default() -> Self {
        Self::DEFAULT
    }
}
