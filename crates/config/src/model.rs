//! The one configuration model. Every front end (UCI, `mwan.toml`, …) produces a [`Config`]; nothing
//! behind it knows which format the owner writes.
//!
//! A `Config` is always internally consistent: names are unique, every reference resolves, numbers are
//! in range. Whatever did not satisfy that is left out and reported in a [`crate::Diagnostic`].

use std::cmp::Ordering;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use crate::address::bits;
use crate::ipfire::Site;
use crate::link::Link;
use crate::target::{ProbeMethod, ProbeTarget};

/// IPv4 or IPv6. The two never share health.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[cfg_attr(feature = "record", derive(serde::Serialize, serde::Deserialize))]
pub enum Family {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

impl Family {
    /// Both families, in the order every listing shows them.
    pub const ALL: [Family; 2] = [Family::V4, Family::V6];

    /// The family an address belongs to.
    pub fn of(ip: IpAddr) -> Self {
        if ip.is_ipv4() { Family::V4 } else { Family::V6 }
    }

    /// `ipv4` or `ipv6`, as configuration and status spell it.
    pub fn name(self) -> &'static str {
        match self {
            Family::V4 => "ipv4",
            Family::V6 => "ipv6",
        }
    }

    /// Number of bits of an address.
    pub fn bits(self) -> u8 {
        match self {
            Family::V4 => 32,
            Family::V6 => 128,
        }
    }
}

impl std::fmt::Display for Family {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.name())
    }
}

/// A set of families; never empty in a valid `Config`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Families {
    /// IPv4 is in the set.
    pub v4: bool,
    /// IPv6 is in the set.
    pub v6: bool,
}

impl Families {
    /// Both.
    pub const ALL: Families = Families { v4: true, v6: true };

    /// Whether `family` is in the set.
    pub fn contains(self, family: Family) -> bool {
        match family {
            Family::V4 => self.v4,
            Family::V6 => self.v6,
        }
    }

    /// The families in the set, IPv4 first.
    pub fn iter(self) -> impl Iterator<Item = Family> {
        Family::ALL.into_iter().filter(move |f| self.contains(*f))
    }
}

/// Where something was written: the file as the user named it, and a line counted from 1
/// (0: not tied to one line).
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Location {
    /// File name as given by the user.
    pub file: Arc<str>,
    /// Line, from 1; 0 when the whole file is meant.
    pub line: u32,
}

/// Everything the owner configured and that is valid.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Config {
    /// Settings of the whole program.
    pub globals: Globals,
    /// The WANs in the order of the file, disabled ones included (they hold their id).
    pub interfaces: Vec<Interface>,
    /// The policies (mwan4: strategies), in the order of the file.
    pub policies: Vec<Policy>,
    /// The rules in order of evaluation; first match wins.
    pub rules: Vec<Rule>,
    /// Named sets of addresses, in the order of the file.
    pub sets: Arc<Vec<NamedSet>>,
    /// Who is told of incidents, in the order of the file; without those that are switched off.
    pub alerts: Arc<Vec<Alert>>,
    /// Connections that have to be brought up, each for the interface of its name.
    pub links: Arc<Vec<Link>>,
    /// What of the site is IPFire's, if it is one.
    pub site: Option<Arc<Site>>,
    /// The web server, if there is a section of it.
    pub web: Option<Web>,
}

impl Config {
    /// The interface called `name`.
    pub fn interface(&self, name: &str) -> Option<&Interface> {
        self.interfaces.iter().find(|i| i.name == name)
    }

    /// The policy called `name`.
    pub fn policy(&self, name: &str) -> Option<&Policy> {
        self.policies.iter().find(|p| p.name == name)
    }
}

/// The web server: control API, dashboard, metrics.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Web {
    /// Whether it runs.
    pub enabled: bool,
    /// Where it listens; none that others reach if `tls` is off.
    pub listen: Vec<SocketAddr>,
    /// Where it speaks TLS.
    pub tls: WebTls,
    /// Files of the certificate and its key; `None`: one is made.
    pub certificate: Option<(String, String)>,
    /// A session nobody uses for so long ends.
    pub session_timeout: Duration,
    /// Group of this machine whose members may use the API's Unix socket.
    pub group: Option<String>,
    /// Names by which it may be asked, beside addresses and localhost.
    pub hostnames: Vec<String>,
}

