//! Connection entries are deleted and marked in a thread of their own: a table of 200,000 takes the kernel longer than
//! probes and switches can wait. It decides nothing: where a flow belongs is asked of the core's latest word, again for
//! every entry, so that a newer decision ends what is left of an older pass.

use std::collections::VecDeque;
use std::mem;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender, TryRecvError};
use std::time::{Duration, Instant};

use mwan_config::Family;
use mwan_core::{Marks, Packet, PathKey, Placement, Remark};
use mwan_linux::conntrack::{Conntrack, ConntrackError, Flow};
use tokio::sync::mpsc::UnboundedSender;
use tracing::{debug, info, warn};

use crate::cli::Failure;

/// Entries changed by one system call. Between two, newer words are listened to.
const SLICE: usize = 64;
/// Entries held at once while masks change that cannot be had both: some 250 bytes each. Above, they lose their path.
const HELD_MAX: usize = 200_000;
/// Entries are looked at again so long after the program was exchanged: one whose first packet was on its way then may
/// have been entered since.
const SECOND_PASS: Duration = Duration::from_secs(1);
/// Clearing our bits ends after so long: a table of 200,000 entries takes a fraction of it.
pub(super) const CLEAR_MAX: Duration = Duration::from_secs(10);

/// What the thread has done.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Done {
    /// Entries have their new marks besides the old ones: the program may be exchanged.
    Prepared,
    /// No old mark is left.
    Remarked,
    /// No mark of ours is left, as far as there was time.
    Cleared,
    /// So many entries of a path were deleted, as they belong elsewhere.
    Moved(PathKey, usize),
}

enum Job {
    Placement(Placement),
    Flush(PathKey, Marks),
    Move(PathKey, Marks),
    Prepare(Remark),
    Remark(Remark, Pass),
    Clear(u32),
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Pass {
    First,
    Second,
}

/// The thread's handle.
#[derive(Debug)]
pub(super) struct Flows {
    jobs: Sender<Job>,
}

impl Flows {
    /// Starts it, in the network namespace of the calling thread.
    pub(super) fn start(done: UnboundedSender<Done>) -> Result<Self, Failure> {
        let open = || Conntrack::open().map_err(|e| Failure::new("cannot open conntrack", &e));
        let (jobs, received) = mpsc::channel();
        let actor = Actor {
            conntrack: open()?,
            jobs: received,
            later: VecDeque::new(),
            placement: None,
            held: Vec::new(),
            done,
        };
        let worker = Worker { list: open()?, actor };
        let thread = std::thread::Builder::new().name("flows".into());
        thread.spawn(|| worker.run()).map_err(|e| Failure::new("cannot start a thread", &e))?;
        Ok(Flows { jobs })
    }

    fn send(&self, job: Job) {
        // It listens for as long as we live.
        let _ = self.jobs.send(job);
    }

    /// This is in force from now on.
    pub(super) fn placement(&self, placement: Option<Placement>) {
        placement.into_iter().for_each(|p| self.send(Job::Placement(p)));
    }

    /// Deletes all entries of a path, before anything else.
    pub(super) fn flush(&self, path: PathKey, marks: Marks) {
        self.send(Job::Flush(path, marks));
    }

    /// Deletes the entries of a path that belong elsewhere.
    pub(super) fn move_misplaced(&self, path: PathKey, marks: Marks) {
        self.send(Job::Move(path, marks));
    }

    /// Gets entries ready for other marks; [`Done::Prepared`] follows.
    pub(super) fn prepare(&self, remark: Remark) {
        self.send(Job::Prepare(remark));
    }

    /// Nothing of ours is in the kernel any more: nor shall our bits, those of `mask`, be in any entry, or the next program,
    /// perhaps of other ids, would read them. [`Done::Cleared`] follows.
    pub(super) fn clear(&self, mask: u32) {
        self.send(Job::Clear(mask));
    }

    /// The program has been exchanged: old marks go; [`Done::Remarked`] follows.
    pub(super) fn remark(&self, remark: Remark) {
        self.send(Job::Remark(remark, Pass::First));
    }
}

struct Worker {
    /// Lists entries, while the actor changes them.
    list: Conntrack,
    actor: Actor,
}

struct Actor {
    conntrack: Conntrack,
    jobs: Receiver<Job>,
    /// Jobs and when they are due.
    later: VecDeque<(Instant, Job)>,
    placement: Option<Placement>,
    /// Entries whose marks are exchanged together with the program.
    held: Vec<(Flow, u32)>,
    done: UnboundedSender<Done>,
}

impl Worker {
    fn run(mut self) {
        while let Some(job) = self.actor.next() {
            let result = match job {
                Job::Move(path, marks) => self.move_misplaced(path, marks),
                Job::Prepare(remark) => self.prepare(&remark),
                Job::Remark(remark, pass) => self.remark(remark, pass),
                Job::Clear(mask) => self.clear(mask),
                Job::Placement(_) | Job::Flush(..) => Ok(()),
            };
            if let Err(error) = result {
                warn!("connection entries: {}", Failure::new("not all are as they should be", &error));
            }
        }
    }

