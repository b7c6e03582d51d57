//! The log: where it goes, and how diagnostics are written into it.

use mwan_config::{Diagnostic, Severity};
use tracing::{error, info, warn};

use super::syslog;
use crate::cli::{DaemonArgs, LogFormat, LogLevel, LogTo};

/// Takes over `tracing` for the life of the process.
pub(super) fn start_log(options: &DaemonArgs) {
    let level = match options.log_level {
        LogLevel::Error => tracing::Level::ERROR,
        LogLevel::Warn => tracing::Level::WARN,
        LogLevel::Info => tracing::Level::INFO,
        LogLevel::Debug => tracing::Level::DEBUG,
        LogLevel::Trace => tracing::Level::TRACE,
    };
    let log = tracing_subscriber::fmt().with_max_level(level).with_target(false);
    if let (LogTo::Syslog, Some(syslog)) = (options.log_to, syslog::Syslog::open()) {
        // The system's log has its own times, and the level is in its priority.
        let log = log.with_writer(syslog).log_internal_errors(false).with_ansi(false);
        return log.without_time().with_level(false).init();
    }
    let log = log.with_writer(std::io::stderr);
    // A log nobody takes is lost; it must not end the daemon, which tracing's own complaint to the same stream would.
    let log = log.log_internal_errors(false);
    match options.log_format {
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
