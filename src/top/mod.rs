//! What `magent --top` shows: the statistics of a magent in, lines for a terminal out; no I/O and no clock.
//!
//! | file | what it has |
//! | --- | --- |
//! | `sample` | what a magent has answered at one moment, and the rates between two of them |
//! | `watch` | the last samples, what was seen to change, and whether the magent answers |
//! | `screen` | all of that in lines, as many and as wide as there is room for |
//! | `facts` | what there is to know of the whole, and of each kind of request |
//! | `table` | columns that are left out where they do not fit |
//! | `text` | pieces of a line with a style, with and without escape codes; numbers in words |

mod facts;
mod sample;
mod screen;
mod table;
mod text;
mod watch;

pub use sample::{REQUEST, Sample};
pub use screen::Room;
pub use watch::Watch;
