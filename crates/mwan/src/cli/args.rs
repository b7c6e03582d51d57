//! Commands and their options. Every path has a flag and an environment variable.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Args as ClapArgs, Parser, Subcommand, ValueEnum};

use super::check::CheckFormat;
use crate::platform::PlatformName;

/// Keeps a site online over several Internet links.
#[derive(Parser, Debug)]
#[command(
    name = "mwan",
    version,
    max_term_width = 100,
    after_help = "\
Exit codes: 0 ok, 1 failed, 2 wrong usage, 3 something is not as it should be (status, diff)."
)]
pub(crate) struct Args {
    /// Where the running daemon is found.
    #[arg(long, global = true, env = "MWAN_RUN_DIR", default_value = "/run/mwan", value_name = "DIR")]
    pub(crate) run_dir: PathBuf,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What to do.
#[derive(Subcommand, Debug)]
pub(crate) enum Command {
    /// Run in the foreground: watch the WANs and program the kernel.
    Daemon(DaemonArgs),
    /// Show everything: interfaces, policies, connected networks, rules, problems.
    Status(Show),
    /// Show the interfaces and their health.
    Interfaces(Show),
    /// Show what carries each policy now.
    Policies(Show),
    /// Show the networks that are never policy-routed.
    Connected(Show),
    /// Show the rules and their counters.
    Rules(Show),
    /// Say what is wrong with configuration files, and what in them cannot do what it seems to.
    Check(CheckArgs),
    /// Print what a configuration would install, and what that changes in the kernel.
    Plan {
        /// The configuration file.
        #[arg(long, env = "MWAN_CONFIG", value_name = "FILE")]
        config: PathBuf,
        /// Print JSON.
        #[arg(long)]
        json: bool,
        /// Platform to assume when no daemon is running.
        #[arg(long, env = "MWAN_PLATFORM", default_value = "auto")]
        platform: PlatformName,
        #[command(flatten)]
        bus: BusArgs,
    },
    /// Put another configuration in force: judged first, written into the daemon's file, and with a way back.
    Apply(ApplyArgs),
    /// Keep the configuration that waits for it (`apply --confirm`).
    Confirm,
    /// Put a configuration back that was in force, or show the last twenty. While one waits to be confirmed: take it back now.
    Rollback(RollbackArgs),
    /// Say why a packet, or a live connection, leaves where it leaves: every step, and what would carry it otherwise.
    Explain(ExplainArgs),
    /// Say why an interface, a policy or a rule is as it is: what decides, since when, where a fault lies, and its last changes.
    Why {
        /// Its name.
        name: String,
        /// Print JSON (docs/schema/mwan.why.v1.json).
        #[arg(long)]
        json: bool,
    },
    /// Compare what should be in the kernel with what is there; exit code 3 if they differ.
    Diff(Show),
    /// Read the configuration again.
    Reload,
    /// Bring an interface up that was taken down.
    Ifup {
        /// Name of the interface.
        interface: String,
    },
    /// Take an interface down: no traffic and no probes until `ifup`.
    Ifdown {
        /// Name of the interface.
        interface: String,
    },
    /// Give an interface no new connections while others can carry them; those it has stay.
    Drain {
        /// Name of the interface.
        interface: String,
    },
    /// The end of `drain`.
    Undrain {
        /// Name of the interface.
        interface: String,
    },
    /// Rehearse the failure of a WAN: mwan takes it for dead for a while, nothing else does, and what comes of it is measured.
    Drill(DrillArgs),
    /// Show what has happened.
    Events(EventArgs),
    /// How the WANs were in a month: availability, outages, latency, loss; evidence for a provider. Needs no daemon.
    Report(ReportArgs),
    /// Watch it in the terminal: interfaces, policies, connections, events; keys to drain and to switch.
    #[cfg(feature = "tui")]
    Top,
    /// How an interface was over the last hours, as figures.
    History(HistoryArgs),
    /// Show who is told of incidents and how that goes, or send a test.
    #[cfg(feature = "alerts")]
    Alerts {
        /// What to do; without it they are shown.
        #[command(subcommand)]
        command: Option<AlertCommand>,
        #[command(flatten)]
        show: Show,
    },
    /// Write the last events of the decision core to a file: what `replay` needs, without secrets.
    #[cfg(feature = "record")]
    Record {
        /// The file, compressed JSON lines that only its owner may read (`-`: standard output).
        file: PathBuf,
    },
    /// Take the decisions of a recording again, on any machine; with --set under other options.
    #[cfg(feature = "record")]
    Replay(ReplayArgs),
    #[cfg(not(feature = "record"))]
    #[command(hide = true, disable_help_flag = true)]
    Record {
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        words: Vec<OsString>,
    },
    #[cfg(not(feature = "record"))]
    #[command(hide = true, disable_help_flag = true)]
    Replay {
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        words: Vec<OsString>,
    },
    /// Run a command whose connections leave by one interface, whatever the rules say.
    Use {
        /// Name of the interface.
        interface: String,
        /// The command and its arguments.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true, required = true)]
        command: Vec<OsString>,
    },
    #[cfg(feature = "ipfire")]
    /// IPFire: show what carries RED, switch it, test the primary (also as `mwan-config`).
    Red {
        /// What to do.
        #[command(subcommand)]
        command: Option<RedCommand>,
        /// Where IPFire's files are.
        #[arg(
            long,
            global = true,
            env = "MWAN_IPFIRE_ROOT",
            default_value = "/var/ipfire",
            value_name = "DIR"
        )]
        root: PathBuf,
    },
    #[cfg(feature = "ipfire")]
    /// IPFire: install, remove, start and stop mwan as an add-on (also as `mwan-daemon-universal`).
    Ipfire {
        /// What to do.
        #[command(subcommand)]
        command: IpfireCommand,
        /// The root of the system: that of an image, or of a test.
        #[arg(long, global = true, env = "MWAN_IPFIRE_SYSTEM", default_value = "/", value_name = "DIR")]
        root: PathBuf,
    },
    #[cfg(feature = "ipfire")]
    /// Bring IPFire's primary up beside what carries, probe it, and print each step.
    TestPrimary {
        /// Seconds until it is given up.
        #[arg(long, default_value_t = 120, value_parser = clap::value_parser!(u64).range(1..=3600))]
        limit: u64,
    },
    #[cfg(feature = "web")]
    /// Say who may use the web server: the first link, users, tokens for programs.
    Web {
        /// What to do.
        #[command(subcommand)]
        command: WebCommand,
        /// Where accounts are kept.
        #[arg(
            long,
            global = true,
            env = "MWAN_STATE_DIR",
            default_value = "/var/lib/mwan",
            value_name = "DIR"
        )]
        state_dir: PathBuf,
    },
    /// Remove everything from the kernel and end the daemon.
    Stop {
        #[cfg(feature = "ipfire")]
        /// The root of IPFire's system.
        #[arg(long, hide = true, env = "MWAN_IPFIRE_SYSTEM", default_value = "/")]
        root: PathBuf,
    },
    /// Remove everything of mwan's from the kernel, without daemon or configuration.
    Cleanup,
    /// Write one archive for whoever helps: configuration, plan, status, events, kernel state; without secrets and public addresses.
    Support(SupportArgs),
    /// Behave like the command of another package; so does mwan when it is called by that name.
    Compat {
        /// The package.
        program: super::compat::Program,
        /// Its command and arguments; none: its help.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        words: Vec<OsString>,
    },
    /// A cloud's multi-WAN document (`multiWanV2`) into the configuration, and back out.
    Cloud {
        /// What to do.
        #[command(subcommand)]
        command: CloudCommand,
    },
    /// Rewrite a configuration file for mwan4 or as mwan.toml; to standard output, what differs to standard error.
    Migrate {
        /// The UCI file (`-`: standard input).
        file: PathBuf,
        /// The format wanted.
        #[arg(long, default_value = "mwan4")]
        to: Format,
    },
}

