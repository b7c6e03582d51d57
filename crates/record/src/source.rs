//! The configuration as text, and the configuration that it means.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;

use mwan_config::ipfire::Files;
use mwan_config::privacy::{self, Privacy};
use mwan_config::{AddressRange, Assignment, Config, NamedSet, SetLayout, TableNames, Unassignable};
use serde::{Deserialize, Serialize};

/// Fewer bits have no room for an interface.
const MASK_BITS_MIN: u32 = 3;

/// A configuration that was in force.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct RecordedConfig {
    /// Name of its file, which tells the format.
    pub name: String,
    /// What it says.
    pub source: Source,
    /// The routing tables that it names, as that machine numbers them.
    pub tables: BTreeMap<String, u32>,
}

/// What a configuration says.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Source {
    /// One file.
    File(String),
    /// IPFire's tree ([`Files`]).
    Tree {
        /// The folder the names begin in.
        root: String,
        /// Content by name.
        contents: BTreeMap<String, String>,
        /// Files that cannot be read, and why.
        unreadable: BTreeMap<String, String>,
        /// Devices of modems that speak QMI.
        qmi_devices: BTreeSet<String>,
    },
}

/// What of a configuration in force its text does not say.
///
/// No decision depends on the addresses of a set; whether they are others than before is enough, and so a recording has only
/// their digest.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct InForce {
    /// The mask: another one than the file's is in force until connection entries know the new one.
    pub mask: u32,
    /// Digest of the addresses of all sets.
    pub sets: u64,
}

impl InForce {
    /// Of a configuration.
    pub fn of(config: &Config) -> Self {
        let mut digest = Fnv::new();
        for set in config.sets.iter() {
            digest.add(set.name.as_bytes());
            for range in set.entries.iter() {
                for ip in [range.first, range.last] {
                    match ip {
                        IpAddr::V4(ip) => digest.add(&ip.octets()),
                        IpAddr::V6(ip) => digest.add(&ip.octets()),
                    }
                }
            }
        }
        InForce { mask: config.globals.mask, sets: digest.0 }
    }

    /// Makes what was read from text what was in force.
    pub fn put(self, config: &mut Config) -> Result<(), &'static str> {
        if self.mask.count_ones() < MASK_BITS_MIN {
            return Err("its mask has no room for an interface");
        }
        config.globals.mask = self.mask;
        let stand_in = IpAddr::V6(Ipv6Addr::from(u128::from(self.sets)));
        let stand_in = Arc::new(vec![AddressRange { first: stand_in, last: stand_in }]);
        let of = |set: &NamedSet| NamedSet {
            entries: stand_in.clone(),
            layout: SetLayout::default(),
            ..set.clone()
        };
        config.sets = Arc::new(config.sets.iter().map(of).collect());
        Ok(())
    }
}

impl RecordedConfig {
    /// The configuration it is, with other values for some options.
    ///
    /// # Errors
    /// Something cannot be set.
    pub fn config(&self, in_force: InForce, assignments: &[Assignment]) -> Result<Config, Unassignable> {
        let mut config = match &self.source {
            Source::File(text) => {
                let tables = || self.table_names();
                mwan_config::parse_assigned(&self.name, text.as_bytes(), &tables, assignments)?.config
            }
            Source::Tree { .. } if !assignments.is_empty() => {
                return Err(Unassignable {
                    message: "options of a recording from IPFire cannot be set".to_owned(),
                    hint: "its configuration is many files with words of their own".to_owned(),
                });
            }
            Source::Tree { root, contents, unreadable, qmi_devices } => {
                let bytes = |(name, text): (&String, &String)| (name.clone(), text.clone().into_bytes());
                let files = Files {
                    root: root.clone(),
                    contents: contents.iter().map(bytes).collect(),
                    unreadable: unreadable.clone(),
                    qmi_devices: qmi_devices.clone(),
                };
                mwan_config::parse_ipfire(&files).config
            }
        };
        let damaged =
            |why: &str| Unassignable { message: why.to_owned(), hint: "the recording is damaged".to_owned() };
        in_force.put(&mut config).map_err(damaged)?;
        Ok(config)
    }

    /// About how much memory it takes, bytes.
    pub(crate) fn bytes(&self) -> usize {
        let tables: usize = self.tables.keys().map(|name| name.len() + 64).sum();
        let text = match &self.source {
            Source::File(text) => text.len(),
            Source::Tree { contents, .. } => contents.iter().map(|(k, v)| k.len() + v.len() + 64).sum(),
        };
        text + tables + self.name.len()
    }

    fn table_names(&self) -> TableNames {
        let mut names = TableNames::default();
        for (name, number) in &self.tables {
            names.add_file(format!("{number} {name}\n").as_bytes());
        }
        names
    }
}

/// FNV-1a, 64 bits (RFC 9923): tells lists apart, protects from nobody.
struct Fnv(u64);

