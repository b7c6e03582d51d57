//! The configuration model of mwan and the formats that are read into it.
//!
//! Pure: text in, [`Config`] and [`Diagnostic`]s out. No file, no clock, no environment, no DNS.
//! Nothing here panics on any input, and nothing is dropped without a diagnostic.

mod acceptance;
pub mod address;
mod alert;
mod assign;
pub mod cloud;
mod codes;
mod compat;
mod diagnostic;
pub mod docs;
mod drill;
mod fields;
mod interface;
pub mod ipfire;
pub mod link;
pub mod lint;
pub mod migrate;
mod mode;
mod model;
mod mwan3;
mod names;
mod native;
mod options;
mod policy;
pub mod privacy;
mod report;
mod rule;
mod sets;
mod small;
mod suggest;
mod tables;
mod target;
mod trust;
pub mod uci;
mod values;
mod web;

pub use alert::{TEMPLATE_PLACEHOLDERS, next_placeholder};
pub use assign::{Assignment, Unassignable, parse_assigned};
pub use codes::{CodeDoc, codes};
pub use diagnostic::{Diagnostic, Severity};
pub use interface::loglevel_name;
pub use model::*;
pub use options::{Dialect, OptionDoc, SectionKind, options};
pub use sets::{SET_FILE_BYTES_MAX, SetLoad, nft_identifier};
pub use small::{Gather, sort_short, sort_short_by};
pub use suggest::nearest;
pub use tables::{TABLE_FILE_BYTES_MAX, TableNames};
pub use target::{DnsKind, DnsProbe, HttpProbe, ProbeMethod, ProbeTarget};
pub use trust::SECRETS;
pub use values::protocol_number;

/// What a file holds and what is wrong with it.
#[derive(Clone, PartialEq, Debug)]
pub struct Loaded {
    /// Everything that is valid.
    pub config: Config,
    /// Everything else, sorted by line.
    pub diagnostics: Vec<Diagnostic>,
    /// Member sections that no policy uses, which the configuration therefore does not have: name and place.
    pub unused_members: Vec<(String, Location)>,
}

impl Loaded {
    /// Adds what the files of sets (`loadfile`) hold. `read` gives the content of a file, or says why it cannot be had;
    /// it need not read more than [`SET_FILE_BYTES_MAX`].
    pub fn load_set_files(&mut self, read: &dyn Fn(&str) -> Result<Vec<u8>, String>) {
        self.load_sets(|sets| sets.iter_mut().for_each(|set| set.load(read)));
    }

    /// The same, done by the caller: [`SetLoad::load`] for each, in any order or side by side.
    pub fn load_sets(&mut self, load: impl FnOnce(&mut [SetLoad])) {
        let file = self.diagnostics.first().map(|d| d.location.file.clone());
        let file = file.or_else(|| self.config.sets.first().map(|set| set.location.file.clone()));
        let mut report = report::Report::new(file.as_deref().unwrap_or_default());
        sets::load_all(&mut self.config, &mut report, load);
        self.add(report.sorted());
    }

    /// Adds findings and sorts all by line.
    pub fn add(&mut self, diagnostics: Vec<Diagnostic>) {
        self.diagnostics.extend(diagnostics);
        report::sort(&mut self.diagnostics);
    }

    /// Whether something was left out; `mwan check` fails then.
    pub fn has_errors(&self) -> bool {
        self.diagnostics.iter().any(|d| d.severity == Severity::Error)
    }
}

/// Reads a configuration: `mwan.toml`'s format if `file_name` ends in `.toml`, else UCI.
pub fn parse(file_name: &str, bytes: &[u8]) -> Loaded {
    parse_with(file_name, bytes, &TableNames::default)
}

/// The same on a machine where routing tables have these names; they are asked for only where the file uses names.
pub fn parse_with(file_name: &str, bytes: &[u8], tables: &dyn Fn() -> TableNames) -> Loaded {
    parse_edited(file_name, bytes, tables, &mut assign::unchanged)
}

fn dialect_of(file_name: &str) -> Dialect {
    if file_name.to_ascii_lowercase().ends_with(".toml") { Dialect::Native } else { Dialect::Uci }
}

/// The same, after something was done with the sections.
fn parse_edited(
    file_name: &str,
    bytes: &[u8],
    tables: &dyn Fn() -> TableNames,
    edit: assign::Edit<'_>,
) -> Loaded {
    let dialect = dialect_of(file_name);
    let read = match dialect {
        Dialect::Native => native::parse_edited(file_name, bytes, edit),
        Dialect::Uci => mwan3::parse_edited(file_name, bytes, edit),
    };
    loaded(read, dialect, tables)
}

/// Reads `/etc/config/mwan3`, `mwan4` or `mwan`.
pub fn parse_uci(file_name: &str, bytes: &[u8]) -> Loaded {
    loaded(mwan3::parse(file_name, bytes), Dialect::Uci, &TableNames::default)
}

/// Reads IPFire's files.
pub fn parse_ipfire(files: &ipfire::Files) -> Loaded {
    let (config, diagnostics) = ipfire::parse(files);
    Loaded { config, diagnostics, unused_members: Vec::new() }
}

/// Reads `mwan.toml`.
pub fn parse_toml(file_name: &str, bytes: &[u8]) -> Loaded {
    loaded(native::parse(file_name, bytes), Dialect::Native, &TableNames::default)
}

/// A file in which nothing can be read and much is wrong is something else: that is said once.
fn loaded(
    (mut config, mut report): (Config, report::Report),
    dialect: Dialect,
    names: &dyn Fn() -> TableNames,
) -> Loaded {
    tables::resolve(&mut config, &mut report, dialect, names);
    mode::check(&config, dialect, &mut report);
    interface::check_devices(&config.interfaces, dialect, &mut report);
    sets::check_rules(&mut config, &mut report);
    sets::check_domains(&config, dialect, &mut report);
    if config.interfaces.is_empty() && config.policies.is_empty() && config.rules.is_empty() {
        report.give_up();
    }
    let unused_members = std::mem::take(&mut report.unused_members);
    Loaded { config, diagnostics: report.finish(), unused_members }
}