/// What to do with a cloud's document.
#[derive(Subcommand, Debug)]
pub(crate) enum CloudCommand {
    /// Apply a document: it is judged, written into the daemon's configuration file, and in force when this ends.
    Apply {
        /// `multiWanV2` as JSON, or the whole last_config_response.json (`-`: standard input).
        file: PathBuf,
        /// Only print what would change, in the file and in the kernel.
        #[arg(long)]
        dry_run: bool,
        /// Apply what is right although something else in it is wrong.
        #[arg(long)]
        partial: bool,
    },
    /// Print the document that the configuration means, as JSON.
    Export,
}

/// What to do with alerts.
#[cfg(feature = "alerts")]
#[derive(Subcommand, Debug)]
pub(crate) enum AlertCommand {
    /// Send a test message and wait for what becomes of it.
    Test {
        /// Name of the alert.
        name: String,
    },
    /// What the daemon starts to send them.
    #[command(hide = true)]
    Serve {
        /// Where what has to be told is kept.
        #[arg(long, value_name = "DIR")]
        state_dir: PathBuf,
    },
}

/// What to do with RED.
#[cfg(feature = "ipfire")]
#[derive(Subcommand, Debug)]
pub(crate) enum RedCommand {
    /// What carries RED, and what every link is doing.
    Status(Show),
    /// The profiles, best first.
    List,
    /// What a profile says, without its secrets.
    Show {
        /// Its name.
        profile: String,
    },
    /// Bring the primary up beside what carries, probe it, and print each step.
    Test,
    /// A profile carries RED until `failback`.
    Switch {
        /// Its name.
        profile: String,
    },
    /// The best backup carries RED until `failback`.
    Failover,
    /// The primary may carry RED again.
    Failback,
    /// Switch mwan on in its settings.
    Enable,
    /// Switch mwan off in its settings: RED is the primary's.
    Disable,
}