/// `option tls` of the web server.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum WebTls {
    /// Everywhere but on loopback addresses.
    #[default]
    Auto,
    /// Everywhere.
    On,
    /// Nowhere, and so on loopback addresses only.
    Off,
}

/// Settings of the whole program.
#[derive(Clone, PartialEq, Debug)]
pub struct Globals {
    /// `option enabled` of the globals section (the cloud's configuration writes it): 0 = do nothing.
    pub enabled: bool,
    /// The bits of packet and connection marks that are ours (`mmx_mask`); at least 3 bits set.
    pub mask: u32,
    /// Global switch of rule logging.
    pub logging: bool,
    /// syslog level of rule logging, 0 (emerg) to 7 (debug).
    pub loglevel: u8,
    /// Extra routing tables whose destinations are never policy-routed (`rt_table_lookup`).
    pub rt_table_lookup: Vec<u32>,
    /// Those of them that were given by a name of `/etc/iproute2/rt_tables`, whether or not it is known.
    pub rt_table_names: Vec<NamedTable>,
    /// Interface whose address counts as the source of the router's own traffic (`local_source`).
    pub local_source: Option<String>,
    /// What a cloud configuration calls what its rules say, and the line where it does.
    pub mode: Option<(Mode, u32)>,
    /// Traffic that has a WAN's source address already leaves by that WAN.
    pub source_routing: bool,
    /// Whether we translate the source of what leaves by a WAN.
    pub masquerade: Masquerade,
    /// First priorities of our ip rule bands.
    pub rule_base: RuleBase,
    /// The routing table of an interface is its id and this.
    pub table_base: u32,
    /// Scripts that hear of transitions.
    pub hooks: HookPlaces,
    /// File that tells dnsmasq which domains fill which set.
    pub dnsmasq_file: Option<String>,
    /// Program and arguments to be run after that file has changed; empty = nothing.
    pub dnsmasq_command: Vec<String>,
    /// Whether it is recorded how the WANs are.
    pub history: bool,
    /// Memory for the last events of the core, bytes; 0: none is kept.
    pub record_bytes: u32,
    /// Whether they are written by themselves when a policy has lost its last member.
    pub record_incidents: bool,
    /// Mail addresses that are told of incidents.
    pub notification_emails: Vec<String>,
    /// A cloud's document that is applied whenever it changes; absolute.
    pub cloud_document: Option<String>,
}

/// One way to tell somebody of incidents.
#[derive(Clone, PartialEq, Debug)]
pub struct Alert {
    /// Its name.
    pub name: String,
    /// What is told of: this and worse; `None`: nothing by itself.
    pub severity: Option<AlertSeverity>,
    /// How long something has to be wrong before it is told of.
    pub min_duration: Duration,
    /// When only the worst is told of: from, to.
    pub quiet_hours: Vec<(DayTime, DayTime)>,
    /// When a digest of the day is sent.
    pub digest: Option<DayTime>,
    /// Messages an hour at most.
    pub rate_per_hour: u32,
    /// A file of certificates that are trusted instead of the system's; absolute.
    pub ca_file: Option<String>,
    /// How.
    pub how: AlertHow,
    /// Where it is written.
    pub location: Location,
}

/// How bad something is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum AlertSeverity {
    /// Something has happened.
    Info,
    /// A WAN is lost, others carry.
    Warning,
    /// mwan cannot do what is wanted.
    Error,
    /// A policy has no WAN left.
    Critical,
}

/// A time of day in local time.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct DayTime {
    /// Minutes since midnight, less than 1440.
    pub minute: u16,
}

/// How somebody is told.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum AlertHow {
    /// By e-mail.
    Email(AlertEmail),
    /// By a request to a web server.
    Webhook(AlertWebhook),
    /// By a program.
    Command {
        /// The program, absolute, and its arguments.
        argv: Vec<String>,
        /// How long it may take.
        timeout: Duration,
    },
}

