//! Recordings: what is needed to take the same decisions again, anywhere.
//!
//! The core is a function of its events and their times. A recording is a core written down ([`mwan_core::Checkpoint`]), the
//! configuration as text, and every event since, each with the decisions that came of it. So a replay can prove that it
//! decides alike, and can be asked what other options would have done.
//!
//! | module | what of it |
//! |---|---|
//! | `happened`, `decision` | events and decisions as they are kept |
//! | `source` | the configuration as text, and back |
//! | `ring` | the last of them in memory, bounded in bytes |
//! | `file` | a recording as lines of JSON |
//! | `replay` | the same decisions again |
//! | `trial` | the same world under other options |
//! | `outage` | what two runs made of it |
//!
//! Pure: no file, no clock, no socket. A file of a recording is not trusted: reading one ends with an error or a bounded value.

mod decision;
mod file;
mod happened;
mod outage;
mod replay;
mod ring;
mod source;
mod trial;

pub use decision::{Carried, Decided, Decision};
pub use file::{Begin, Made, RECORDING_BYTES_MAX, Recording, Unreadable};
pub use happened::{Happened, Noted};
pub use outage::{Outage, Seen, Verdict, compare, outages, switches};
pub use replay::{Answers, Difference, Replayed, Trouble, replay, replay_with};
pub use ring::{Ring, Snapshot};
pub use source::{InForce, RecordedConfig, Source, without_secret_values, without_secrets};
pub use trial::{Doubts, Trial, try_out};
