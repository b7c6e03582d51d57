//! The table of steps.

use std::fmt::Write as _;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use super::parse::{Words, parse_duration};
use super::{DaemonOp, Expect, Reference, StatusIs, Step};
use crate::capture::{TCP, UDP};
use crate::catchers::Catcher;
use crate::faults::Direction;
use crate::flows::{FlowSpec, Kind};
use crate::responders::Responder;

/// Of a share, percent, if nothing else is said. Some ten are expected on each commit: at 99.9 % one run in a hundred would fail by
/// chance, while shares that are wrong by a tenth have a probability far below 10^-6 with 3,000 connections.
const CONFIDENCE: f64 = 99.9999;

type Parse = fn(&mut Words<'_>, &[&str]) -> Result<Step, String>;

/// One kind of step: how it begins, how it is written, what it does.
pub struct StepDoc {
    /// First words; those in capitals stand for any word.
    pub head: &'static str,
    /// The whole line.
    pub usage: &'static str,
    /// What it does.
    pub about: &'static str,
    pub(super) parse: Parse,
}

impl StepDoc {
    pub(super) fn pattern(&self) -> impl Iterator<Item = &'static str> {
        self.head.split(' ')
    }

    /// The words standing at the capitals if the line begins like this.
    fn matches<'a>(&self, words: &'a [String]) -> Option<Vec<&'a str>> {
        let mut names = Vec::new();
        for (index, want) in self.pattern().enumerate() {
            let have = words.get(index)?;
            if want.bytes().all(|b| b.is_ascii_uppercase()) {
                names.push(have.as_str());
            } else if want != have {
                return None;
            }
        }
        Some(names)
    }
}

/// The step a line is, with the words at its capitals; else a message with the nearest step.
pub(super) fn find(words: &[String]) -> Result<(&'static StepDoc, Vec<&str>), String> {
    for doc in STEPS {
        if let Some(names) = doc.matches(words) {
            return Ok((doc, names));
        }
    }
    let first = words.first().map_or("", String::as_str);
    let same: Vec<&StepDoc> = STEPS.iter().filter(|d| d.pattern().next() == Some(first)).collect();
    if !same.is_empty() {
        let usages = same.iter().map(|d| d.usage).collect::<Vec<_>>().join("\n      ");
        return Err(format!("`{}` is not a step\nhint: usage: {usages}", words.join(" ")));
    }
    let nearest = STEPS.iter().filter_map(|d| d.pattern().next()).min_by_key(|h| distance(h, first));
    Err(format!("`{first}` is not a step\nhint: do you mean `{}`?", nearest.unwrap_or("flow")))
}

/// Levenshtein distance.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, ca) in a.chars().enumerate() {
        let mut left = i + 1;
        let mut diagonal = row[0];
        row[0] = left;
        for (j, cb) in b.iter().enumerate() {
            let best = (diagonal + usize::from(ca != *cb)).min(left + 1).min(row[j + 1] + 1);
            diagonal = std::mem::replace(&mut row[j + 1], best);
            left = best;
        }
    }
    row.last().copied().unwrap_or(0)
}

macro_rules! step {
    ($head:literal, $usage:literal, $about:literal, $parse:expr) => {
        StepDoc { head: $head, usage: $usage, about: $about, parse: $parse }
    };
}

