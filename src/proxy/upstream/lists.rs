//! A link on which a server lists its keys, and that is used for nothing else, as memcached demands.

use crate::proxy::net::{Address, Net, Token};
use crate::proxy::upstream::Upstream;
use crate::proxy::upstream::link::{Link, Use, write_out};
use std::io::{self, ErrorKind};

impl<N: Net> Upstream<N> {
    /// Opens such a link, and puts this on it.
    pub fn open_list(&mut self, net: &mut N, server: usize, address: &Address, command: &[u8]) -> io::Result<usize> {
        let entry = self.links.vacant_entry();
        let index = entry.key();
        let socket = net.connect(address, Token::Link(index))?;
        let link = entry.insert(Link::new(socket, server, Use::Lists));
        link.output.push(&self.pool, command);
        Ok(index)
    }

    /// Puts more on it, behind what is there.
    pub fn put_on_list(&mut self, index: usize, command: &[u8]) {
        self.links[index].output.push(&self.pool, command);
    }

    /// Writes what the server is to be told there.
    pub fn write_list(&mut self, net: &mut N, index: usize) -> io::Result<()> {
        let link = &mut self.links[index];
        match write_out(net, &mut link.socket, &mut link.output) {
            // Not connected yet: an event says when.
            Err(error) if error.kind() == ErrorKind::NotConnected => Ok(()),
            result => result.map(|_| ()),
        }
    }

    /// Whether the server has not been told all of that.
    pub fn has_unsent(&self, index: usize) -> bool {
        !self.links[index].output.is_empty()
    }

    /// The servers that list their keys on such links.
    pub fn listed(&self) -> impl Iterator<Item = usize> {
        let links = self.links.iter().filter(|(_, link)| link.used_for == Use::Lists);
        links.map(|(_, link)| link.server)
    }

    pub fn close_list(&mut self, net: &mut N, index: usize) {
        let link = self.links.remove(index);
        net.close(link.socket);
    }
}
