//! What is right by itself and yet not what the owner can have meant: findings of `mwan check` beyond those of reading.
//!
//! They are warnings and notes. Nothing is ever left out because of them, and a daemon does not look for them: reading a
//! configuration again takes no longer. Only what is certain is said, so that a finding is worth a look.

mod facts;
mod policies;
mod rules;
mod shadow;
mod spans;
mod system;
mod tracking;

pub use facts::{
    Device, Facts, Flowtable, ForeignMark, ForeignRule, KNOWN_PROGRAMS, KnownProgram, Program, Translation,
};

use crate::Loaded;
use crate::codes;
use crate::diagnostic::Diagnostic;
use crate::model::{Config, Interface, Location, Policy, Rule, Target};
use crate::mwan3::interface_label;
use crate::options::{Dialect, SectionKind, options_of};
use crate::report::{DIAGNOSTICS_MAX, Problem, show, sort};

/// Findings in a configuration by itself, sorted by line.
pub fn lint(loaded: &Loaded) -> Vec<Diagnostic> {
    let config = &loaded.config;
    let mut lints = Lints::new(config);
    if config.globals.enabled {
        // With a mistake in a section it is not known what that would use.
        if !loaded.has_errors() {
            lints.orphans(loaded);
            policies::orphans(config, &mut lints);
        }
        policies::judge(config, &mut lints);
        tracking::judge(config, &mut lints);
        rules::judge(config, &mut lints);
    }
    lints.sorted()
}

/// Findings about a configuration on the machine of which `facts` are, sorted by line.
pub fn lint_system(config: &Config, facts: &Facts) -> Vec<Diagnostic> {
    let mut lints = Lints::new(config);
    if config.globals.enabled {
        system::judge(config, facts, &mut lints);
    }
    lints.sorted()
}

/// Collects findings.
struct Lints {
    dialect: Dialect,
    found: Vec<Diagnostic>,
}

impl Lints {
    fn new(config: &Config) -> Self {
        let toml = config
            .interfaces
            .first()
            .is_some_and(|i| i.location.file.to_ascii_lowercase().ends_with(".toml"));
        Lints { dialect: if toml { Dialect::Native } else { Dialect::Uci }, found: Vec::new() }
    }

    fn add(&mut self, location: &Location, section: String, option: Option<&str>, problem: Problem) {
        self.found.push(Diagnostic {
            severity: codes::severity(problem.code),
            code: problem.code,
            location: location.clone(),
            section,
            option: option.map(str::to_owned),
            message: problem.message,
            hint: problem.hint,
        });
    }

    /// `option` by its name in UCI files.
    fn interface(&mut self, interface: &Interface, option: Option<&str>, problem: Problem) {
        let option = option.map(|key| self.option(SectionKind::Interface, key));
        self.add(&interface.location, interface_label(self.dialect, &interface.name), option, problem);
    }

    fn policy(&mut self, policy: &Policy, problem: Problem) {
        let label = self.label("policy", &policy.name);
        self.add(&policy.location, label, None, problem);
    }

    /// The same.
    fn rule(&mut self, rule: &Rule, option: Option<&str>, problem: Problem) {
        let option = option.map(|key| self.option(SectionKind::Rule, key));
        self.add(&rule.location, format!("rule {}", show(&rule.name)), option, problem);
    }

    /// How an option is called here.
    fn option<'a>(&self, kind: SectionKind, key: &'a str) -> &'a str {
        let doc = options_of(kind).find(|doc| doc.key() == key);
        doc.and_then(|doc| doc.names(self.dialect).next()).unwrap_or(key)
    }

    /// How messages call a section of this name.
    fn label(&self, kind: &str, name: &str) -> String {
        match self.dialect {
            Dialect::Uci => format!("{kind} {}", show(name)),
            Dialect::Native => format!("{kind}.{name}"),
        }
    }

    fn sorted(mut self) -> Vec<Diagnostic> {
        self.found.truncate(DIAGNOSTICS_MAX);
        sort(&mut self.found);
        self.found
    }

    /// What is defined and never used.
    fn orphans(&mut self, loaded: &Loaded) {
        let config = &loaded.config;
        for (name, location) in &loaded.unused_members {
            let label = self.label("member", name);
            let problem = Problem::new(codes::MEMBER_UNUSED, "no policy uses it");
            self.add(location, label, None, problem);
        }
        if config.rules.is_empty() {
            return;
        }
        for policy in config.policies.iter().filter(|p| !is_used(config, p)) {
            self.policy(policy, Problem::new(codes::POLICY_UNUSED, "no rule uses it"));
        }
        for set in config.sets.iter() {
            let names =
                |r: &Rule| [&r.source_set, &r.destination_set].iter().any(|s| s.as_ref() == Some(&set.name));
            if !config.rules.iter().any(names) {
                let kind = if self.dialect == Dialect::Uci { "ipset" } else { "set" };
                let label = self.label(kind, &set.name);
                self.add(&set.location, label, None, Problem::new(codes::SET_UNUSED, "no rule uses it"));
            }
        }
    }
}

/// Whether a rule leads to the policy.
fn is_used(config: &Config, policy: &Policy) -> bool {
    config.rules.iter().any(|rule| matches!(&rule.target, Target::Policy(name) if *name == policy.name))
}

/// The interfaces that take part.
fn enabled(config: &Config) -> impl Iterator<Item = &Interface> {
    config.interfaces.iter().filter(|i| i.enabled)
}

/// `'a', 'b' and 2 more`.
fn list(names: &[String]) -> String {
    const SHOWN: usize = 3;
    let shown: Vec<String> = names.iter().take(SHOWN).map(|n| show(n)).collect();
    let more = names.len().saturating_sub(SHOWN);
    match shown.split_last() {
        _ if more > 0 => format!("{} and {more} more", shown.join(", ")),
        Some((last, rest)) if !rest.is_empty() => format!("{} and {last}", rest.join(", ")),
        _ => shown.concat(),
    }
}
