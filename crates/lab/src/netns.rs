//! Network namespaces without names: each is held by a descriptor of this process only, so the kernel
//! removes it, its links, rules and routes when the process ends, however that happens.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsFd, AsRawFd};
use std::process::{Command, Output, Stdio};
use std::sync::Arc;
use std::thread::JoinHandle;

use crate::sys;

/// Why a namespace could not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum NetnsError {
    /// The system refuses namespaces to us.
    #[error(
        "cannot make a network namespace for {node}\nhint: run as root, or allow unprivileged user namespaces"
    )]
    Create {
        /// Node it was meant for.
        node: String,
        /// What the system said.
        source: io::Error,
    },
    /// A program could not be started or failed.
    #[error("{node}: `{command}` failed: {message}")]
    Command {
        /// Node it ran in.
        node: String,
        /// The program and its arguments.
        command: String,
        /// Its own words.
        message: String,
    },
    /// Anything else inside a namespace.
    #[error("{node}: {what}: {source}")]
    Io {
        /// Node it happened in.
        node: String,
        /// What was tried.
        what: String,
        /// What the system said.
        source: io::Error,
    },
}

/// One node of the network: a namespace and its name in the topology.
#[derive(Debug)]
pub struct Netns {
    name: String,
    fd: File,
}

/// Threads only wait on sockets; thousands of them must not cost 8 MB each.
const STACK_BYTES: usize = 128 * 1024;

impl Netns {
    /// A fresh, empty namespace.
    pub fn create(name: &str) -> Result<Arc<Netns>, NetnsError> {
        let made = std::thread::spawn(|| {
            sys::unshare_net()?;
            File::open("/proc/thread-self/ns/net")
        });
        let made = made.join().unwrap_or_else(|_| Err(io::Error::other("helper thread panicked")));
        let fd = made.map_err(|source| NetnsError::Create { node: name.into(), source })?;
        Ok(Arc::new(Netns { name: name.into(), fd }))
    }

    /// The node's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// A path by which other programs of the same user (`ip`, `nsenter`) can name the namespace.
    pub fn path(&self) -> String {
        format!("/proc/{}/fd/{}", std::process::id(), self.fd.as_raw_fd())
    }

    /// Runs `work` on a thread inside the namespace and waits for it.
    pub fn run<T: Send>(&self, work: impl FnOnce() -> T + Send) -> Result<T, NetnsError> {
        let io_error = |source| NetnsError::Io { node: self.name.clone(), what: "enter".into(), source };
        std::thread::scope(|scope| {
            let thread = scope.spawn(|| sys::enter_net(self.fd.as_fd()).map(|()| work()));
            thread.join().unwrap_or_else(|_| Err(io::Error::other("thread panicked"))).map_err(io_error)
        })
    }

    /// Starts `work` on a thread of its own inside the namespace.
    pub fn spawn(
        self: &Arc<Self>,
        work: impl FnOnce() + Send + 'static,
    ) -> Result<JoinHandle<()>, NetnsError> {
        let ns = Arc::clone(self);
        let named = std::thread::Builder::new().name(self.name.clone()).stack_size(STACK_BYTES);
        let thread = named.spawn(move || match sys::enter_net(ns.fd.as_fd()) {
            Ok(()) => work(),
            Err(e) => eprintln!("mwan-lab: cannot enter {}: {e}", ns.name),
        });
        thread.map_err(|source| NetnsError::Io { node: self.name.clone(), what: "thread".into(), source })
    }