/// An e-mail. It has a server or a program, not both.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AlertEmail {
    /// Recipients; at least one.
    pub to: Vec<String>,
    /// The sender.
    pub from: Option<String>,
    /// Name or address of the server.
    pub server: Option<String>,
    /// Its port.
    pub port: u16,
    /// Encryption.
    pub security: AlertSecurity,
    /// Who logs in.
    pub username: Option<String>,
    /// File that holds the password; absolute.
    pub password_file: Option<String>,
    /// A program in sendmail's manner; absolute.
    pub sendmail: Option<String>,
}

/// Encryption of a connection to a mail server.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum AlertSecurity {
    /// Begins unencrypted and must change to TLS.
    Starttls,
    /// TLS from the first byte.
    Tls,
    /// None.
    None,
}

/// A request to a web server.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AlertWebhook {
    /// Where to; `None`: where the shape's service is, or what `secret_file` holds.
    pub url: Option<String>,
    /// What is sent.
    pub shape: AlertShape,
    /// JSON with placeholders in place of it.
    pub template: Option<String>,
    /// Telegram's chat, Matrix' room.
    pub to: Option<String>,
    /// File that holds token, routing key, signing key or URL; absolute.
    pub secret_file: Option<String>,
}

/// Forms of requests.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum AlertShape {
    /// mwan's own document.
    Json,
    /// ntfy.
    Ntfy,
    /// Telegram.
    Telegram,
    /// Slack, and what takes Slack's requests (Mattermost, Discord).
    Slack,
    /// Matrix.
    Matrix,
    /// PagerDuty.
    Pagerduty,
}

/// `option mode` of cloud configurations. Nothing follows from it: the rules decide.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Mode {
    /// The rules share the traffic out.
    LoadBalance,
    /// The rules use one WAN at a time.
    FailOver,
}

/// A routing table given by its name.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NamedTable {
    /// The name.
    pub name: String,
    /// Line of the configuration.
    pub line: u32,
}

/// Where scripts are, as far as the configuration says.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct HookPlaces {
    /// Shell script in mwan3's manner; absolute.
    pub user_script: Option<String>,
    /// Directory of programs that read a document; absolute.
    pub directory: Option<String>,
    /// How long a script may take.
    pub timeout: Option<Duration>,
}

impl Default for Globals {
    fn default() -> Self {
        Globals {
            enabled: true,
            mask: 0x3F00,
            logging: false,
            loglevel: 5,
            rt_table_lookup: Vec::new(),
            rt_table_names: Vec::new(),
            local_source: None,
            mode: None,
            source_routing: false,
            masquerade: Masquerade::Auto,
            rule_base: RuleBase::default(),
            table_base: 0,
            hooks: HookPlaces::default(),
            dnsmasq_file: None,
            dnsmasq_command: Vec::new(),
            history: true,
            record_bytes: 512 << 10,
            record_incidents: true,
            notification_emails: Vec::new(),
            cloud_document: None,
        }
    }
}

/// `option masquerade`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Masquerade {
    /// On plain Linux yes, on platforms with a firewall of their own no. IPv6 only where the source
    /// cannot be valid outside (unique local, or an address of another WAN).
    Auto,
    /// Everything that leaves by a WAN, both families.
    On,
    /// Nothing.
    Off,
}

/// First priority of each band of ip rules; an interface's rule sits at base + id. mwan3's numbers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RuleBase {
    /// The one rule before all others: `lookup main suppress_prefixlength 0`.
    pub connected: u32,
    /// `iif DEVICE lookup id`, only with `iif_rules`.
    pub iif: u32,
    /// Whether the iif band is installed (mwan3 compatibility; every rule costs each packet).
    pub iif_rules: bool,
    /// `fwmark MARK/MASK lookup id`.
    pub fwmark: u32,
    /// `oif DEVICE lookup id`.
    pub oif: u32,
    /// `fwmark MARK/MASK unreachable`.
    pub unreachable: u32,
}

/// Most interfaces there can be whatever the mask: their numbers are routing tables, too, and 253 to 255 are the kernel's own.
/// mwan3's limit.
pub const INTERFACES_MAX: u32 = 250;

/// Most interfaces a mask has values for: default, unreachable and blackhole take the three highest, and 0 is "not ours".
pub fn interfaces_max(mask: u32) -> u32 {
    let values = 1u64 << mask.count_ones();
    u32::try_from(values.saturating_sub(4)).unwrap_or(u32::MAX).min(INTERFACES_MAX)
}

