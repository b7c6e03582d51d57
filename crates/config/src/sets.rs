//! Named sets of addresses: their sections, the files they load, and the rules that use them.

use crate::small::Gather;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use crate::codes;
use crate::fields::Fields;
use crate::model::{AddressRange, Config, Families, Family, Location, NamedSet, SetLayout};
use crate::names::Names;
use crate::options::Dialect;
use crate::report::{Place, Problem, Report, show};
use crate::rule::SET_NAME_BYTES_MAX;
use crate::values;

/// Ranges one set may have: some 50 MiB in the kernel, and loaded in well under a second.
pub(crate) const ENTRIES_MAX: usize = 262_144;
/// Largest file of a set, bytes: [`ENTRIES_MAX`] lines of IPv6 prefixes.
pub const SET_FILE_BYTES_MAX: u64 = 16 << 20;
/// Bad lines of one file that are reported; the rest is counted.
const BAD_LINES_SHOWN_MAX: usize = 5;
/// Longest domain name (RFC 1035, 2.3.4).
const DOMAIN_BYTES_MAX: usize = 253;
/// Domains of one set.
const DOMAINS_MAX: usize = 10_000;

/// Reads one `config ipset` section; `None` if it is left out.
pub(crate) fn read_set(fields: &mut Fields<'_>, name: &str, location: Location) -> Option<NamedSet> {
    if fields.damaged {
        return None;
    }
    for ignored in ["comment", "maxelem", "hashsize", "storage"] {
        if let (Some(item), true) = (fields.items(ignored).first(), ignored != "comment") {
            fields.add(ignored, item.line, Problem::new(codes::OBSOLETE, "has no effect"));
        }
    }
    let given = fields.must("name", |t| values::foreign_name(t, SET_NAME_BYTES_MAX));
    let enabled = fields.bool("enabled", true);
    let mut families = fields.families("family", true);
    for item in fields.pieces("match") {
        let word = item.text.trim_start_matches("src_").trim_start_matches("dest_");
        if !["ip", "net"].contains(&word) {
            let message = format!("{} is not ip or net; the set is left out", show(&item.text));
            fields.add("match", item.line, Problem::new(codes::WORD, message));
            fields.left_out = true;
        }
    }
    let mut entries = Vec::new();
    for item in fields.pieces("entry") {
        match values::address_range(&item.text) {
            Ok(range) => entries.push(range),
            Err(mut problem) => {
                problem.message.push_str("; it is not in the set");
                fields.add("entry", item.line, problem);
            }
        }
    }
    let file = fields.one("loadfile").map(|item| item.text);
    let domains = read_domains(fields);
    let timeout = read_timeout(fields);
    let counters = fields.bool("counters", false);
    let name = given.unwrap_or_else(|| name.to_owned());
    if let Err(problem) = values::foreign_name(&name, SET_NAME_BYTES_MAX) {
        fields.refuse(Problem { message: format!("{}; the set is left out", problem.message), ..problem });
    }
    if fields.left_out || !enabled {
        return None;
    }
    Some(NamedSet {
        name,
        families: families.take().unwrap_or(Families::ALL),
        entries: Arc::new(entries),
        file,
        domains: Arc::new(domains),
        timeout,
        counters,
        layout: SetLayout::default(),
        location,
    })
}

/// Whole seconds, as dnsmasq's elements have them.
fn read_timeout(fields: &mut Fields<'_>) -> Option<Duration> {
    let line = fields.items("timeout").last()?.line;
    let timeout = fields.get("timeout", values::time)?;
    let whole = Duration::from_secs(timeout.as_secs() + u64::from(timeout.subsec_nanos() > 0));
    if whole != timeout {
        let message = format!("{} s is used: it is counted in whole seconds", whole.as_secs());
        fields.add("timeout", line, Problem::new(codes::SET_SECONDS, message));
    }
    Some(whole)
}

fn read_domains(fields: &mut Fields<'_>) -> Vec<String> {
    let mut domains = Vec::new();
    for item in fields.pieces("domain") {
        let name = item.text.trim_start_matches("*.").trim_matches('.');
        let good = (1..=DOMAIN_BYTES_MAX).contains(&name.len())
            && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b));
        if good && domains.len() < DOMAINS_MAX {
            domains.push(name.to_ascii_lowercase());
            continue;
        }
        let message = match good {
            true => format!("more than {DOMAINS_MAX} domains; {} is left out", show(&item.text)),
            false => format!("{} is not a domain name; it is left out", show(&item.text)),
        };
        fields.add("domain", item.line, Problem::new(codes::DOMAIN, message));
    }
    domains
}

/// Keeps a set unless one of its name is there already.
pub(crate) fn keep(report: &mut Report, config: &mut Config, names: &mut Names, label: &str, set: NamedSet) {
    let line = set.location.line;
    if names.contains(&set.name) {
        let message = format!("there is a set {} already; this one is left out", show(&set.name));
        let place = Place { line, section: label, option: None };
        report.add(place, Problem::new(codes::DUPLICATE, message).hint("rename one of them"));
        return;
    }
    names.keep(&set.name, line);
    Arc::make_mut(&mut config.sets).push(set);
}

