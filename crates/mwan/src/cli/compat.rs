//! The commands `mwan3` and `mwan4`: their words and their layout, so that scripts that parse them keep working.
//!
//! docs/compat.md lists them one by one. Where mwan3's own versions differ (the interface line of 2.8 and that of 2.12),
//! the layout is that of the manuals.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::time::Instant;

use clap::ValueEnum;
use mwan_api::{Look, Package, Request, View};

use super::launch::{LOOK, STOP_MAX};
use super::{Exit, Failure, client, commands, launch, print, talk};
use crate::platform::PlatformName;

/// Set for the init script that we call: what it calls must not call it again.
const BY_INIT: &str = "MWAN_BY_INIT";
/// Routing tables that `internal` shows.
const TABLES: std::ops::RangeInclusive<u32> = 1..=250;

/// A package whose command is imitated.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub(crate) enum Program {
    /// mwan3.
    Mwan3,
    /// mwan4.
    Mwan4,
}

impl Program {
    /// By the name under which the program was called.
    pub(super) fn called(name: &OsStr) -> Option<Self> {
        match Path::new(name).file_name()?.to_str()? {
            "mwan3" => Some(Program::Mwan3),
            "mwan4" => Some(Program::Mwan4),
            _ => None,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Program::Mwan3 => "mwan3",
            Program::Mwan4 => "mwan4",
        }
    }

    fn package(self) -> Package {
        match self {
            Program::Mwan3 => Package::Mwan3,
            Program::Mwan4 => Package::Mwan4,
        }
    }

    /// Its word for policies, and for one of them.
    fn policies(self) -> (&'static str, &'static str) {
        match self {
            Program::Mwan3 => ("policies", "policy"),
            Program::Mwan4 => ("strategies", "strategy"),
        }
    }
}

/// Where the daemon is found without `--run-dir`.
pub(super) fn run_dir() -> PathBuf {
    std::env::var_os("MWAN_RUN_DIR").map_or_else(|| "/run/mwan".into(), PathBuf::from)
}

/// Runs a command of `program`.
pub(super) fn run(program: Program, run_dir: &Path, words: &[OsString]) -> Result<ExitCode, Failure> {
    let texts: Vec<&str> = words.iter().map(|w| w.to_str().unwrap_or_default()).collect();
    let exit = match texts.as_slice() {
        ["start"] => start(program, run_dir)?,
        ["stop"] => stop(program, run_dir)?,
        ["restart"] => restart(program, run_dir)?,
        ["ifup", name] => {
            commands::done(client::ask(run_dir, &Request::IfUp { interface: (*name).to_owned() })?)?
        }
        ["ifdown", name] => {
            commands::done(client::ask(run_dir, &Request::IfDown { interface: (*name).to_owned() })?)?
        }
        [word @ ("ifup" | "ifdown"), rest @ ..] => return Err(interface_missing(program, word, rest)),
        ["interfaces"] => show(program, run_dir, Look::Interfaces)?,
        ["policies" | "strategies"] => show(program, run_dir, Look::Policies)?,
        ["connected"] => show(program, run_dir, Look::Connected)?,
        ["rules"] => show(program, run_dir, Look::Rules)?,
        ["status"] => show(program, run_dir, Look::Whole)?,
        ["internal"] | ["internal", "ipv4"] => print(&internal(program, "-4")).map(|()| Exit::Ok)?,
        ["internal", "ipv6"] => print(&internal(program, "-6")).map(|()| Exit::Ok)?,
        ["use", name, _, ..] => return commands::use_interface(run_dir, (*name).to_owned(), &words[2..]),
        _ => print(&help(program)).map(|()| Exit::Ok)?,
    };
    Ok(exit.into())
}

fn interface_missing(program: Program, word: &str, rest: &[&str]) -> Failure {
    let what = if rest.is_empty() { "which interface?" } else { "one interface at a time" };
    Failure::says(format!("{what} usage: {} {word} <iface>", program.name()))
}

/// A status is no failure here, whatever it says: so it was in these packages.
fn show(program: Program, run_dir: &Path, look: Look) -> Result<Exit, Failure> {
    let view = View { look, json: false, package: Some(program.package()) };
    client::show(run_dir, Request::Status, view).map(|_| Exit::Ok)
}

/// The help: command and explanation in two columns.
fn help(program: Program) -> String {
    let (policies, policy) = program.policies();
    let name = program.name();
    let load = "iptables rules, ip rules and ip routes";
    let rows = [
        ("start", format!("Load {load}")),
        ("stop", format!("Unload {load}")),
        ("restart", format!("Reload {load}")),
        ("ifup <iface>", "Load rules and routes for specific interface".to_owned()),
        ("ifdown <iface>", "Unload rules and routes for specific interface".to_owned()),
        ("interfaces", "Show interfaces status".to_owned()),
        (policies, format!("Show currently active {policy}")),
        ("connected", "Show directly connected networks".to_owned()),
        ("rules", "Show active rules".to_owned()),
        ("status", "Show all status".to_owned()),
        ("internal <ipv4|ipv6>", "Show internal configuration <default: ipv4>".to_owned()),
        ("use <iface> <cmd>", format!("Run a command bound to <iface> and avoid {name} rules")),
    ];
    let lines: String = rows.iter().map(|(command, what)| format!("{command:<25}{what}\n")).collect();
    format!("Syntax: {name} [command]\n\nAvailable commands:\n{lines}")
}