/// What to do with the add-on.
#[cfg(feature = "ipfire")]
#[derive(Subcommand, Debug)]
pub(crate) enum IpfireCommand {
    /// Put the add-on's files into the system; nothing that is there is changed.
    Install,
    /// Stop, give RED back, and remove what `install` made; settings the owner has written stay.
    Uninstall {
        /// Remove them, too.
        #[arg(long)]
        purge: bool,
    },
    /// Run the daemon in the background.
    Start,
    /// End the daemon: RED is IPFire's own again, nothing of mwan's is left in the kernel.
    Stop,
    /// Another daemon takes over from the running one: connections and RED stay as they are.
    Restart,
    /// What carries RED, and what every link is doing.
    Status(Show),
    /// Bring the primary up beside what carries, probe it, and print each step.
    TestPrimary,
    /// Called by IPFire's hooks when it has brought RED up or taken it down; ends within two seconds.
    Hook {
        /// What IPFire has done.
        word: HookWord,
    },
}

/// What IPFire has done with RED.
#[cfg(feature = "ipfire")]
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub(crate) enum HookWord {
    /// It is up.
    Up,
    /// It is down.
    Down,
}

/// What to do with the web server.
#[cfg(feature = "web")]
#[derive(Subcommand, Debug)]
pub(crate) enum WebCommand {
    /// Print a link by which a password is set, once and within an hour.
    Init {
        /// Whose.
        #[arg(long, default_value = "admin", value_name = "NAME")]
        user: String,
    },
    /// Users: people with a password.
    User {
        /// What to do.
        #[command(subcommand)]
        command: AccountCommand,
    },
    /// Tokens: keys of programs, as of Prometheus.
    Token {
        /// What to do.
        #[command(subcommand)]
        command: AccountCommand,
    },
    /// Run the web server; the daemon does.
    #[command(hide = true)]
    Serve,
}

/// What to do with users or tokens.
#[cfg(feature = "web")]
#[derive(Subcommand, Debug)]
pub(crate) enum AccountCommand {
    /// Add one. The password of a user is read from standard input; one that is there already gets another.
    Add {
        /// Its name.
        name: String,
        /// What it may do: see, take interfaces up and down, change the configuration.
        #[arg(long, default_value = "viewer")]
        role: RoleName,
    },
    /// Remove one; its sessions end.
    Remove {
        /// Its name.
        name: String,
    },
    /// List them, with their roles.
    List,
}

/// What somebody may do.
#[cfg(feature = "web")]
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub(crate) enum RoleName {
    /// See.
    Viewer,
    /// Take interfaces up, down and out of use, too.
    Operator,
    /// Change the configuration, too.
    Admin,
}

#[cfg(feature = "web")]
impl From<RoleName> for mwan_web::Role {
    fn from(name: RoleName) -> Self {
        match name {
            RoleName::Viewer => mwan_web::Role::Viewer,
            RoleName::Operator => mwan_web::Role::Operator,
            RoleName::Admin => mwan_web::Role::Admin,
        }
    }
}

