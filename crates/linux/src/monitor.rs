//! What changed in the kernel: links, addresses, routes, rules, and the nf_tables ruleset.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use mwan_core::NetView;
use tokio::io::unix::AsyncFd;

use crate::netlink::{Messages, Protocol, RequestError, Socket, u32_be};
use crate::netview::{Folded, NetState};
use crate::{nft, rt, sys};

/// Why the monitor stopped working.
#[derive(Debug, thiserror::Error)]
pub enum MonitorError {
    /// A socket could not be opened or read.
    #[error("netlink monitor")]
    Io(#[from] io::Error),
    /// The kernel's state could not be read.
    #[error("reading the kernel's links, addresses and routes")]
    Dump(#[from] RequestError),
}

/// What happened since the last time.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Change {
    /// [`Monitor::view`] differs from before.
    pub network: bool,
    /// A rule was deleted, or a rule or route with our protocol number was changed by somebody else, or may have
    /// vanished with its device: observe routing again.
    pub routing_foreign: bool,
    /// The ruleset was changed.
    pub nft: Option<NftChange>,
    /// Events were lost, or could not be read when they should, and everything was read again.
    pub overrun: bool,
    /// Everything should have been read again and could not; it is tried again by itself.
    pub unreadable: Option<String>,
}

impl Change {
    fn happened(&self) -> bool {
        *self != Change::default()
    }
}

/// The last commit to the ruleset, by anybody.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NftChange {
    /// The generation it made.
    pub generation: u32,
    /// All commits since the last time were made by sockets of ours ([`Monitor::own_port`]).
    pub own: bool,
}

/// Counts for status and tests.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct MonitorStats {
    /// Times a socket became readable.
    pub wakeups: u64,
    /// Messages taken in.
    pub messages: u64,
    /// Times the socket buffer was too small.
    pub overruns: u64,
}

/// Copying the sets of connected networks takes at most one part in so many of the time, however fast they change…
const PUBLISH_SHARE: u32 = 20;
/// … and happens at most so often, because whoever gets a view works on it.
const PUBLISH_INTERVAL: Duration = Duration::from_millis(50);
/// Between two wake-ups of which the first brought nothing. A routing daemon's flood is taken in bundles, and a
/// cable that is pulled meanwhile is noticed so much later at most.
const IDLE_PAUSE: Duration = Duration::from_millis(3);
/// Before another attempt to read everything.
const REREAD_PAUSE: Duration = Duration::from_secs(1);
/// Datagrams taken in one go; then the change is told, so that a flood cannot keep it back.
const DATAGRAMS_MAX: usize = 4096;

/// Far more than the socket buffer holds: the flood is faster than we can throw away.
const DISCARDED_MAX: usize = 1 << 20;

const ROUTE_GROUPS: [u32; 8] = [
    libc::RTNLGRP_LINK,
    libc::RTNLGRP_IPV4_IFADDR,
    libc::RTNLGRP_IPV6_IFADDR,
    libc::RTNLGRP_IPV4_ROUTE,
    libc::RTNLGRP_IPV6_ROUTE,
    libc::RTNLGRP_IPV4_RULE,
    libc::RTNLGRP_IPV6_RULE,
    RTNLGRP_NEXTHOP,
];
const RTNLGRP_NEXTHOP: u32 = 32;
const NFNLGRP_NFTABLES: u32 = 7;

/// Watches the kernel. Belongs to the network namespace of the thread that opened it.
pub struct Monitor {
    route: AsyncFd<Socket>,
    nft: AsyncFd<Socket>,
    /// For dumps; its replies would get lost between the events.
    requests: Socket,
    custom_tables: Vec<u32>,
    state: NetState,
    view: Arc<NetView>,
    own_ports: Vec<u32>,
    stats: MonitorStats,
    /// The last drain stopped before the socket was empty.
    unread: bool,
    /// When the sets may be handed out again.
    publish_at: Option<Instant>,
    earliest_publish: Instant,
    /// Everything could not be read; when to try again.
    reread_at: Option<Instant>,
}

