//! Configurations: which there are, what in them is secret, and how they are shown.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use mwan_config::ipfire::Files;
use mwan_config::privacy::{self, Privacy};
use mwan_config::{SECRETS, options};
use serde_json::Value;

use super::anonymise::{Anonymiser, is_secret_key};
use crate::daemon::revision;
use crate::regular::{self, Links};

/// Where configurations are if nobody says it.
const USUAL: [&str; 5] = [
    "/etc/mwan/mwan.toml",
    "/etc/config/mwan",
    "/etc/config/mwan4",
    "/etc/config/mwan3",
    "/var/ipfire/mwan/settings",
];
/// Longest configuration that is read, bytes.
const TEXT_MAX: u64 = mwan_config::uci::FILE_BYTES_MAX as u64;
/// Longest file of a secret, bytes, and how many are looked at.
const SECRET_MAX: u64 = 64 << 10;
const SECRETS_MAX: usize = 256;
/// Copies of configurations that were in force, in the state directory.
const COPIES: [&str; 2] = ["accepted.toml", "accepted.uci"];
const COPY_TREE: &str = "accepted.ipfire/mwan/settings";
/// Configurations before, each behind a line of JSON; so is one that waits to be confirmed.
const REVISIONS: &str = "revisions";
const UNCONFIRMED: &str = "unconfirmed";
/// Names of machines that are no names, beside those of options: as a name, `gateway` would be missed in every route.
const GENERIC: [&str; 13] = [
    "debian",
    "default",
    "firewall",
    "host",
    "ipfire",
    "link",
    "local",
    "localhost",
    "main",
    "mwan",
    "openwrt",
    "router",
    "server",
];

/// One text of a configuration.
#[derive(Debug)]
pub(super) struct Source {
    /// Name in the archive.
    pub(super) name: String,
    /// Where it is from, in words.
    pub(super) from: String,
    bytes: Vec<u8>,
    form: Form,
}

/// How a text is read.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Form {
    /// UCI or TOML, by this name.
    Text(String),
    /// One of IPFire's files, of this name below its root.
    Hash(String),
}

/// All that was found.
#[derive(Debug, Default)]
pub(super) struct Sources {
    /// The configuration file.
    pub(super) file: Option<PathBuf>,
    /// Its text, or texts, and of what is in force if that is another one.
    pub(super) shown: Vec<Source>,
    /// What was looked for and is not there, or cannot be read.
    pub(super) missing: Vec<String>,
    /// Files that the configuration names.
    pub(super) named: Vec<PathBuf>,
}

impl Sources {
    /// Reads what there is, and has every secret of it learnt, also of configurations that are not in force any more.
    pub(super) fn read(file: Option<PathBuf>, state_dir: &Path, anonymiser: &mut Anonymiser) -> Self {
        let mut sources = Sources { file: file.or_else(usual), ..Sources::default() };
        let shown = match sources.file.clone() {
            Some(file) => sources.texts_of(&file, "config", "as it is on disk"),
            None => {
                sources
                    .missing
                    .push("the configuration: no file is named, and none is where they are usually".into());
                Vec::new()
            }
        };
        let mut copies = Vec::new();
        for copy in
            COPIES.iter().chain(&[COPY_TREE]).map(|name| state_dir.join(name)).filter(|copy| copy.exists())
        {
            copies.extend(sources.texts_of(&copy, "in-force", "in force last"));
        }
        let mut named = Vec::new();
        for source in shown.iter().chain(&copies).chain(&before(state_dir)) {
            source.learn(anonymiser, &mut named);
        }
        named.sort_unstable();
        named.dedup();
        sources.named = named;
        learn_machine(anonymiser);
        let same = |copy: &Source| shown.iter().any(|source| source.bytes == copy.bytes);
        let same = !copies.is_empty() && copies.iter().all(same);
        sources.shown = shown;
        if !same {
            sources.shown.extend(copies);
        }
        sources
    }

