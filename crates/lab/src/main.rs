//! `mwan-lab`: runs scenarios and the demo.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::{Duration, SystemTime};

use clap::{Parser, Subcommand};
use mwan_lab::report::Style;
use mwan_lab::run::Options;
use mwan_lab::{bench, demo, run, sys};

/// Builds an internet out of network namespaces and drives the real mwan in it.
#[derive(Parser)]
#[command(name = "mwan-lab", version, about)]
struct Cli {
    #[command(subcommand)]
    command: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Run scenario files; exit code 0 if every expectation held.
    Run {
        /// Scenario files.
        #[arg(required = true)]
        files: Vec<PathBuf>,
        #[command(flatten)]
        common: Common,
        /// Print repeated steps and the daemon's log too.
        #[arg(long, short)]
        verbose: bool,
        /// Print one JSON document per scenario.
        #[arg(long)]
        json: bool,
    },
    /// Show mwan at work on two providers, and measure what it promises.
    Demo {
        #[command(flatten)]
        common: Common,
    },
    /// Measure every figure mwan promises, and print a table.
    Bench {
        /// The program under test; without it the one built next to mwan-lab.
        #[arg(long, env = "MWAN_BIN")]
        mwan: Option<PathBuf>,
        /// Only this measurement.
        #[arg(long, value_name = "NAME")]
        only: Option<String>,
    },
    /// Build a topology and stay up, with the daemon if a configuration is given.
    Up {
        /// Topology file.
        topology: PathBuf,
        /// Configuration of the daemon.
        #[arg(long)]
        config: Option<PathBuf>,
        /// The program under test.
        #[arg(long, env = "MWAN_BIN")]
        mwan: Option<PathBuf>,
    },
    /// List the scenarios of a folder and what they show.
    List {
        /// Folder.
        #[arg(default_value = "lab/scenarios")]
        folder: PathBuf,
    },
    /// Print the reference of scenario steps.
    Steps,
    /// Connect to an echo server and exchange one message (for `exec` steps).
    #[command(hide = true)]
    Connect {
        /// Server.
        to: SocketAddr,
        /// How often.
        #[arg(long, default_value_t = 1)]
        count: u32,
    },
}

#[derive(clap::Args, Clone)]
struct Common {
    /// The program under test; without it the one built next to mwan-lab.
    #[arg(long, env = "MWAN_BIN")]
    mwan: Option<PathBuf>,
    /// Leave everything up at the end and say how to look inside.
    #[arg(long)]
    keep: bool,
    /// Seed of all randomness; printed with every run.
    #[arg(long)]
    seed: Option<u64>,
}

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(e) => {
            let _ = e.print();
            return if e.use_stderr() { ExitCode::from(2) } else { ExitCode::SUCCESS };
        }
    };
    match dispatch(cli.command) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(1),
        Err(message) => {
            eprintln!("mwan-lab: {message}");
            ExitCode::from(2)
        }
    }
}

/// `Ok(false)` is a failed run, `Err` a run that could not be begun.
fn dispatch(verb: Verb) -> Result<bool, String> {
    match verb {
        Verb::Run { files, common, verbose, json } => {
            let style = if json { Style::Json } else { Style::Lines };
            let options = options(&common, verbose, style);
            match files.as_slice() {
                [one] => run::run_file(one, &options),
                many => run_each(many),
            }
        }
        Verb::Demo { common } => demo::run(&options(&common, false, Style::Lines)),
        Verb::Bench { mwan, only } => {
            bench::run(&bench::Options { mwan: mwan.unwrap_or_else(built_mwan), only })
        }
        Verb::Up { topology, config, mwan } => {
            let common = Common { mwan, keep: true, seed: None };
            run::up(&topology, config.as_deref(), &options(&common, false, Style::Lines))
        }
        Verb::List { folder } => list(&folder),
        Verb::Steps => {
            print(&mwan_lab::scenario::documentation());
            Ok(true)
        }
        Verb::Connect { to, count } => Ok((0..count).all(|_| exchange(to).is_ok())),
    }
}

/// Every scenario gets a process of its own: nothing of one can reach the next.
fn run_each(files: &[PathBuf]) -> Result<bool, String> {
    let me = std::env::current_exe().map_err(|e| e.to_string())?;
    let flags: Vec<String> =
        std::env::args().skip(2).filter(|a| !files.iter().any(|f| f.as_os_str() == a.as_str())).collect();
    let mut good = true;
    for file in files {
        let mut command = Command::new(&me);
        command.arg("run").arg(file).args(&flags);
        sys::confine(&mut command, None);
        good &= command.status().map_err(|e| e.to_string())?.success();
    }
    Ok(good)
}

fn options(common: &Common, verbose: bool, style: Style) -> Options {
    let from_clock = || {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        u64::from(now.subsec_nanos())
    };
    Options {
        mwan: common.mwan.clone().unwrap_or_else(built_mwan),
        keep: common.keep,
        seed: common.seed.unwrap_or_else(from_clock),
        verbose,
        style,
    }
}

/// The `mwan` built next to us, else whatever `PATH` has.
fn built_mwan() -> PathBuf {
    let beside = std::env::current_exe().ok().and_then(|me| Some(me.parent()?.join("mwan")));
    beside.filter(|p| p.exists()).unwrap_or_else(|| "mwan".into())
}

fn list(folder: &Path) -> Result<bool, String> {
    let entries = std::fs::read_dir(folder).map_err(|e| format!("{}: {e}", folder.display()))?;
    let mut files: Vec<PathBuf> = entries.flatten().map(|e| e.path()).collect();
    files.retain(|f| f.extension().is_some_and(|e| e == "scenario"));
    files.sort();
    let mut good = true;
    for file in files {
        match mwan_lab::scenario::Scenario::load(&file) {
            Ok(scenario) => print(&format!("{:55} {}\n", scenario.file, scenario.title)),
            Err(e) => {
                eprintln!("{e}");
                good = false;
            }
        }
    }
    Ok(good)
}

/// Prints; a reader that went away is no reason to panic.
fn print(text: &str) {
    use std::io::Write;
    let _ = std::io::stdout().write_all(text.as_bytes());
}

fn exchange(to: SocketAddr) -> std::io::Result<()> {
    use std::io::{Read, Write};
    let mut stream = std::net::TcpStream::connect_timeout(&to, Duration::from_secs(3))?;
    stream.set_read_timeout(Some(Duration::from_secs(3)))?;
    stream.write_all(b"hello")?;
    stream.read_exact(&mut [0; 5])
}