/// The hearing of a [`Monitor`] for commits of nf_tables. While anybody in the namespace listens, the kernel makes a message
/// for every element of a commit, of which nobody wants to know more than that there was one: 50,000 take longer to be told
/// of than to be entered (nf_tables_setelem_notify).
#[derive(Debug)]
pub struct Ears(Socket);

impl Ears {
    /// Does `work` unheard. What others do meanwhile is unheard too: the number of the generation tells.
    pub fn shut<T>(&self, work: impl FnOnce() -> T) -> io::Result<T> {
        self.0.leave(NFNLGRP_NFTABLES)?;
        let done = work();
        self.0.join(NFNLGRP_NFTABLES)?;
        Ok(done)
    }
}

impl Monitor {
    /// Subscribes, then reads everything. Must be called inside a tokio runtime.
    pub fn open(custom_tables: Vec<u32>) -> Result<Self, MonitorError> {
        let route = Socket::open(Protocol::Route)?;
        for group in ROUTE_GROUPS {
            match route.join(group) {
                // Next-hop objects are younger than the rest (5.3).
                Err(_) if group == RTNLGRP_NEXTHOP => {}
                result => result?,
            }
        }
        let nft = Socket::open(Protocol::Netfilter)?;
        nft.filter(&generation_filter())?;
        nft.join(NFNLGRP_NFTABLES)?;
        let mut monitor = Monitor {
            route: sys::watch(route)?,
            nft: sys::watch(nft)?,
            requests: Socket::open(Protocol::Route)?,
            state: NetState::default(),
            custom_tables,
            view: Arc::default(),
            own_ports: Vec::new(),
            stats: MonitorStats::default(),
            unread: false,
            publish_at: None,
            earliest_publish: Instant::now(),
            reread_at: None,
        };
        monitor.read_all()?;
        Ok(monitor)
    }

    /// What keeps it from hearing of commits, see [`Ears`].
    pub fn ears(&self) -> io::Result<Ears> {
        self.nft.get_ref().handle().map(Ears)
    }

    /// Changes made by the socket with this port id are our own.
    pub fn own_port(&mut self, port: u32) {
        self.own_ports.push(port);
    }

    /// Takes the destinations of other tables as `custom` from now on. If they cannot be read, the view stays as it
    /// is until an attempt of [`Monitor::next`] succeeds.
    pub fn set_custom_tables(&mut self, custom_tables: Vec<u32>) -> Result<(), MonitorError> {
        if self.custom_tables != custom_tables || self.reread_at.is_some() {
            self.custom_tables = custom_tables;
            self.read_all()?;
        }
        Ok(())
    }

    /// The network as it is now.
    pub fn view(&mut self) -> Arc<NetView> {
        Arc::clone(&self.view)
    }

    /// What the monitor had to do so far.
    pub fn stats(&self) -> MonitorStats {
        self.stats
    }

    fn read_all(&mut self) -> Result<(), RequestError> {
        let read = self.try_read_all();
        self.reread_at = read.is_err().then(|| Instant::now() + REREAD_PAUSE);
        read
    }

    fn try_read_all(&mut self) -> Result<(), RequestError> {
        let mut state = NetState::new(self.custom_tables.clone());
        state.ipv6_absent = !crate::has_ipv6();
        for (kind, family) in [
            (rt::GET_LINK, 0),
            (rt::GET_ADDRESS, 0),
            (rt::GET_NEXTHOP, 0),
            (rt::GET_ROUTE, libc::AF_INET as u8),
            (rt::GET_ROUTE, libc::AF_INET6 as u8),
        ] {
            let start = || state.clone();
            let result = self.requests.dump(
                || rt::dump_request(kind, family),
                start,
                |state: &mut NetState, m| {
                    // Asked for a family it does not have, a kernel answers with all (PF_UNSPEC).
                    if family == 0 || m.payload.first() == Some(&family) {
                        state.fold(m);
                    }
                },
            );
            match result {
                Ok(read) => state = read,
                // No next-hop objects, no IPv6: nothing to read.
                Err(RequestError::Kernel(e)) if matches!(e.errno, libc::EOPNOTSUPP | libc::EAFNOSUPPORT) => {}
                Err(error) => return Err(error),
            }
        }
        self.state = state;
        self.publish_at = None;
        self.view = Arc::new(self.state.view());
        Ok(())
    }

