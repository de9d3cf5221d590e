//! The operations of the binary protocol.

/// What an opcode stands for, whether it is the quiet one or not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    Get,
    GetKey,
    Set,
    Add,
    Replace,
    Delete,
    Increment,
    Decrement,
    Quit,
    Flush,
    Noop,
    Version,
    Append,
    Prepend,
    Stat,
    Touch,
    GetAndTouch,
    GetAndTouchKey,
    SaslMechanisms,
    Sasl,
}

impl Operation {
    /// That of an opcode, and whether it is a quiet one. None: memcached does not know it either, as verbosity (0x1b).
    pub fn of(opcode: u8) -> Option<(Self, bool)> {
        let (operation, quiet) = match opcode {
            0x00 => (Self::Get, false),
            0x01 => (Self::Set, false),
            0x02 => (Self::Add, false),
            0x03 => (Self::Replace, false),
            0x04 => (Self::Delete, false),
            0x05 => (Self::Increment, false),
            0x06 => (Self::Decrement, false),
            0x07 => (Self::Quit, false),
            0x08 => (Self::Flush, false),
            0x09 => (Self::Get, true),
            0x0a => (Self::Noop, false),
            0x0b => (Self::Version, false),
            0x0c => (Self::GetKey, false),
            0x0d => (Self::GetKey, true),
            0x0e => (Self::Append, false),
            0x0f => (Self::Prepend, false),
            0x10 => (Self::Stat, false),
            0x11 => (Self::Set, true),
            0x12 => (Self::Add, true),
            0x13 => (Self::Replace, true),
            0x14 => (Self::Delete, true),
            0x15 => (Self::Increment, true),
            0x16 => (Self::Decrement, true),
            0x17 => (Self::Quit, true),
            0x18 => (Self::Flush, true),
            0x19 => (Self::Append, true),
            0x1a => (Self::Prepend, true),
            0x1c => (Self::Touch, false),
            0x1d => (Self::GetAndTouch, false),
            0x1e => (Self::GetAndTouch, true),
            0x20 => (Self::SaslMechanisms, false),
            0x21 | 0x22 => (Self::Sasl, false),
            0x23 => (Self::GetAndTouchKey, false),
            0x24 => (Self::GetAndTouchKey, true),
            _ => return None,
        };
        Some((operation, quiet))
    }

    /// Whether the answer is an item.
    pub fn is_retrieval(self) -> bool {
        matches!(
            self,
            Self::Get | Self::GetKey | Self::Touch | Self::GetAndTouch | Self::GetAndTouchKey
        )
    }

    /// Whether the answer has the key.
    pub fn tells_key(self) -> bool {
        matches!(self, Self::GetKey | Self::GetAndTouchKey)
    }

    /// Whether a packet may have so many bytes of extras, of a key, and in all.
    pub fn takes(self, extras: usize, key: usize, body: usize) -> bool {
        let has_no_value = body == extras + key;
        match self {
            Self::Get | Self::GetKey | Self::Delete => extras == 0 && key > 0 && has_no_value,
            Self::Set | Self::Add | Self::Replace => extras == 8 && key > 0,
            Self::Increment | Self::Decrement => extras == 20 && key > 0 && has_no_value,
            Self::Append | Self::Prepend => extras == 0 && key > 0,
            Self::Touch | Self::GetAndTouch | Self::GetAndTouchKey => extras == 4 && key > 0 && has_no_value,
            Self::Stat => extras == 0 && has_no_value,
            Self::Flush => matches!(extras, 0 | 4) && key == 0 && has_no_value,
            Self::Quit | Self::Noop | Self::Version | Self::SaslMechanisms => body == 0,
            Self::Sasl => extras == 0 && key > 0,
        }
    }
}
