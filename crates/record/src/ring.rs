//! The last events in memory, bounded in bytes.
//!
//! A ring of segments. Each begins with the core written down, so the oldest can go as a whole and what is left can still be
//! replayed.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;

use mwan_config::Config;
use mwan_core::{Checkpoint, Core, Event, Output, Time};
use serde::Serialize;

use crate::decision::Decision;
use crate::file::{Begin, Line, Made};
use crate::happened::{Happened, Noted};
use crate::source::{InForce, RecordedConfig};

/// A ring has room for so many segments: with the oldest, a third of what is known goes at most.
const SEGMENTS: usize = 4;

/// A configuration of the ring.
#[derive(Clone, Debug)]
struct Known {
    number: u32,
    config: Arc<RecordedConfig>,
    bytes: usize,
}

/// Events from a checkpoint on.
#[derive(Clone, Debug)]
struct Segment {
    begun: Time,
    config: u32,
    in_force: InForce,
    /// [`Checkpoint`].
    core: Vec<u8>,
    /// Time since the one before in microseconds, [`Happened`], decisions; each event behind the other.
    events: Vec<u8>,
    count: u64,
    last: Time,
}

impl Segment {
    fn bytes(&self) -> usize {
        self.core.len() + self.events.len()
    }
}

/// The last events, and what is needed to decide by them again.
#[derive(Debug)]
pub struct Ring {
    bytes_max: usize,
    configs: Vec<Known>,
    /// Number of the configuration in force, and what its text does not say.
    current: (u32, InForce),
    /// One that was read, and is in force with the next [`Event::Configure`].
    next: Option<u32>,
    numbers: u32,
    segments: VecDeque<Segment>,
    /// An event of which the decisions are not known yet.
    open: Option<Open>,
    /// A checkpoint alone is more than there is room for.
    too_small: bool,
}

#[derive(Debug)]
struct Open {
    at: Time,
    bytes: Vec<u8>,
    configured: Option<(u32, InForce)>,
}

impl Ring {
    /// A ring of at most `bytes_max` bytes, without the text of the configuration in force. It records from `core` on, which has
    /// `config` in force.
    pub fn new(bytes_max: usize, config: Arc<RecordedConfig>, core: &Core, now: Time) -> Self {
        let in_force = InForce::of(core.config());
        let mut ring = Ring {
            bytes_max,
            configs: Vec::new(),
            current: (0, in_force),
            next: None,
            numbers: 0,
            segments: VecDeque::new(),
            open: None,
            too_small: false,
        };
        ring.current.0 = ring.add(config);
        ring.begin(core, now);
        ring
    }

    fn add(&mut self, config: Arc<RecordedConfig>) -> u32 {
        let (number, bytes) = (self.numbers, config.bytes());
        self.numbers = self.numbers.wrapping_add(1);
        self.configs.push(Known { number, config, bytes });
        number
    }

    /// The text of a configuration that is to come into force.
    pub fn announce(&mut self, config: Arc<RecordedConfig>) {
        let number = self.add(config);
        self.next = Some(number);
        self.too_small = false;
    }

    /// Notes an event that is about to be handed to the core.
    pub fn event(&mut self, now: Time, event: &Event) {
        let mut configured = None;
        let happened = Happened::of(event, |config: &Config| {
            let number = self.next.take().unwrap_or(self.current.0);
            *configured.insert((number, InForce::of(config)))
        });
        let before = self.segments.back().map_or(now, |segment| segment.last);
        let after_us = now.0.saturating_sub(before.0);
        let bytes = encoded(Vec::new(), &(after_us, happened));
        self.open = Some(Open { at: now, bytes, configured });
    }

    /// Notes what became of it; `core` has decided.
    pub fn decided(&mut self, output: &Output, core: &Core) {
        let Some(Open { at, bytes, configured }) = self.open.take() else { return };
        if let Some(configured) = configured {
            self.current = configured;
        }
        let Some(segment) = self.segments.back_mut() else {
            if !self.too_small {
                self.begin(core, at);
            }
            return;
        };
        let bytes = encoded(bytes, &Decision::of(output));
        segment.events.extend_from_slice(&bytes);
        segment.count += 1;
        segment.last = segment.last.max(at);
        if segment.events.len() >= self.bytes_max / SEGMENTS {
            self.begin(core, at);
        } else {
            self.make_room();
        }
    }