/// What is to be checked.
#[derive(ClapArgs, Debug)]
pub(crate) struct CheckArgs {
    /// The files (`-`: standard input); the name tells the format (`.toml`, else UCI).
    #[arg(required_unless_present = "explain", value_name = "FILE")]
    pub(crate) files: Vec<PathBuf>,
    /// How findings are printed.
    #[arg(long, default_value = "text")]
    format: CheckFormat,
    /// Print JSON.
    #[arg(long, conflicts_with = "format")]
    json: bool,
    /// Look at this machine, too: marks of other programs, sysctls, translation. Else done for the file of the running daemon.
    #[arg(long)]
    pub(crate) system: bool,
    /// Look at nothing but the files.
    #[arg(long, conflicts_with = "system")]
    pub(crate) no_system: bool,
    /// Say what a code such as W0720 means, and what to do about it.
    #[arg(long, value_name = "CODE", conflicts_with = "files")]
    pub(crate) explain: Option<String>,
}

impl CheckArgs {
    pub(crate) fn format(&self) -> CheckFormat {
        if self.json { CheckFormat::Json } else { self.format }
    }
}

/// What `migrate` writes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub(crate) enum Format {
    /// UCI in mwan4's words.
    Mwan4,
    /// mwan's own format.
    Toml,
}

/// How to show something.
#[derive(ClapArgs, Debug, Clone, Copy)]
pub(crate) struct Show {
    /// Print JSON (docs/schema).
    #[arg(long)]
    pub(crate) json: bool,
}

/// What is to be in force.
#[derive(ClapArgs, Debug, Clone)]
pub(crate) struct ApplyArgs {
    /// The file, in the format of the daemon's own (`-`: standard input).
    pub(crate) file: PathBuf,
    #[command(flatten)]
    pub(crate) terms: Terms,
}

/// Which configuration is to be in force again.
#[derive(ClapArgs, Debug, Clone)]
pub(crate) struct RollbackArgs {
    /// Its number in the list; without it the newest that is another than the present one and was not taken back.
    pub(crate) number: Option<u64>,
    /// Show those that are kept, newest first: when, how, who.
    #[arg(long, conflicts_with_all = ["number", "diff", "confirm", "must_reach", "dry_run"])]
    pub(crate) list: bool,
    /// Show what configuration N changed against the one before it.
    #[arg(long, value_name = "N", conflicts_with_all = ["number", "confirm", "must_reach", "dry_run"])]
    pub(crate) diff: Option<u64>,
    /// Print the list as JSON (docs/schema/mwan.revisions.v1.json).
    #[arg(long, requires = "list")]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) terms: Terms,
}

/// Under which conditions another configuration stays.
#[derive(ClapArgs, Debug, Clone)]
pub(crate) struct Terms {
    /// The configuration before comes back unless `mwan confirm` is said within so many seconds, whatever becomes of the daemon
    /// or the machine. At a terminal it is asked for.
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u32).range(1..=i64::from(mwan_api::CONFIRM_MAX_S)))]
    pub(crate) confirm: Option<u32>,
    /// It comes back at once unless the router reaches this within 10 s: an address to be pinged (1.1.1.1), or 1.1.1.1:443/tcp,
    /// [2001:db8::1]:443/tcp; several times for more, all of which are needed.
    #[arg(long, value_name = "TARGET", value_parser = target)]
    pub(crate) must_reach: Vec<String>,
    /// Only print what would change: in the file, in the kernel, for connections.
    #[arg(long)]
    pub(crate) dry_run: bool,
}

fn target(text: &str) -> Result<String, String> {
    crate::daemon::ReachTarget::parse(text).map(|_| text.to_owned())
}

/// What is rehearsed.
#[derive(ClapArgs, Debug, Clone)]
#[command(after_help = "\
The WAN is not touched: its probes go on, and real packets still use it until they are led elsewhere. The drill ends by its \
time, with Ctrl-C, and at once if another WAN is lost or this one really fails. It is refused if a policy in use would be left \
with its last resort.

