//! A build without recordings.

use std::path::Path;

use mwan_config::Config;
use mwan_core::{Core, Event, Output, Time};

use super::config::Source;
use super::reload::Reply;
use crate::cli::Failure;

/// Nothing.
#[derive(Debug)]
pub(super) struct Text;

impl Text {
    pub(super) fn of(_: &str, _: &Source, _: &Config) -> Self {
        Text
    }
}

/// Notes nothing.
#[derive(Debug)]
pub(super) struct FlightRecorder;

impl FlightRecorder {
    pub(super) fn start(_: Text, _: &Core, _: Time, _: &Path) -> Self {
        FlightRecorder
    }

    pub(super) fn announce(&mut self, _: &str, _: &Source, _: &Config) {}

    pub(super) fn event(&mut self, _: Time, _: &Event) {}

    pub(super) fn decided(&mut self, _: &Output, _: &Core) {}

    pub(super) fn look(&mut self) {}

    /// That it is asked for in vain.
    pub(super) fn answer(&self, reply: Reply) {
        let _ = reply.send(super::answer::error_response(
            Failure::says("this mwan was built without record").hint("build it with --features record"),
        ));
    }
}
