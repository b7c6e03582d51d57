//! Live connections: which one is meant, where it is, and whether it would go elsewhere if it were new.

use std::net::{IpAddr, SocketAddr};

use mwan_api as api;
use mwan_api::{Response, SCHEMA_FLOWS};
use mwan_config::{Family, protocol_number};
use mwan_core::Packet;
use mwan_linux::conntrack::{Conntrack, ConntrackError, Flow};

use super::super::flow_list::{ACCOUNTING, document};
use super::Job;
use crate::cli::Failure;

/// Connections that are shown if several are meant.
const SHOWN_MAX: usize = 20;
/// Words of one question.
const WORDS_MAX: usize = 8;

/// What a connection has to have.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Word {
    Address(IpAddr),
    Socket(SocketAddr),
    Number(u32),
    Protocol(u8),
    Interface(u32),
}

impl Word {
    fn read(job: &Job, text: &str) -> Result<Self, Failure> {
        let interface =
            job.names.names.iter().find(|(_, name)| *name == text).map(|(id, _)| Word::Interface(*id));
        let address = || text.parse().map(Word::Address).ok();
        let socket = || text.parse().map(Word::Socket).ok();
        let number = || text.parse().map(Word::Number).ok();
        let protocol = || protocol_number(text).map(Word::Protocol);
        let word = address().or_else(socket).or_else(number).or_else(protocol).or(interface);
        word.ok_or_else(|| {
            Failure::says(format!("{} is nothing a connection has", text.escape_debug()))
                .hint("say an address, ADDRESS:PORT, a protocol, an interface, or the kernel's number of it")
        })
    }

    fn is_in(&self, job: &Job, flow: &Flow) -> bool {
        let ends = [
            (flow.source, flow.source_port),
            (flow.destination, flow.destination_port),
            (flow.reply_source, flow.destination_port),
            (flow.reply_destination, flow.source_port),
        ];
        match self {
            Word::Address(ip) => ends.iter().any(|(end, _)| end == ip),
            Word::Socket(socket) => ends.contains(&(socket.ip(), socket.port())),
            Word::Number(id) => flow.id == *id,
            Word::Protocol(protocol) => flow.protocol == *protocol,
            Word::Interface(id) => job.names.marks.id_of(flow.mark) == *id,
        }
    }
}

/// Explains the connection that has all words; if several have, lists them.
pub(super) fn explain(mut job: Job, words: &str) -> Result<Response, Failure> {
    let texts = || words.split([' ', ',']).filter(|word| !word.is_empty());
    if texts().count() > WORDS_MAX {
        return Err(
            Failure::says(format!("more than {WORDS_MAX} words")).hint("two or three tell connections apart")
        );
    }
    if texts().next().is_none() {
        return Err(
            Failure::says("which connection is not said").hint("say an address it has: --flow 192.168.1.50")
        );
    }
    let words = texts().map(|text| Word::read(&job, text)).collect::<Result<Vec<_>, _>>()?;
    let (total, mut found) = find(&job, &words).map_err(|e| Failure::new("cannot list connections", &e))?;
    if total == 0 {
        return Err(
            Failure::says("no connection has all of that").hint("`conntrack -L` or the dashboard list them")
        );
    }
    if total > 1 {
        let counted = std::fs::read_to_string(ACCOUNTING).is_ok_and(|text| text.trim() == "1");
        let top = found.into_iter().map(|flow| document(&job.names, flow, counted)).collect();
        let schema = SCHEMA_FLOWS.to_owned();
        return Ok(Response::Flows(api::Flows { schema, total, counted, by_interface: Vec::new(), top }));
    }
    let flow = found.swap_remove(0);
    let packet = packet(&mut job, &flow)?;
    let mut lookup = job.lookup()?;
    let mut explanation = job.explain(&packet, lookup.as_mut())?;
    explanation.flow = Some(standing(&job, &flow, &explanation));
    Ok(Response::Explanation(Box::new(explanation)))
}

/// How many have all words, and the first of them.
fn find(job: &Job, words: &[Word]) -> Result<(u64, Vec<Flow>), ConntrackError> {
    let (mut total, mut found) = (0, Vec::new());
    let mut conntrack = Conntrack::open()?;
    for family in Family::ALL {
        conntrack.walk(family, 0, 0, &mut |flow| {
            if words.iter().all(|word| word.is_in(job, &flow)) {
                total += 1;
                if found.len() < SHOWN_MAX {
                    found.push(flow);
                }
            }
        })?;
    }
    Ok((total, found))
}

/// Its first packet, of which conntrack does not know the device it came in by.
fn packet(job: &mut Job, flow: &Flow) -> Result<Packet, Failure> {
    let marked = job.explainer.desired.interfaces.iter().find(|i| i.id == job.names.marks.id_of(flow.mark));
    let input = if job.explainer.is_own(flow.source) {
        None
    } else if let Some(device) = job.input.clone() {
        Some(device)
    } else if let Some(device) = job.explainer.arrives_by(flow.source) {
        Some(device.to_owned())
    } else if let Some(wan) = marked.filter(|_| job.explainer.is_own(flow.destination)) {
        // From outside, to us: it is pinned to the WAN it came in by.
        Some(wan.device.clone())
    } else {
        let mut lookup = job.lookup()?;
        Some(job.arrives_by(flow.source, lookup.as_mut())?)
    };
    let ports = [6, 17, 33, 132, 136].contains(&flow.protocol);
    Ok(Packet {
        source: flow.source,
        destination: flow.destination,
        protocol: flow.protocol,
        source_port: ports.then_some(flow.source_port),
        destination_port: ports.then_some(flow.destination_port),
        input,
    })
}

/// Where it is, and whether it would be there if it were new.
fn standing(job: &Job, flow: &Flow, explanation: &api::Explanation) -> api::ExplainedFlow {
    let marks = job.names.marks;
    let id = marks.id_of(flow.mark);
    let interface = (id != 0).then(|| job.names.names.get(&id).cloned()).flatten();
    let names = |way: &api::ExplainedWay| {
        way.interface.clone().unwrap_or_else(|| match way.leads.as_str() {
            "main" => "default".to_owned(),
            other => other.to_owned(),
        })
    };
    let open: Vec<String> = explanation.ways.iter().map(names).collect();
    let here = interface.clone().unwrap_or_else(|| "default".to_owned());
    let would_move = match (open.contains(&here), open.len()) {
        (true, 1) => Some(false),
        (true, _) => None,
        (false, _) => Some(true),
    };
    let text = match (&interface, would_move) {
        (None, Some(false)) if explanation.decided_by == "unmatched" => {
            "it has no mark of ours: no rule matches it, the main table decides".to_owned()
        }
        (None, _) => {
            "it has no mark of ours: it is older than mwan's rules, and stays as it is until it ends"
                .to_owned()
        }
        (Some(name), Some(false)) => format!("it is on {name}, and would be there if it were new"),
        (Some(name), None) => {
            format!("it is on {name}, which chance chose; new it would be on {}", open.join(" or "))
        }
        (Some(name), Some(true)) => {
            format!(
                "it is on {name} since it began and stays until it ends; new it would be on {}",
                open.join(" or ")
            )
        }
    };
    api::ExplainedFlow {
        id: flow.id,
        mark: format!("{:#x}", flow.mark & marks.mask()),
        interface,
        leaves_as: flow.reply_destination.to_string(),
        would_move,
        text,
    }
}
