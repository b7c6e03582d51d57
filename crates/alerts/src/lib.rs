//! Alerts: which incidents there are, who is told of them, when, and in which words.
//!
//! Pure: events and a time go in, messages come out. No clock, no socket, no file; the same events at the same times
//! give the same messages. What carries them (SMTP, HTTP, programs) is the caller's.
//!
//! ```text
//! events, snapshots ──► incidents ──► what is due on which channel ──► Outgoing ──► the caller sends, and says how it went
//! ```
//!
//! There is no queue of texts. An incident is kept until every channel knows all of it, and the text is made when it is
//! sent: one that is over before it could be told of is one message, and nobody reads of states long gone.

mod deliver;
mod engine;
mod event;
mod incident;
mod settings;
mod shape;
mod state;
mod text;
mod time;

pub use deliver::{ChannelStatus, Fault, FaultKind, Outgoing, Part};
pub use engine::Engine;
pub use event::{PathNow, Snapshot};
pub use incident::{Incident, Move, Stage, Subject, Trouble};
pub use settings::{
    Channel, CommandRun, Email, How, Quiet, Secret, Security, Settings, Severity, Shape, Threshold, Webhook,
};
pub use shape::{HttpRequest, document, requests};
pub use text::{Words, words};
pub use time::{Now, duration_text};
