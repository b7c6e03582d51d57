//! Why a packet goes where it goes.

use serde::{Deserialize, Serialize};

/// Name of the schema of [`Explanation`].
pub const SCHEMA_EXPLANATION: &str = "mwan.explanation.v1";

wire! {
/// Which packet is to be explained: one that is described, or that of a connection.
#[derive(Default)]
pub struct ExplainQuery {
    /// Its source address; absent: the router's own packet, with the source the kernel would choose.
    #[serde(default)]
    pub from: Option<String>,
    /// Where to: `ADDRESS`, `ADDRESS:PORT`, `ADDRESS:PORT/PROTOCOL`, `ADDRESS/PROTOCOL`, IPv6 with a port in brackets. Without a
    /// protocol a port means tcp, no port a ping.
    #[serde(default)]
    pub to: Option<String>,
    /// Interface or device it comes in by; absent: that on whose network the source is.
    #[serde(default)]
    pub input: Option<String>,
    /// `ipv4` or `ipv6`, to be sure.
    #[serde(default)]
    pub family: Option<String>,
    /// Its source port; absent: 40000, where there are ports.
    #[serde(default)]
    pub sport: Option<u16>,
    /// A live connection instead: words that its line in conntrack has, such as an address, `ADDRESS:PORT`, a protocol, or the
    /// kernel's number of it.
    #[serde(default)]
    pub flow: Option<String>,
    /// Send a real packet on its way, as far as this machine's last hook, and compare.
    #[serde(default)]
    pub verify: bool,
}

/// Why a packet goes where it goes; schema `mwan.explanation.v1`.
pub struct Explanation {
    /// `mwan.explanation.v1`.
    pub schema: String,
    /// The packet.
    pub packet: ExplainedPacket,
    /// What was assumed, or could not be found out.
    pub notes: Vec<String>,
    /// What was asked before the rules, in order.
    pub steps: Vec<ExplainedStep>,
    /// Rules in the order in which they were asked, up to the one that matched.
    pub rules: Vec<AskedRule>,
    /// `inbound`, `network`, `home`, `rule`, `unmatched`: what decided.
    pub decided_by: String,
    /// The rule that did.
    pub rule: Option<String>,
    /// Its policy, or `default`, `unreachable`, `blackhole`.
    pub target: Option<String>,
    /// The members of the policy, in its order.
    pub members: Vec<ExplainedMember>,
    /// How one of several is chosen: `only`, `random`, `sticky`, `hash`.
    pub choice: String,
    /// The same in words.
    pub choice_text: String,
    /// Where it goes; several only if it is left to chance.
    pub ways: Vec<ExplainedWay>,
    /// What would decide if this did not: a rule, and what carries it.
    pub next: Option<NextDecision>,
    /// The live connection it was made from.
    pub flow: Option<ExplainedFlow>,
    /// What a real packet did.
    pub verified: Option<Verification>,
}

/// The packet that is explained.
pub struct ExplainedPacket {
    /// `ipv4` or `ipv6`.
    pub family: String,
    /// Name or number of its protocol.
    pub protocol: String,
    /// Its source address.
    pub source: String,
    /// Its source port.
    pub source_port: Option<u16>,
    /// Its destination address.
    pub destination: String,
    /// Its destination port.
    pub destination_port: Option<u16>,
    /// Device it comes in by; absent: the router's own.
    pub input: Option<String>,
}

/// A question before the rules.
pub struct ExplainedStep {
    /// `inbound`, `network`, `home`, `own`.
    pub step: String,
    /// Whether it decided.
    pub decided: bool,
    /// What was found, for people.
    pub text: String,
}

/// A rule that was asked.
pub struct AskedRule {
    /// Its name.
    pub rule: String,
    /// Whether it matched.
    pub matched: bool,
    /// The first criterion that was against it: `family`, `src_iface`, `proto`, `src_ip`, `dest_ip`, `src_port`, `dest_port`, `ipset_src`,
    /// `ipset`.
    pub criterion: Option<String>,
    /// What it asks for there.
    pub wanted: Option<String>,
    /// What the packet has.
    pub value: Option<String>,
}

/// A member of the policy.
pub struct ExplainedMember {
    /// Its interface.
    pub interface: String,
    /// Its metric.
    pub metric: u32,
    /// Its weight.
    pub weight: u32,
    /// Its part of new connections, percent; absent: none.
    pub percent: Option<u32>,
    /// Why it has none.
    pub out: Option<String>,
}

/// Where a packet goes.
pub struct ExplainedWay {
    /// How likely, percent.
    pub percent: u32,
    /// The interface it is marked for.
    pub interface: Option<String>,
    /// Its mark, of our bits.
    pub mark: String,
    /// `route`, `main`, `unreachable`, `blackhole`.
    pub leads: String,
    /// The routing table that has its route.
    pub table: Option<u32>,
    /// Device it leaves by.
    pub device: Option<String>,
    /// Next hop; absent: none is needed.
    pub gateway: Option<String>,
    /// Its source when it has left.
    pub source: Option<String>,
    /// Whether we translate its source.
    pub translated: bool,
    /// What would carry it if this interface did not.
    pub instead: Option<String>,
}

/// What would decide if the decision were not.
pub struct NextDecision {
    /// The rule that matches.
    pub rule: String,
    /// What carries it.
    pub carried_by: String,
}

/// A live connection.
pub struct ExplainedFlow {
    /// The kernel's number.
    pub id: u32,
    /// Its connection mark.
    pub mark: String,
    /// The interface it is on, or `default`, `unreachable`, `blackhole`; absent: it is older than mwan.
    pub interface: Option<String>,
    /// The source its packets leave with.
    pub leaves_as: String,
    /// Whether it would go elsewhere if it were new; absent: chance decides.
    pub would_move: Option<bool>,
    /// The same in words.
    pub text: String,
}

/// What a real packet did.
pub struct Verification {
    /// `agreed`, `differs`, `unknown`.
    pub outcome: String,
    /// Each thing compared.
    pub compared: Vec<Compared>,
    /// What is to be known of the test.
    pub notes: Vec<String>,
}

/// One thing that was compared.
pub struct Compared {
    /// `mark`, `device`, `source`.
    pub what: String,
    /// By the explanation; several if it is left to chance.
    pub explained: String,
    /// In the kernel.
    pub seen: String,
    /// Whether they agree.
    pub agree: bool,
}
}