    /// Waits until something changed. Cancel safe: what was taken in stays in the view, and a cancelled call loses
    /// nothing because nothing is awaited between reading and returning.
    pub async fn next(&mut self) -> Result<Change, MonitorError> {
        loop {
            let next = self.publish_at.into_iter().chain(self.reread_at).min();
            let next = next.map(tokio::time::Instant::from_std);
            let deadline = async {
                match next {
                    Some(at) => tokio::time::sleep_until(at).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = std::future::ready(()), if self.unread => {}
                ready = self.route.readable_mut() => ready?.clear_ready(),
                ready = self.nft.readable_mut() => ready?.clear_ready(),
                () = deadline => {}
            }
            self.stats.wakeups += 1;
            let change = self.drain()?;
            if change.happened() {
                return Ok(change);
            }
            // Woken for nothing of interest: the next of its kind is probably near, and may as well wait.
            tokio::time::sleep(IDLE_PAUSE).await;
        }
    }

    /// Takes in what is there.
    fn drain(&mut self) -> Result<Change, MonitorError> {
        self.unread = false;
        let mut change = Change { nft: self.drain_nft()?, ..Change::default() };
        let due = self.reread_at.is_some_and(|at| at <= Instant::now());
        match self.drain_route() {
            Ok(_) if due => self.read_again(&mut change),
            Ok(folded) => {
                change.routing_foreign = folded.ours;
                change.network = self.refresh(folded.network);
            }
            Err(e) if e.raw_os_error() == Some(libc::ENOBUFS) => {
                self.stats.overruns += 1;
                self.discard_queued()?;
                self.read_again(&mut change);
            }
            Err(e) => return Err(e.into()),
        }
        Ok(change)
    }

    /// What was lost is made up for by reading everything; while that fails because others change the network faster
    /// than it can be read, what is known is better than nothing.
    fn read_again(&mut self, change: &mut Change) {
        let before = Arc::clone(&self.view);
        match self.read_all() {
            Ok(()) => change.overrun = true,
            Err(error) => change.unreadable = Some(error.to_string()),
        }
        change.routing_foreign = true;
        change.network = *before != *self.view;
    }

    /// Empties the socket. The kernel reports further losses only after the queue was empty once
    /// (netlink_overrun, NETLINK_S_CONGESTED), so this must come before everything is read again.
    fn discard_queued(&mut self) -> io::Result<()> {
        for _ in 0..DISCARDED_MAX {
            match self.route.get_mut().receive() {
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(e) if e.raw_os_error() != Some(libc::ENOBUFS) => return Err(e),
                _ => {}
            }
        }
        self.unread = true;
        Ok(())
    }

    fn drain_route(&mut self) -> io::Result<Folded> {
        let mut sum = Folded::default();
        for _ in 0..DATAGRAMS_MAX {
            let messages = match self.route.get_mut().receive() {
                Ok(messages) => messages,
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => return Ok(sum),
                Err(e) => return Err(e),
            };
            for m in messages {
                self.stats.messages += 1;
                let folded = self.state.fold(&m);
                sum.network |= folded.network;
                sum.ours |= folded.ours && !(is_routing(m.kind) && self.own_ports.contains(&m.port));
            }
        }
        // Readiness was cleared though more may be there; tokio would not tell again.
        self.unread = true;
        Ok(sum)
    }

    fn drain_nft(&mut self) -> io::Result<Option<NftChange>> {
        let mut change: Option<NftChange> = None;
        loop {
            let messages: Messages<'_> = match self.nft.get_mut().receive() {
                Ok(messages) => messages,
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => return Ok(change),
                Err(e) if e.raw_os_error() == Some(libc::ENOBUFS) => {
                    self.stats.overruns += 1;
                    change = Some(NftChange { generation: 0, own: false });
                    continue;
                }
                Err(e) => return Err(e),
            };
            for m in messages.filter(|m| m.kind == nft::message::NEW_GENERATION) {
                self.stats.messages += 1;
                let Some(generation) = m.attributes(4).find(nft::attr::GEN_ID).and_then(u32_be) else {
                    continue;
                };
                // nf_tables_gen_notify puts the committer's port into the header; NFTA_GEN_PROC_PID is only its
                // process id, which all our sockets share with whatever else we do.
                let own = self.own_ports.contains(&m.port) && change.is_none_or(|c| c.own);
                change = Some(NftChange { generation, own });
            }
        }
    }