/// Every step there is, in the order of the documentation.
pub const STEPS: &[StepDoc] = &[
    step!(
        "limit",
        "limit TIME",
        "Bound of the whole run; it fails when exceeded. 3 minutes without it.",
        |w, _| { Ok(Step::Limit(w.duration()?)) }
    ),
    step!(
        "config",
        "config FILE | config <<END",
        "The daemon's configuration: a file used unchanged (`.toml`: mwan's own format), or the following lines \
         up to END. Later on it replaces the file (and does not signal the daemon).",
        |w, _| Ok(Step::Config(w.text()?))
    ),
    step!(
        "daemon start",
        "daemon start [ARGUMENT…]",
        "Starts `mwan daemon` in the router and waits until `mwan status` answers. Placeholders as in `exec`.",
        |w, _| Ok(Step::Daemon(DaemonOp::Start, w.all()))
    ),
    step!(
        "daemon launch",
        "daemon launch",
        "Starts it again and goes on at once, while it is still starting.",
        |_, _| { Ok(Step::Daemon(DaemonOp::Launch, Vec::new())) }
    ),
    step!("daemon stop", "daemon stop", "SIGTERM to the daemon, and waits for its end.", |_, _| {
        Ok(Step::Daemon(DaemonOp::Stop, Vec::new()))
    }),
    step!("daemon kill", "daemon kill", "SIGKILL to the daemon.", |_, _| {
        Ok(Step::Daemon(DaemonOp::Kill, Vec::new()))
    }),
    step!("daemon restart", "daemon restart", "SIGKILL, then starts it again as before.", |_, _| {
        Ok(Step::Daemon(DaemonOp::Restart, Vec::new()))
    }),
    step!("daemon reload", "daemon reload", "SIGHUP to the daemon.", |_, _| {
        Ok(Step::Daemon(DaemonOp::Reload, Vec::new()))
    }),
    step!(
        "wait STATE NAME",
        "wait STATE INTERFACE [ipv4|ipv6] within TIME",
        "Polls `mwan status --json` until the interface's path (both families without one) is `online`, `offline`, \
         `connecting`, `disconnecting`, `disabled` or `unknown`, or `carries` traffic or is `idle`. The moment is \
         the *verdict* later steps refer to.",
        |w, n| {
            let is = status_is(w, n);
            Ok(Step::Wait(is, w.within(None)?))
        }
    ),
    step!(
        "hold",
        "hold TIME[..TIME]",
        "Lets traffic run; with two times, one drawn between them by the seed.",
        |w, _| {
            let word = w.next("a time")?;
            let (low, high) = word.split_once("..").unwrap_or((word, word));
            Ok(Step::Hold(parse_duration(low)?, parse_duration(high)?))
        }
    ),
    step!("carrier", "carrier down|up ISP", "The ISP's end of the link goes down or up.", |w, _| {
        let up = choice(w, &[("down", false), ("up", true)])?;
        Ok(Step::Carrier(w.next("an ISP")?.into(), up))
    }),
    step!(
        "blackhole NAME",
        "blackhole ISP [ipv4|ipv6]",
        "Everything (of a family) vanishes inside the ISP; carrier, ARP and neighbour discovery stay.",
        |w, n| {
            let (v4, v6) = (w.eat("ipv4"), w.eat("ipv6"));
            Ok(Step::Blackhole(name(n, 0), v4 || !v6, v6 || !v4))
        }
    ),
    step!(
        "oneway NAME",
        "oneway ISP in|out",
        "What is sent to (in) or by (out) the router vanishes.",
        |w, n| { Ok(Step::Oneway(name(n, 0), direction(w)?)) }
    ),
    step!(
        "loss NAME",
        "loss ISP PERCENT% [in|out|both]",
        "Random loss; towards the router if not said otherwise.",
        |w, n| {
            let word = w.next("a percentage")?;
            let percent: f64 =
                word.trim_end_matches('%').parse().map_err(|_| format!("`{word}` is no percentage"))?;
            if !(0.0..=100.0).contains(&percent) {
                return Err(format!("`{word}` is no percentage"));
            }
            let direction = if w.peek().is_some() { direction(w)? } else { Direction::In };
            Ok(Step::Loss(name(n, 0), (percent * 100.0) as u32, direction))
        }
    ),
    step!(
        "delay NAME",
        "delay ISP TIME",
        "Adds that much round trip time (a relay in user space); 0 ends it.",
        |w, n| {
            let time = w.duration()?;
            Ok(Step::Delay(name(n, 0), u64::try_from(time.as_millis()).unwrap_or(u64::MAX)))
        }
    ),
    step!("heal NAME", "heal ISP", "Ends blackhole, oneway, loss and delay of an ISP.", |_, n| {
        Ok(Step::Heal(name(n, 0)))
    }),
    step!(
        "renumber NAME",
        "renumber ISP ADDRESS/PREFIX gateway ADDRESS",
        "The ISP gives the router another address; router, ISP and far end are changed as DHCP or pppd would.",
        |w, n| {
            let address = w.value("an address with prefix length")?;
            w.keyword("gateway")?;
            Ok(Step::Renumber(name(n, 0), address, w.value("an address")?))
        }
    ),
    step!(
        "gateway NAME",
        "gateway ISP ADDRESS",
        "The ISP's gateway (and the router's default route) changes.",
        |w, n| { Ok(Step::Gateway(name(n, 0), w.value("an address")?)) }
    ),
    step!(
        "rename FROM TO",
        "rename DEVICE DEVICE",
        "Renames a WAN device of the router; addresses and routes return.",
        |_, n| { Ok(Step::Rename(name(n, 0), name(n, 1))) }
    ),
    step!(
        "exec",
        "exec [exit=CODE] NODE PROGRAM [ARGUMENT…] [<<END]",
        "Runs a program in a node (no shell) and checks its exit code, 0 if not said. `{mwan}`, `{lab}`, `{run}`, \
         `{config}` stand for the programs, the run folder and the configuration file. The lines up to END are its standard input. \
         Counts as a *fault*.",
        |w, _| {
            let (exit, input) = (exit_code(w)?, w.input().unwrap_or_default());
            Ok(Step::Exec(w.next("a node")?.into(), argv(w)?, exit, input))
        }
    ),
    step!(
        "mwan",
        "mwan [exit=CODE] ARGUMENT…",
        "Runs `mwan --run-dir … ARGUMENT…` in the router.",
        |w, _| {
            let exit = exit_code(w)?;
            Ok(Step::Mwan(argv(w)?, exit))
        }
    ),
    step!(
        "answer",
        "answer FILE NAME [exit=CODE] ARGUMENT…",
        "Runs `mwan ARGUMENT…` like `mwan`; the document FILE shows just this output between `<!-- answer: NAME -->` and `<!-- end -->`, \
         times and numbers the kernel gives aside. `UPDATE_GOLDEN=1` writes it there.",
        |w, _| {
            let (document, name) = (w.file()?, w.next("a name")?.to_owned());
            let exit = exit_code(w)?;
            Ok(Step::Answer(document, name, argv(w)?, exit))
        }
    ),
    step!(
        "serve NAME",
        "serve NAME tcp|udp NODE ADDRESS:PORT",
        "An echo server on its own; packets to and from its port count as flow NAME.",
        |w, n| {
            let protocol = choice(w, &[("tcp", TCP), ("udp", UDP)])?;
            Ok(Step::Serve(name(n, 0), protocol, w.next("a node")?.into(), w.value("an address and port")?))
        }
    ),
    step!(
        "respond",
        "respond http|https|dns NODE ADDRESS:PORT [STATUS [LOCATION]]",
        "A server that answers every HTTP request with STATUS (200) and, if given, a redirection; or every DNS question \
         with one record.",
        |w, _| {
            let what = w.next("http, https or dns")?;
            let (node, address) = (w.next("a node")?.to_owned(), w.value("an address and port")?);
            let responder = match what {
                "dns" => Responder::Dns,
                "http" | "https" => {
                    let status = if w.peek().is_some() { w.value("a status")? } else { 200 };
                    let location =
                        if w.peek().is_some() { Some(w.next("a location")?.to_owned()) } else { None };
                    Responder::Http { tls: what == "https", status, location }
                }
                other => return Err(format!("`{other}` is not http, https or dns")),
            };
            Ok(Step::Respond(responder, node, address))
        }
    ),
    step!(
        "catch",
        "catch smtp|http NODE ADDRESS:PORT FILE [OPTION…]",
        "A mail or web server (`lab/catchers/catch.py` with its options) that appends what it is sent to `{run}/FILE`, one line of \
         JSON for each message, with the sender's address as `peer`.",
        |w, _| {
            let kind = w.next("smtp or http")?;
            if !["smtp", "http"].contains(&kind) {
                return Err(format!("`{kind}` is not smtp or http"));
            }
            let kind = kind.to_owned();
            let (node, address) = (w.next("a node")?.to_owned(), w.value("an address and port")?);
            let file = w.next("a file")?.to_owned();
            Ok(Step::Catch(Catcher { kind, address, options: w.all() }, node, file))
        }
    ),
    step!(
        "flow NAME tcp long",
        "flow NAME tcp long [OPTION=…] to ADDRESS[:PORT]",
        "`count` (1) persistent connections exchanging a message every `interval` (100ms); an answer later than \
         `timeout` (1s) makes them connect anew.",
        |w, n| flow(w, n, Kind::TcpLong)
    ),
    step!(
        "flow NAME udp stream",
        "flow NAME udp stream [OPTION=…] to ADDRESS[:PORT]",
        "`count` (1) sockets sending every `interval` (10ms) from one port each; every message is accounted for.",
        |w, n| flow(w, n, Kind::UdpStream)
    ),
    step!(
        "flow NAME udp new",
        "flow NAME udp new [OPTION=…] to ADDRESS[:PORT]",
        "Every `interval` (10ms) a message from a new source port: each a new connection to the router.",
        |w, n| flow(w, n, Kind::UdpNew)
    ),
    step!(
        "flow NAME tcp short",
        "flow NAME tcp short [OPTION=…] to ADDRESS[:PORT]",
        "`count` (100) connections of one message, `rate` per second (as fast as possible). The scenario waits for \
         the last one unless `background`.",
        |w, n| flow(w, n, Kind::TcpShort)
    ),
    step!(
        "flow NAME udp short",
        "flow NAME udp short [OPTION=…] to ADDRESS[:PORT]",
        "The same with UDP.",
        |w, n| flow(w, n, Kind::UdpShort)
    ),
    step!(
        "flow NAME ping",
        "flow NAME ping [OPTION=…] to ADDRESS",
        "`count` (1) pings every `interval` (100ms).",
        |w, n| { flow(w, n, Kind::Ping) }
    ),
    step!("stop NAME", "stop FLOW", "Ends a flow; its counts stay.", |_, n| Ok(Step::Stop(name(n, 0)))),
    step!("reset", "reset [FLOW]", "Counts and captures begin anew, for one flow or for all.", |w, _| {
        Ok(Step::Reset(w.next("").ok().map(Into::into)))
    }),
    step!(
        "scan",
        "scan ISP… every TIME",
        "From now on the far end probes random ports of the router's addresses there.",
        |w, _| {
            let mut isps = Vec::new();
            while !w.eat("every") {
                isps.push(w.next("`every TIME`")?.to_owned());
            }
            Ok(Step::Scan(isps, w.duration()?))
        }
    ),
    step!(
        "snapshot NAME",
        "snapshot NAME",
        "Remembers ip rules, all routes and the nft ruleset of the router.",
        |_, n| { Ok(Step::Snapshot(name(n, 0))) }
    ),
    step!(
        "expect share",
        "expect share ISP:ISP[:ISP] N:N[:N] of FLOW [confidence PERCENT]",
        "The flow's connections since the last reset split by these weights, by a chi-squared test (99.9999 %).",
        expect_share
    ),
    step!(
        "expect flow NAME lost",
        "expect flow FLOW lost N",
        "At most N messages were lost since the last reset.",
        |w, n| { Ok(Step::Expect(Expect::Lost(name(n, 0), w.value("a number")?))) }
    ),
    step!(
        "expect flow NAME resets",
        "expect flow FLOW resets N",
        "At most N connections were reset.",
        |w, n| { Ok(Step::Expect(Expect::Resets(name(n, 0), w.value("a number")?))) }
    ),
    step!(
        "expect flow NAME undisturbed",
        "expect flow FLOW undisturbed",
        "Nothing lost, nothing reset, nothing reconnected since the last reset.",
        |_, n| Ok(Step::Expect(Expect::Undisturbed(name(n, 0))))
    ),
    step!(
        "expect flow NAME on",
        "expect flow FLOW on ISP within TIME [of fault|verdict]",
        "A packet of the flow leaves by the ISP that soon after the last fault (or verdict).",
        |w, n| {
            let isp = w.next("an ISP")?.into();
            let within = w.within(None)?;
            Ok(Step::Expect(Expect::On(name(n, 0), isp, within, reference(w, Reference::Fault)?)))
        }
    ),
    step!(
        "expect flow NAME only on",
        "expect flow FLOW only on ISP for TIME",
        "Watches that long: the flow leaves by this ISP and by no other.",
        |w, n| {
            let isp = w.next("an ISP")?.into();
            w.keyword("for")?;
            Ok(Step::Expect(Expect::OnlyOn(name(n, 0), isp, w.duration()?)))
        }
    ),
    step!(
        "expect flow NAME reconnected",
        "expect flow FLOW reconnected within TIME [of verdict|fault]",
        "Every connection of the flow answers again that soon after the last verdict (or fault).",
        |w, n| {
            let within = w.within(None)?;
            Ok(Step::Expect(Expect::Reconnected(name(n, 0), within, reference(w, Reference::Verdict)?)))
        }
    ),
    step!(
        "expect no packets of NAME on",
        "expect no packets of FLOW on ISP after TIME [of verdict|fault] [for TIME]",
        "From that long after the last verdict (or fault) the flow is silent there; watched for 1 s or as said.",
        |w, n| {
            let isp = w.next("an ISP")?.into();
            w.keyword("after")?;
            let after = w.duration()?;
            let reference = reference(w, Reference::Verdict)?;
            let watch = if w.eat("for") { w.duration()? } else { Duration::from_secs(1) };
            Ok(Step::Expect(Expect::NotOn(name(n, 0), isp, after, reference, watch)))
        }
    ),
    step!(
        "expect source of NAME on",
        "expect source of FLOW on ISP",
        "On that ISP's wire the flow was seen, with the address this ISP gave out and no other.",
        |w, n| Ok(Step::Expect(Expect::Source(name(n, 0), w.next("an ISP")?.into())))
    ),
    step!(
        "expect no foreign",
        "expect no foreign sources",
        "No ISP saw a source address it did not give out.",
        |w, _| {
            w.keyword("sources")?;
            Ok(Step::Expect(Expect::NoForeign))
        }
    ),
    step!(
        "expect output",
        "expect output TEXT within TIME from NODE PROGRAM [ARGUMENT…]",
        "Runs the program again and again until its output contains the text.",
        |w, _| output(w, true)
    ),
    step!(
        "expect no output",
        "expect no output TEXT within TIME from NODE PROGRAM [ARGUMENT…]",
        "The same, until it does not contain it.",
        |w, _| output(w, false)
    ),
    step!(
        "expect kernel NAME",
        "expect kernel SNAPSHOT [within TIME]",
        "ip rules, routes and nft ruleset of the router equal the snapshot, line by line (order of lines, counters and \
         timers aside).",
        |w, n| Ok(Step::Expect(Expect::Kernel(name(n, 0), w.within(Some(Duration::ZERO))?)))
    ),
    step!(
        "expect diff empty",
        "expect diff empty [within TIME]",
        "`mwan diff` exits 0: the kernel has what is wanted.",
        |w, _| { Ok(Step::Expect(Expect::Diff(w.within(Some(Duration::ZERO))?))) }
    ),
    step!(
        "expect steady STATE NAME",
        "expect steady STATE INTERFACE [ipv4|ipv6] for TIME",
        "Watches that long: the status never changes.",
        |w, n| {
            let is = status_is(w, n);
            w.keyword("for")?;
            Ok(Step::Expect(Expect::Steady(is, w.duration()?)))
        }
    ),
    step!("expect log", "expect log TEXT [within TIME]", "The daemon's log contains the text.", |w, _| {
        let text = w.next("a text")?.into();
        Ok(Step::Expect(Expect::Log(text, w.within(Some(Duration::ZERO))?)))
    }),
];