    /// A command that will run in the namespace and die with us.
    pub fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        sys::confine(&mut command, Some(self.fd.as_raw_fd()));
        command
    }

    /// Runs a program to its end, with `input` on its standard input.
    pub fn output(&self, argv: &[&str], input: &str) -> Result<Output, NetnsError> {
        let fail = |message: String| NetnsError::Command {
            node: self.name.clone(),
            command: argv.join(" "),
            message,
        };
        let (program, args) = argv.split_first().ok_or_else(|| fail("no program".into()))?;
        let mut command = self.command(program);
        command.args(args).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().map_err(|e| fail(e.to_string()))?;
        if let Some(mut stdin) = child.stdin.take() {
            // A program that does not read its input closes the pipe: its exit code tells the rest.
            let _ = stdin.write_all(input.as_bytes());
        }
        child.wait_with_output().map_err(|e| fail(e.to_string()))
    }

    /// Like [`Netns::output`], but a bad exit code is an error carrying what the program said.
    pub fn must(&self, argv: &[&str], input: &str) -> Result<String, NetnsError> {
        let out = self.output(argv, input)?;
        if out.status.success() {
            return Ok(String::from_utf8_lossy(&out.stdout).into_owned());
        }
        let mut message = String::from_utf8_lossy(&out.stderr).trim().to_owned();
        if message.is_empty() {
            message = out.status.to_string();
        }
        Err(NetnsError::Command { node: self.name.clone(), command: argv.join(" "), message })
    }

    /// Runs many `ip` commands in one go. Lines that begin with `-6` come after all others: a batch has one
    /// family only.
    pub fn ip(&self, batch: &str) -> Result<(), NetnsError> {
        let (six, four): (Vec<&str>, Vec<&str>) = batch.lines().partition(|l| l.starts_with("-6 "));
        if !four.is_empty() {
            self.must(&["ip", "-batch", "-"], &(four.join("\n") + "\n"))?;
        }
        if !six.is_empty() {
            let lines: String = six.iter().map(|l| l.trim_start_matches("-6 ").to_owned() + "\n").collect();
            self.must(&["ip", "-6", "-batch", "-"], &lines)?;
        }
        Ok(())
    }

    /// Loads nft text in one transaction.
    pub fn nft(&self, text: &str) -> Result<(), NetnsError> {
        self.must(&["nft", "-f", "-"], text).map(drop)
    }

    /// Writes sysctls, given as `net/ipv4/ip_forward=1`. A key starting with `-` may be missing.
    pub fn sysctl(&self, settings: &[&str]) -> Result<(), NetnsError> {
        self.run(|| {
            for setting in settings {
                let (key, value) = setting.split_once('=').unwrap_or((setting, ""));
                let optional = key.starts_with('-');
                let path = format!("/proc/sys/{}", key.trim_start_matches('-'));
                match std::fs::write(&path, value) {
                    Err(source) if !optional => {
                        return Err(NetnsError::Io { node: self.name.clone(), what: path, source });
                    }
                    _ => {}
                }
            }
            Ok(())
        })?
    }
}

/// Puts the whole process where it can do no harm, before it starts any thread: an own (empty) network
/// namespace, without root an own user namespace first, and a private `/run` that vanishes with it.
///
/// `outside` are files we need later; when one of them lives under `/run`, that stays as it is.
pub fn isolate(outside: &[std::path::PathBuf]) -> Result<bool, NetnsError> {
    let fail = |source| NetnsError::Create { node: "the lab".into(), source };
    if !sys::is_root() {
        let (uid, gid) = sys::ids();
        sys::unshare_user().map_err(fail)?;
        // setgroups must be denied before an unprivileged gid_map is accepted, user_namespaces(7).
        std::fs::write("/proc/self/setgroups", "deny").map_err(fail)?;
        std::fs::write("/proc/self/uid_map", format!("0 {uid} 1")).map_err(fail)?;
        std::fs::write("/proc/self/gid_map", format!("0 {gid} 1")).map_err(fail)?;
    }
    sys::unshare_net().map_err(fail)?;
    let run_is_needed = outside.iter().any(|p| std::fs::canonicalize(p).is_ok_and(|p| p.starts_with("/run")));
    if run_is_needed || sys::unshare_mount().is_err() {
        return Ok(false);
    }
    Ok(sys::mount_tmpfs("/run").is_ok())
}
