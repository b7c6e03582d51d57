//! A recording as a file: lines of JSON, so that whoever is to hand one on can see what is in it.
//!
//! First `recording` (format, version, when and why), then a `config` for each configuration, `begin` (the core), an `event` per
//! line, and `end` with their number, by which a file that was cut short is known.

use std::collections::BTreeMap;
use std::fmt;
use std::io::{self, BufRead, Read};

use mwan_core::{Checkpoint, Time};
use serde::{Deserialize, Serialize};

use crate::happened::Noted;
use crate::source::{InForce, RecordedConfig};

/// The format of the file; another number cannot be read.
const FORMAT: u64 = 1;
/// Longest recording that is read, bytes. The largest ring there can be is 16 MiB, which is about eight times as much in words.
pub const RECORDING_BYTES_MAX: u64 = 160 << 20;

/// When, where and why a recording was made.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Made {
    /// Number of the format.
    format: u64,
    /// Version of the mwan that made it.
    pub mwan: String,
    /// When it was made: on the core's clock (microseconds since boot), and in Unix time, milliseconds.
    pub clock: (Time, u64),
    /// Why: `asked`, or what had happened.
    pub why: String,
}

impl Made {
    /// A head of the present format.
    pub fn new(mwan: &str, now: Time, unix_ms: u64, why: &str) -> Self {
        Made { format: FORMAT, mwan: mwan.to_owned(), clock: (now, unix_ms), why: why.to_owned() }
    }

    /// Unix time of an event, milliseconds.
    pub fn unix_ms(&self, at: Time) -> u64 {
        let (now, unix_ms) = self.clock;
        unix_ms
            .saturating_sub(now.0.saturating_sub(at.0) / 1000)
            .saturating_add(at.0.saturating_sub(now.0) / 1000)
    }
}

/// Where a recording begins.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Begin {
    /// When.
    pub at: Time,
    /// Number of the configuration in force.
    pub config: u32,
    /// What its text does not say.
    pub in_force: InForce,
    /// The core.
    pub core: Checkpoint,
}

/// A line of the file.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Line {
    Recording(Made),
    Config { number: u32, config: RecordedConfig },
    Begin(Box<Begin>),
    Event(Noted),
    End { events: u64 },
}

impl Line {
    pub(crate) fn write(&self, out: &mut dyn io::Write) -> io::Result<()> {
        serde_json::to_writer(&mut *out, self)?;
        out.write_all(b"\n")
    }
}

/// A recording that was read.
#[derive(Clone, Debug)]
pub struct Recording {
    /// When, where and why.
    pub made: Made,
    /// Configurations by their number.
    pub configs: BTreeMap<u32, RecordedConfig>,
    /// Where it begins.
    pub begin: Begin,
    /// What happened since, in order.
    pub events: Vec<Noted>,
}

/// Why a file cannot be read as a recording.
#[derive(Debug)]
pub enum Unreadable {
    /// It is something else.
    NoRecording,
    /// It has another format, and was made by this version of mwan.
    Format(u64, String),
    /// It ends too early: so many events could be read.
    Cut(u64),
    /// It is longer than any recording.
    Long,
    /// This line is damaged, or not where it belongs.
    Line(u64, String),
    /// It could not be read.
    Io(io::Error),
}

impl fmt::Display for Unreadable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Unreadable::NoRecording => write!(f, "it is not a recording of mwan"),
            Unreadable::Format(format, version) => {
                let version = version.escape_debug();
                write!(f, "it has format {format}, of mwan {version}; this mwan reads format {FORMAT}")
            }
            Unreadable::Cut(events) => {
                write!(f, "it is cut off: it ends after {events} events, without its last line")
            }
            Unreadable::Long => write!(f, "it is longer than {RECORDING_BYTES_MAX} bytes"),
            Unreadable::Line(line, why) => write!(f, "line {line} is damaged: {}", why.escape_debug()),
            Unreadable::Io(error) => write!(f, "{error}"),
        }
    }
}

impl std::error::Error for Unreadable {}