fn name(names: &[&str], index: usize) -> String {
    names.get(index).copied().unwrap_or_default().to_owned()
}

fn choice<T: Copy>(w: &mut Words<'_>, choices: &[(&str, T)]) -> Result<T, String> {
    let names: Vec<&str> = choices.iter().map(|(n, _)| *n).collect();
    let word = w.next(&names.join(" or "))?;
    let found = choices.iter().find(|(n, _)| *n == word).map(|(_, v)| *v);
    found.ok_or_else(|| format!("`{word}` is none of {}", names.join(", ")))
}

fn direction(w: &mut Words<'_>) -> Result<Direction, String> {
    choice(w, &[("in", Direction::In), ("out", Direction::Out), ("both", Direction::Both)])
}

fn reference(w: &mut Words<'_>, default: Reference) -> Result<Reference, String> {
    if !w.eat("of") {
        return Ok(default);
    }
    choice(w, &[("fault", Reference::Fault), ("verdict", Reference::Verdict)])
}

fn status_is(w: &mut Words<'_>, names: &[&str]) -> StatusIs {
    let family = ["ipv4", "ipv6"].into_iter().find(|f| w.eat(f)).map(Into::into);
    StatusIs { state: name(names, 0), interface: name(names, 1), family }
}

fn exit_code(w: &mut Words<'_>) -> Result<i32, String> {
    let Some(code) = w.peek().and_then(|word| word.strip_prefix("exit=")) else { return Ok(0) };
    w.next("")?;
    code.parse().map_err(|_| format!("`{code}` is not an exit code"))
}