/// A name as part of an nft identifier: letters, digits, `_`; everything else as `-HEX-`, so that different names stay
/// different.
pub fn nft_identifier(name: &str) -> String {
    let mut out = String::with_capacity(name.len());
    for c in name.chars() {
        if c.is_ascii_alphanumeric() || c == '_' {
            out.push(c);
        } else {
            out.push_str(&format!("-{:x}-", u32::from(c)));
        }
    }
    out
}

/// Makes the sets that rules name and nobody defines, empty, for others to fill: mwan3 does the same, and its users let
/// dnsmasq fill them.
fn add_undefined(config: &mut Config, report: &mut Report) {
    let mut names = Names::default();
    config.sets.iter().for_each(|set| names.keep(&set.name, set.location.line));
    let mut added: Vec<NamedSet> = Vec::new();
    for rule in &config.rules {
        for set in [&rule.destination_set, &rule.source_set].into_iter().flatten() {
            if names.contains(set) || added.iter().any(|a| a.name == *set) {
                continue;
            }
            let label = format!("rule {}", show(&rule.name));
            let place = Place { line: rule.location.line, section: &label, option: None };
            let [v4, v6] = [4, 6].map(|digit| format!("set.{}.{digit}", nft_identifier(set)));
            let made = format!("it is made, empty, as {v4} and {v6} in the nftables table inet mwan");
            let problem = names.unknown(codes::UNKNOWN_SET, "set", set, &made, std::iter::empty());
            let typo = problem.hint.filter(|hint| hint.starts_with("did you mean"));
            let fill = format!("let dnsmasq fill it: nftset=/DOMAIN/4#inet#mwan#{v4},6#inet#mwan#{v6}");
            let fill = match typo {
                Some(typo) => format!("{typo} Else {fill}"),
                None => format!("{fill}; or define it: config ipset {}", show(set)),
            };
            report.add(place, Problem::new(codes::UNKNOWN_SET, problem.message).hint(fill));
            added.push(foreign(set, rule.location.clone()));
        }
    }
    if !added.is_empty() {
        Arc::make_mut(&mut config.sets).extend(added);
    }
}

/// A set that others fill.
fn foreign(name: &str, location: Location) -> NamedSet {
    NamedSet {
        name: name.to_owned(),
        families: Families::ALL,
        entries: Arc::default(),
        file: None,
        domains: Arc::default(),
        timeout: None,
        counters: false,
        layout: SetLayout::default(),
        location,
    }
}

/// Makes the sets nobody defines, and limits rules to the families their sets have.
pub(crate) fn check_rules(config: &mut Config, report: &mut Report) {
    add_undefined(config, report);
    let families: BTreeMap<&str, Families> =
        config.sets.iter().map(|set| (set.name.as_str(), set.families)).gather();
    config.rules.retain_mut(|rule| {
        let label = format!("rule {}", show(&rule.name));
        let place = Place { line: rule.location.line, section: &label, option: None };
        for set in [&rule.destination_set, &rule.source_set].into_iter().flatten() {
            let Some(of_set) = families.get(set.as_str()) else { continue };
            rule.families.v4 &= of_set.v4;
            rule.families.v6 &= of_set.v6;
        }
        if !rule.families.v4 && !rule.families.v6 {
            let message = "its set has no addresses of its family; the rule is left out";
            report.add(place, Problem::new(codes::FAMILY, message));
        }
        rule.families.v4 || rule.families.v6
    });
}

/// Says which sets have domains that no resolver is told of.
pub(crate) fn check_domains(config: &Config, dialect: Dialect, report: &mut Report) {
    if config.globals.dnsmasq_file.is_some() {
        return;
    }
    if let Some(set) = config.sets.iter().find(|set| !set.domains.is_empty()) {
        let label = match dialect {
            Dialect::Uci => format!("ipset {}", show(&set.name)),
            Dialect::Native => format!("set.{}", set.name),
        };
        let place = Place { line: set.location.line, section: &label, option: Some("domain") };
        let problem = Problem::new(codes::NO_RESOLVER, "no resolver is told of the domains of this set");
        report
            .add(place, problem.hint("set dnsmasq_file in the global section to a file that dnsmasq reads"));
    }
}

/// A set whose file is to be read. None depends on another.
#[derive(Debug)]
pub struct SetLoad {
    set: NamedSet,
    problems: Vec<Problem>,
}

impl SetLoad {
    /// Adds what its file holds, if it has one. `read` gives a file's content, or says why it cannot be had.
    pub fn load(&mut self, read: &dyn Fn(&str) -> Result<Vec<u8>, String>) {
        let Some(file) = self.set.file.clone() else { return };
        let mut entries = self.set.entries.to_vec();
        match read(&file).and_then(|bytes| self.add(&file, &bytes, &mut entries)) {
            Ok(()) => self.set.entries = Arc::new(entries),
            Err(why) => {
                let message = format!("{}: {why}; nothing of it is in the set", show(&file));
                self.problems.push(Problem::new(codes::SET_FILE, message));
            }
        }
    }

