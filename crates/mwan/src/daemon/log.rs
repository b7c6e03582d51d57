//! The log: where it goes, and how diagnostics are written into it.

use mwan_config::{Diagnostic, Severity};
use tracing::{error, info, warn};

#[cfg(feature = "ipfire")]
use super::logfile::LogFile;
use super::syslog;
use crate::cli::{DaemonArgs, LogFormat, LogLevel, LogTo};

/// Takes over `tracing` for the life of the process. Returned is the log that has to be flushed at its end.
#[cfg(feature = "ipfire")]
pub(super) fn start_log(options: &DaemonArgs) -> Option<LogFile> {
    let Some(path) = &options.log_file else {
        start_stream(options);
        return None;
    };
    match LogFile::start(path) {
        Ok(file) => {
            start_file(options, file.clone());
            Some(file)
        }
        Err(error) => {
            start_stream(options);
            warn!("{}: {error}", path.display());
            None
        }
    }
}

/// Takes over `tracing` for the life of the process.
#[cfg(not(feature = "ipfire"))]
pub(super) fn start_log(options: &DaemonArgs) {
    start_stream(options);
}

/// A file, and beside it the system's log or standard error.
#[cfg(feature = "ipfire")]
fn start_file(options: &DaemonArgs, file: LogFile) {
    use tracing_subscriber::fmt::writer::{BoxMakeWriter, MakeWriterExt};
    let beside = match options.log_to {
        LogTo::Syslog => syslog::Syslog::open().map(BoxMakeWriter::new),
        LogTo::Stderr => Some(BoxMakeWriter::new(std::io::stderr)),
    };
    let beside = beside.unwrap_or_else(|| BoxMakeWriter::new(std::io::sink));
    let log = tracing_subscriber::fmt().with_max_level(level(options)).with_target(false);
    let log = log.with_writer(file.and(beside)).log_internal_errors(false).with_ansi(false);
    // The file has times of its own.
    log.without_time().with_level(false).init();
}

/// How a companion logs: as the daemon does. Its file is left to the daemon.
#[cfg(any(feature = "web", feature = "alerts"))]
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub(crate) struct LogSettings {
    level: String,
    to: String,
    format: String,
}

#[cfg(any(feature = "web", feature = "alerts"))]
impl LogSettings {
    pub(crate) fn of(options: &DaemonArgs) -> Self {
        LogSettings {
            level: word(options.log_level),
            to: word(options.log_to),
            format: word(options.log_format),
        }
    }
}

#[cfg(any(feature = "web", feature = "alerts"))]
fn word(value: impl clap::ValueEnum) -> String {
    value.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default()
}

/// Takes over `tracing` for the life of a companion; words it does not know are the defaults.
#[cfg(any(feature = "web", feature = "alerts"))]
pub(crate) fn start_companion_log(settings: &LogSettings) {
    use clap::ValueEnum;
    let level = LogLevel::from_str(&settings.level, false).unwrap_or(LogLevel::Info);
    let to = LogTo::from_str(&settings.to, false).unwrap_or(LogTo::Stderr);
    let format = LogFormat::from_str(&settings.format, false).unwrap_or(LogFormat::Text);
    stream(level_of(level), to, format);
}

#[cfg(feature = "ipfire")]
fn level(options: &DaemonArgs) -> tracing::Level {
    level_of(options.log_level)
}

fn level_of(level: LogLevel) -> tracing::Level {
    match level {
        LogLevel::Error => tracing::Level::ERROR,
        LogLevel::Warn => tracing::Level::WARN,
        LogLevel::Info => tracing::Level::INFO,
        LogLevel::Debug => tracing::Level::DEBUG,
        LogLevel::Trace => tracing::Level::TRACE,
    }
}

fn start_stream(options: &DaemonArgs) {
    stream(level_of(options.log_level), options.log_to, options.log_format);
}

fn stream(level: tracing::Level, to: LogTo, format: LogFormat) {
    let log = tracing_subscriber::fmt().with_max_level(level).with_target(false);
    if let (LogTo::Syslog, Some(syslog)) = (to, syslog::Syslog::open()) {
        // The system's log has its own times, and the level is in its priority.
        let log = log.with_writer(syslog).log_internal_errors(false).with_ansi(false);
        return log.without_time().with_level(false).init();
    }
    let log = log.with_writer(std::io::stderr);
    // A log nobody takes is lost; it must not end the daemon, which tracing's own complaint to the same stream would.
    let log = log.log_internal_errors(false);
    match format {
        LogFormat::Text => log.with_ansi(false).init(),
        LogFormat::Json => log.json().init(),
    }
}

/// Each by its severity.
pub(super) fn log_diagnostics(found: &[Diagnostic]) {
    for diagnostic in found {
        match diagnostic.severity {
            Severity::Error => error!("{diagnostic}"),
            Severity::Warning => warn!("{diagnostic}"),
            Severity::Note => info!("{diagnostic}"),
        }
    }
}