fn argv(w: &mut Words<'_>) -> Result<Vec<String>, String> {
    let all = w.all();
    if all.is_empty() { Err("a program is missing".into()) } else { Ok(all) }
}

fn output(w: &mut Words<'_>, present: bool) -> Result<Step, String> {
    let text = w.next("a text")?.into();
    let within = w.within(None)?;
    w.keyword("from")?;
    let node = w.next("a node")?.into();
    Ok(Step::Expect(Expect::Output(present, text, within, node, argv(w)?)))
}

fn expect_share(w: &mut Words<'_>, _: &[&str]) -> Result<Step, String> {
    let isps: Vec<String> = w.next("ISPs")?.split(':').map(Into::into).collect();
    let weights = w.next("weights")?.split(':').map(str::parse).collect::<Result<Vec<u64>, _>>();
    let weights = weights.map_err(|e| format!("weights: {e}"))?;
    if weights.len() != isps.len() || weights.len() < 2 || weights.iter().any(|n| *n > 1_000_000) {
        return Err("as many weights as ISPs, at least two".into());
    }
    w.keyword("of")?;
    let flow = w.next("a flow")?.into();
    let confidence = if w.eat("confidence") { w.value("a percentage")? } else { CONFIDENCE };
    Ok(Step::Expect(Expect::Share { isps, weights, flow, confidence }))
}

