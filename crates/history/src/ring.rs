//! A file: its header, its blocks, and how a second finds its way into every tier.

use std::io;

use crate::codec::crc32;
use crate::day::{Day, Latencies};
use crate::layout::{
    BLOCK_HEADER, HEADER_SIZE, HOURS, MINUTES, OUTAGE_SIZE, OUTAGES_MAX, SECONDS, Stream, TENS, TIERS, Tier,
    VERSION, file_size, outage_at,
};
use crate::outage::{End, Outage};
use crate::record::{Health, MILLION, Record, Traffic};

const MAGIC: [u8; 8] = *b"MWANHIST";
/// Longest name in a header, bytes.
pub const NAME_MAX: usize = 255;
/// No clock that is before 2020 is right: it is one that nobody has set since power came.
pub const EARLIEST_S: u32 = 1_577_836_800;
/// What is told holds for so many seconds at most: a second that was left out is not a gap.
const HEARTBEAT_S: u32 = 5;
/// A clock is put back by so much at most without anybody being asked; until it is there again nothing is recorded.
const STEP_BACK_MAX_S: u32 = 3600;
/// Whether an outage went on over a longer gap nobody knows.
const OUTAGE_GAP_S: u32 = 60;

/// Where the bytes of a file are.
pub trait Storage {
    /// Fills `out` with what is at `at`.
    ///
    /// # Errors
    /// It cannot be read, or is shorter.
    fn read(&self, at: u64, out: &mut [u8]) -> io::Result<()>;

    /// # Errors
    /// It cannot be written.
    fn write(&mut self, at: u64, bytes: &[u8]) -> io::Result<()>;

    /// Bytes in all.
    ///
    /// # Errors
    /// That cannot be told.
    fn size(&self) -> io::Result<u64>;
}

impl Storage for Vec<u8> {
    fn read(&self, at: u64, out: &mut [u8]) -> io::Result<()> {
        let at = usize::try_from(at).map_err(|_| io::ErrorKind::UnexpectedEof)?;
        let bytes = self.get(at..at + out.len()).ok_or(io::ErrorKind::UnexpectedEof)?;
        out.copy_from_slice(bytes);
        Ok(())
    }

    fn write(&mut self, at: u64, bytes: &[u8]) -> io::Result<()> {
        let at = usize::try_from(at).map_err(|_| io::ErrorKind::UnexpectedEof)?;
        let place = self.get_mut(at..at + bytes.len()).ok_or(io::ErrorKind::UnexpectedEof)?;
        place.copy_from_slice(bytes);
        Ok(())
    }

    fn size(&self) -> io::Result<u64> {
        Ok(self.len() as u64)
    }
}

/// Why a file cannot be used.
#[derive(Debug)]
pub enum OpenError {
    /// It cannot be read.
    Io(io::Error),
    /// It is not a file of ours, is damaged where it must not be, or is of another version.
    Broken(String),
}

impl std::fmt::Display for OpenError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            OpenError::Io(error) => error.fmt(f),
            OpenError::Broken(why) => f.write_str(why),
        }
    }
}

impl From<io::Error> for OpenError {
    fn from(error: io::Error) -> Self {
        OpenError::Io(error)
    }
}

/// How a path is in a second.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct PathSecond {
    /// Why it is not usable, if it is not: a stable word, and a text for people.
    pub down: Option<(String, String)>,
    /// Round-trip time, microseconds.
    pub rtt_us: Option<u32>,
    /// Jitter, microseconds.
    pub jitter_us: u32,
    /// Loss, parts per million.
    pub loss_ppm: u32,
    /// Probes sent since the last second.
    pub sent: u32,
    /// Replies received since then.
    pub received: u32,
}

/// How an interface is in a second.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Second {
    /// By family, IPv4 first; `None`: nothing is known of it, as of one its owner has taken down.
    pub paths: [Option<PathSecond>; 2],
    /// Bytes since the last second.
    pub traffic: Traffic,
}

/// What became of a second.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Recorded {
    /// It is recorded.
    Done,
    /// There is something of that second already.
    Known,
    /// The clock is before what is recorded. The past stays as it is; this goes on when the clock is there again, or is said to be
    /// right.
    Behind,
    /// No clock that is right says so.
    Implausible,
}

/// What is remembered of an interface.
#[derive(Debug)]
pub struct History<S> {
    storage: S,
    name: String,
    /// The newest second that is recorded.
    newest: Option<u32>,
    /// By family: the newest outage, and probes and replies of the minute that goes on.
    last_outage: [Option<Outage>; 2],
    probes: [(u32, u32); 2],
    damaged: u32,
}