    /// The texts of a configuration: of IPFire's it is many files.
    fn texts_of(&mut self, file: &Path, folder: &str, from: &str) -> Vec<Source> {
        let root = file
            .parent()
            .filter(|dir| file.ends_with("mwan/settings") && dir.is_dir())
            .and_then(Path::parent);
        let Some(root) = root else {
            let name = file.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let form = Form::Text(name.clone());
            return self.text(file, format!("{folder}/{name}"), form, from).into_iter().collect();
        };
        let mut names: Vec<String> = Files::NAMES.iter().map(|name| (*name).to_owned()).collect();
        for folder in Files::FOLDERS {
            let entries = fs::read_dir(root.join(folder)).into_iter().flatten().flatten();
            let mut found: Vec<String> = entries.filter_map(|e| e.file_name().into_string().ok()).collect();
            found.sort_unstable();
            found.truncate(Files::FOLDER_FILES_MAX);
            names.extend(found.into_iter().map(|name| format!("{folder}/{name}")));
        }
        let mut texts = Vec::new();
        for name in names {
            texts.extend(self.text(
                &root.join(&name),
                format!("{folder}/{name}"),
                Form::Hash(name.clone()),
                from,
            ));
        }
        texts
    }

    fn text(&mut self, file: &Path, name: String, form: Form, from: &str) -> Option<Source> {
        // A link is followed: so does the daemon.
        match regular::read(file, Links::Follow, TEXT_MAX) {
            Ok((bytes, _)) => Some(Source { name, from: format!("{}, {from}", file.display()), bytes, form }),
            Err(error) => {
                // Of IPFire's files most are optional.
                if !(error.kind() == ErrorKind::NotFound && matches!(form, Form::Hash(_))) {
                    self.missing.push(format!("{}: {error}", file.display()));
                }
                None
            }
        }
    }
}

impl Source {
    /// As it may be shown, addresses aside.
    pub(super) fn show(&self, anonymiser: &mut Anonymiser) -> String {
        self.pass(&mut |privacy, _, value| match privacy {
            Privacy::Open | Privacy::Path => value.to_owned(),
            Privacy::Remark => "[remark]".to_owned(),
            Privacy::Name => anonymiser.name(value),
            Privacy::Doubtful => anonymiser.doubtful(value),
            Privacy::Secret | Privacy::Lines => anonymiser.secret(value),
        })
    }

    /// What in it has to be found wherever else it stands, and the files it names.
    fn learn(&self, anonymiser: &mut Anonymiser, named: &mut Vec<PathBuf>) {
        if matches!(self.form, Form::Text(_)) {
            // A sum of everything without a key: what is replaced could be tried out.
            anonymiser.secret(&revision(&self.bytes));
        }
        self.pass(&mut |privacy, option, value| {
            match privacy {
                Privacy::Open | Privacy::Remark => {}
                Privacy::Path => {
                    named.push(value.into());
                    if ["password_file", "secret_file"].contains(&option) {
                        learn_file(Path::new(value), anonymiser);
                    }
                }
                Privacy::Name => drop(anonymiser.name(value)),
                Privacy::Doubtful => {
                    anonymiser.doubtful(value);
                    // `--token=…`
                    let behind = value.split_once('=').map_or("", |(_, behind)| behind);
                    anonymiser.doubtful(behind);
                }
                Privacy::Secret | Privacy::Lines => {
                    anonymiser.secret(value);
                    learn_parts(value, anonymiser);
                }
            }
            String::new()
        });
    }

    fn pass(&self, hide: privacy::Hide<'_>) -> String {
        match &self.form {
            Form::Text(name) => privacy::shown(name, &self.bytes, hide),
            Form::Hash(name) => privacy::shown_hash(name, &self.bytes, hide),
        }
    }
}

fn usual() -> Option<PathBuf> {
    USUAL.iter().map(PathBuf::from).find(|file| file.exists())
}