/// Options every flow takes.
const FLOW_OPTIONS: &str = "`count`, `interval`, `rate`, `timeout`, `from` (node, client), `device` (bind to it), \
                            `source` (bind to it), `server=NODE/ADDRESS:PORT` (who serves, for port forwards), `background`";

fn flow(w: &mut Words<'_>, names: &[&str], kind: Kind) -> Result<Step, String> {
    let mut spec = FlowSpec::new(&name(names, 0), kind);
    let mut addressed = false;
    while let Some(word) = w.peek() {
        w.next("")?;
        if word == "to" {
            destination(&mut spec, w.next("an address")?)?;
            addressed = true;
        } else {
            let (key, value) = word.split_once('=').unwrap_or((word, ""));
            flow_option(&mut spec, key, value)?;
        }
    }
    if addressed { Ok(Step::Flow(Box::new(spec))) } else { Err("`to ADDRESS` is missing".into()) }
}

fn destination(spec: &mut FlowSpec, to: &str) -> Result<(), String> {
    match (to.parse::<SocketAddr>(), to.parse::<IpAddr>()) {
        (Ok(full), _) => (spec.to, spec.port) = (full.ip(), Some(full.port())),
        (_, Ok(ip)) => spec.to = ip,
        _ => {
            let hint = "198.51.100.10, 198.51.100.10:443 or [2001:db8::1]:443";
            return Err(format!("`{to}` is not an address\nhint: {hint}"));
        }
    }
    Ok(())
}

