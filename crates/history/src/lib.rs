//! What mwan remembers of its paths, so that charts and evidence survive restarts and boots.
//!
//! A [`History`] is a file of fixed size per interface: for each family availability, latency, jitter and loss, and the bytes of
//! the device, in four resolutions as in RRDtool; latencies of each day by class; the last outages with their cause. This crate has
//! no clock and opens nothing: bytes are behind [`Storage`], times are told.

mod codec;
mod day;
mod html;
mod layout;
mod outage;
mod record;
mod report;
mod ring;
mod series;
mod text;
mod time;

#[cfg(test)]
mod tests;

pub use day::Latencies;
pub use html::html;
pub use layout::{INTERFACE_SIZE_MAX, OUTAGES_MAX, Stream, file_size};
pub use outage::{End, Outage};
pub use record::{Health, Traffic};
pub use report::{interface, report};
pub use ring::{EARLIEST_S, History, NAME_MAX, OpenError, PathSecond, Recorded, Second, Storage};
pub use series::series;
pub use text::text;
pub use time::Month;
