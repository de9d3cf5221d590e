//! What a client speaks, where that is not the text protocol: it goes on thinking in that, and is translated.

use super::meta_speech::MetaSpeech;
use super::speech::Speech;

pub enum Tongue {
    /// The binary protocol.
    Packets(Speech),
    Meta(MetaSpeech),
}

impl Tongue {
    /// Puts lines into what is said. What is not a whole request at the end is not said.
    pub fn say(&mut self, text: &[u8]) -> Vec<u8> {
        match self {
            Tongue::Packets(speech) => speech.say(text),
            Tongue::Meta(speech) => speech.say(text),
        }
    }

    /// Puts what has come into lines.
    pub fn hear(&mut self, bytes: &[u8], lines: &mut Vec<u8>) -> Result<(), String> {
        match self {
            Tongue::Packets(speech) => speech.hear(bytes, lines),
            Tongue::Meta(speech) => speech.hear(bytes, lines),
        }
    }
}
