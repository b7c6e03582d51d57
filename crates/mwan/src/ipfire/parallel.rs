//! What the log says of the primary's test beside the backup: every step of it in a line with the word `parallel`.

use std::collections::BTreeMap;

use mwan_dial::Phase;
use mwan_ipfire::{Manager, PathView};
use tracing::info;

/// What was said last.
#[derive(Debug, Default)]
pub(super) struct Parallel(Option<String>);

impl Parallel {
    /// Says what has changed.
    pub(super) fn look(&mut self, manager: &Manager, primary: &str, paths: &BTreeMap<String, PathView>) {
        let step = step(manager, primary, paths.get(primary).copied().unwrap_or_default());
        if step == self.0 {
            return;
        }
        match &step {
            Some(step) => info!("parallel test of the primary ({primary}): {step}"),
            None => info!("parallel test of the primary ({primary}): over"),
        }
        self.0 = step;
    }
}

/// `None`: there is no test.
fn step(manager: &Manager, primary: &str, path: PathView) -> Option<String> {
    let view = manager.view(primary).filter(|view| view.on_trial)?;
    let device = &view.device;
    Some(match manager.phase(primary)? {
        Phase::Dialling { attempt, .. } if *attempt > 1 => {
            format!("{} is brought up on {device}, attempt {attempt}", view.proto)
        }
        Phase::Dialling { .. } => format!("{} is brought up on {device}", view.proto),
        Phase::Waiting { why, .. } => format!("no connection: {why}"),
        Phase::Refused(why) => format!("not tried again: {why}"),
        Phase::Stopping => format!("{device} is taken down"),
        Phase::Idle | Phase::Up { .. } if path.online => format!("answers on {device}"),
        Phase::Idle | Phase::Up { .. } if path.source.is_some() => format!("{device} is up, no answer yet"),
        Phase::Idle | Phase::Up { .. } if path.has_address => format!("{device} has no carrier"),
        Phase::Idle | Phase::Up { .. } => format!("{device} has no address"),
    })
}
