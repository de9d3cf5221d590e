//! Requests on their way to servers: with the piece of memory that their bytes lie in, so that a large value is not copied, and
//! as they were sent.

use crate::buffer::{Pool, REFERENCE_MIN, Slice};
use crate::protocol::request::{Kept, Request};
use crate::protocol::server::encode::{Asked, Words, encode};

/// A request for a server.
#[derive(Clone, Copy)]
pub struct Message<'a> {
    pub request: &'a Request<'a>,
    /// Where its bytes lie, if they are kept.
    piece: Option<&'a Slice>,
    /// The same as another server was sent it.
    again: Option<&'a Sent>,
}

impl<'a> From<&'a Request<'a>> for Message<'a> {
    /// Its bytes are somebody else's, and copied.
    fn from(request: &'a Request<'a>) -> Self {
        Self {
            request,
            piece: None,
            again: None,
        }
    }
}

impl<'a> Message<'a> {
    /// A request whose bytes lie in a piece.
    pub fn in_piece(request: &'a Request<'a>, piece: &'a Slice) -> Self {
        Self {
            piece: Some(piece),
            ..Self::from(request)
        }
    }

    /// Another request with the same value, if any.
    pub fn with(self, request: &'a Request<'a>) -> Self {
        Self {
            request,
            again: None,
            ..self
        }
    }

    /// The same, which has been sent to another server before.
    pub fn again(self, sent: Option<&'a Sent>) -> Self {
        Self { again: sent, ..self }
    }

    pub fn sent_before(&self) -> Option<&'a Sent> {
        self.again.filter(|sent| sent.is_whole)
    }

    /// Its value, if it is kept and large enough not to be copied.
    pub fn large_value(&self) -> Option<Slice> {
        let value = self.request.value;
        let piece = self.piece.filter(|_| value.len() >= REFERENCE_MIN)?;
        piece.part_of(value)
    }

    pub fn piece(&self) -> Option<&'a Slice> {
        self.piece
    }

    /// The same once it has been sent: what was sent is kept, unless its bytes were kept before.
    pub fn hold_as_sent(&self, sent: &Sent) -> Held {
        match self.piece {
            Some(piece) => Held::new(piece.clone(), Kept::of(self.request, piece.bytes())),
            None => Held::new(sent.piece.clone(), sent.asked.kept(self.request)),
        }
    }

    /// The request in a form that can be kept.
    pub fn hold(&self, pool: &Pool) -> Held {
        if let Some(piece) = self.piece {
            return Held::new(piece.clone(), Kept::of(self.request, piece.bytes()));
        }
        let mut words = Words::default();
        let encoded = encode(self.request, &mut words);
        Held::new(pool.copy(encoded.parts()), encoded.asked().kept(self.request))
    }
}

/// A request that is kept.
#[derive(Clone)]
pub struct Held {
    piece: Slice,
    kept: Kept,
}

impl Held {
    pub fn new(piece: Slice, kept: Kept) -> Self {
        Self { piece, kept }
    }

    pub fn request(&self) -> Request<'_> {
        self.kept.request(self.piece.bytes())
    }

    pub fn key(&self) -> &[u8] {
        self.kept.key(self.piece.bytes())
    }

    pub fn piece(&self) -> &Slice {
        &self.piece
    }
}

/// A request as it was sent.
#[derive(Clone)]
pub struct Sent {
    pub piece: Slice,
    pub asked: Asked,
    /// The value, if any, is in the piece.
    pub is_whole: bool,
}

impl Sent {
    /// The one key that it is about; empty if it is about none.
    pub fn key(&self) -> &[u8] {
        self.asked.key.in_piece(self.piece.bytes())
    }

    /// The same, to be kept.
    pub fn key_piece(&self) -> Slice {
        self.piece.part(self.asked.key.start(), self.asked.key.len())
    }
}
