//! Connections by interface, and the largest of them: the kernel's table is read by a thread, for a table of 200,000 takes longer than
//! probes can wait. What is kept is bounded by what was asked for.

use mwan_config::Gather;
use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use mwan_api::{InterfaceFlows, Response, SCHEMA_FLOWS};
use mwan_config::Family;
use mwan_core::{Core, Marks};
use mwan_linux::conntrack::{Conntrack, ConntrackError, Flow};

use super::answer::{error_response, in_thread};
use super::reload::Reply;
use super::status::protocol_name;
use crate::cli::Failure;

/// Connections told one by one, at most.
const LIMIT_MAX: u32 = 1000;
/// A plan waits so long for a list that somebody else is making, looking as often.
const TURN_MAX: Duration = Duration::from_secs(5);
const TURN_PAUSE: Duration = Duration::from_millis(10);
/// Whether the kernel counts packets and bytes of connections, of this network namespace.
pub(super) const ACCOUNTING: &str = "/proc/sys/net/netfilter/nf_conntrack_acct";

/// One list at a time is made.
#[derive(Clone, Debug, Default)]
pub(super) struct FlowList {
    busy: Arc<AtomicBool>,
}

/// What ids in marks mean: names in the order in which they are told.
pub(super) struct Names {
    pub(super) marks: Marks,
    pub(super) names: BTreeMap<u32, String>,
    order: Vec<u32>,
}

impl Names {
    pub(super) fn new(core: &Core) -> Self {
        let marks = Marks::new(core.config().globals.mask);
        let interfaces = core.config().interfaces.iter();
        let interfaces = interfaces.filter_map(|i| Some((core.wan(&i.name)?.0, i.name.clone())));
        let others = [
            (marks.default_id(), "default"),
            (marks.unreachable_id(), "unreachable"),
            (marks.blackhole_id(), "blackhole"),
        ];
        let all: Vec<(u32, String)> =
            interfaces.chain(others.map(|(id, name)| (id, name.to_owned()))).collect();
        let order = all.iter().map(|(id, _)| *id).collect();
        Names { marks, names: all.into_iter().gather(), order }
    }
}

impl FlowList {
    /// For a thread: waits until nobody else reads the kernel's table. `None`: that takes too long.
    pub(super) fn wait(&self) -> Option<Free> {
        let end = Instant::now() + TURN_MAX;
        loop {
            match self.turn() {
                None if Instant::now() < end => std::thread::sleep(TURN_PAUSE),
                turn => return turn,
            }
        }
    }

    /// The right to read the kernel's table until it is dropped; `None`: somebody has it.
    fn turn(&self) -> Option<Free> {
        (!self.busy.swap(true, Ordering::AcqRel)).then(|| Free(self.busy.clone()))
    }

    /// Answers in a while.
    pub(super) fn answer(&self, core: &Core, limit: u32, reply: Reply) {
        let Some(done) = self.turn() else {
            let _ = reply.send(error_response(
                Failure::says("a list of connections is being made already").hint("ask again in a second"),
            ));
            return;
        };
        let names = Names::new(core);
        in_thread("flow-list", "lists connections", reply, move |_| {
            let _done = done;
            let limit = usize::try_from(limit.min(LIMIT_MAX)).unwrap_or(0);
            let listed = list(&names, limit);
            let failed = |e: ConntrackError| Failure::new("cannot list connections", &e);
            listed.map(Response::Flows).map_err(failed)
        });
    }
}

/// Lets the next list be made, whatever became of this one.
pub(super) struct Free(Arc<AtomicBool>);

impl Drop for Free {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Release);
    }
}

/// Whether the kernel counts packets and bytes of connections, of this network namespace.
pub(super) fn is_counted() -> bool {
    std::fs::read_to_string(ACCOUNTING).is_ok_and(|text| text.trim() == "1")
}

/// The table is not of one moment: connections come and go while it is read.
fn list(names: &Names, limit: usize) -> Result<mwan_api::Flows, ConntrackError> {
    let counted = is_counted();
    let mut conntrack = Conntrack::open()?;
    let mut counts = Counts::new(counted, limit);
    for family in Family::ALL {
        conntrack.walk(family, 0, 0, &mut |flow| counts.add(names, flow))?;
    }
    Ok(counts.document(names))
}

/// By bytes; among equal ones those that are listed first.
type Ranked = Reverse<(u64, Reverse<u64>)>;

struct Counts {
    counted: bool,
    limit: usize,
    total: u64,
    by_id: BTreeMap<u32, (u64, u64)>,
    /// The smallest of those kept is on top; flows by their number.
    ranks: BinaryHeap<Ranked>,
    kept: BTreeMap<u64, Flow>,
}

impl Counts {
    fn new(counted: bool, limit: usize) -> Self {
        let (by_id, ranks, kept) = Default::default();
        Counts { counted, limit, total: 0, by_id, ranks, kept }
    }

    fn add(&mut self, names: &Names, flow: Flow) {
        let bytes = flow.traffic.map_or(0, |(_, bytes)| bytes);
        let id = names.marks.id_of(flow.mark);
        // Others may use the bits of a wide mask for what they like.
        if names.names.contains_key(&id) {
            let of_id = self.by_id.entry(id).or_default();
            of_id.0 += 1;
            of_id.1 = of_id.1.saturating_add(bytes);
        }
        let number = self.total;
        self.total += 1;
        let rank = Reverse((bytes, Reverse(number)));
        if self.ranks.len() >= self.limit {
            // Only what is larger than the smallest that is kept.
            match self.ranks.peek() {
                Some(smallest) if rank < *smallest => {}
                _ => return,
            }
            if let Some(Reverse((_, Reverse(smallest)))) = self.ranks.pop() {
                self.kept.remove(&smallest);
            }
        }
        self.ranks.push(rank);
        self.kept.insert(number, flow);
    }

    fn document(mut self, names: &Names) -> mwan_api::Flows {
        let counted = self.counted;
        let interfaces = names.marks.max_interface_id();
        let by_interface = names.order.iter().filter_map(|id| {
            let name = names.names.get(id)?;
            let (flows, bytes) = self.by_id.get(id).copied().unwrap_or_default();
            let told = *id <= interfaces || flows > 0;
            told.then(|| InterfaceFlows { interface: name.clone(), flows, bytes: counted.then_some(bytes) })
        });
        let by_interface = by_interface.collect();
        let mut ranks = std::mem::take(&mut self.ranks).into_sorted_vec();
        ranks.truncate(self.limit);
        let top = ranks.into_iter().filter_map(|Reverse((_, Reverse(number)))| self.kept.remove(&number));
        let top = top.map(|flow| document(names, flow, counted)).collect();
        mwan_api::Flows { schema: SCHEMA_FLOWS.to_owned(), total: self.total, counted, by_interface, top }
    }
}

pub(super) fn document(names: &Names, flow: Flow, counted: bool) -> mwan_api::Flow {
    let id = names.marks.id_of(flow.mark);
    let traffic = flow.traffic.filter(|_| counted);
    mwan_api::Flow {
        proto: protocol_name(flow.protocol),
        src: flow.source.to_string(),
        dst: flow.destination.to_string(),
        sport: flow.source_port,
        dport: flow.destination_port,
        interface: names.names.get(&id).cloned(),
        bytes: traffic.map(|(_, bytes)| bytes),
        packets: traffic.map(|(packets, _)| packets),
        id: flow.id,
    }
}