impl Default for RuleBase {
    fn default() -> Self {
        RuleBase { connected: 990, iif: 1000, iif_rules: false, fwmark: 2000, oif: 2500, unreachable: 3000 }
    }
}

/// A logical WAN.
#[derive(Clone, PartialEq, Debug)]
pub struct Interface {
    /// Its name; unique among interfaces.
    pub name: String,
    /// Whether it takes part at all.
    pub enabled: bool,
    /// 1-based position among all interface sections: mwan3's id, ours on first sight. At most [`INTERFACES_MAX`].
    pub position: u16,
    /// Kernel device if the configuration names one; else the platform (or the name itself) tells.
    pub device: Option<String>,
    /// Families it carries.
    pub families: Families,
    /// Configured IPv4 gateway, overriding discovery.
    pub gateway4: Option<Ipv4Addr>,
    /// Configured IPv6 gateway, overriding discovery.
    pub gateway6: Option<Ipv6Addr>,
    /// Networks that are routed to us by this interface: sources that are valid beyond it and nowhere else.
    pub routed_networks: Vec<AddressRange>,
    /// How its health is established.
    pub tracking: Tracking,
    /// State before the first verdict.
    pub initial_state: InitialState,
    /// What happens to flows on a worse member when this interface's policies fail back to a better one.
    /// It is an option of the interface that is *left*: a metered backup says `move-now`.
    pub failback: Failback,
    /// Historic conntrack flushing on events, by mark.
    pub flush_conntrack: FlushEvents,
    /// When it is made to look dead, to see what comes of it.
    pub drill: Option<DrillSchedule>,
    /// Where the section begins.
    pub location: Location,
}

/// Days of the week as they are written, in the order of the bits of [`DrillSchedule::days`].
pub const WEEKDAYS: [&str; 7] = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];

/// When an interface is drilled.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct DrillSchedule {
    /// On which days, a bit each, Monday's first; at least one.
    pub days: u8,
    /// At which time of them.
    pub at: DayTime,
    /// How long its probes count as lost.
    pub length: Duration,
}

impl DrillSchedule {
    /// Every day.
    pub const DAILY: u8 = 0x7F;

    /// Whether it is due at a time of a local day; days count from 1970-01-01.
    pub fn is_at(&self, day: i64, time: DayTime) -> bool {
        // That was a Thursday.
        let weekday = (day + 3).rem_euclid(7);
        self.days & (1 << weekday) != 0 && self.at == time
    }
}

impl fmt::Display for DrillSchedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let days = (0..WEEKDAYS.len()).filter(|day| self.days & (1 << day) != 0);
        let names: Vec<&str> = days.map(|day| WEEKDAYS[day]).collect();
        let names = if self.days == Self::DAILY { "daily".to_owned() } else { names.join(",") };
        write!(f, "{names} {:02}:{:02}", self.at.minute / 60, self.at.minute % 60)
    }
}

/// State of an interface before the first verdict of its tracker.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum InitialState {
    /// Carries traffic at once.
    Online,
    /// Carries traffic only after its first successful rounds.
    Offline,
}

/// `option failback`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Failback {
    /// Flows finish where they are (mwan3).
    Keep,
    /// Keep, but only for this long after the failback.
    Drain(Duration),
    /// Flows move at once.
    MoveNow,
}

/// `flush_conntrack`: on which events connection entries of this interface are deleted.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct FlushEvents {
    /// The device came up.
    pub ifup: bool,
    /// The device went down.
    pub ifdown: bool,
    /// The tracker says online.
    pub connected: bool,
    /// The tracker says offline.
    pub disconnected: bool,
}