    /// The set.
    pub fn set(&mut self) -> &mut NamedSet {
        &mut self.set
    }

    /// One address, prefix or range per line; `#` and `;` begin comments.
    fn add(&mut self, file: &str, bytes: &[u8], entries: &mut Vec<AddressRange>) -> Result<(), String> {
        let lines = bytes.split(|b| *b == b'\n');
        if lines.clone().take(ENTRIES_MAX + 2).count() > ENTRIES_MAX + 1 {
            return Err(format!("more than {ENTRIES_MAX} lines"));
        }
        let mut bad = 0;
        for (number, line) in (1..).zip(lines) {
            // By bytes: a list of 100,000 lines is most of a start.
            let end = line.iter().position(|byte| matches!(byte, b'#' | b';')).unwrap_or(line.len());
            let text = String::from_utf8_lossy(line[..end].trim_ascii());
            let text = text.trim();
            if text.is_empty() {
                continue;
            }
            match values::address_range(text) {
                Ok(range) if self.set.families.contains(Family::of(range.first)) => entries.push(range),
                Ok(_) => {}
                Err(problem) => {
                    bad += 1;
                    if bad <= BAD_LINES_SHOWN_MAX {
                        let message =
                            format!("{}, line {number}: {}; it is skipped", show(file), problem.message);
                        self.problems.push(Problem::new(codes::SET_LINE, message));
                    }
                }
            }
        }
        if bad > BAD_LINES_SHOWN_MAX {
            let message = format!("{}: {bad} lines are skipped, of which the first are shown", show(file));
            self.problems.push(Problem::new(codes::SET_LINE, message));
        }
        Ok(())
    }
}

/// Has every set loaded by `load`, and says in their order what is wrong.
pub(crate) fn load_all(config: &mut Config, report: &mut Report, load: impl FnOnce(&mut [SetLoad])) {
    let sets = std::mem::take(Arc::make_mut(&mut config.sets));
    let mut loads: Vec<SetLoad> = sets.into_iter().map(|set| SetLoad { set, problems: Vec::new() }).collect();
    load(&mut loads);
    for SetLoad { set, problems } in loads {
        let label = format!("ipset {}", show(&set.name));
        let place = Place { line: set.location.line, section: &label, option: Some("loadfile") };
        problems.into_iter().for_each(|problem| report.add(place, problem));
        Arc::make_mut(&mut config.sets).push(set);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const CONFIG: &str = "config interface 'wan'\n\toption enabled '1'\nconfig ipset 'big'\n\toption loadfile '/f'\n\
        \tlist entry '192.0.2.1'\nconfig rule 'r'\n\toption ipset 'big'\n\toption use_policy 'default'\n";

    fn loaded(content: Result<Vec<u8>, String>) -> (usize, Vec<String>) {
        let mut loaded = crate::parse_uci("f", CONFIG.as_bytes());
        loaded.load_set_files(&|_| content.clone());
        let found = loaded.diagnostics.iter().filter(|d| d.section.starts_with("ipset"));
        assert_eq!(loaded.config.rules.len(), 1, "the rule stays");
        (loaded.config.sets[0].entries.len(), found.map(ToString::to_string).collect())
    }

    #[test]
    fn a_timeout_is_rounded_up_to_whole_seconds_and_that_is_said() {
        for (text, seconds, codes) in
            [("2", 2, vec![]), ("1.5", 2, vec!["W0716"]), ("200ms", 1, vec!["W0716"])]
        {
            let text = format!("config ipset 's'\n option timeout '{text}'\n");
            let loaded = crate::parse_uci("f", text.as_bytes());
            assert_eq!(loaded.config.sets[0].timeout, Some(Duration::from_secs(seconds)));
            let found: Vec<_> = loaded.diagnostics.iter().map(|d| d.code).collect();
            assert_eq!(found, codes, "{text}");
        }
    }

    #[test]
    fn what_is_wrong_with_a_file_is_said_and_the_rest_is_kept() {
        let (entries, found) =
            loaded(Ok(b"10.0.0.0/8 # x\n\n; y\n2001:db8::/32\r\nnonsense\n1.2.3.4-1.2.3.9".to_vec()));
        assert_eq!((entries, found.len()), (4, 1), "{found:?}");
        assert!(found[0].contains("W0713") && found[0].contains("line 5"), "{found:?}");
        let (entries, found) = loaded(Err("No such file".into()));
        assert_eq!((entries, found.len()), (1, 1));
        assert!(found[0].contains("E0712") && found[0].contains("No such file"), "{found:?}");
        let (entries, found) = loaded(Ok(b"10.0.0.1\n".repeat(1_000_000)));
        assert_eq!((entries, found.len()), (1, 1), "{found:?}");
        let (entries, found) = loaded(Ok(vec![0xff; 4096]));
        assert_eq!((entries, found.len()), (1, 1), "{found:?}");
        let (entries, found) = loaded(Ok(b"bad\n".repeat(1000)));
        assert_eq!((entries, found.len()), (1, BAD_LINES_SHOWN_MAX + 1), "{found:?}");
    }
}