/// What support asks for: addresses, routes, rules, tables, firewall, in the words of the tools that show them.
fn internal(program: Program, family: &str) -> String {
    let mut text =
        section("Software-Version", &format!("{} - {}", program.name(), env!("CARGO_PKG_VERSION")));
    for arguments in [["a", "show"], ["route", "show"], ["rule", "show"]] {
        let title = format!("Output of \"ip {family} {}\"", arguments.join(" "));
        text.push_str(&section(&title, &output("ip", &[family, arguments[0], arguments[1]])));
    }
    let table = |number: u32| {
        let routes = output("ip", &[family, "route", "list", "table", &number.to_string()]);
        (!routes.is_empty()).then(|| format!("Routing table {number}:\n{routes}\n"))
    };
    let tables: String = TABLES.filter_map(table).collect();
    let title = format!("Output of \"ip {family} route list table {}-{}\"", TABLES.start(), TABLES.end());
    text.push_str(&section(&title, tables.trim_end()));
    text.push_str(&section("Output of \"nft list ruleset\"", &output("nft", &["list", "ruleset"])));
    text
}

fn section(title: &str, content: &str) -> String {
    let content = if content.is_empty() { "No data found" } else { content };
    format!("{title}\n{}\n{content}\n\n", "-".repeat(49))
}

/// What a program prints; nothing if it cannot be run.
fn output(program: &str, arguments: &[&str]) -> String {
    let run = Command::new(program).args(arguments).stdin(Stdio::null()).stderr(Stdio::null()).output();
    run.map(|o| String::from_utf8_lossy(&o.stdout).trim_end().to_owned()).unwrap_or_default()
}

/// On OpenWrt procd supervises the daemon; what it did not start it would not know.
fn init_script(program: Program) -> Option<PathBuf> {
    let supervised = PlatformName::Auto.resolve() == PlatformName::Openwrt;
    let scripts = [program.name(), "mwan"].map(|name| Path::new("/etc/init.d").join(name));
    scripts.into_iter().find(|s| supervised && s.exists() && std::env::var_os(BY_INIT).is_none())
}

/// Lets the init script do it. Whether it did.
fn by_init(program: Program, word: &str) -> Result<Option<Exit>, Failure> {
    let Some(script) = init_script(program) else { return Ok(None) };
    let name = script.display().to_string();
    let status = Command::new(&script)
        .arg(word)
        .env(BY_INIT, "1")
        .status()
        .map_err(|e| Failure::new(format!("cannot run {name}"), &e))?;
    if status.success() { Ok(Some(Exit::Ok)) } else { Err(Failure::says(format!("{name} {word}: {status}"))) }
}

fn start(program: Program, run_dir: &Path) -> Result<Exit, Failure> {
    if let Some(exit) = by_init(program, "start")? {
        return Ok(exit);
    }
    if client::answers(run_dir)? {
        talk(&format!("{}: already running", program.name()));
        return Ok(Exit::Ok);
    }
    launch::launch(run_dir, &[OsStr::new("--config"), configuration(program).as_os_str()])
}

/// The file of the package, unless told otherwise or only ours is there.
fn configuration(program: Program) -> PathBuf {
    let own = Path::new("/etc/config").join(program.name());
    let native = Path::new("/etc/mwan/mwan.toml");
    let found = || if !own.exists() && native.exists() { native.to_owned() } else { own };
    std::env::var_os("MWAN_CONFIG").map_or_else(found, PathBuf::from)
}

/// Removes everything; returns when the daemon is gone, so that a `start` may follow.
fn stop(program: Program, run_dir: &Path) -> Result<Exit, Failure> {
    by_init(program, "stop")?;
    let deadline = Instant::now() + STOP_MAX;
    let mut asked = client::try_ask(run_dir, &Request::Stop);
    // One that is ending neither answers nor lets anybody else at the kernel.
    while !crate::daemon::has_ended() {
        if Instant::now() > deadline {
            return Err(asked.err().unwrap_or_else(|| Failure::says("the daemon does not end")));
        }
        std::thread::sleep(LOOK);
        asked = client::try_ask(run_dir, &Request::Stop);
    }
    crate::daemon::cleanup(run_dir).map(|()| Exit::Ok)
}

/// The configuration anew, in the running daemon: established flows are not touched.
fn restart(program: Program, run_dir: &Path) -> Result<Exit, Failure> {
    match client::try_ask(run_dir, &Request::Reload)? {
        Some(response) => commands::done(response),
        None => start(program, run_dir),
    }
}

#[cfg(test)]
mod tests;