/// More parallel connections than a two-core machine can honestly serve.
const COUNT_MAX: u32 = 100_000;

fn flow_option(spec: &mut FlowSpec, key: &str, value: &str) -> Result<(), String> {
    let bad = || format!("`{value}` is not a value of `{key}`");
    match key {
        "count" => {
            spec.count = value.parse().map_err(|_| bad())?;
            let max = if spec.kind.is_finite() { COUNT_MAX } else { 500 };
            if spec.count == 0 || spec.count > max {
                return Err(format!("count is 1 to {max}"));
            }
        }
        "interval" => {
            spec.interval = parse_duration(value)?;
            if spec.interval < Duration::from_micros(500) {
                return Err("interval is at least 500us".into());
            }
        }
        "rate" => {
            let rate: f64 = value.parse().map_err(|_| bad())?;
            if !(0.1..=10_000.0).contains(&rate) {
                return Err(bad());
            }
            spec.interval = Duration::from_secs_f64(1.0 / rate);
        }
        "timeout" => spec.timeout = parse_duration(value)?.max(Duration::from_millis(10)),
        "from" => spec.from = value.into(),
        "device" => spec.device = Some(value.into()),
        "source" => spec.source = Some(value.parse().map_err(|_| bad())?),
        "server" => {
            let (node, address) = value.split_once('/').ok_or_else(bad)?;
            spec.server = Some((node.into(), address.parse().map_err(|_| bad())?));
        }
        "background" => spec.background = true,
        _ => return Err(format!("`{key}` is not an option of a flow\nhint: {FLOW_OPTIONS}")),
    }
    Ok(())
}

