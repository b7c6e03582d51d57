//! The command line: words in, exit code out.
//!
//! Data goes to standard output, talk to standard error. A reader that goes away ends the program quietly.

#[cfg(feature = "alerts")]
mod alerts;
mod apply;
mod args;
mod check;
mod client;
mod cloud;
mod commands;
mod compat;
mod difference;
mod drill;
mod events;
mod explain;
mod facts;
mod history;
#[cfg(feature = "ipfire")]
mod ipfire;
mod launch;
#[cfg(feature = "record")]
mod record;
#[cfg(feature = "ipfire")]
mod red;
#[cfg(all(test, feature = "alerts", feature = "ipfire", feature = "tui", feature = "web"))]
mod reference;
mod sarif;

use std::io::Write;
use std::process::ExitCode;

use clap::Parser;

#[cfg(feature = "web")]
pub(crate) use args::{AccountCommand, WebCommand};
pub(crate) use args::{BusArgs, DaemonArgs, LogFormat, LogLevel, LogTo, SupportArgs};
#[cfg(feature = "tui")]
pub(crate) use client::ask_at_length;
pub(crate) use events::utc;

/// Exit codes; `mwan help` lists them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Exit {
    /// Done.
    Ok = 0,
    /// Not done.
    Failed = 1,
    /// Done, but something is not as it should be.
    Degraded = 3,
}

impl Exit {
    /// By its number; one of another version is no success.
    fn of(code: u8) -> Exit {
        [Exit::Ok, Exit::Degraded].into_iter().find(|exit| *exit as u8 == code).unwrap_or(Exit::Failed)
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        ExitCode::from(exit as u8)
    }
}

/// Something went wrong: one line, and what to do about it. What is printed, once.
#[derive(Debug)]
pub(crate) struct Failure {
    message: String,
    hint: Option<String>,
}

impl Failure {
    /// A failure with a chain of causes.
    pub(crate) fn new(context: impl Into<String>, error: &(dyn std::error::Error + 'static)) -> Self {
        let mut message = context.into();
        let mut cause = Some(error);
        let mut denied = false;
        while let Some(error) = cause {
            if !message.is_empty() {
                message.push_str(": ");
            }
            message.push_str(&error.to_string());
            denied |= is_denied(error);
            cause = error.source();
        }
        Failure { message, hint: denied.then(|| DENIED.to_owned()) }
    }

    /// A failure in words.
    pub(crate) fn says(message: impl Into<String>) -> Self {
        Failure { message: message.into(), hint: None }
    }

    /// A failure that somebody else has put in words.
    pub(crate) fn with(message: String, hint: Option<String>) -> Self {
        Failure { message, hint }
    }

    /// What to do about it.
    pub(crate) fn hint(self, hint: impl Into<String>) -> Self {
        Failure { hint: Some(hint.into()), ..self }
    }

    /// The hint, for the wire.
    pub(crate) fn hint_text(self) -> Option<String> {
        self.hint
    }
}

/// The hint of every failure for want of rights.
const DENIED: &str = "run it as root: mwan needs the capability CAP_NET_ADMIN and access to its files";

fn is_denied(error: &(dyn std::error::Error + 'static)) -> bool {
    use mwan_linux::netlink::RequestError;
    let file =
        error.downcast_ref().map(|e: &std::io::Error| e.kind() == std::io::ErrorKind::PermissionDenied);
    let kernel = error.downcast_ref().map(|e: &RequestError| e.errno() == Some(libc::EPERM));
    file.or(kernel).unwrap_or(false)
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.message)
    }
}

/// Options of the daemon as given on its command line, for tests.
#[cfg(all(test, feature = "web"))]
pub(crate) fn daemon_args(words: &[&str]) -> DaemonArgs {
    let words = ["mwan", "daemon"].iter().chain(words);
    match args::Args::parse_from(words).command {
        args::Command::Daemon(options) => options,
        other => unreachable!("{other:?}"),
    }
}

/// Parses the arguments, runs the command.
pub(crate) fn main() -> ExitCode {
    let words: Vec<std::ffi::OsString> = std::env::args_os().collect();
    // Installed (linked) under the name of a package it replaces.
    if let Some(program) = words.first().and_then(|name| compat::Program::called(name)) {
        return end(compat::run(program, &compat::run_dir(), &words[1..]));
    }
    // udhcpc's script.
    #[cfg(feature = "ipfire")]
    if let Some(folder) = words.first().and_then(|name| crate::dial::called_for_a_lease(name)) {
        return end(crate::dial::take_lease(&folder, &words[1..]));
    }
    #[cfg(feature = "ipfire")]
    let words = match words.first().and_then(|name| red::called(name)) {
        Some(before) => before.iter().map(Into::into).chain(words.into_iter().skip(1)).collect(),
        None => words,
    };
    let args = match args::Args::try_parse_from(words) {
        Ok(args) => args,
        Err(error) => {
            let code = u8::try_from(error.exit_code()).unwrap_or(2);
            // clap says where it belongs: help to standard output, errors to standard error.
            let _ = error.print();
            return ExitCode::from(code);
        }
    };
    end(commands::run(args))
}

/// The exit code, after whatever there is to complain of.
fn end(result: Result<ExitCode, Failure>) -> ExitCode {
    match result {
        Ok(code) => code,
        Err(failure) => {
            talk(&format!("mwan: {}", failure.message));
            if let Some(hint) = failure.hint {
                talk(&format!("hint: {hint}"));
            }
            Exit::Failed.into()
        }
    }
}

/// Says something to the person at the terminal. That nobody listens is no reason to fail.
pub(crate) fn talk(text: &str) {
    let _ = writeln!(std::io::stderr(), "{text}");
}

/// Prints data. A closed pipe is the reader's way of saying "enough".
pub(crate) fn print(text: &str) -> Result<(), Failure> {
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
            Err(Failure::new("cannot write to standard output", &error))
        }
        _ => Ok(()),
    }
}
