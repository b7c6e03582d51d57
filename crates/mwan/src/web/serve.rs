//! `mwan web serve`: started by the daemon as root, it opens what needs root, becomes somebody without rights, and serves.

use std::fs;
use std::io::{self, BufRead, Read};
use std::net::{IpAddr, SocketAddr};
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use mwan_web::{ListenError, Listener, Server, SocketDaemon, Tls};
use tracing::{info, warn};

use super::{API_SOCKET, FOLDER, LISTENING, Listen, Listening, NAME, Settings};
use crate::cli::Failure;
use crate::daemon::{companion_user, group, start_companion_log};
use crate::replace::{Durability, Marks, replace};

/// Settings of a companion are smaller (`companion::SETTINGS_MAX`).
const SETTINGS_MAX: u64 = 1 << 20;
/// How long an address may be another's before that is a failure.
const BIND_PATIENCE: Duration = Duration::from_secs(1);
/// Threads that hash passwords or touch the file of accounts.
const THREADS_MAX: usize = 2;

/// Serves until standard input ends.
pub(super) fn serve() -> Result<(), Failure> {
    let mut line = String::new();
    let read = io::stdin().lock().take(SETTINGS_MAX).read_line(&mut line);
    read.map_err(|e| Failure::new("cannot read the settings", &e))?;
    let settings: Settings = serde_json::from_str(&line).map_err(|e| {
        Failure::new("these are not the settings of a web server", &e)
            .hint("the daemon starts it: enable the section web")
    })?;
    start_companion_log(&settings.log);
    let server = open(&settings)?;
    let user = companion_user().map_err(|e| Failure::new("cannot give up the rights of root", &e))?;
    mwan_linux::process::become_user(user)
        .map_err(|e| Failure::new("cannot give up the rights of root", &e))?;
    end_with_input()?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(THREADS_MAX)
        .build()
        .map_err(|e| Failure::new("cannot start the runtime", &e))?;
    let folder = settings.state_dir.join(FOLDER);
    runtime.block_on(server.run(&folder)).map_err(|e| Failure::new("cannot serve", &e))
}

/// The daemon holds the other end, and so tells its own.
fn end_with_input() -> Result<(), Failure> {
    let wait = || {
        let mut rest = [0; 64];
        while io::stdin().read(&mut rest).is_ok_and(|read| read > 0) {}
        std::process::exit(0);
    };
    let thread = std::thread::Builder::new().name("input".to_owned());
    thread.spawn(wait).map(drop).map_err(|e| Failure::new("cannot start a thread", &e))
}

/// Opens sockets and certificate.
fn open(settings: &Settings) -> Result<Server, Failure> {
    make_folder(&settings.state_dir)?;
    let folder = settings.state_dir.join(FOLDER);
    let hostname = fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let hostname = Some(hostname.trim().to_owned()).filter(|name| !name.is_empty() && name != "(none)");
    let mut hostnames = settings.hostnames.clone();
    hostnames.extend(hostname);
    let wants_tls = settings.listen.iter().any(|listen| listen.tls);
    let tls = if wants_tls { Some(load_tls(settings, &folder, &hostnames)?) } else { None };
    let tcp = listen(settings)?;
    let local = settings.run_dir.join(API_SOCKET);
    let group = settings.group.as_deref().and_then(|name| {
        let found = group(name);
        if found.is_none() {
            warn!("there is no group {}: only root can use {}", name.escape_debug(), local.display());
        }
        found
    });
    let local = mwan_web::bind_local(&local, group).map_err(|e| Failure::new("", &e))?;
    tell(settings, &tcp, tls.as_ref(), &hostnames)?;
    Ok(Server {
        tcp: tcp.into_iter().map(|(listener, _)| listener).collect(),
        local: Some(local),
        tls,
        daemon: Arc::new(SocketDaemon::new(&settings.run_dir.join(format!("{NAME}.sock")))),
        session_timeout: Duration::from_secs(settings.session_timeout_s),
        hostnames,
    })
}

/// The folder of accounts and certificate, which belongs to whom the companion becomes.
pub(super) fn make_folder(state_dir: &Path) -> Result<(), Failure> {
    let folder = state_dir.join(FOLDER);
    let make = || {
        match fs::DirBuilder::new().mode(0o700).create(&folder) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            _ => {}
        }
        let user = companion_user()?;
        mwan_web::hand_over(&folder, user.id, user.group)
    };
    make().map_err(|e| Failure::new(format!("cannot make the folder {}", folder.display()), &e))
}

/// As root: the owner's key need not be readable by anybody else.
fn load_tls(settings: &Settings, folder: &Path, hostnames: &[String]) -> Result<Tls, Failure> {
    let owners = settings.certificate.as_ref().map(|(file, key)| (file.as_path(), key.as_path()));
    let mut names = hostnames.to_vec();
    let specified = |address: &SocketAddr| !address.ip().is_unspecified();
    names.extend(settings.listen.iter().map(|l| l.address).filter(specified).map(|a| a.ip().to_string()));
    mwan_web::load_tls(owners, folder, &names).map_err(|e| Failure::new("TLS", &e))
}

/// Listens everywhere it can. One address that somebody else has, or a kernel without IPv6, does not take the others away.
fn listen(settings: &Settings) -> Result<Vec<(Listener, bool)>, Failure> {
    let mut listeners = Vec::new();
    let mut failed = None;
    for listen in &settings.listen {
        match bind(*listen) {
            Ok(listener) => {
                info!("listening at {}{}", listener.address(), if listen.tls { ", TLS" } else { "" });
                listeners.push((listener, listen.tls));
            }
            Err(error) => {
                let failure = Failure::new("", &error);
                warn!("{failure}");
                failed = Some(failure);
            }
        }
    }
    match failed {
        Some(failure) if listeners.is_empty() => Err(failure),
        _ => Ok(listeners),
    }
}

/// The server before this one may just be ending.
fn bind(listen: Listen) -> Result<Listener, ListenError> {
    let until = Instant::now() + BIND_PATIENCE;
    loop {
        match Listener::bind(listen.address, listen.tls) {
            Err(ListenError::Address { source, .. })
                if source.kind() == io::ErrorKind::AddrInUse && Instant::now() < until =>
            {
                std::thread::sleep(Duration::from_millis(20));
            }
            bound => return bound,
        }
    }
}

/// Where it can be reached, for `mwan web init`.
fn tell(
    settings: &Settings,
    tcp: &[(Listener, bool)],
    tls: Option<&Tls>,
    hostnames: &[String],
) -> Result<(), Failure> {
    let name = hostnames.first().map_or("localhost", String::as_str);
    let url = |(listener, tls): &(Listener, bool)| {
        let (scheme, address) = (if *tls { "https" } else { "http" }, listener.address());
        match address.ip() {
            ip if ip.is_unspecified() => format!("{scheme}://{name}:{}", address.port()),
            IpAddr::V4(_) | IpAddr::V6(_) => format!("{scheme}://{address}"),
        }
    };
    let mut urls: Vec<String> = tcp.iter().map(url).collect();
    urls.dedup();
    let listening = Listening { urls, fingerprint: tls.map(|tls| tls.fingerprint.clone()) };
    let path = settings.run_dir.join(LISTENING);
    let bytes = serde_json::to_vec(&listening).map_err(io::Error::other);
    let written = bytes.and_then(|bytes| replace(&path, Marks::ours(0o600), Durability::Process, &bytes));
    written.map_err(|e| Failure::new(format!("cannot write {}", path.display()), &e))
}