/// The step reference of `docs/lab.md`.
pub fn documentation() -> String {
    let mut out = String::from("| step | what it does |\n|---|---|\n");
    let fixed = [
        ("topology FILE", "The network; relative to the scenario's folder. Once, first."),
        ("repeat N … end", "Repeats the lines between; may be nested."),
        ("fails STEP", "The step must *not* succeed."),
    ];
    let cell = |text: &str| text.replace('|', "\\|");
    for (usage, about) in fixed {
        let _ = writeln!(out, "| `{usage}` | {about} |");
    }
    for doc in STEPS {
        let _ = writeln!(out, "| `{}` | {} |", cell(doc.usage), cell(doc.about));
    }
    let _ = writeln!(out, "\nOptions of flows: {FLOW_OPTIONS}.");
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_step_reference_in_the_documentation_is_fresh() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/lab.md");
        let text = std::fs::read_to_string(path).unwrap();
        let (begin, end) = ("<!-- steps: generated -->\n", "<!-- end of steps -->");
        let (before, rest) = text.split_once(begin).unwrap();
        let (old, after) = rest.split_once(end).unwrap();
        let new = documentation();
        if std::env::var_os("UPDATE_DOCS").is_some() {
            std::fs::write(path, format!("{before}{begin}{new}{end}{after}")).unwrap();
        } else {
            assert_eq!(old, new, "run with UPDATE_DOCS=1");
        }
    }

    #[test]
    fn no_step_hides_another() {
        for (index, doc) in STEPS.iter().enumerate() {
            let line: Vec<String> = doc.pattern().map(|w| w.replace("NAME", "x")).collect();
            let (found, _) = find(&line).unwrap();
            assert_eq!(found.usage, STEPS[index].usage);
        }
    }

    #[test]
    fn distances() {
        assert_eq!((distance("", "abc"), distance("abc", "abc"), distance("heal", "hell")), (3, 0, 1));
    }
}