Exit codes: 0 passed, 1 not held, 3 failed.")]
pub(crate) struct DrillArgs {
    /// Name of the interface.
    #[arg(required_unless_present_any = ["stop", "list"])]
    pub(crate) interface: Option<String>,
    /// How long its probes count as lost: 60, 60s, 2m.
    #[arg(long = "for", value_name = "TIME", default_value = "60s", value_parser = drill_length)]
    pub(crate) length_s: u32,
    /// Its connections stay on it; without this they are moved as by a real failure.
    #[arg(long)]
    pub(crate) keep_flows: bool,
    /// This machine's resolvers have to answer for names below NAME all the time. Without it example.org is asked for, and counts
    /// if there is an answer before the drill.
    #[arg(long, value_name = "NAME", value_parser = drill_name)]
    pub(crate) dns: Option<String>,
    /// No name is asked for.
    #[arg(long, conflicts_with = "dns")]
    pub(crate) no_dns: bool,
    /// The router has to reach this all the time: an address to be pinged, or ADDRESS:PORT/tcp; several times for more.
    #[arg(long, value_name = "TARGET", value_parser = target)]
    pub(crate) reach: Vec<String>,
    /// Only say what would happen.
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Do not wait for it; then nothing but its time ends it, or --stop.
    #[arg(long)]
    pub(crate) detach: bool,
    /// End the drill that is under way; its WAN carries again at once.
    #[arg(long, conflicts_with_all = ["interface", "list", "dry_run", "detach", "keep_flows", "dns", "no_dns", "reach"])]
    pub(crate) stop: bool,
    /// Show those that are over, the newest first, and those the configuration asks for.
    #[arg(long, conflicts_with_all = ["interface", "dry_run", "detach", "keep_flows", "dns", "no_dns", "reach"])]
    pub(crate) list: bool,
    /// Print JSON (docs/schema/mwan.drills.v1.json).
    #[arg(long, conflicts_with = "stop")]
    pub(crate) json: bool,
}

fn drill_length(text: &str) -> Result<u32, String> {
    use mwan_api::{DRILL_MAX_S, DRILL_MIN_S};
    let (number, unit_s) = match (text.strip_suffix('s'), text.strip_suffix('m')) {
        (Some(number), _) => (number, 1),
        (_, Some(number)) => (number, 60),
        _ => (text, 1),
    };
    let digits = !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit());
    let seconds = number.parse::<u32>().ok().filter(|_| digits).and_then(|n| n.checked_mul(unit_s));
    let good = seconds.filter(|seconds| (DRILL_MIN_S..=DRILL_MAX_S).contains(seconds));
    good.ok_or_else(|| format!("expected is a time from {DRILL_MIN_S} s to {DRILL_MAX_S} s, as in 60s or 2m"))
}

fn drill_name(text: &str) -> Result<String, String> {
    crate::daemon::check_drill_name(text).map(|()| text.to_owned())
}

/// Which packet is explained.
#[derive(ClapArgs, Debug, Clone)]
pub(crate) struct ExplainArgs {
    /// Where to: 1.1.1.1:443/tcp, [2606:4700::1111]:443/udp, 1.1.1.1 (a ping); a name is looked up.
    #[arg(long, value_name = "ADDRESS[:PORT][/PROTOCOL]", required_unless_present = "flow")]
    pub(crate) to: Option<String>,
    /// Its source address; without it the packet is this machine's own.
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) from: Option<String>,
    /// Interface or device it comes in by; without it the one on whose network the source is.
    #[arg(long = "in", value_name = "NAME")]
    pub(crate) input: Option<String>,
    /// ipv4 or ipv6: which of a name's addresses is meant.
    #[arg(long, value_name = "FAMILY", value_parser = ["ipv4", "ipv6"])]
    pub(crate) family: Option<String>,
    /// Its source port.
    #[arg(long, value_name = "PORT")]
    pub(crate) sport: Option<u16>,
    /// A live connection instead, by what it has: addresses, ADDRESS:PORT, protocol, interface, number; several are listed.
    #[arg(long, value_name = "WORDS", conflicts_with_all = ["to", "from", "sport", "family"])]
    pub(crate) flow: Option<String>,
    /// Send a real packet through this machine's own path, drop it at the last hook, and compare.
    #[arg(long, conflicts_with = "flow")]
    pub(crate) verify: bool,
    /// By this configuration file instead of the daemon's, as if every WAN were online.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["flow", "verify"])]
    pub(crate) config: Option<PathBuf>,
    /// Platform to assume with --config.
    #[arg(long, env = "MWAN_PLATFORM", default_value = "auto")]
    pub(crate) platform: PlatformName,
    /// Print JSON (docs/schema/mwan.explanation.v1.json).
    #[arg(long)]
    pub(crate) json: bool,
}