impl Fnv {
    fn new() -> Self {
        Fnv(0xcbf2_9ce4_8422_2325)
    }

    fn add(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
        // What follows is another item.
        self.0 = (self.0 ^ 0xff).wrapping_mul(0x0000_0100_0000_01b3);
    }
}

/// Sections of which no decision depends, and in which secrets may be: addresses with tokens, user names, what is sent to whom.
const PRIVATE: [&str; 3] = ["alert", "web", "cloud"];
/// In place of a private value of which no decision depends.
const HIDDEN: &str = "hidden";

/// A text of a configuration without what a recording needs not: lines of private sections and comments are empty ones, so that
/// lines keep their numbers; values of other sections that may be private are others.
pub fn without_secrets(file_name: &str, text: &str) -> String {
    let native = file_name.to_ascii_lowercase().ends_with(".toml");
    let lines = text.lines().count();
    let hidden = if native { native_private(text) } else { uci_private(file_name, text, lines) };
    let kept = |(line, hidden): (&str, bool)| if hidden { "\n".to_owned() } else { format!("{line}\n") };
    let text: String = text.lines().zip(hidden).map(kept).collect();
    let hide = &mut |privacy: Privacy, _: &str, value: &str| match privacy {
        // Of a name it may depend which sets there are.
        Privacy::Open | Privacy::Path | Privacy::Name | Privacy::Lines => value.to_owned(),
        Privacy::Remark | Privacy::Doubtful | Privacy::Secret => HIDDEN.to_owned(),
    };
    privacy::readable(file_name, &text, hide).unwrap_or(text)
}

/// For each line of UCI whether it is private: by whoever reads it, for UCI knows abbreviations, `;` and text over several lines.
fn uci_private(file_name: &str, text: &str, lines: usize) -> Vec<bool> {
    let (sections, _) = mwan_config::uci::parse(file_name, text.as_bytes());
    // From which line on it is private or not; what begins later on a line cannot make the beginning public.
    let mut turns: BTreeMap<usize, bool> = BTreeMap::new();
    let mut turn = |line: u32, private: bool| {
        *turns.entry((line as usize).saturating_sub(1)).or_default() |= private;
    };
    for section in &sections {
        let private = PRIVATE.contains(&section.kind.as_str());
        turn(section.line, private);
        for entry in &section.entries {
            turn(entry.line, private || entry.name == "comment");
        }
    }
    let mut private = false;
    let of = |(at, line): (usize, &str)| {
        private = turns.get(&at).copied().unwrap_or(private);
        private || line.trim_start().starts_with('#')
    };
    let mut hidden: Vec<bool> = text.lines().enumerate().map(of).collect();
    hidden.resize(lines, false);
    hidden
}

/// The same of `mwan.toml`. Before the first header keys may have dots, and say the same (`alert.x.url`); behind it only a header
/// begins another section.
fn native_private(text: &str) -> Vec<bool> {
    let (mut headers, mut private, mut comment) = (false, false, false);
    let mut of = |line: &str| {
        let words = line.trim_start();
        let header = words.starts_with('[');
        if let Some(kind) = native_kind(words).filter(|_| header || !headers) {
            (private, headers, comment) = (PRIVATE.contains(&kind), headers || header, false);
        }
        let key = native_key(words);
        comment = match key {
            Some(key) => key == "comment",
            // Goes on with the value.
            None => comment,
        };
        private || comment || words.starts_with('#')
    };
    text.lines().map(&mut of).collect()
}

/// The kind of section that `[KIND]`, `[[KIND]]`, `[KIND.NAME]`, `KIND.NAME.KEY =` or `KIND =` is of, if there is such a kind: what
/// a text of several lines has in brackets is none.
fn native_kind(words: &str) -> Option<&'static str> {
    let inside = words.trim_start_matches('[').trim_start();
    let kinds = mwan_config::SectionKind::ALL.into_iter().filter_map(mwan_config::SectionKind::native);
    let quoted = |kind: &str| ["", "\"", "'"].map(|quote| format!("{quote}{kind}{quote}"));
    kinds.into_iter().find(|kind| {
        let rest = quoted(kind).iter().find_map(|kind| inside.strip_prefix(kind.as_str()));
        rest.is_some_and(|rest| rest.trim_start().starts_with(['.', ']', '=']))
    })
}

/// The last part of the key of `KEY = VALUE`.
fn native_key(words: &str) -> Option<&str> {
    let (key, _) = words.split_once('=')?;
    let last = key.trim().rsplit('.').next()?.trim();
    let key = last.trim_matches(['\'', '"']);
    let bare = !key.is_empty() && key.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-".contains(&b));
    bare.then_some(key)
}

