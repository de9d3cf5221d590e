//! Whether the books of the clients agree; see [`Proxy::check`](crate::proxy::Proxy::check).

use crate::proxy::context::Context;
use crate::proxy::front::Front;
use crate::proxy::front::client::{Client, Stage};
use crate::proxy::front::pending::Pending;
use crate::proxy::net::Net;
use crate::proxy::wrong::{Wrong, equal, holds, is_flushed};

impl<N: Net> Front<N> {
    /// Whether a client waits for a request.
    pub fn waits_for(&self, client: usize, id: usize) -> bool {
        let client = self.clients.get(client);
        client.is_some_and(|client| client.queue.iter().any(|waits| waits == id))
    }

    /// Whether the reply of a request is complete.
    pub fn is_answered(&self, id: usize) -> bool {
        self.pending[id].is_answered
    }

    /// Whether nothing that its client asked before a request is unanswered.
    pub fn is_front(&self, client: usize, id: usize) -> bool {
        self.clients[client].queue.front() == Some(id)
    }

    /// Whether a client has something to take.
    pub fn has_output(&self, client: usize) -> bool {
        !self.clients[client].output.is_empty()
    }

    /// Whether all is as it must be at the end of a turn; `merging` says how many bytes a request keeps of values that wait for
    /// others, None if there is no such request.
    pub fn check(&self, cx: &Context<N>, merging: &dyn Fn(usize) -> Option<usize>) -> Wrong {
        holds("clients have left something for another turn", self.dirty.is_empty())?;
        for (index, client) in &self.clients {
            self.check_client(cx, index, client, merging)
                .map_err(|what| format!("client {index}: {what}"))?;
        }
        Ok(())
    }

    fn check_client(
        &self,
        cx: &Context<N>,
        index: usize,
        client: &Client<N>,
        merging: &dyn Fn(usize) -> Option<usize>,
    ) -> Wrong {
        let mut queue = Vec::new();
        let mut kept = 0;
        for id in client.queue.iter() {
            let pending = &self.pending[id];
            holds("waits for what is not its own", pending.client == Some(index))?;
            kept += merging(id).ok_or(format!("waits for transaction {id}, which is gone"))?;
            queue.push(pending);
        }
        let sum = |of: fn(&Pending) -> usize| queue.iter().map(|one| of(one)).sum::<usize>();
        equal("the load", client.load, sum(|one| one.cost))?;
        equal(
            "keys in flight",
            client.pace.keys_in_flight as usize,
            sum(|one| one.keys),
        )?;
        equal("bytes of replies", client.replies, sum(Pending::reply_bytes) + kept)?;
        holds("not flushed", is_flushed(&client.output, client.outgoing))?;
        let most = cx.settings.limits.requests_in_flight;
        holds("more in flight than allowed", queue.len() <= most)?;
        let ends = client.stage != Stage::Leaving || !client.queue.is_empty() || !client.output.is_empty();
        holds("it has left and is not closed", ends)?;
        // With something in flight or on its way out, the end of that goes on with it.
        let is_idle = client.queue.is_empty() && client.output.is_empty() && !client.is_squeezed;
        let goes_on = !is_idle || !self.is_able_to_go_on(cx, client) || self.resuming.contains(&index);
        holds("it has asked for more and is never gone on with", goes_on)
    }
}
