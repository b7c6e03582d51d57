//! The last events of the core, for a replay: kept in memory, given to who asks, and written by itself when a policy has lost its
//! last member.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use flate2::Compression;
use flate2::write::GzEncoder;
use mwan_api::{RecordingFile, Response};
use mwan_config::Config;
use mwan_core::{Core, Effect, Event, Output, Time};
use mwan_linux::clock;
use mwan_record::{Made, RecordedConfig, Ring, Snapshot};
use tracing::{info, warn};

use super::answer::in_thread;
use super::config::{Source, table_names};
use super::events::now_ms;
use super::reload::Reply;
use crate::cli::Failure;
use crate::replace::{Durability, Marks, replace};

/// Folder of the state directory for what is written by itself.
const FOLDER: &str = "recordings";
/// Recordings that are kept there, the newest.
const INCIDENTS_MAX: usize = 5;
/// Least time between two of them: a site that goes up and down fills no disk and wears no flash.
const INCIDENTS_PAUSE: Duration = Duration::from_secs(600);
/// What happens so soon after the loss belongs to it.
const AFTERMATH: Duration = Duration::from_secs(5);
/// The loop does not wait, but a slow router has one processor: a tenth of the time of the best compression, and as good as that
/// for lines that are so alike.
const COMPRESSION: Compression = Compression::new(4);

/// What a configuration says, as it is recorded.
#[derive(Debug)]
pub(super) struct Text(Arc<RecordedConfig>);

impl Text {
    /// Without what is secret, and with the numbers of the routing tables that it names.
    pub(super) fn of(name: &str, source: &Source, config: &Config) -> Self {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let source = match source {
            Source::File(bytes) => {
                mwan_record::Source::File(mwan_record::without_secrets(name, &text(bytes)))
            }
            Source::Tree(files) => mwan_record::Source::Tree {
                root: files.root.clone(),
                contents: files
                    .contents
                    .iter()
                    .map(|(name, bytes)| {
                        (name.clone(), mwan_record::without_secret_values(name, &text(bytes)))
                    })
                    .collect(),
                unreadable: files.unreadable.clone(),
                qmi_devices: files.qmi_devices.clone(),
            },
        };
        let mut tables = BTreeMap::new();
        if !config.globals.rt_table_names.is_empty() {
            let known = table_names(Path::new("/"));
            let named = config.globals.rt_table_names.iter();
            tables.extend(named.filter_map(|t| Some((t.name.clone(), known.get(&t.name)?))));
        }
        Text(Arc::new(RecordedConfig { name: name.to_owned(), source, tables }))
    }
}

/// Notes what the core is told and what it decides.
#[derive(Debug)]
pub(super) struct FlightRecorder {
    ring: Option<Ring>,
    bytes_max: u32,
    /// The configuration in force, and the one that is read and not yet in force.
    text: Arc<RecordedConfig>,
    next: Option<Arc<RecordedConfig>>,
    folder: PathBuf,
    /// An incident that is to be written, and when.
    incident: Option<(Time, String)>,
    /// When the last one was.
    written: Option<Time>,
    /// That the ring is too small was told.
    told: bool,
}

impl FlightRecorder {
    /// Begins to record a core that has seen nothing yet.
    pub(super) fn start(text: Text, core: &Core, now: Time, state_dir: &Path) -> Self {
        let mut recorder = FlightRecorder {
            ring: None,
            bytes_max: 0,
            text: text.0,
            next: None,
            folder: state_dir.join(FOLDER),
            incident: None,
            written: None,
            told: false,
        };
        recorder.resize(core, now);
        recorder
    }

    /// Follows the option `record_size`.
    fn resize(&mut self, core: &Core, now: Time) {
        let wanted = core.config().globals.record_bytes;
        if std::mem::replace(&mut self.bytes_max, wanted) == wanted {
            return;
        }
        self.told = false;
        self.ring = (wanted > 0).then(|| Ring::new(wanted as usize, self.text.clone(), core, now));
    }

    /// A configuration was read and will be in force with the next [`Event::Configure`].
    pub(super) fn announce(&mut self, name: &str, source: &Source, config: &Config) {
        let text = Text::of(name, source, config).0;
        if let Some(ring) = &mut self.ring {
            ring.announce(text.clone());
        }
        self.next = Some(text);
    }

    /// Notes what the core is about to be told.
    pub(super) fn event(&mut self, now: Time, event: &Event) {
        if let Event::Configure(_) = event
            && let Some(next) = self.next.take()
        {
            self.text = next;
        }
        if let Some(ring) = &mut self.ring {
            ring.event(now, event);
        }
    }

    /// Notes what became of it.
    pub(super) fn decided(&mut self, output: &Output, core: &Core) {
        if let Some(ring) = &mut self.ring {
            ring.decided(output, core);
        }
        let now = clock::now();
        self.resize(core, now);
        for effect in &output.effects {
            if let Effect::Switched(switch) = effect
                && switch.used
                && matches!(switch.to, mwan_core::Carrier::LastResort(_))
                && core.config().globals.record_incidents
            {
                let why = format!("policy {} has no WAN left ({})", switch.policy, switch.family.name());
                self.incident.get_or_insert((now + AFTERMATH, why));
            }
        }
    }