/// Everything the tracker needs to know of one interface. Applies to each family on its own.
#[derive(Clone, PartialEq, Debug)]
pub struct Tracking {
    /// How plain addresses and the gateway are tested (`track_method`).
    pub method: ProbeMethod,
    /// Targets of both families; a family without targets is not tracked and counts as up.
    pub targets: Vec<ProbeTarget>,
    /// The gateway of each path is a target too (`track_gateway`).
    pub track_gateway: bool,
    /// Targets that must answer for a good round, ≥ 1.
    pub reliability: u32,
    /// Probes per target and round, ≥ 1.
    pub count: u32,
    /// How long an answer may take.
    pub timeout: Duration,
    /// Time between the starts of two rounds.
    pub interval: Duration,
    /// The same while failing.
    pub failure_interval: Duration,
    /// The same while recovering.
    pub recovery_interval: Duration,
    /// Use `failure_interval` also after the interface went offline.
    pub keep_failure_interval: bool,
    /// Good rounds until online.
    pub up: u32,
    /// Bad rounds until offline.
    pub down: u32,
    /// ICMP payload, bytes.
    pub size: u16,
    /// TTL or hop limit of probes.
    pub max_ttl: u8,
    /// `check_quality` and its thresholds.
    pub quality: Option<Quality>,
}

/// Most turns that the targets of a healthy path take: each is a wake-up of its own, and two already halve the time
/// until a fault is met by a probe.
pub const TRACKING_TURNS_MAX: u32 = 2;

impl Tracking {
    /// Time between the probes of one target. All of a round leave within its timeout, so that `count` does not delay a
    /// verdict.
    pub fn spacing(&self) -> Duration {
        (self.timeout / self.count.max(1)).min(Duration::from_secs(1))
    }

    /// How long a whole round may take. Where loss counts, the last probe has the whole timeout, too.
    pub fn round_length(&self) -> Duration {
        match self.quality {
            None => self.timeout,
            Some(_) => self.timeout + self.spacing() * self.count.saturating_sub(1),
        }
    }

    /// The longest time from the first unanswered probe to the verdict "offline": `down` bad rounds.
    pub fn verdict_after_notice(&self) -> Duration {
        let round = self.round_length();
        self.failure_interval.max(round) * self.down.saturating_sub(1) + round
    }
}

/// Thresholds of `check_quality`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Quality {
    /// A target with at least this latency is down.
    pub failure_latency_ms: u32,
    /// A target with at most this latency is up.
    pub recovery_latency_ms: u32,
    /// A target with at least this loss is down.
    pub failure_loss_percent: u8,
    /// A target with at most this loss is up.
    pub recovery_loss_percent: u8,
    /// Probes of a target that are judged together; 0: those of each round on their own, as mwan3 does.
    pub window: u32,
}

/// A policy (mwan4: strategy).
#[derive(Clone, PartialEq, Debug)]
pub struct Policy {
    /// Unique among policies.
    pub name: String,
    /// Its members, at least one.
    pub members: Vec<Member>,
    /// What happens when none is usable.
    pub last_resort: LastResort,
    /// Where the section begins.
    pub location: Location,
}

/// A member (mwan4: route) of a policy.
#[derive(Clone, PartialEq, Debug)]
pub struct Member {
    /// Name of the member section.
    pub name: String,
    /// Name of an interface of this `Config`.
    pub interface: String,
    /// The lowest metric among the usable members carries.
    pub metric: u32,
    /// Share among equal metrics, ≥ 1.
    pub weight: u32,
}

/// What happens to traffic no member can carry.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LastResort {
    /// Answered with ICMP unreachable.
    Unreachable,
    /// Dropped silently.
    Blackhole,
    /// Left to the main routing table.
    Default,
}

impl LastResort {
    /// The word in configuration and status.
    pub fn name(self) -> &'static str {
        match self {
            LastResort::Unreachable => "unreachable",
            LastResort::Blackhole => "blackhole",
            LastResort::Default => "default",
        }
    }
}

/// One ordered match.
#[derive(Clone, PartialEq, Debug)]
pub struct Rule {
    /// Unique among rules.
    pub name: String,
    /// Families it applies to: the configured ones, less those its addresses exclude.
    pub families: Families,
    /// IP protocol numbers; empty = all.
    pub protocols: Vec<u8>,
    /// Source addresses; `None` = any.
    pub source: Option<AddressMatch>,
    /// Destination addresses; `None` = any.
    pub destination: Option<AddressMatch>,
    /// Source ports; empty = any. Only with tcp or udp.
    pub source_ports: Vec<PortRange>,
    /// Destination ports; empty = any. Only with tcp or udp.
    pub destination_ports: Vec<PortRange>,
    /// Logical name of the interface the packet came in by.
    pub source_interface: Option<String>,
    /// Name of a set the destination must be in (`ipset`).
    pub destination_set: Option<String>,
    /// Name of a set the source must be in (`ipset_src`).
    pub source_set: Option<String>,
    /// Sticky, and how.
    pub sticky: Option<Sticky>,
    /// Log the first packet (needs the global switch too).
    pub logging: bool,
    /// Where matching traffic goes.
    pub target: Target,
    /// Where the section begins.
    pub location: Location,
}

