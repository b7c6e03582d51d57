//! What goes into the archive. The order is always the same, everything has a limit, and what is not there is said.

use std::ffi::OsStr;
use std::fmt::Write as _;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use super::anonymise::Anonymiser;
use super::daemon::Daemon;
use super::program::{self, Said};
use super::sources::Sources;
use super::{kernel, program::ourselves};
use crate::cli::SupportArgs;
use crate::regular::{self, Links};

/// Longest text, bytes. A status of a thousand rules is half of it.
const FILE_MAX: usize = 1 << 20;
/// Longest answer of the daemon: cut, it would be no JSON.
const ANSWER_MAX: usize = 4 << 20;
/// All files together, bytes: it has to go by mail, and a router holds it in memory.
const TOTAL_MAX: usize = 12 << 20;
/// Longest name of a file, bytes: its folder is in front of it, and the format has room for 100.
const NAME_MAX: usize = 64;
/// Most of the end of a log, bytes.
const LOG_MAX: usize = 512 << 10;

/// What the daemon is asked, beside its status: name in the archive, request.
const REQUESTS: [(&str, &str); 8] = [
    ("answers/diff.json", r#"{"method":"diff"}"#),
    ("answers/events.json", r#"{"method":"events","limit":1000}"#),
    ("answers/candidates.json", r#"{"method":"candidates"}"#),
    // Of connections numbers only.
    ("answers/flows.json", r#"{"method":"flows","limit":0}"#),
    ("answers/revisions.json", r#"{"method":"revisions"}"#),
    ("answers/alerts.json", r#"{"method":"alerts"}"#),
    ("answers/report.json", r#"{"method":"report"}"#),
    ("answers/drills.json", r#"{"method":"drills"}"#),
];

/// What this program is asked: name in the archive, its words; `FILE` is the configuration.
const COMMANDS: [(&str, &[&str]); 7] = [
    ("status.txt", &["status"]),
    ("check.txt", &["check", "FILE"]),
    ("diff.txt", &["diff"]),
    ("plan.txt", &["plan", "--config", "FILE"]),
    ("events.txt", &["events", "--all", "--limit", "200"]),
    ("revisions.txt", &["rollback", "--list"]),
    ("report.txt", &["report"]),
];
/// Those of them that say something without a daemon.
const WITHOUT_DAEMON: [&str; 3] = ["check.txt", "plan.txt", "report.txt"];

/// Where logs are that are not the standard error of the daemon (IPFire).
const LOG: &str = "/var/log/mwan.log";
/// Scripts that hear of transitions.
const HOOKS: [&str; 3] = ["/etc/mwan/hooks.d", "/etc/mwan3.user", "/etc/mwan4.user"];

/// A file of the archive.
#[derive(Debug)]
pub(super) struct Filed {
    pub(super) name: String,
    pub(super) bytes: Vec<u8>,
    /// Where it is from.
    about: String,
}

/// The archive while it is made.
#[derive(Debug)]
pub(super) struct Collection {
    pub(super) files: Vec<Filed>,
    /// What is not there, or not all of it, and why.
    pub(super) missing: Vec<String>,
    anonymiser: Anonymiser,
    total: usize,
    /// Who was asked.
    daemon: String,
}

impl Collection {
    pub(super) fn new(anonymiser: Anonymiser) -> Self {
        Collection { files: Vec::new(), missing: Vec::new(), anonymiser, total: 0, daemon: String::new() }
    }

    /// Collects everything. Configurations come first: what is secret has to be known before anything else is written down.
    pub(super) fn collect(&mut self, run_dir: &Path, args: &SupportArgs) {
        let (daemon, status) = match Daemon::find(run_dir, ANSWER_MAX) {
            Ok((daemon, status)) => (Some(daemon), status),
            Err(why) => {
                self.daemon.clone_from(&why);
                self.miss("what the daemon would say", why);
                (None, String::new())
            }
        };
        let told = |option, variable| daemon.as_ref().and_then(|daemon| daemon.told(option, variable));
        let state_dir = args.state_dir.clone().or_else(|| told("--state-dir", "MWAN_STATE_DIR"));
        let state_dir = state_dir.unwrap_or_else(|| PathBuf::from("/var/lib/mwan"));
        let config = args.config.clone().or_else(|| daemon.as_ref().map(|daemon| daemon.config.clone()));
        let mut sources = Sources::read(config, &state_dir, &mut self.anonymiser);
        self.configurations(&mut sources);
        self.commands(run_dir, &state_dir, sources.file.as_deref(), daemon.is_some());
        if let Some(daemon) = &daemon {
            self.answers(daemon, &status);
            self.process(daemon);
        }
        self.state(run_dir, &state_dir, daemon.is_some());
        self.kernel();
        self.system(sources.named);
        self.log(daemon.as_ref());
    }

    fn configurations(&mut self, sources: &mut Sources) {
        for source in &sources.shown {
            let text = source.show(&mut self.anonymiser);
            self.text(&source.name, &source.from, &text);
        }
        for missing in std::mem::take(&mut sources.missing) {
            let missing = self.anonymiser.text(&missing);
            self.missing.push(missing);
        }
    }

    fn commands(&mut self, run_dir: &Path, state_dir: &Path, config: Option<&Path>, is_running: bool) {
        for (name, words) in COMMANDS {
            if !is_running && !WITHOUT_DAEMON.contains(&name) {
                continue;
            }
            let mut arguments: Vec<&OsStr> = vec!["--run-dir".as_ref(), run_dir.as_os_str()];
            for word in words {
                match (*word, config) {
                    ("FILE", Some(file)) => arguments.push(file.as_os_str()),
                    (word, _) => arguments.push(word.as_ref()),
                }
            }
            if words.contains(&"FILE") && config.is_none() {
                continue;
            }
            if name == "report.txt" {
                arguments.extend(["--state-dir".as_ref(), state_dir.as_os_str()]);
            }
            let about = format!("mwan {}", words.join(" "));
            match program::run(ourselves(&arguments), FILE_MAX) {
                Ok(said) => self.said(name, &about, &said),
                Err(error) => self.miss(&about, error),
            }
        }
    }

    fn answers(&mut self, daemon: &Daemon, status: &str) {
        self.json("answers/status.json", "the daemon's answer to status", status);
        for (name, request) in REQUESTS {
            self.answer(name, daemon.ask(request, ANSWER_MAX));
        }
        #[cfg(feature = "record")]
        self.recording(daemon);
    }

    fn answer(&mut self, name: &str, answer: io::Result<String>) {
        match answer {
            Ok(text) => self.json(name, "the daemon's answer", &text),
            Err(error) => self.miss(name, error),
        }
    }

    /// `mwan record`, uncompressed: what is in a compressed one could not be replaced.
    #[cfg(feature = "record")]
    fn recording(&mut self, daemon: &Daemon) {
        use flate2::read::GzDecoder;
        /// A hexadecimal answer is twice a compressed recording.
        const HEX_MAX: usize = 16 << 20;
        const RECORDING_MAX: u64 = 8 << 20;
        const NAME: &str = "recording.json";
        let text = daemon.ask(r#"{"method":"record"}"#, HEX_MAX).and_then(|answer| {
            let answer: serde_json::Value = serde_json::from_str(&answer)?;
            let hex = answer["gzip_hex"].as_str();
            let hex = hex.ok_or_else(|| {
                io::Error::other(answer["message"].as_str().unwrap_or("no recording").to_owned())
            })?;
            let digit =
                |b: u8| char::from(b).to_digit(16).and_then(|d| u8::try_from(d).ok()).unwrap_or_default();
            let bytes: Vec<u8> =
                hex.as_bytes().chunks_exact(2).map(|two| digit(two[0]) << 4 | digit(two[1])).collect();
            let mut text = String::new();
            let read =
                GzDecoder::new(bytes.as_slice()).take(RECORDING_MAX + 1).read_to_string(&mut text)? as u64;
            if read > RECORDING_MAX { Err(io::ErrorKind::FileTooLarge.into()) } else { Ok(text) }
        });
        match text {
            Ok(text) => self.json(NAME, "mwan record; mwan replay reads it", &without_sums(&text)),
            Err(error) => self.miss(NAME, error),
        }
    }

    /// What /proc says of the daemon.
    fn process(&mut self, daemon: &Daemon) {
        let words = std::fs::read(daemon.proc("cmdline")).unwrap_or_default();
        let words = String::from_utf8_lossy(&words).replace('\0', " ");
        let status = std::fs::read_to_string(daemon.proc("status")).unwrap_or_default();
        self.daemon = format!("process {}, mwan {}, up {} s", daemon.pid, daemon.version, daemon.uptime_s);
        self.text(
            "system/process.txt",
            "the daemon in /proc: cmdline, status",
            &format!("{words}\n\n{status}"),
        );
    }

    fn state(&mut self, run_dir: &Path, state_dir: &Path, is_running: bool) {
        for (name, file) in [
            ("state/health.json", run_dir.join("health.json")),
            ("state/ids.json", state_dir.join("ids.json")),
        ] {
            match regular::read(&file, Links::Refuse, FILE_MAX as u64) {
                Ok((bytes, _)) => {
                    self.json(name, &file.display().to_string(), &String::from_utf8_lossy(&bytes))
                }
                Err(error) => self.miss(name, error),
            }
        }
        // A daemon that answers has told it.
        let events = crate::daemon::event_files(run_dir, state_dir);
        if !is_running && let Some(file) = events.into_iter().find(|file| file.is_file()) {
            self.end_of("state/events.jsonl", &file, true);
        }
        let listing = kernel::listing(&[run_dir.to_owned(), state_dir.to_owned()]);
        self.text("state/files.txt", "names and sizes of the daemon's own files", &listing);
    }

    fn kernel(&mut self) {
        for (name, words, others) in kernel::PROGRAMS {
            let run = |words: &[&str]| program::run(program::of_system(words[0], &words[1..]), FILE_MAX);
            if !kernel::is_asked(words[0]) {
                continue;
            }
            match run(words) {
                Ok(said) if said.trouble().is_some() && !others.is_empty() => match run(others) {
                    Ok(said) => self.said(name, &others.join(" "), &said),
                    Err(error) => self.miss(&others.join(" "), error),
                },
                Ok(said) => self.said(name, &words.join(" "), &said),
                Err(error) => self.miss(&words.join(" "), error),
            }
        }
        self.text("kernel/sysctl.txt", "settings below /proc/sys", &kernel::sysctls());
    }

    fn system(&mut self, mut named: Vec<PathBuf>) {
        self.text("system/mwan.txt", "this program", &kernel::features());
        let mut text = String::new();
        for file in kernel::SYSTEM {
            let mut found = String::new();
            // Those in /proc are no longer than that, and say a length of 0.
            if File::open(file).is_ok_and(|f| f.take(64 << 10).read_to_string(&mut found).is_ok()) {
                let _ = writeln!(text, "== {file}\n{}\n", found.trim_end());
            }
        }
        self.text("system/system.txt", &kernel::SYSTEM.join(", "), &text);
        named.extend(HOOKS.iter().map(PathBuf::from));
        let listing = kernel::listing(&named);
        self.text(
            "system/named.txt",
            "names and sizes of hooks, and of files that the configuration names",
            &listing,
        );
    }

    fn log(&mut self, daemon: Option<&Daemon>) {
        if let Some(file) = daemon.and_then(Daemon::log) {
            self.end_of("log/stderr.txt", &file, false);
        }
        let other = daemon.and_then(|daemon| daemon.told("--log-file", "MWAN_LOG_FILE"));
        let file = other.unwrap_or_else(|| PathBuf::from(LOG));
        if file.is_file() {
            self.end_of("log/mwan.log", &file, false);
        }
        if !self.files.iter().any(|file| file.name.starts_with("log/")) {
            self.miss(
                "a log",
                "the daemon has no file for one; the system's may have it (journalctl -u mwan, logread)",
            );
        }
    }

    /// The newest of a file of lines.
    fn end_of(&mut self, name: &str, file: &Path, is_json: bool) {
        let read = regular::open(file, Links::Follow).and_then(|(mut file, meta)| {
            let skipped = meta.len().saturating_sub(LOG_MAX as u64);
            file.seek(SeekFrom::Start(skipped))?;
            let mut bytes = Vec::new();
            file.take(LOG_MAX as u64).read_to_end(&mut bytes)?;
            if skipped > 0 {
                // A line without its beginning may be a secret without its beginning.
                let end = bytes.iter().position(|b| *b == b'\n').map_or(bytes.len(), |end| end + 1);
                bytes.drain(..end);
            }
            Ok((bytes, skipped))
        });
        let about = std::fs::read_link(file).unwrap_or_else(|_| file.to_owned()).display().to_string();
        match read {
            Ok((bytes, skipped)) => {
                if skipped > 0 {
                    self.miss(name, format!("its first {skipped} bytes"));
                }
                let text = String::from_utf8_lossy(&bytes);
                if is_json || text.starts_with('{') {
                    self.json(name, &about, &text);
                } else {
                    self.text(name, &about, &text);
                }
            }
            Err(error) => self.miss(name, error),
        }
    }

    /// What a program said, and how it ended.
    fn said(&mut self, name: &str, about: &str, said: &Said) {
        let mut bytes = said.bytes.as_slice();
        if said.is_cut {
            // A line without its end may be a secret without its end.
            bytes = &bytes[..bytes.iter().rposition(|b| *b == b'\n').map_or(0, |end| end + 1)];
            self.miss(name, format!("what is behind {} bytes", bytes.len()));
        }
        let mut text = String::from_utf8_lossy(bytes).into_owned();
        if let Some(trouble) = said.trouble() {
            let _ = writeln!(text, "({trouble})");
        }
        self.text(name, about, &text);
    }

    fn text(&mut self, name: &str, about: &str, text: &str) {
        let text = self.anonymiser.text(text);
        self.add(name, about, text);
    }

    fn json(&mut self, name: &str, about: &str, text: &str) {
        let text = self.anonymiser.json(text);
        self.add(name, about, text);
    }

    fn add(&mut self, name: &str, about: &str, text: String) {
        if self.total + text.len() > TOTAL_MAX {
            self.miss(name, format!("all files together would be longer than {TOTAL_MAX} bytes"));
            return;
        }
        self.total += text.len();
        let (mut name, about) = (self.anonymiser.text(name), self.anonymiser.text(about));
        if name.len() > NAME_MAX {
            // All of it is in `about`.
            let number = format!("~{}", self.files.len());
            let end = (0..=NAME_MAX - number.len()).rev().find(|end| name.is_char_boundary(*end));
            name.truncate(end.unwrap_or_default());
            name.push_str(&number);
        }
        self.files.push(Filed { name, bytes: text.into_bytes(), about });
    }

    fn miss(&mut self, what: &str, why: impl std::fmt::Display) {
        let missing = self.anonymiser.text(&format!("{what}: {why}"));
        self.missing.push(missing);
    }

    /// Puts in front what is in it.
    pub(super) fn finish(&mut self, now_s: u64) {
        let stamp = mwan_api::calendar::stamp(now_s).replace(' ', "T");
        let mut text = format!("{MANIFEST}\nmade      {stamp}Z by mwan {}\n", env!("CARGO_PKG_VERSION"));
        let daemon = self.anonymiser.text(&self.daemon);
        let [secrets, names, mails, v4, v6, macs] = self.anonymiser.counts();
        let _ = writeln!(text, "daemon    {daemon}");
        let _ = writeln!(
            text,
            "replaced  {secrets} secrets, {names} names, {mails} mail addresses, {v4} IPv4 and {v6} IPv6 networks, {macs} devices"
        );
        if self.anonymiser.is_full() {
            text.push_str("          there were more networks than placeholders: 240.0.255.255 and 3fff:0:ffff:: are all the others\n");
        }
        text.push_str("\nFiles\n");
        for file in &self.files {
            let _ = writeln!(text, "{:>9}  {}  ({})", file.bytes.len(), file.name, file.about);
        }
        text.push_str("\nNot there\n");
        for missing in &self.missing {
            let _ = writeln!(text, "{missing}");
        }
        if self.missing.is_empty() {
            text.push_str("nothing is missing\n");
        }
        text.push_str("\nResolvers that everybody knows\n");
        for (placeholder, what) in self.anonymiser.well_known() {
            let _ = writeln!(text, "{placeholder}  {what}");
        }
        self.files
            .insert(0, Filed { name: "MANIFEST".into(), bytes: text.into_bytes(), about: String::new() });
    }
}

/// What whoever opens the archive has to know.
const MANIFEST: &str = "\
mwan support

[secret-N]             a secret, the same everywhere
[hidden]               what may be one
[remark]               a comment of the configuration
name-N.example         a host or domain
mail-N@name.example    a mail address
240.0.0.0/4            public IPv4 addresses: as many bits in common as they have, prefixes as long as they are
3fff::/20              public IPv6 addresses: likewise
240.0.N.0, 3fff:0:0:N::  prefixes shorter than 16 (32) bits
02:00:…                hardware addresses
Private, shared, local, documentation and multicast addresses are as they are.
";

/// A recording knows the addresses of sets by a sum without a key, which could be tried out: numbers tell as much of them apart.
#[cfg(feature = "record")]
fn without_sums(text: &str) -> String {
    const KEY: &str = "\"sets\":";
    let mut sums: Vec<&str> = Vec::new();
    let (mut out, mut rest) = (String::with_capacity(text.len()), text);
    while let Some(at) = rest.find(KEY) {
        let begin = at + KEY.len();
        out.push_str(&rest[..begin]);
        rest = &rest[begin..];
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        if digits > 0 {
            let sum = &rest[..digits];
            let index = sums.iter().position(|known| *known == sum).unwrap_or_else(|| {
                sums.push(sum);
                sums.len() - 1
            });
            out.push_str(&(index + 1).to_string());
            rest = &rest[digits..];
        }
    }
    out + rest
}