    /// Once a second: writes what is to be written, and says what is wrong.
    pub(super) fn look(&mut self) {
        let Some(ring) = &self.ring else { return };
        if ring.is_too_small() && !std::mem::replace(&mut self.told, true) {
            warn!(
                "record_size {} is too small for this configuration and network: nothing is recorded",
                self.bytes_max >> 10
            );
        }
        let now = clock::now();
        let Some((_, why)) = self.incident.take_if(|(at, _)| *at <= now) else { return };
        if self.written.is_some_and(|at| now.since(at) < INCIDENTS_PAUSE) {
            return;
        }
        let Some(snapshot) = ring.snapshot() else { return };
        self.written = Some(now);
        let folder = self.folder.clone();
        let work = move || match write_incident(&folder, &snapshot, now, &why) {
            Ok(file) => info!("{why}: what led to it is recorded in {}", file.display()),
            Err(error) => warn!("cannot write a recording into {}: {error}", folder.display()),
        };
        if let Err(error) = std::thread::Builder::new().name("record".to_owned()).spawn(work) {
            warn!("cannot start the thread that writes recordings: {error}");
        }
    }

    /// A recording of now, made in a thread.
    pub(super) fn answer(&self, reply: Reply) {
        let snapshot = self.ring.as_ref().and_then(Ring::snapshot);
        let now = clock::now();
        in_thread("record", "writes recordings", reply, move |_| {
            let snapshot = snapshot.ok_or_else(|| {
                Failure::says("nothing is recorded")
                    .hint("record_size of the globals is 0, or too small: 512 is the default")
            })?;
            let file = compressed(&snapshot, now, "asked")
                .map_err(|e| Failure::new("cannot write a recording", &e))?;
            let gzip_hex = file.iter().map(|byte| format!("{byte:02x}")).collect();
            Ok(Response::Recording(RecordingFile { events: snapshot.events(), gzip_hex }))
        });
    }
}

fn compressed(snapshot: &Snapshot, now: Time, why: &str) -> io::Result<Vec<u8>> {
    let made = Made::new(env!("CARGO_PKG_VERSION"), now, now_ms(), why);
    // Lines are many and short: fewer and longer pieces for the compressor.
    let mut to = io::BufWriter::with_capacity(64 << 10, GzEncoder::new(Vec::new(), COMPRESSION));
    snapshot.write(&made, &mut to)?;
    to.flush()?;
    to.into_inner().map_err(|e| e.into_error())?.finish()
}

/// Writes a recording, and when that is there removes what is too old: on a full disk the old ones stay.
fn write_incident(folder: &Path, snapshot: &Snapshot, now: Time, why: &str) -> io::Result<PathBuf> {
    fs::create_dir_all(folder)?;
    let seconds = now_ms() / 1000;
    let file = folder.join(format!("{PREFIX}{seconds:012}{SUFFIX}"));
    replace(&file, Marks::ours(0o600), Durability::Process, &compressed(snapshot, now, why)?)?;
    let mut old: Vec<PathBuf> =
        fs::read_dir(folder)?.flatten().map(|entry| entry.path()).filter(|path| is_incident(path)).collect();
    // Halves that a process before has left (`.incident-…`) are before all others.
    old.sort();
    for file in old.iter().take(old.len().saturating_sub(INCIDENTS_MAX)) {
        fs::remove_file(file)?;
    }
    Ok(file)
}

/// With the Unix time between them, so that names are in the order of time.
const PREFIX: &str = "incident-";
const SUFFIX: &str = ".json.gz";

fn is_incident(path: &Path) -> bool {
    let name = path.file_name().and_then(|name| name.to_str());
    name.is_some_and(|name| {
        name.starts_with(PREFIX) && name.ends_with(SUFFIX) || name.starts_with(&format!(".{PREFIX}"))
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::os::unix::fs::PermissionsExt;

    use mwan_core::{Memory, Platform};
    use mwan_record::Recording;

    use super::*;

    #[test]
    fn the_last_incidents_are_kept_and_nobody_else_may_read_them() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join(FOLDER);
        let config =
            Arc::new(mwan_config::parse("f", b"config interface 'wan'\n\toption enabled '1'\n").config);
        let core = Core::new(Platform { translate: false }, config.clone(), Memory::default());
        let source = Source::File(b"config interface 'wan'\n\toption enabled '1'\n".to_vec());
        let text = Text::of("f", &source, &config);
        let recorder = FlightRecorder::start(text, &core, Time(1), dir.path());
        let snapshot = recorder.ring.as_ref().unwrap().snapshot().unwrap();
        fs::create_dir_all(&folder).unwrap();
        for n in 0..7 {
            fs::write(folder.join(format!("{PREFIX}{n:012}{SUFFIX}")), "").unwrap();
        }
        fs::write(folder.join("notes"), "mine").unwrap();
        fs::write(crate::replace::beside(&folder.join(format!("{PREFIX}000000000009{SUFFIX}"))), "half")
            .unwrap();
        let file = write_incident(&folder, &snapshot, Time(2), "policy p has no WAN left").unwrap();
        assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
        let mut names: Vec<_> = fs::read_dir(&folder).unwrap().map(|e| e.unwrap().file_name()).collect();
        names.sort();
        assert_eq!(names.len(), INCIDENTS_MAX + 1, "{names:?}");
        assert_eq!(names[0], "incident-000000000003.json.gz");
        let read = flate2::bufread::MultiGzDecoder::new(io::BufReader::new(fs::File::open(file).unwrap()));
        let recording = Recording::read(io::BufReader::new(read)).unwrap();
        assert_eq!(recording.made.why, "policy p has no WAN left");
    }
}