/// A block, as it is worked on.
struct Block {
    stream: Stream,
    tier: usize,
    number: u32,
    bytes: Vec<u8>,
}

/// What is at the place of a block.
enum Found {
    /// Nothing was ever written there.
    Nothing,
    Block(Block),
    Damaged,
}

impl Block {
    fn new(stream: Stream, tier: usize, number: u32) -> Self {
        Block { stream, tier, number, bytes: vec![0; stream.block_size(tier)] }
    }

    fn place<R: Record>(&self, slot: u32) -> std::ops::Range<usize> {
        let size = R::size(TIERS[self.tier].width);
        let at = BLOCK_HEADER + self.stream.extra_size(self.tier) + slot as usize * size;
        at..at + size
    }

    fn get<R: Record>(&self, slot: u32) -> R {
        R::read(TIERS[self.tier].width, &self.bytes[self.place::<R>(slot)])
    }

    fn set<R: Record>(&mut self, slot: u32, record: R) {
        let place = self.place::<R>(slot);
        record.write(TIERS[self.tier].width, &mut self.bytes[place]);
    }

    fn extra(&mut self) -> &mut [u8] {
        let size = self.stream.extra_size(self.tier);
        &mut self.bytes[BLOCK_HEADER..BLOCK_HEADER + size]
    }

    fn checksum(&self) -> u32 {
        crc32([&self.bytes[..4], &self.bytes[BLOCK_HEADER..]])
    }
}