    fn begin(&mut self, core: &Core, now: Time) {
        let (config, in_force) = self.current;
        let written = encoded(Vec::new(), &core.checkpoint());
        // What a segment may hold besides has to fit, too.
        self.too_small = written.len() + self.bytes_max / SEGMENTS > self.bytes_max;
        if self.too_small {
            self.segments.clear();
            return;
        }
        let segment =
            Segment { begun: now, config, in_force, core: written, events: Vec::new(), count: 0, last: now };
        self.segments.push_back(segment);
        self.make_room();
    }

    /// Lets the oldest go until the rest is within the limit.
    fn make_room(&mut self) {
        while self.bytes() > self.bytes_max && !self.segments.is_empty() {
            self.segments.pop_front();
            self.forget_configs();
        }
    }

    /// Configurations that no event speaks of any more. They are numbered in the order in which they came into force.
    fn forget_configs(&mut self) {
        let oldest = self.segments.front().map_or(self.current.0, |segment| segment.config);
        // Numbers grow: what is announced stays, too.
        self.configs.retain(|known| known.number >= oldest);
    }

    /// What it takes now, bytes.
    pub fn bytes(&self) -> usize {
        let counted = |known: &&Known| known.number != self.current.0 && Some(known.number) != self.next;
        let others = self.configs.iter().filter(counted);
        let segments = self.segments.iter().map(Segment::bytes).sum::<usize>();
        segments + others.map(|known| known.bytes).sum::<usize>()
    }

    /// Whether it is too small for the core of this configuration: nothing is recorded then.
    pub fn is_too_small(&self) -> bool {
        self.too_small
    }

    /// A copy of what is recorded, to be written elsewhere; `None` if nothing is.
    pub fn snapshot(&self) -> Option<Snapshot> {
        let (configs, segments) = (self.configs.clone(), self.segments.iter().cloned().collect::<Vec<_>>());
        (!segments.is_empty()).then_some(Snapshot { configs, segments })
    }
}

/// Postcard's own errors are those of serializers that refuse: none of ours does.
fn encoded(to: Vec<u8>, value: &impl Serialize) -> Vec<u8> {
    postcard::to_extend(value, to).unwrap_or_default()
}

/// What a ring held at a time.
#[derive(Clone, Debug)]
pub struct Snapshot {
    configs: Vec<Known>,
    segments: Vec<Segment>,
}

impl Snapshot {
    /// Events in it.
    pub fn events(&self) -> u64 {
        self.segments.iter().map(|segment| segment.count).sum()
    }

    /// Writes it as a file ([`crate::Recording`]), line by line.
    ///
    /// # Errors
    /// Those of `out`.
    pub fn write(&self, made: &Made, out: &mut dyn io::Write) -> io::Result<()> {
        let broken = |_| io::Error::other("the ring is damaged");
        Line::Recording(made.clone()).write(out)?;
        for known in &self.configs {
            Line::Config { number: known.number, config: RecordedConfig::clone(&known.config) }.write(out)?;
        }
        let Some(first) = self.segments.first() else { return Err(io::Error::other("nothing is recorded")) };
        let core: Checkpoint = postcard::from_bytes(&first.core).map_err(broken)?;
        let begin = Begin { at: first.begun, config: first.config, in_force: first.in_force, core };
        Line::Begin(Box::new(begin)).write(out)?;
        for segment in &self.segments {
            let (mut at, mut rest) = (segment.begun, segment.events.as_slice());
            while !rest.is_empty() {
                type Packed = (u64, Happened, Vec<Decision>);
                let ((after_us, happened, decisions), left): (Packed, _) =
                    postcard::take_from_bytes(rest).map_err(broken)?;
                rest = left;
                at = Time(at.0 + after_us);
                Line::Event(Noted { at, happened, decisions }).write(out)?;
            }
        }
        Line::End { events: self.events() }.write(out)
    }
}