    fn move_misplaced(&mut self, path: PathKey, marks: Marks) -> Result<(), ConntrackError> {
        let Worker { list, actor } = self;
        let (mut slice, mut moved) = (Vec::with_capacity(SLICE), 0);
        list.walk(path.family, marks.of(path.id), marks.mask(), &mut |flow| {
            slice.push(flow);
            if slice.len() == SLICE {
                moved += actor.delete_misplaced(path, marks, &mut slice);
            }
        })?;
        moved += actor.delete_misplaced(path, marks, &mut slice);
        info!(id = path.id, family = path.family.name(), moved, "flows moved back");
        actor.tell(Done::Moved(path, moved));
        Ok(())
    }

    fn clear(&mut self, mask: u32) -> Result<(), ConntrackError> {
        // Those that are held would be marked again.
        self.actor.held.clear();
        let mut mask = mask;
        self.actor.later.retain(|(_, job)| match job {
            Job::Prepare(remark) | Job::Remark(remark, _) => {
                mask |= remark.mask();
                false
            }
            _ => true,
        });
        let Worker { list, actor } = self;
        let cleared = clear_marks(list, &mut actor.conntrack, mask);
        actor.tell(Done::Cleared);
        cleared.map(|cleared| debug!(cleared, "connection entries without our marks"))
    }

    fn prepare(&mut self, remark: &Remark) -> Result<(), ConntrackError> {
        let result = if remark.lossless() {
            self.mark_all(remark, &|mark| remark.before(mark))
        } else {
            self.hold(remark)
        };
        self.actor.tell(Done::Prepared);
        result
    }

    fn remark(&mut self, remark: Remark, pass: Pass) -> Result<(), ConntrackError> {
        for slice in mem::take(&mut self.actor.held).chunks(SLICE) {
            self.actor.mark(slice, remark.mask());
        }
        let result = if remark.lossless() {
            self.mark_all(&remark, &|mark| remark.after(mark))
        } else {
            // Anything else in the table may have been marked by the new program.
            Ok(())
        };
        match pass {
            Pass::First => {
                let second = Job::Remark(remark, Pass::Second);
                self.actor.later.push_back((Instant::now() + SECOND_PASS, second));
            }
            Pass::Second => self.actor.tell(Done::Remarked),
        }
        result
    }

    /// Gives every entry the mark that `wanted` says.
    fn mark_all(
        &mut self,
        remark: &Remark,
        wanted: &dyn Fn(u32) -> Option<u32>,
    ) -> Result<(), ConntrackError> {
        let Worker { list, actor } = self;
        let mut marked = 0;
        in_slices(list, wanted, &mut |slice| marked += actor.mark(slice, remark.mask()))?;
        debug!(marked, "connection entries marked");
        Ok(())
    }

    /// Remembers what every entry will be.
    fn hold(&mut self, remark: &Remark) -> Result<(), ConntrackError> {
        let Worker { list, actor } = self;
        for family in Family::ALL {
            list.walk(family, 0, 0, &mut |flow| {
                let wanted = remark.translated(flow.mark).filter(|_| actor.held.len() < HELD_MAX);
                actor.held.extend(wanted.map(|mark| (flow, mark)));
            })?;
        }
        Ok(())
    }
}

impl Actor {
    /// The next job that takes long; the others are done as soon as they are heard. `None`: the daemon ends.
    fn next(&mut self) -> Option<Job> {
        loop {
            let due = self.later.iter().map(|(at, _)| *at).min();
            let patience = due.map(|at| at.saturating_duration_since(Instant::now()));
            let heard = match patience {
                None => self.jobs.recv().map_err(RecvTimeoutError::from),
                Some(patience) => self.jobs.recv_timeout(patience),
            };
            match heard {
                Ok(job) => self.hear(job),
                Err(RecvTimeoutError::Disconnected) => return None,
                Err(RecvTimeoutError::Timeout) => {
                    let at = self.later.iter().position(|(at, _)| *at <= Instant::now());
                    if let Some((_, job)) = at.and_then(|at| self.later.remove(at)) {
                        return Some(job);
                    }
                }
            }
        }
    }