/// Which events are shown.
#[derive(ClapArgs, Debug, Clone)]
pub(crate) struct EventArgs {
    /// Only those of this interface.
    #[arg(long, value_name = "NAME")]
    pub(crate) interface: Option<String>,
    /// At most so many, the newest.
    #[arg(long, default_value_t = 50, value_name = "N")]
    pub(crate) limit: u32,
    /// Steps on the way to a change of state, too.
    #[arg(long)]
    pub(crate) all: bool,
    /// Go on with what happens.
    #[arg(long, short)]
    pub(crate) follow: bool,
    /// Print JSON (docs/schema/mwan.events.v1.json); with --follow an event per line.
    #[arg(long)]
    pub(crate) json: bool,
}

/// Which report is wanted.
#[derive(ClapArgs, Debug, Clone)]
pub(crate) struct ReportArgs {
    /// The month, UTC; without it the present one.
    #[arg(long, value_name = "YYYY-MM")]
    pub(crate) month: Option<String>,
    /// Print JSON (docs/schema/mwan.report.v1.json).
    #[arg(long, conflicts_with = "html")]
    pub(crate) json: bool,
    /// Print a page of HTML that needs nothing else and can be printed.
    #[arg(long)]
    pub(crate) html: bool,
    #[command(flatten)]
    pub(crate) files: StateDir,
}

/// Which part of a history is wanted.
#[derive(ClapArgs, Debug, Clone)]
pub(crate) struct HistoryArgs {
    /// Name of the interface.
    pub(crate) interface: String,
    /// ipv4 or ipv6; without it the first of which anything is recorded.
    #[arg(long)]
    pub(crate) family: Option<String>,
    /// So many hours up to now.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..=17_544))]
    pub(crate) hours: u64,
    /// At most about so many points.
    #[arg(long, default_value_t = 30, value_parser = clap::value_parser!(u32).range(1..=4000))]
    pub(crate) points: u32,
    /// Print JSON (docs/schema/mwan.history.v1.json).
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) files: StateDir,
}

/// What is to be replayed.
#[cfg(feature = "record")]
#[derive(ClapArgs, Debug, Clone)]
pub(crate) struct ReplayArgs {
    /// The recording (`-`: standard input).
    pub(crate) file: PathBuf,
    /// What an option was to be instead, as in wan.down=3: which outages would have been seen sooner, and which failovers would
    /// have been false. May be given several times.
    #[arg(long, value_name = "SECTION.OPTION=VALUE")]
    pub(crate) set: Vec<String>,
    /// Steps that nobody is told of, too.
    #[arg(long)]
    pub(crate) all: bool,
    /// Print JSON (docs/schema/mwan.replay.v1.json).
    #[arg(long)]
    pub(crate) json: bool,
}

/// Where files are while no daemon runs.
#[derive(ClapArgs, Debug, Clone)]
pub(crate) struct StateDir {
    /// Where the daemon keeps what survives a boot; read if no daemon answers.
    #[arg(long, env = "MWAN_STATE_DIR", default_value = "/var/lib/mwan", value_name = "DIR")]
    pub(crate) state_dir: PathBuf,
}

/// What an archive is made of.
#[derive(ClapArgs, Debug, Clone)]
pub(crate) struct SupportArgs {
    /// The archive, which must not be there yet (`-`: standard output). Default: mwan-support-DATE-TIME.tar in the present folder.
    pub(crate) file: Option<PathBuf>,
    /// The configuration file. Default: that of the running daemon, else the first that is there of /etc/mwan/mwan.toml,
    /// /etc/config/mwan, mwan4 and mwan3, /var/ipfire/mwan/settings.
    #[arg(long, env = "MWAN_CONFIG", value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// Where the daemon keeps what survives a boot. Default: as the running daemon was told, else /var/lib/mwan.
    #[arg(long, env = "MWAN_STATE_DIR", value_name = "DIR")]
    pub(crate) state_dir: Option<PathBuf>,
}