/// A source keeps its WAN.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Sticky {
    /// For so long after its last new connection.
    pub timeout: Duration,
    /// What keeps it.
    pub key: StickyKey,
}

/// What keeps its WAN.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum StickyKey {
    /// A source address.
    Source,
    /// A source address for each destination address.
    SourceAndDestination,
}

/// A named set of addresses.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NamedSet {
    /// Unique among sets.
    pub name: String,
    /// Families it has addresses of.
    pub families: Families,
    /// What the owner lists, inline and in the file; in any order.
    pub entries: Arc<Vec<AddressRange>>,
    /// Path of a file that lists more.
    pub file: Option<String>,
    /// Domains whose addresses the resolver enters.
    pub domains: Arc<Vec<String>>,
    /// How long what others enter stays; `None`: for ever.
    pub timeout: Option<Duration>,
    /// Count packets per element.
    pub counters: bool,
    /// How the kernel holds the entries: chosen by the compiler (`mwan_compile::lay_out`), whoever reads a configuration
    /// leaves it empty.
    pub layout: SetLayout,
    /// Where the section begins.
    pub location: Location,
}

/// How the kernel holds the entries of a named set, by family. Without levels: as ranges, in one set that is searched.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct SetLayout {
    /// IPv4.
    pub v4: Vec<BlockLevel>,
    /// IPv6.
    pub v6: Vec<BlockLevel>,
    /// Blocks with anything of the list of a family in them (IPv4, IPv6), which are asked for first where there are many
    /// levels.
    pub near: [Option<BlockLevel>; 2],
    /// Which levels there are together in one of those blocks, by family: sets of levels, the first level is bit 0.
    pub codes: [Vec<u32>; 2],
}

impl SetLayout {
    /// Blocks with anything of the family's list in them.
    pub fn near(&self, family: Family) -> Option<BlockLevel> {
        self.near[usize::from(family == Family::V6)]
    }

    /// The sets of levels of a family.
    pub fn codes(&self, family: Family) -> &[u32] {
        &self.codes[usize::from(family == Family::V6)]
    }

    /// The levels of a family, ascending by length.
    pub fn of(&self, family: Family) -> &[BlockLevel] {
        match family {
            Family::V4 => &self.v4,
            Family::V6 => &self.v6,
        }
    }
}

/// Blocks of one size: prefixes of one length, which are found by one look at a hash table.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct BlockLevel {
    /// Their prefix length, bits.
    pub length: u8,
    /// How many there is room for.
    pub size: u32,
}

/// A list of address ranges of one or both families, or its negation.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AddressMatch {
    /// At least one range.
    pub ranges: Vec<AddressRange>,
    /// Matches what is *not* in `ranges`.
    pub negated: bool,
}

/// `first..=last` of one family, `first <= last`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct AddressRange {
    /// Lowest address.
    pub first: IpAddr,
    /// Highest address, same family.
    pub last: IpAddr,
}

impl AddressRange {
    fn key(&self) -> (bool, u128, u128) {
        (self.first.is_ipv6(), bits(self.first), bits(self.last))
    }
}

/// As derived, but by numbers: comparing addresses byte by byte is most of what sorting a long list takes.
impl Ord for AddressRange {
    fn cmp(&self, other: &Self) -> Ordering {
        self.key().cmp(&other.key())
    }
}

impl PartialOrd for AddressRange {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }

    fn lt(&self, other: &Self) -> bool {
        self.key() < other.key()
    }
}

/// `first..=last`, `first <= last`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct PortRange {
    /// Lowest port.
    pub first: u16,
    /// Highest port.
    pub last: u16,
}

/// Where a rule sends traffic.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Target {
    /// A policy of this `Config`.
    Policy(String),
    /// The main routing table, or nowhere: `default`, `unreachable`, `blackhole`.
    Direct(LastResort),
}