    fn hear(&mut self, job: Job) {
        match job {
            Job::Placement(placement) => self.placement = Some(placement),
            Job::Flush(path, marks) => self.flush(path, marks),
            job => self.later.push_back((Instant::now(), job)),
        }
    }

    /// Hears what has been said meanwhile. Whether the daemon is still there.
    fn listen(&mut self) -> bool {
        loop {
            match self.jobs.try_recv() {
                Ok(job) => self.hear(job),
                Err(TryRecvError::Empty) => return true,
                Err(TryRecvError::Disconnected) => return false,
            }
        }
    }

    fn tell(&self, done: Done) {
        // Nobody listens any more: nobody minds.
        let _ = self.done.send(done);
    }

    fn flush(&mut self, path: PathKey, marks: Marks) {
        match self.conntrack.delete_by_mark(path.family, marks.of(path.id), marks.mask()) {
            Ok(()) => debug!(id = path.id, family = path.family.name(), "flows of a path deleted"),
            Err(error) => {
                warn!("connection entries: {}", Failure::new("those of a path stay", &error));
            }
        }
    }

    /// Deletes those of a slice that are misplaced by the latest decision. Returns how many were there.
    fn delete_misplaced(&mut self, path: PathKey, marks: Marks, slice: &mut Vec<Flow>) -> usize {
        let here = self.listen();
        // By another mask the entries may be another path's.
        let placement = self.placement.as_ref().filter(|p| here && p.marks() == marks);
        slice.retain(|flow| placement.is_some_and(|p| p.misplaced(path, &first_packet(flow))));
        let deleted = self.conntrack.delete_flows(slice);
        slice.clear();
        self.counted(deleted)
    }

    fn mark(&mut self, slice: &[(Flow, u32)], mask: u32) -> usize {
        self.listen();
        let marked = self.conntrack.mark_flows(slice, mask);
        self.counted(marked)
    }

    fn counted(&self, result: Result<usize, ConntrackError>) -> usize {
        result.unwrap_or_else(|error| {
            debug!("connection entries: {}", Failure::new("some are not as they should be", &error));
            0
        })
    }
}

/// An entry, and the mark it is to have.
type Marked = (Flow, u32);

/// Hands out all entries that `wanted` has a mark for, and that mark, a few at a time.
fn in_slices(
    list: &mut Conntrack,
    wanted: &dyn Fn(u32) -> Option<u32>,
    take: &mut dyn FnMut(&[Marked]),
) -> Result<(), ConntrackError> {
    for family in Family::ALL {
        let mut slice = Vec::with_capacity(SLICE);
        list.walk(family, 0, 0, &mut |flow| {
            slice.extend(wanted(flow.mark).map(|mark| (flow, mark)));
            if slice.len() == SLICE {
                take(&slice);
                slice.clear();
            }
        })?;
        take(&slice);
    }
    Ok(())
}

/// Takes the bits of `mask` out of every entry, for [`CLEAR_MAX`] at most. Other bits stay (I3). Returns how many had some.
fn clear_marks(list: &mut Conntrack, change: &mut Conntrack, mask: u32) -> Result<usize, ConntrackError> {
    let end = Instant::now() + CLEAR_MAX;
    let ours = |mark: u32| (mark & mask != 0 && Instant::now() <= end).then_some(0);
    let mut cleared = Ok(0);
    in_slices(list, &ours, &mut |slice| {
        if let Ok(count) = &cleared {
            cleared = change.mark_flows(slice, mask).map(|more| count + more);
        }
    })?;
    cleared
}

/// The same where no daemon is.
pub(super) fn clean(mask: u32) {
    let clear = || clear_marks(&mut Conntrack::open()?, &mut Conntrack::open()?, mask);
    match clear() {
        Ok(0) => {}
        Ok(cleared) => info!(cleared, "connection entries without our marks"),
        Err(error) => {
            warn!("connection entries: {}", Failure::new("they keep our marks", &error));
        }
    }
}

/// What a flow began with, as far as conntrack remembers.
pub(super) fn first_packet(flow: &Flow) -> Packet {
    Packet {
        source: flow.source,
        destination: flow.destination,
        protocol: flow.protocol,
        source_port: Some(flow.source_port),
        destination_port: Some(flow.destination_port),
        input: None,
    }
}