/// Where OpenWrt's network manager is asked.
#[derive(ClapArgs, Debug, Clone)]
pub(crate) struct BusArgs {
    /// OpenWrt: the socket of ubusd.
    #[arg(long, env = "MWAN_UBUS_SOCKET", default_value = "/var/run/ubus/ubus.sock", value_name = "SOCKET")]
    pub(crate) ubus_socket: PathBuf,
    /// OpenWrt: the network's configuration, which tells the devices of interfaces where ubus does not.
    #[arg(long, env = "MWAN_NETWORK_CONFIG", default_value = "/etc/config/network", value_name = "FILE")]
    pub(crate) network_config: PathBuf,
}

/// Options of the daemon.
#[derive(ClapArgs, Debug, Clone)]
pub(crate) struct DaemonArgs {
    /// The configuration: UCI (mwan3, mwan4) or, with the ending `.toml`, mwan's own.
    #[arg(long, env = "MWAN_CONFIG", value_name = "FILE")]
    pub(crate) config: PathBuf,
    /// Where ids of interfaces are kept across reboots.
    #[arg(long, env = "MWAN_STATE_DIR", default_value = "/var/lib/mwan", value_name = "DIR")]
    pub(crate) state_dir: PathBuf,
    /// The kind of system.
    #[arg(long, env = "MWAN_PLATFORM", default_value = "auto")]
    pub(crate) platform: PlatformName,
    #[command(flatten)]
    pub(crate) bus: BusArgs,
    /// Least important level that is logged.
    #[arg(long, env = "MWAN_LOG_LEVEL", default_value = "info")]
    pub(crate) log_level: LogLevel,
    /// Form of the log on standard error.
    #[arg(long, env = "MWAN_LOG_FORMAT", default_value = "text")]
    pub(crate) log_format: LogFormat,
    /// Where the log goes.
    #[arg(long, env = "MWAN_LOG_TO", default_value = "stderr")]
    pub(crate) log_to: LogTo,
    /// A file for the log beside that, at most 1 MiB and two older ones (IPFire: /var/log/mwan.log).
    #[cfg(feature = "ipfire")]
    #[arg(long, env = "MWAN_LOG_FILE", value_name = "FILE")]
    pub(crate) log_file: Option<PathBuf>,
    /// IPFire: the group whose members may see the status, switch RED and switch mwan on and off over operator.sock in the run
    /// directory; that of the web server.
    #[cfg(feature = "ipfire")]
    #[arg(long, env = "MWAN_OPERATOR_GROUP", default_value = "nobody", value_name = "GROUP")]
    pub(crate) operator_group: String,
    /// Scripts that are run when a WAN changes.
    #[command(flatten)]
    pub(crate) hooks: HookArgs,
}

/// Where scripts are found.
#[derive(ClapArgs, Debug, Clone)]
pub(crate) struct HookArgs {
    /// Shell script run with ACTION, INTERFACE and DEVICE. Default: /etc/mwan3.user, or /etc/mwan4.user if the
    /// configuration file is called mwan4; none for mwan.toml. The option user_script of the configuration comes second.
    #[arg(long, env = "MWAN_USER_SCRIPT", value_name = "FILE")]
    pub(crate) user_script: Option<PathBuf>,
    /// Directory of executables that read a JSON document (docs/schema/mwan.hook.v1.json) on standard input.
    /// Default: the option hooks_dir of the configuration, else /etc/mwan/hooks.d.
    #[arg(long, env = "MWAN_HOOKS_DIR", value_name = "DIR")]
    pub(crate) hooks_dir: Option<PathBuf>,
    /// Seconds after which a script is killed with everything it started. Default: the option hook_timeout of the
    /// configuration, else 30.
    #[arg(long, env = "MWAN_HOOK_TIMEOUT", value_name = "SECONDS",
          value_parser = clap::value_parser!(u64).range(1..=3600))]
    pub(crate) hook_timeout: Option<u64>,
}

/// Where the log goes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub(crate) enum LogTo {
    /// Standard error.
    Stderr,
    /// The system's log (/dev/log).
    Syslog,
}

/// Levels of the log.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
#[allow(missing_docs)]
pub(crate) enum LogLevel {
    Error,
    Warn,
    Info,
    Debug,
    Trace,
}

/// Form of the log.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub(crate) enum LogFormat {
    /// One line for people.
    Text,
    /// One JSON object per line.
    Json,
}