/// Configurations that were in force, and one that waits: nobody is shown them, but what they say may be in a log.
fn before(state_dir: &Path) -> Vec<Source> {
    let entries =
        fs::read_dir(state_dir.join(REVISIONS)).into_iter().flatten().flatten().map(|entry| entry.path());
    let files = entries.take(SECRETS_MAX).chain([state_dir.join(UNCONFIRMED)]);
    let source = |file: PathBuf| {
        let (mut bytes, _) = regular::read(&file, Links::Refuse, TEXT_MAX + SECRET_MAX).ok()?;
        let end = bytes.iter().position(|b| *b == b'\n')?;
        let header: Value = serde_json::from_slice(&bytes[..end]).ok()?;
        bytes.drain(..=end);
        let name = header["file"].as_str().unwrap_or_default();
        Some(Source { name: String::new(), from: String::new(), bytes, form: Form::Text(name.to_owned()) })
    };
    files.filter_map(source).collect()
}

/// A secret that stands in a file of its own, and all of those in the folder for them.
fn learn_file(file: &Path, anonymiser: &mut Anonymiser) {
    if let Ok((bytes, _)) = regular::read(file, Links::Follow, SECRET_MAX) {
        let text = String::from_utf8_lossy(&bytes);
        anonymiser.secret(&text);
        learn_parts(text.trim(), anonymiser);
    }
}

/// What of a secret is one by itself: the host and the login of a URL, the domain of a mail address, what stands under such a key
/// in JSON.
fn learn_parts(value: &str, anonymiser: &mut Anonymiser) {
    if let Some((_, rest)) = value.split_once("://") {
        let (login, rest) = rest.rsplit_once('@').map_or(("", rest), |(login, rest)| (login, rest));
        login.split(':').for_each(|word| drop(anonymiser.secret(word)));
        let host = rest.split(['/', '?', '#', ':']).next().unwrap_or_default();
        if !rest.starts_with('[') {
            anonymiser.name(host);
        }
    } else if let Some((_, domain)) = value.split_once('@').filter(|_| !value.contains(char::is_whitespace)) {
        anonymiser.name(domain);
    }
    if value.starts_with('{')
        && let Ok(document) = serde_json::from_str::<Value>(value)
    {
        learn_document(&document, false, anonymiser);
    }
}

fn learn_document(value: &Value, is_secret: bool, anonymiser: &mut Anonymiser) {
    match value {
        Value::String(text) if is_secret => drop(anonymiser.secret(text)),
        Value::Array(items) => items.iter().for_each(|item| learn_document(item, is_secret, anonymiser)),
        Value::Object(members) => members
            .iter()
            .for_each(|(key, value)| learn_document(value, is_secret || is_secret_key(key), anonymiser)),
        _ => {}
    }
}

/// What of a machine's name tells whose it is: the whole, its domain, and itself without that, as logs write it.
fn names_of(name: &str) -> Vec<&str> {
    let name = name.trim();
    let (host, domain) = name.split_once('.').unwrap_or((name, ""));
    let is_generic = |word: &str| {
        let word = word.to_ascii_lowercase();
        GENERIC.contains(&word.as_str()) || options().iter().any(|option| option.key() == word)
    };
    let whole = (!domain.is_empty()).then_some(name);
    let domain = Some(domain).filter(|domain| domain.contains('.'));
    let host = Some(host).filter(|host| !is_generic(host));
    [whole, domain, host].into_iter().flatten().collect()
}

/// The machine's own name, and the secrets in the folder that is theirs.
fn learn_machine(anonymiser: &mut Anonymiser) {
    let name = fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    names_of(&name).into_iter().for_each(|name| drop(anonymiser.name(name)));
    let entries = fs::read_dir(SECRETS).into_iter().flatten().flatten();
    entries.take(SECRETS_MAX).for_each(|entry| learn_file(&entry.path(), anonymiser));
}

#[cfg(test)]
mod tests {
    use super::names_of;

    #[test]
    fn a_machine_is_known_by_every_part_of_its_name_that_is_its_own() {
        assert_eq!(
            names_of("fw-kontor.kunde.example\n"),
            ["fw-kontor.kunde.example", "kunde.example", "fw-kontor"]
        );
        assert_eq!(names_of("Router.lan"), ["Router.lan"]);
        assert_eq!(names_of("kontor"), ["kontor"]);
        // Words of every archive.
        for word in ["OpenWrt", "gateway", "interface", "main", ""] {
            assert!(names_of(word).iter().all(|name| name.is_empty()), "{word}");
        }
    }
}
