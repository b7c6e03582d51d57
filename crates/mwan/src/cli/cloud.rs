//! `mwan cloud`: a cloud's multi-WAN document into the configuration, and back out.

use std::io::Read;
use std::path::Path;

use mwan_api::{ConfigPut, ConfigText, Diagnostic, Request};
use mwan_config::cloud::DOCUMENT_BYTES_MAX;

use super::args::CloudCommand;
use super::client::Answer;
use super::{Exit, Failure, client, difference, print, talk};

/// Runs a command.
pub(super) fn run(run_dir: &Path, command: CloudCommand) -> Result<Exit, Failure> {
    match command {
        CloudCommand::Apply { file, dry_run, partial } => apply(run_dir, &file, dry_run, partial),
        CloudCommand::Export => match client::ask(run_dir, &Request::Cloud)? {
            Answer::Cloud(cloud) => print(&cloud.document).map(|()| Exit::Ok),
            _ => Err(super::commands::unexpected()),
        },
    }
}

fn apply(run_dir: &Path, file: &Path, dry_run: bool, partial: bool) -> Result<Exit, Failure> {
    let (name, document) = read(file)?;
    let Answer::Config(before) = client::ask(run_dir, &Request::Config)? else {
        return Err(super::commands::unexpected());
    };
    // What is shown is what it was made from.
    let revision = dry_run.then(|| before.revision.clone());
    let request = Request::PutCloud { document, file: name.clone(), revision, dry_run, partial, by: None };
    let put = match client::ask(run_dir, &request)? {
        Answer::Put(put) => put,
        Answer::Refused { message, diagnostics } => {
            tell(&diagnostics);
            return Err(refused(&name, &message, &diagnostics));
        }
        Answer::Conflict => {
            return Err(Failure::says(format!("{} was changed meanwhile; nothing is written", before.file))
                .hint("try it again"));
        }
        _ => return Err(super::commands::unexpected()),
    };
    tell(&put.diagnostics);
    if dry_run { show(run_dir, &before, put) } else { Ok(done(&before, &put)) }
}

/// The whole document, as text.
fn read(file: &Path) -> Result<(String, String), Failure> {
    let name = file.to_string_lossy().into_owned();
    let cannot = |e| Failure::new(format!("cannot read the document {name}"), &e);
    let source: Box<dyn Read> = match name == "-" {
        true => Box::new(std::io::stdin().lock()),
        false => Box::new(std::fs::File::open(file).map_err(cannot)?),
    };
    let mut bytes = Vec::new();
    source.take(DOCUMENT_BYTES_MAX as u64 + 1).read_to_end(&mut bytes).map_err(cannot)?;
    let text = String::from_utf8(bytes)
        .map_err(|e| Failure::new(format!("the document {name} is not UTF-8 text"), &e.utf8_error()))?;
    Ok((name, text))
}

fn tell(diagnostics: &[Diagnostic]) {
    diagnostics.iter().for_each(|d| talk(&d.text));
}

/// What is wrong was told before, where it is a finding.
fn refused(name: &str, why: &str, diagnostics: &[Diagnostic]) -> Failure {
    let told = diagnostics.iter().any(|d| d.text == why);
    let message = if told { String::new() } else { format!(": {why}") };
    let failure = Failure::says(format!("the document {name} is not applied{message}"));
    match diagnostics.iter().filter(|d| d.severity == "error").count() {
        0 => failure,
        _ => failure.hint("mend it, or apply the rest of it with --partial"),
    }
}

fn done(before: &ConfigText, put: &ConfigPut) -> Exit {
    match (&put.waiting, put.changed) {
        (Some(why), _) => {
            talk(&format!("{} is written; the kernel does not have it yet: {why}", before.file));
            return Exit::Degraded;
        }
        (None, true) => talk(&format!("{} is written and in force", before.file)),
        (None, false) => talk(&format!("nothing to be done: {} says so already", before.file)),
    }
    Exit::Ok
}

/// What would change: in the file, and in the kernel.
fn show(run_dir: &Path, before: &ConfigText, put: ConfigPut) -> Result<Exit, Failure> {
    let text = put.text.unwrap_or_default();
    let changes = difference::of_sections(&before.text, &text);
    let changes = if changes.is_empty() { "# none\n" } else { &changes };
    super::apply::print_changes(run_dir, &before.file, changes, text)
}
