//! The files that are looked at once a second: one list, whatever is to be done when one of them changes.

use tracing::info;

use super::config::Watch;
use crate::cli::DaemonArgs;

/// What a file is to us.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Kind {
    /// netifd's configuration, read where netifd itself does not answer.
    Network,
    /// The configuration, or a file it depends on: that of a set, names of routing tables.
    Configuration,
    /// A cloud's document for the configuration.
    Cloud,
}

/// All files that are watched.
#[derive(Debug)]
pub(super) struct WatchedFiles {
    files: Vec<(Kind, Watch)>,
    /// How many at the beginning of the list are those of the command line; the others follow from the configuration.
    given: usize,
    cloud: Option<Watch>,
}

impl WatchedFiles {
    /// Those of the command line. To be called before they are read: what is written from now on is a change.
    pub(super) fn new(options: &DaemonArgs) -> Self {
        let mut files = vec![(Kind::Configuration, Watch::new(&options.config))];
        if options.platform.has_netifd() {
            files.push((Kind::Network, Watch::new(&options.bus.network_config)));
        }
        WatchedFiles { given: files.len(), files, cloud: None }
    }

    /// From now on those a configuration depends on, and no others beside the given ones.
    pub(super) fn follow(&mut self, watches: Vec<Watch>) {
        self.files.truncate(self.given);
        self.files.extend(watches.into_iter().map(|watch| (Kind::Configuration, watch)));
    }

    /// From now on this document of a cloud's.
    pub(super) fn follow_cloud(&mut self, watch: Option<Watch>) {
        self.cloud = watch;
    }

    /// The configuration is about to be read for another reason.
    pub(super) fn reset_config(&mut self) {
        let (_, watch) = &mut self.files[0];
        watch.reset();
    }

    /// What has to be read again, once however many files of a kind have changed.
    pub(super) fn look(&mut self) -> Vec<Kind> {
        let mut changed = Vec::new();
        let files = self.files.iter_mut().map(|(kind, watch)| (&*kind, watch));
        for (kind, watch) in files.chain(self.cloud.as_mut().map(|watch| (&Kind::Cloud, watch))) {
            if watch.look() {
                info!("{} changed", watch.path().display());
                changed.push(*kind);
            }
        }
        changed.sort_unstable();
        changed.dedup();
        changed
    }
}
