//! `mwan check`: what is wrong with configurations, and with the machine for them.

use std::path::{Path, PathBuf};

use clap::ValueEnum;
use mwan_config::{CodeDoc, Diagnostic, Loaded, Severity, codes};

use super::args::CheckArgs;
use super::{Exit, Failure, client, facts, print, sarif, talk};
use crate::daemon;
use crate::show::json;

/// How findings are printed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub(crate) enum CheckFormat {
    /// A line each.
    Text,
    /// `mwan.check.v1`.
    Json,
    /// SARIF 2.1.0, which code hosts and editors show beside the lines.
    Sarif,
}

/// Runs the command.
pub(super) fn run(run_dir: &Path, args: &CheckArgs) -> Result<Exit, Failure> {
    if let Some(code) = &args.explain {
        print(&explanation(code)?)?;
        return Ok(Exit::Ok);
    }
    let in_force = in_force(run_dir, args);
    let mut all = Vec::new();
    let mut exit = Exit::Ok;
    for file in &args.files {
        let (name, bytes) = daemon::read_config(file)?;
        let mut loaded = daemon::parse_config(&name, &bytes);
        let refusal = loaded.refusal(&[]);
        let mut lints = mwan_config::lint::lint(&loaded);
        if args.system || in_force.as_ref().is_some_and(|in_force| is_same(in_force, file)) {
            let (facts, blind) = facts::gather(run_dir, &loaded.config);
            lints.extend(mwan_config::lint::lint_system(&loaded.config, &facts));
            blind.iter().for_each(|what| talk(&format!("{name}: not looked at: {what}")));
        }
        loaded.add(lints);
        if args.format() == CheckFormat::Text {
            tell(&name, &loaded)?;
        }
        // The same question that a reload asks, beside a configuration without mistakes.
        if let Some(why) = refusal {
            if !loaded.has_errors() {
                talk(&format!("{name}: a running daemon would not take it over: {why}"));
            }
            exit = Exit::Failed;
        }
        all.append(&mut loaded.diagnostics);
    }
    match args.format() {
        CheckFormat::Text => {}
        CheckFormat::Json => print(&json(&mwan_api::CheckDocument {
            schema: mwan_api::SCHEMA_CHECK.to_owned(),
            diagnostics: daemon::diagnostics(&all),
        })?)?,
        CheckFormat::Sarif => print(&sarif::document(&all))?,
    }
    Ok(exit)
}

/// The findings of a file, and a summary.
fn tell(name: &str, loaded: &Loaded) -> Result<(), Failure> {
    let lines: String = loaded.diagnostics.iter().map(|d: &Diagnostic| format!("{d}\n")).collect();
    print(&lines)?;
    let count = |severity| loaded.diagnostics.iter().filter(|d| d.severity == severity).count();
    let config = &loaded.config;
    talk(&format!(
        "{name}: {} of {} interfaces enabled, {} policies, {} rules; {} errors, {} warnings",
        config.interfaces.iter().filter(|i| i.enabled).count(),
        config.interfaces.len(),
        config.policies.len(),
        config.rules.len(),
        count(Severity::Error),
        count(Severity::Warning),
    ));
    Ok(())
}

/// The file of the daemon that runs here, if somebody asks who may look at the machine. A file that is meant for another one
/// is not compared with this one, unless that is asked for.
fn in_force(run_dir: &Path, args: &CheckArgs) -> Option<PathBuf> {
    if args.no_system || args.system {
        return None;
    }
    let daemon = client::glimpse(run_dir)?.daemon;
    shares_network(daemon.pid).then_some(daemon.config)
}

/// Whether a process has the network that we see.
fn shares_network(pid: u32) -> bool {
    let of = |process: &str| std::fs::read_link(format!("/proc/{process}/ns/net")).ok();
    of("self").is_some_and(|ours| of(&pid.to_string()) == Some(ours))
}

fn is_same(a: &Path, b: &Path) -> bool {
    let real = |path: &Path| path.canonicalize().ok();
    real(a).is_some_and(|a| real(b) == Some(a))
}

/// What a code means, and what to do about it.
fn explanation(code: &str) -> Result<String, Failure> {
    let wanted = code.to_ascii_uppercase();
    let doc: CodeDoc = codes().find(|doc| doc.code == wanted).ok_or_else(|| {
        Failure::says(format!("there is no code '{}'", code.escape_debug()))
            .hint("codes are those in brackets, as in warning[W0720]; docs/diagnostics.md has all")
    })?;
    let fix = if doc.fix.is_empty() { String::new() } else { format!("\nFix: {}\n", doc.fix) };
    Ok(format!("{} ({}): {}\n\n{}\n{fix}", doc.code, doc.severity().name(), doc.title, doc.explanation))
}
