//! Names of routing tables: `rt_table_lookup` may give one that `/etc/iproute2/rt_tables` defines. The files are read by
//! others and handed in as data.

use std::collections::BTreeMap;

use crate::codes;
use crate::model::Config;
use crate::options::Dialect;
use crate::report::{Place, Problem, Report, show};

/// Largest file of names read, bytes.
pub const TABLE_FILE_BYTES_MAX: u64 = 1 << 20;
/// Names that are kept; iproute2's own files have a dozen.
const NAMES_MAX: usize = 10_000;
/// Longest name.
const NAME_BYTES_MAX: usize = 64;

/// What routing tables are called on this machine.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct TableNames {
    names: BTreeMap<String, u32>,
}

impl TableNames {
    /// Adds what a file says: a number and a name per line, `#` begins a comment. What is known already stays. Lines that
    /// say something else are none of ours and skipped, as `ip` skips them.
    pub fn add_file(&mut self, bytes: &[u8]) {
        for line in bytes.split(|b| *b == b'\n') {
            let Ok(line) = std::str::from_utf8(line) else { continue };
            let mut words = line.split('#').next().unwrap_or_default().split_ascii_whitespace();
            let (Some(number), Some(name)) = (words.next(), words.next()) else { continue };
            let Some(number) = number_of(number).filter(|_| is_name(name)) else { continue };
            if self.names.len() < NAMES_MAX {
                self.names.entry(name.to_owned()).or_insert(number);
            }
        }
    }

    /// The number of a table.
    pub fn get(&self, name: &str) -> Option<u32> {
        self.names.get(name).copied()
    }
}

/// A number as iproute2 reads it (`rtnl_tab_initialize`: decimal, or hexadecimal with `0x`).
fn number_of(text: &str) -> Option<u32> {
    let number = match text.strip_prefix("0x") {
        Some(digits) => u32::from_str_radix(digits, 16),
        None => text.parse(),
    };
    number.ok().filter(|number| *number > 0)
}

/// Whether this can be the name of a table; what begins like a number is meant as one.
pub(crate) fn is_name(text: &str) -> bool {
    let first = text.bytes().next().is_some_and(|b| b.is_ascii_alphabetic() || b == b'_');
    first
        && text.len() <= NAME_BYTES_MAX
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-+".contains(&b))
}

/// Adds the tables that are given by name; an unknown name is reported and left out.
pub(crate) fn resolve(
    config: &mut Config,
    report: &mut Report,
    dialect: Dialect,
    names: &dyn Fn() -> TableNames,
) {
    let globals = &mut config.globals;
    if globals.rt_table_names.is_empty() {
        return;
    }
    let names = names();
    let (section, option) = match dialect {
        Dialect::Uci => ("globals 'globals'", "rt_table_lookup"),
        Dialect::Native => ("global", "tables"),
    };
    for named in &globals.rt_table_names {
        match names.get(&named.name) {
            Some(number) if globals.rt_table_lookup.contains(&number) => {}
            Some(number) => globals.rt_table_lookup.push(number),
            None => {
                let message = format!("{} is not a routing table; it is ignored", show(&named.name));
                let hint = "use its number, or give it this name in /etc/iproute2/rt_tables";
                let place = Place { line: named.line, section, option: Some(option) };
                report.add(place, Problem::new(codes::TABLE, message).hint(hint));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const FILE: &[u8] =
        b"#\n# reserved values\n#\n255\tlocal\n254 main\n0\tunspec\n\n200 vpn # ours\n0x12c  lab.net\n\
        x broken\n77\n4294967296 big\n201 vpn\n202 9lives\n\xff\xfe bad\n203 last";

    fn names() -> TableNames {
        let mut names = TableNames::default();
        names.add_file(FILE);
        names.add_file(b"300 last\n301 other");
        names
    }

    #[test]
    fn the_files_of_names_are_read_as_ip_reads_them() {
        let names = names();
        let of = |name| names.get(name);
        assert_eq!(
            (of("vpn"), of("lab.net"), of("last"), of("other")),
            (Some(200), Some(300), Some(203), Some(301))
        );
        assert_eq!((of("unspec"), of("broken"), of("big"), of("9lives")), (None, None, None, None));
        let mut many = TableNames::default();
        let flood: String = (1..20_000).map(|n| format!("{n} t{n}\n")).collect();
        many.add_file(flood.as_bytes());
        assert_eq!((many.get("t10000"), many.get("t10001")), (Some(10_000), None));
    }

    #[test]
    fn tables_have_numbers_and_names_and_an_unknown_one_costs_only_itself() {
        let text = "config globals 'globals'\n\tlist rt_table_lookup 'vpn'\n\tlist rt_table_lookup '7 main'\n\
            \tlist rt_table_lookup 'nosuch 200'\nconfig interface 'wan'\n\toption enabled '1'\n";
        let loaded = crate::parse_with("f", text.as_bytes(), &names);
        assert_eq!(loaded.config.globals.rt_table_lookup, [7, 254, 200]);
        let found: Vec<_> = loaded.diagnostics.iter().filter(|d| d.code == codes::TABLE).collect();
        assert_eq!(found.len(), 1, "{found:?}");
        let text = found[0].to_string();
        assert!(
            text.starts_with("f:4: error[E0411]: globals 'globals', option 'rt_table_lookup': 'nosuch'"),
            "{text}"
        );
        assert!(text.contains("hint:"), "{text}");
        let native = "[global]\ntables = [7, \"vpn\"]\n[wan.a]\n";
        let loaded = crate::parse_with("f.toml", native.as_bytes(), &names);
        assert_eq!(loaded.config.globals.rt_table_lookup, [7, 200], "{:?}", loaded.diagnostics);
    }
}