    /// Makes the view anew if needed; returns whether it differs.
    fn refresh(&mut self, dirty: bool) -> bool {
        let start = Instant::now();
        let publish = self.state.sets_pending() && start >= self.earliest_publish;
        // While routes flood in, the sets are handed out now and then only.
        self.publish_at = (self.state.sets_pending() && !publish).then_some(self.earliest_publish);
        if !dirty && !publish {
            return false;
        }
        if publish {
            self.state.publish_sets();
        }
        let view = self.state.view_with_published_sets();
        let differs = view != *self.view;
        if differs {
            self.view = Arc::new(view);
        }
        if publish {
            let now = Instant::now();
            self.earliest_publish = now + ((now - start) * PUBLISH_SHARE).max(PUBLISH_INTERVAL);
        }
        differs
    }
}

/// Whether a message can be the echo of our own request; links and addresses are never ours.
fn is_routing(kind: u16) -> bool {
    matches!(kind, rt::NEW_ROUTE | rt::DELETE_ROUTE | rt::NEW_RULE | rt::DELETE_RULE)
}

/// Lets only datagrams through that begin with NEWGEN: the kernel sends it on its own at the end of each commit
/// (nf_tables_commit, nf_tables_gen_notify), so a commit of 5,000 rules wakes us once.
fn generation_filter() -> [libc::sock_filter; 4] {
    // nlmsg_type in host order, as a big-endian load sees it.
    let kind = u32::from(u16::from_be_bytes(nft::message::NEW_GENERATION.to_ne_bytes()));
    let step = |code: u32, k, jt, jf| libc::sock_filter { code: code as u16, jt, jf, k };
    [
        step(libc::BPF_LD | libc::BPF_H | libc::BPF_ABS, 4, 0, 0),
        step(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, kind, 0, 1),
        step(libc::BPF_RET | libc::BPF_K, u32::MAX, 0, 0),
        step(libc::BPF_RET | libc::BPF_K, 0, 0, 0),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::common;

    /// A socket to which the kernel answers every question about routes with an error.
    fn deaf() -> Socket {
        Socket::open(Protocol::Netfilter).expect("socket")
    }

    async fn next(monitor: &mut Monitor) -> Change {
        let change = tokio::time::timeout(Duration::from_secs(30), monitor.next()).await;
        change.expect("in time").expect("monitor")
    }

    #[test]
    fn what_cannot_be_read_is_read_later() {
        common::in_namespace("monitor::tests::what_cannot_be_read_is_read_later", || {
            common::sh("ip route add 10.7.0.0/16 dev lo table 7; ip route add 10.8.0.0/16 dev lo");
            let runtime =
                tokio::runtime::Builder::new_current_thread().enable_all().build().expect("runtime");
            runtime.block_on(async {
                let mut monitor = Monitor::open(vec![]).expect("monitor");
                let before = monitor.view();
                let requests = std::mem::replace(&mut monitor.requests, deaf());
                assert!(monitor.set_custom_tables(vec![7]).is_err());
                assert_eq!(monitor.view(), before, "what is known stays");
                // Events are taken in meanwhile, and the next attempt fails too.
                common::sh("ip route add default dev lo");
                assert!(next(&mut monitor).await.network);
                assert_eq!(monitor.view().defaults.len(), 1);
                assert!(next(&mut monitor).await.unreadable.is_some());
                monitor.requests = requests;
                let change = next(&mut monitor).await;
                assert!(change.network && change.overrun && change.unreadable.is_none(), "{change:?}");
                assert_eq!(monitor.view().custom.len(), 1);
                assert_eq!(monitor.reread_at, None);
            });
        });
    }
}