impl<S: Storage> History<S> {
    /// Begins a new file in `storage`, which has the right size and holds zeros.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn create(mut storage: S, name: &str) -> io::Result<Self> {
        let mut header = [0; HEADER_SIZE];
        header[..8].copy_from_slice(&MAGIC);
        header[12..16].copy_from_slice(&VERSION.to_le_bytes());
        header[16..24].copy_from_slice(&file_size().to_le_bytes());
        let length = u8::try_from(name.len()).map_err(|_| io::ErrorKind::InvalidInput)?;
        header[24] = length;
        header[25..25 + name.len()].copy_from_slice(name.as_bytes());
        let crc = crc32([&header[..8], &header[12..]]);
        header[8..12].copy_from_slice(&crc.to_le_bytes());
        storage.write(0, &header)?;
        Ok(History {
            storage,
            name: name.to_owned(),
            newest: None,
            last_outage: [None, None],
            probes: [(0, 0); 2],
            damaged: 0,
        })
    }

    /// Opens a file that is there. Blocks that are damaged count as not known.
    ///
    /// # Errors
    /// It cannot be read, or is none of ours.
    pub fn open(storage: S) -> Result<Self, OpenError> {
        let name = check(&storage)?;
        let probes = [(0, 0); 2];
        let mut history =
            History { storage, name, newest: None, last_outage: [None, None], probes, damaged: 0 };
        history.look_through()?;
        Ok(history)
    }

    /// Puts a day that was torn while it was written together again from its minutes, except for what they do not know.
    ///
    /// # Errors
    /// It cannot be read or written.
    pub fn mend(&mut self) -> io::Result<()> {
        let Some(newest) = self.newest.filter(|_| self.damaged > 0) else { return Ok(()) };
        let hours = newest - newest % TIERS[HOURS].span_s()..=newest;
        for hour in hours.step_by(TIERS[HOURS].step_s as usize) {
            for family in 0..2 {
                self.raise::<Health>(Stream::Path(family), MINUTES, HOURS, hour)?;
            }
            self.raise::<Traffic>(Stream::Traffic, MINUTES, HOURS, hour)?;
        }
        Ok(())
    }

    /// Name of the interface.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The newest second that is recorded, since 1970.
    pub fn newest_s(&self) -> Option<u32> {
        self.newest
    }

    /// Blocks that were found damaged when it was opened.
    pub fn damaged(&self) -> u32 {
        self.damaged
    }

    /// Where it is stored.
    pub fn storage(&self) -> &S {
        &self.storage
    }

    /// Where it is stored, and nothing else any more.
    pub fn into_storage(self) -> S {
        self.storage
    }

    /// Records how the interface is at a time, seconds since 1970; `clock_right` is asked whether the clock is known to be
    /// right, where it says that what is recorded has not happened yet.
    ///
    /// # Errors
    /// It cannot be read or written.
    pub fn record(
        &mut self,
        at_s: u32,
        second: &Second,
        clock_right: impl FnOnce() -> bool,
    ) -> io::Result<Recorded> {
        if at_s < EARLIEST_S {
            return Ok(Recorded::Implausible);
        }
        if let Some(newest) = self.newest.filter(|newest| at_s <= *newest) {
            if at_s == newest {
                return Ok(Recorded::Known);
            }
            if newest - at_s <= STEP_BACK_MAX_S || !clock_right() {
                return Ok(Recorded::Behind);
            }
            self.forget_after(at_s)?;
        }
        self.note_outages(at_s, second)?;
        let first = match self.newest {
            Some(newest) if at_s <= newest => return Ok(Recorded::Known),
            Some(newest) if at_s - newest <= HEARTBEAT_S => newest + 1,
            _ => at_s,
        };
        let seconds = at_s - first + 1;
        for s in first..=at_s {
            self.pass(s)?;
            self.put(s, second, share(second.traffic, s - first, seconds))?;
        }
        for (family, path) in second.paths.iter().enumerate() {
            if let Some(path) = path.as_ref().filter(|path| path.down.is_none()) {
                let (sent, received) = &mut self.probes[family];
                *sent = sent.saturating_add(path.sent);
                *received = received.saturating_add(path.received);
            }
        }
        Ok(Recorded::Done)
    }

    /// A path became usable, or not (`down`: why) at a time in milliseconds since 1970, which is more exact than a second can be.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn transition(
        &mut self,
        family: usize,
        at_ms: u64,
        down: Option<&(String, String)>,
    ) -> io::Result<()> {
        let newest_ms = u64::from(self.newest.unwrap_or(EARLIEST_S)) * 1000;
        // A clock that is not right: the next second that can be recorded tells the same.
        if at_ms + 1000 * u64::from(HEARTBEAT_S) < newest_ms {
            return Ok(());
        }
        match down {
            Some((code, text)) => self.begin_outage(family, at_ms, code, text),
            None => self.end_outage(family, End { at_ms, seen: true }),
        }
    }

    /// Brings every tier up to the newest second, for who reads next.
    ///
    /// # Errors
    /// It cannot be read or written.
    pub fn settle(&mut self) -> io::Result<()> {
        match self.newest {
            Some(newest) => self.consolidate(newest),
            None => Ok(()),
        }
    }

    fn note_outages(&mut self, at_s: u32, second: &Second) -> io::Result<()> {
        let at_ms = u64::from(at_s) * 1000;
        let gap = self.newest.filter(|newest| at_s - newest > OUTAGE_GAP_S);
        for (family, path) in second.paths.iter().enumerate() {
            if let Some(newest) = gap {
                self.end_outage(family, End { at_ms: u64::from(newest) * 1000, seen: false })?;
            }
            match path {
                None => self.end_outage(family, End { at_ms, seen: false })?,
                Some(PathSecond { down: None, .. }) => self.end_outage(family, End { at_ms, seen: true })?,
                Some(PathSecond { down: Some((code, text)), .. }) => {
                    self.begin_outage(family, at_ms, code, text)?;
                }
            }
        }
        Ok(())
    }

    fn begin_outage(&mut self, family: usize, start_ms: u64, code: &str, text: &str) -> io::Result<()> {
        let last = &self.last_outage[family];
        if last.as_ref().is_some_and(|last| last.end.is_none()) {
            return Ok(());
        }
        let number = last.as_ref().map_or(1, |last| last.number.wrapping_add(1).max(1));
        let after = last.as_ref().and_then(|last| last.end).map_or(0, |end| end.at_ms);
        let start_ms = start_ms.max(after);
        let outage = Outage { number, start_ms, end: None, code: code.to_owned(), text: text.to_owned() };
        self.write_outage(family, outage)
    }

    fn end_outage(&mut self, family: usize, end: End) -> io::Result<()> {
        let Some(last) = self.last_outage[family].as_ref().filter(|last| last.end.is_none()) else {
            return Ok(());
        };
        let end = End { at_ms: end.at_ms.max(last.start_ms), ..end };
        self.write_outage(family, Outage { end: Some(end), ..last.clone() })
    }

    fn write_outage(&mut self, family: usize, outage: Outage) -> io::Result<()> {
        let index = outage.number as usize % OUTAGES_MAX;
        self.storage.write(outage_at(family, index), &outage.write())?;
        self.last_outage[family] = Some(outage);
        Ok(())
    }

    /// The outages that are kept of a path, oldest first.
    ///
    /// # Errors
    /// They cannot be read.
    pub fn outages(&self, family: usize) -> io::Result<Vec<Outage>> {
        let mut outages = Vec::new();
        for index in 0..OUTAGES_MAX {
            let mut bytes = [0; OUTAGE_SIZE];
            self.storage.read(outage_at(family, index), &mut bytes)?;
            outages.extend(Outage::read(&bytes));
        }
        outages.sort_by_key(|outage| outage.number);
        Ok(outages)
    }

    /// What has to be done before a second is the newest.
    fn pass(&mut self, s: u32) -> io::Result<()> {
        let Some(newest) = self.newest else { return Ok(()) };
        if newest / TIERS[TENS].step_s != s / TIERS[TENS].step_s {
            self.consolidate(newest)?;
        }
        let minute = newest / TIERS[MINUTES].step_s;
        if minute != s / TIERS[MINUTES].step_s {
            self.count_minute(minute)?;
        }
        Ok(())
    }

    fn put(&mut self, s: u32, second: &Second, traffic: Traffic) -> io::Result<()> {
        for (family, path) in second.paths.iter().enumerate() {
            if let Some(path) = path {
                self.put_record(Stream::Path(family), s, health(path))?;
            }
        }
        if traffic != Traffic::default() {
            self.put_record(Stream::Traffic, s, traffic)?;
        }
        self.newest = Some(s);
        Ok(())
    }

    fn put_record<R: Record>(&mut self, stream: Stream, s: u32, record: R) -> io::Result<()> {
        let tier = TIERS[SECONDS];
        let mut block = self.load(stream, SECONDS, s / tier.span_s())?;
        block.set(s % tier.span_s(), record);
        self.store(block)
    }

    /// Puts the slots that a second belongs to together from those below them.
    fn consolidate(&mut self, s: u32) -> io::Result<()> {
        for family in 0..2 {
            self.consolidate_stream::<Health>(Stream::Path(family), s)?;
        }
        self.consolidate_stream::<Traffic>(Stream::Traffic, s)
    }

    fn consolidate_stream<R: Record>(&mut self, stream: Stream, s: u32) -> io::Result<()> {
        // From seconds, the minute too: what is rounded once is rounded less.
        self.raise::<R>(stream, SECONDS, TENS, s)?;
        self.raise::<R>(stream, SECONDS, MINUTES, s)?;
        self.raise::<R>(stream, MINUTES, HOURS, s)
    }

    /// A slot of one tier from those of a finer one.
    fn raise<R: Record>(&mut self, stream: Stream, fine: usize, coarse: usize, s: u32) -> io::Result<()> {
        let (fine_tier, tier) = (TIERS[fine], TIERS[coarse]);
        let start = s - s % tier.step_s;
        let below = self.load(stream, fine, start / fine_tier.span_s())?;
        let first = start % fine_tier.span_s() / fine_tier.step_s;
        let parts = first..first + tier.step_s / fine_tier.step_s;
        let record = R::merge(parts.map(|slot| below.get::<R>(slot)));
        let mut block = self.load(stream, coarse, start / tier.span_s())?;
        let slot = start % tier.span_s() / tier.step_s;
        let before = block.get::<R>(slot);
        // Parts that were damaged must not take away what is known of the whole.
        if record.weight() < before.weight() || record == before {
            return Ok(());
        }
        block.set(slot, record);
        self.store(block)
    }

    /// Counts the latencies and probes of a minute that is over, once.
    fn count_minute(&mut self, minute: u32) -> io::Result<()> {
        let tier = TIERS[SECONDS];
        for family in 0..2 {
            let stream = Stream::Path(family);
            let (sent, received) = std::mem::take(&mut self.probes[family]);
            let seconds = self.load(stream, SECONDS, minute)?;
            if (0..tier.slots).all(|slot| seconds.get::<Health>(slot).known_s == 0) {
                continue;
            }
            let mut block = self.load(stream, HOURS, minute * tier.span_s() / TIERS[HOURS].span_s())?;
            let mut day = Day::read(block.extra());
            if day.minute >= minute {
                continue;
            }
            day.minute = minute;
            day.sent = day.sent.saturating_add(sent);
            day.received = day.received.saturating_add(received);
            count_seconds(&seconds, &mut day.latencies);
            day.write(block.extra());
            self.store(block)?;
        }
        Ok(())
    }

    /// The block of that number, which may be new: what is there of another time is over.
    fn load(&self, stream: Stream, tier: usize, number: u32) -> io::Result<Block> {
        Ok(match self.find(stream, tier, number)? {
            Found::Block(block) if block.number == number => block,
            _ => Block::new(stream, tier, number),
        })
    }

    /// What is at the place of that block.
    fn find(&self, stream: Stream, tier: usize, number: u32) -> io::Result<Found> {
        let mut block = Block::new(stream, tier, number);
        self.storage.read(stream.block_at(tier, number), &mut block.bytes)?;
        let word = |at: usize| block.bytes[at..at + 4].try_into().map_or(0, u32::from_le_bytes);
        let (number, crc) = (word(0), word(4));
        if crc == block.checksum() {
            block.number = number;
            return Ok(Found::Block(block));
        }
        Ok(if block.bytes.iter().all(|byte| *byte == 0) { Found::Nothing } else { Found::Damaged })
    }

    fn store(&mut self, mut block: Block) -> io::Result<()> {
        block.bytes[..4].copy_from_slice(&block.number.to_le_bytes());
        let crc = block.checksum();
        block.bytes[4..BLOCK_HEADER].copy_from_slice(&crc.to_le_bytes());
        self.storage.write(block.stream.block_at(block.tier, block.number), &block.bytes)
    }

    /// Finds the newest second, the newest outages, and what is damaged.
    fn look_through(&mut self) -> io::Result<()> {
        for stream in Stream::ALL {
            for (tier, ring) in TIERS.into_iter().enumerate() {
                for index in 0..ring.blocks {
                    match self.find(stream, tier, index)? {
                        Found::Nothing => {}
                        Found::Damaged => self.damaged += 1,
                        Found::Block(block) => {
                            let newest = if stream.is_path() {
                                newest::<Health>(&block, ring)
                            } else {
                                newest::<Traffic>(&block, ring)
                            };
                            self.newest = self.newest.max(newest);
                        }
                    }
                }
            }
        }
        for family in 0..2 {
            self.last_outage[family] = self.outages(family)?.pop();
        }
        Ok(())
    }

    /// What is recorded of a time that has not come yet, by a clock that was wrong, is not true.
    fn forget_after(&mut self, s: u32) -> io::Result<()> {
        for stream in Stream::ALL {
            for (tier, ring) in TIERS.into_iter().enumerate() {
                for index in 0..ring.blocks {
                    let Found::Block(mut block) = self.find(stream, tier, index)? else { continue };
                    let kept = s / ring.span_s();
                    if block.number > kept {
                        let empty = vec![0; block.bytes.len()];
                        self.storage.write(stream.block_at(tier, index), &empty)?;
                    } else if block.number == kept {
                        for slot in s % ring.span_s() / ring.step_s + 1..ring.slots {
                            if stream.is_path() {
                                block.set(slot, Health::default());
                            } else {
                                block.set(slot, Traffic::default());
                            }
                        }
                        if stream.is_path() && tier == HOURS {
                            let mut day = Day::read(block.extra());
                            day.minute = day.minute.min(s / TIERS[MINUTES].step_s);
                            day.write(block.extra());
                        }
                        self.store(block)?;
                    }
                }
            }
        }
        for family in 0..2 {
            for outage in self.outages(family)? {
                if outage.start_ms > u64::from(s) * 1000 {
                    let index = outage.number as usize % OUTAGES_MAX;
                    self.storage.write(outage_at(family, index), &[0; OUTAGE_SIZE])?;
                }
            }
        }
        self.newest = None;
        self.probes = [(0, 0); 2];
        let damaged = self.damaged;
        self.look_through()?;
        self.damaged = damaged;
        // What a slot of this moment holds may be of later seconds; those that count are before it.
        self.newest = self.newest.map(|newest| newest.min(s - 1));
        Ok(())
    }

    /// Calls `each` with the slots of a tier that begin between two times, in order, those of which nothing is known left out.
    pub(crate) fn slots<R: Record>(
        &self,
        stream: Stream,
        tier: usize,
        (from_s, to_s): (u32, u32),
        mut each: impl FnMut(u32, R),
    ) -> io::Result<()> {
        let ring = TIERS[tier];
        // What begins within this has not been overwritten.
        let newest = self.newest.unwrap_or(0);
        let oldest = (newest / ring.span_s()).saturating_sub(ring.blocks - 1);
        let last = to_s.min(newest.saturating_add(1)).div_ceil(ring.span_s());
        for number in (from_s / ring.span_s()).max(oldest)..last {
            let block = self.load(stream, tier, number)?;
            for slot in 0..ring.slots {
                let start = number * ring.span_s() + slot * ring.step_s;
                let record = block.get::<R>(slot);
                if (from_s..to_s).contains(&start) && record != R::default() {
                    each(start, record);
                }
            }
        }
        Ok(())
    }

    /// Calls `each` with the days of a path that begin between two times.
    pub(crate) fn days(
        &self,
        family: usize,
        (from_s, to_s): (u32, u32),
        mut each: impl FnMut(u32, Day),
    ) -> io::Result<()> {
        let span = TIERS[HOURS].span_s();
        let newest = self.newest.unwrap_or(0) / span;
        let oldest = newest.saturating_sub(TIERS[HOURS].blocks - 1);
        for number in from_s.div_ceil(span).max(oldest)..to_s.div_ceil(span).min(newest + 1) {
            let mut block = self.load(Stream::Path(family), HOURS, number)?;
            each(number, Day::read(block.extra()));
        }
        Ok(())
    }

    /// How often which latency was seen in the days between two times, and probes sent and answered while the path was usable; of
    /// the minute that goes on, the latencies alone.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn measured(&self, family: usize, range_s: (u32, u32)) -> io::Result<(Latencies, u64, u64)> {
        let (mut latencies, mut sent, mut received) = (Latencies::default(), 0, 0);
        let mut counted = 0;
        self.days(family, range_s, |_, day| {
            latencies.add(&day.latencies);
            sent += u64::from(day.sent);
            received += u64::from(day.received);
            counted = day.minute;
        })?;
        let newest = self.newest.filter(|newest| (range_s.0..range_s.1).contains(newest));
        if let Some(minute) =
            newest.map(|newest| newest / TIERS[MINUTES].step_s).filter(|minute| *minute > counted)
        {
            let seconds = self.load(Stream::Path(family), SECONDS, minute)?;
            count_seconds(&seconds, &mut latencies);
        }
        Ok((latencies, sent, received))
    }
}