/// The same of one of IPFire's files, by its name below their root: secret values become as many zeros, which are values of the same
/// kind. Keys that are not known stay: IPFire's own are among them.
pub fn without_secret_values(name: &str, text: &str) -> String {
    let hide = &mut |privacy: Privacy, _: &str, value: &str| match privacy {
        Privacy::Secret | Privacy::Remark => "0".repeat(value.chars().count()),
        _ => value.to_owned(),
    };
    privacy::shown_hash(name, text.as_bytes(), hide)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn private_sections_and_comments_are_left_out_and_lines_keep_their_numbers() {
        let uci = "# secret1\nconfig interface 'wan'\n\toption down '3'\n\tlist comment 'secret2'\n\
            config alert 'a'\n\toption url 'https://h/secret3'\n\toption username \"secret4\"\nconfig 'web'\n\toption x 'secret5'\n\
            config policy 'p'\n\tlist use_member 'm'\n";
        let kept = without_secrets("/etc/config/mwan", uci);
        assert!(
            !kept.contains("secret") && kept.contains("down '3'") && kept.contains("use_member"),
            "{kept}"
        );
        assert_eq!(kept.lines().count(), uci.lines().count());
        let toml = "[wan.a]\ndown = 3\ncomment = \"secret1\"\n[alert.x]\ntemplate = '''\n[1, \"secret2\"]\nsecret3'''\n\
            [[rule]]\npolicy = \"p\"\n[web]\nkey = \"/secret4\"\n";
        let kept = without_secrets("mwan.toml", toml);
        assert!(!kept.contains("secret") && kept.contains("down = 3") && kept.contains("policy"), "{kept}");
        // However it is written: as UCI and TOML allow it.
        let odd = "c 'alert' a\n\to url 'https://h/secret1'\nconfig al\\ert b; option url secret2\nconfig alert c\n\toption template '{\n\
            config interface x\nsecret3'\n\toption url secret4\nconfig interface 'wan'\n\toption comment 'two\n\tsecret5'\n\toption up '7'\n\
            config rule r\n\toption use_policy p; option comment secret6\n";
        let kept = without_secrets("mwan3", odd);
        assert!(
            !kept.contains("secret") && kept.contains("up '7'") && kept.contains("config rule"),
            "{kept}"
        );
        assert_eq!(kept.lines().count(), odd.lines().count());
        let odd = "wan.a.device = 'eth0'\nalert.x.url = 'https://h/secret1'\nalert.y = {\n url = 'secret2' }\nwan.a.up = 7\n\
            wan.a.comment = \"\"\"x\nsecret3\"\"\"\nwan.a.down = 8\n['alert'.z]\nurl='secret4'\nwan.a.x = 'secret5'\n[ \"web\" ]\nkey='secret6'\n[wan.b]\nup = 9\n";
        let kept = without_secrets("x.TOML", odd);
        assert!(!kept.contains("secret"), "{kept}");
        assert!(["eth0", "up = 7", "down = 8", "up = 9"].iter().all(|word| kept.contains(word)), "{kept}");
        assert_eq!(kept.lines().count(), odd.lines().count());
        let tree = without_secret_values(
            "mwan/profiles/a",
            "BACKUP_PASSWORD='s3cret'\nINTERFACE_PIN=1234\nexport USERNAME=me\nBACKUP_APN=net # x\nOTHER=y\n",
        );
        assert_eq!(
            tree,
            "BACKUP_PASSWORD='000000'\nINTERFACE_PIN='0000'\n# (not shown)\nBACKUP_APN='net'\nOTHER='y'\n"
        );
        let tree = without_secret_values(
            "ppp/settings",
            "TYPE=PPPOE\nUSERNAME='me@isp'\nPASSWORD=\"s3cret\"\nPIN=1234\n# x\nTELEPHONE=*99#\n",
        );
        assert_eq!(
            tree,
            "TYPE='PPPOE'\nUSERNAME='000000'\nPASSWORD='000000'\nPIN='0000'\n#\nTELEPHONE='0000'\n"
        );
    }

    /// Beside private sections.
    #[test]
    fn what_nobody_knows_and_what_is_said_beside_a_value_is_left_out() {
        let uci = "config interface 'wan' # secret1\n\toption device 'eth0' # secret2\n\toption passwrod 'secret3'\n\toption x secret4 y\n\
            config globals 'g'\n\tlist dnsmasq_command '/bin/x'\n\tlist dnsmasq_command 'secret5'\nconfig other\n\toption x 'secret6'\n";
        let toml = "[wan.wan] # secret1\ndevice = 'eth0' # secret2\npasswrod = 'secret3'\n[global]\n\
            dnsmasq_command = ['/bin/x', 'secret5']\n[policy]\np = { comment = 'secret7' }\n[other]\nx = 'secret6'\n";
        for (name, text) in [("mwan3", uci), ("mwan.toml", toml)] {
            let kept = without_secrets(name, text);
            assert!(!kept.contains("secret") && kept.contains("eth0") && kept.contains("/bin/x"), "{kept}");
            assert_eq!(kept.lines().count(), text.lines().count(), "{kept}");
        }
    }
}
