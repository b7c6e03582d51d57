//! OpenWrt: what netifd says, by ubus or from its configuration, and our status for others on ubus.

mod answer;
mod bus;
mod netif;
mod network;
mod session;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use mwan_core::PlatformView;
use tokio::sync::{mpsc, watch};
use tracing::{info, warn};

use crate::cli::BusArgs;
use crate::daemon::{Asked, reread_config};

/// A start waits so long for netifd's first word if ubusd does not say that it is not there: a daemon that was restarted must
/// not take its WANs for lost (I10), and the kernel goes on meanwhile.
const FIRST_WORD_MAX: Duration = Duration::from_secs(3);

/// What is known of netifd.
#[derive(Clone, Debug, Default)]
enum Netifd {
    /// Nothing yet.
    #[default]
    Unknown,
    /// ubusd is not there, or netifd is not.
    Absent,
    /// Its interfaces. They stay in force when it goes away.
    View(Arc<PlatformView>),
}

/// Names of netifd become devices.
#[derive(Debug)]
pub(crate) struct Openwrt {
    netifd: watch::Receiver<Netifd>,
    /// netifd's configuration, which stands in for it.
    file: PathBuf,
    /// Why that file is not believed.
    doubt: Option<String>,
}

impl Openwrt {
    /// Connects to ubusd, now and whenever it comes back. With `ask`, our objects are published there and answered by
    /// whoever receives.
    pub(crate) fn start(args: &BusArgs, ask: Option<mpsc::Sender<Asked>>) -> Self {
        let (tell, netifd) = watch::channel(Netifd::Unknown);
        tokio::spawn(bus::run(args.ubus_socket.clone(), tell, ask));
        Openwrt { netifd, file: args.network_config.clone(), doubt: None }
    }

    /// The interfaces as far as they are known at a start: netifd's, else its configuration's.
    pub(crate) async fn first(&mut self) -> Option<Arc<PlatformView>> {
        let known = self.netifd.wait_for(|netifd| !matches!(netifd, Netifd::Unknown));
        let known = tokio::time::timeout(FIRST_WORD_MAX, known).await;
        let known = known.ok().and_then(Result::ok).map(|netifd| netifd.clone());
        if let Some(Netifd::View(view)) = known {
            return Some(view);
        }
        warn!("netifd does not answer; devices are taken from {} until it does", self.file.display());
        self.first_file()
    }

    /// The next change netifd tells of.
    pub(crate) async fn next(&mut self) -> Arc<PlatformView> {
        loop {
            if self.netifd.changed().await.is_err() {
                // The runtime is ending.
                std::future::pending::<()>().await;
            }
            if let Netifd::View(view) = &*self.netifd.borrow_and_update() {
                return view.clone();
            }
        }
    }

    /// The interfaces of netifd's configuration, which changed, if netifd is not there to say what it makes of it. A file that
    /// is not one, or half of one, changes nothing (I8).
    pub(crate) fn file_changed(&mut self) -> Option<Arc<PlatformView>> {
        if self.answers() {
            return None;
        }
        let view = self.read_file()?;
        match &self.doubt {
            None => Some(view),
            Some(doubt) => {
                warn!("devices stay as they are: {doubt}");
                None
            }
        }
    }

    /// Why devices may be other than the file of netifd says.
    pub(crate) fn problem(&self) -> Option<String> {
        let doubt = self.doubt.as_ref().filter(|_| !self.answers())?;
        Some(format!("the configuration of netifd is not believed: {doubt}"))
    }

    fn answers(&self) -> bool {
        matches!(*self.netifd.borrow(), Netifd::View(_))
    }

    /// At a start a file with a mistake is better than none; one without an interface is none.
    fn first_file(&mut self) -> Option<Arc<PlatformView>> {
        let view = self.read_file()?;
        if let Some(doubt) = &self.doubt {
            warn!("{doubt}; devices are taken from what can be read of it");
        }
        Some(view).filter(|view| !view.interfaces.is_empty())
    }

    fn read_file(&mut self) -> Option<Arc<PlatformView>> {
        match reread_config(&self.file) {
            Ok((name, bytes)) => {
                let (view, doubt) = network::view(&name, &bytes);
                self.doubt = doubt;
                Some(Arc::new(view))
            }
            Err(failure) => {
                info!("{failure}; an interface without `option device` has its own name as device");
                None
            }
        }
    }
}