impl Unreadable {
    /// What can be done about it.
    pub fn hint(&self) -> &'static str {
        match self {
            Unreadable::NoRecording => "`mwan record FILE` makes one",
            Unreadable::Format(..) => "replay it with the mwan that made it",
            Unreadable::Cut(_) => "copy it again, or let `mwan record` make another one",
            Unreadable::Long | Unreadable::Line(..) | Unreadable::Io(_) => {
                "let `mwan record` make another one"
            }
        }
    }
}

/// What of the first line is the same in every format.
#[derive(Deserialize)]
struct Head {
    recording: HeadOfAny,
}

#[derive(Deserialize)]
struct HeadOfAny {
    format: u64,
    #[serde(default)]
    mwan: String,
}

impl Recording {
    /// Reads a recording. Whatever is in the file, this ends.
    ///
    /// # Errors
    /// It is none, it is another version's, cut off or damaged.
    pub fn read(from: impl BufRead) -> Result<Recording, Unreadable> {
        Reader { from: from.take(RECORDING_BYTES_MAX + 1), line: 0, bytes: 0, events: 0 }.read()
    }
}

struct Reader<R> {
    from: io::Take<R>,
    line: u64,
    bytes: u64,
    events: u64,
}

impl<R: BufRead> Reader<R> {
    /// The next line, with its end; `None`: there is none, or not all of it.
    fn next(&mut self) -> Result<Option<Vec<u8>>, Unreadable> {
        let mut line = Vec::new();
        match self.from.read_until(b'\n', &mut line) {
            Ok(_) => {}
            Err(error) => return Err(self.failed(error)),
        }
        self.line += 1;
        self.bytes += line.len() as u64;
        if self.bytes > RECORDING_BYTES_MAX {
            return Err(Unreadable::Long);
        }
        Ok((line.last() == Some(&b'\n')).then_some(line))
    }

    fn failed(&self, error: io::Error) -> Unreadable {
        match error.kind() {
            // That is how decompression tells of an end that is missing.
            io::ErrorKind::UnexpectedEof => Unreadable::Cut(self.events),
            _ => Unreadable::Io(error),
        }
    }

    /// Reads up to the end of the file: only there gzip's checksum is compared.
    fn ends(&mut self) -> Result<(), Unreadable> {
        match self.from.read(&mut [0]) {
            Ok(0) => Ok(()),
            Ok(_) => Err(self.damaged("something is behind it, which should be the last one")),
            Err(error) => Err(self.failed(error)),
        }
    }

    fn damaged(&self, why: impl fmt::Display) -> Unreadable {
        Unreadable::Line(self.line, why.to_string())
    }

    fn read(mut self) -> Result<Recording, Unreadable> {
        let made = self.head()?;
        let (mut configs, mut begin, mut events) = (BTreeMap::new(), None, Vec::new());
        loop {
            let Some(line) = self.next()? else { return Err(Unreadable::Cut(self.events)) };
            let line: Line = serde_json::from_slice(&line).map_err(|e| self.damaged(e))?;
            match line {
                Line::Config { number, config } if begin.is_none() => drop(configs.insert(number, config)),
                Line::Begin(found) if begin.is_none() => begin = Some(*found),
                Line::Event(noted) if begin.is_some() => {
                    events.push(noted);
                    self.events += 1;
                }
                Line::End { events: number } => {
                    let Some(begin) = begin.filter(|_| number == self.events) else {
                        return Err(self.damaged("lines are missing before it"));
                    };
                    self.ends()?;
                    return Ok(Recording { made, configs, begin, events });
                }
                _ => return Err(self.damaged("it does not belong here")),
            }
        }
    }

    fn head(&mut self) -> Result<Made, Unreadable> {
        let line = self.next()?.ok_or(Unreadable::NoRecording)?;
        let head: Head = serde_json::from_slice(&line).map_err(|_| Unreadable::NoRecording)?;
        if head.recording.format != FORMAT {
            return Err(Unreadable::Format(head.recording.format, head.recording.mwan));
        }
        match serde_json::from_slice(&line) {
            Ok(Line::Recording(made)) => Ok(made),
            Ok(_) => Err(Unreadable::NoRecording),
            Err(error) => Err(self.damaged(error)),
        }
    }
}