/// Name of the interface of a file, if it is one of ours.
fn check(storage: &impl Storage) -> Result<String, OpenError> {
    let broken = |why: &str| Err(OpenError::Broken(why.to_owned()));
    let size = storage.size()?;
    if size != file_size() {
        return Err(OpenError::Broken(format!("it has {size} bytes instead of {}", file_size())));
    }
    let mut header = [0; HEADER_SIZE];
    storage.read(0, &mut header)?;
    let word = |at: usize| header[at..at + 4].try_into().map_or(0, u32::from_le_bytes);
    if header[..8] != MAGIC {
        return broken("it does not begin as one");
    }
    if word(8) != crc32([&header[..8], &header[12..]]) {
        return broken("its header is damaged");
    }
    if word(12) != VERSION {
        return Err(OpenError::Broken(format!("it is of version {}, not {VERSION}", word(12))));
    }
    match std::str::from_utf8(&header[25..25 + usize::from(header[24])]) {
        Ok(name) => Ok(name.to_owned()),
        Err(_) => broken("its name is no text"),
    }
}

/// Counts the latencies of a minute: every second second, see [`Day`].
fn count_seconds(seconds: &Block, latencies: &mut Latencies) {
    let records = (0..TIERS[SECONDS].slots).step_by(2).map(|slot| seconds.get::<Health>(slot));
    records.filter(|record| record.answered_s > 0).for_each(|record| latencies.count(record.rtt_us));
}

fn newest<R: Record>(block: &Block, ring: Tier) -> Option<u32> {
    let slot = (0..ring.slots).rev().find(|slot| block.get::<R>(*slot) != R::default())?;
    block.number.checked_mul(ring.span_s())?.checked_add(slot * ring.step_s)
}

fn health(path: &PathSecond) -> Health {
    Health {
        known_s: 1,
        usable_s: u32::from(path.down.is_none()),
        answered_s: u32::from(path.rtt_us.is_some()),
        rtt_us: path.rtt_us.unwrap_or(0),
        rtt_max_us: path.rtt_us.unwrap_or(0),
        jitter_us: if path.rtt_us.is_some() { path.jitter_us } else { 0 },
        loss_ppm: path.loss_ppm.min(MILLION),
    }
}

/// What of `traffic` belongs to the second `index` of `seconds`; together they are all of it.
fn share(traffic: Traffic, index: u32, seconds: u32) -> Traffic {
    let (index, seconds) = (u64::from(index), u64::from(seconds));
    let of = |bytes: u64| bytes / seconds + u64::from(index < bytes % seconds);
    Traffic { rx: traffic.rx.map(of), tx: traffic.tx.map(of) }
}
