//! An explanation against what the kernel does with a real packet.

use std::sync::atomic::{AtomicBool, Ordering};

use mwan_api as api;
use mwan_compile::sticky_set;
use mwan_config::Family;
use mwan_core::{Choice, Explanation, Packet};
use mwan_linux::lookup::{Lookup, Question};
use mwan_linux::nft::NftSocket;
use mwan_linux::verify::{self, DEVICE, Seen, VerifyError};

use super::Job;
use super::facts::{Sets, sticky_key};
use crate::cli::Failure;

/// There is one device and one table for it.
static BUSY: AtomicBool = AtomicBool::new(false);

/// The strict reverse path filter of all devices (ip-sysctl, rp_filter): the higher of this and the device's own counts.
const RP_FILTER: &str = "/proc/sys/net/ipv4/conf/all/rp_filter";

struct Turn;

impl Drop for Turn {
    fn drop(&mut self) {
        BUSY.store(false, Ordering::Release);
    }
}

/// Sends a packet like this one and compares.
pub(super) fn verify(
    job: &mut Job,
    packet: &Packet,
    explained: &api::Explanation,
    lookup: &mut Lookup,
) -> Result<api::Verification, Failure> {
    if BUSY.swap(true, Ordering::AcqRel) {
        return Err(Failure::says("another packet is being sent").hint("ask again in a second"));
    }
    let _turn = Turn;
    let family = Family::of(packet.destination);
    if let Some(device) = packet.input.as_deref()
        && job.explainer.owner(device, family).is_some()
    {
        return Ok(unknown(format!("a packet that comes in by {device} from outside cannot be made here")));
    }
    let kernel = NftSocket::open().map_err(|e| Failure::new("cannot open nf_tables", &e))?;
    let sets = Sets::new(&job.explainer, Some(kernel));
    // What rules see of the packet that is sent.
    let test = Packet { input: packet.input.as_ref().map(|_| DEVICE.to_owned()), ..packet.clone() };
    let found = job.explainer.explain(&test, &sets);
    let mut notes = Vec::new();
    if packet.input.is_some() {
        let asking: Vec<_> =
            job.explainer.asks_for_input(&found.walk).map(|r| r.rule.name.as_str()).collect();
        let named = found.walk.found.map(|found| found.rule.name.as_str());
        if named != explained.rule.as_deref() {
            let text =
                "a rule asks for the device that a packet comes in by, and a test packet has one of its own";
            return Ok(unknown(format!("{text}: {}", explained.rule.as_deref().unwrap_or_default())));
        }
        if !asking.is_empty() {
            notes.push(format!(
                "it came in by a device of its own, as no rule for {} wants it",
                asking.join(", ")
            ));
        }
    }
    let seen = match verify::send(&test, packet.input.as_deref()) {
        Err(e @ VerifyError::Protocol(_)) => return Ok(unknown(e.to_string())),
        sent => sent.map_err(|e| Failure::new("the explanation cannot be verified", &e))?,
    };
    if found.walk.found.is_some() {
        notes.push("the counters of the rule and of its member count one packet more".to_owned());
    }
    notes.extend(undo(job, &test, &found, &seen));
    Ok(compare(job, packet, explained, &seen, lookup, notes))
}

fn unknown(note: String) -> api::Verification {
    api::Verification { outcome: "unknown".to_owned(), compared: Vec::new(), notes: vec![note] }
}

/// What the packet has entered into the set of a sticky rule goes, unless its source was there before.
fn undo(job: &Job, packet: &Packet, found: &Explanation<'_>, seen: &Seen) -> Option<String> {
    let rule = &found.walk.found.filter(|found| found.rule.sticky.is_some())?.rule;
    if matches!(found.choice, Choice::Kept(..)) {
        return Some(format!(
            "the time of {} in the sticky rule {} has begun anew",
            packet.source, rule.name
        ));
    }
    let id = job.names.marks.id_of(seen.mark?);
    let set = sticky_set(&rule.name, id, Family::of(packet.destination));
    let gone = verify::forget(&set, &sticky_key(rule, packet)?);
    gone.err()
        .map(|error| format!("{} is remembered by the sticky rule {} now: {error}", packet.source, rule.name))
}

fn compare(
    job: &mut Job,
    packet: &Packet,
    explained: &api::Explanation,
    seen: &Seen,
    lookup: &mut Lookup,
    mut notes: Vec<String>,
) -> api::Verification {
    let mut compared = Vec::new();
    let mut one = |what: &str, explained: Vec<String>, seen: String| {
        let agree = explained.contains(&seen);
        let (what, explained) = (what.to_owned(), explained.join(" or "));
        compared.push(api::Compared { what, explained, seen, agree });
    };
    let Some(mark) = seen.mark else {
        let said = match &seen.dropped {
            Some((table, chain)) => format!("chain {chain} of table {table} dropped it before mwan's rules"),
            None => lost_early(packet),
        };
        return unknown(said);
    };
    let mark = mark & job.names.marks.mask();
    one("mark", explained.ways.iter().map(|way| way.mark.clone()).collect(), format!("{mark:#x}"));
    // The other things are those of the way that the packet took.
    let text = format!("{mark:#x}");
    let way = explained.ways.iter().find(|way| way.mark == text).or(explained.ways.first());
    let device = seen.device.and_then(|index| job.name_of(index));
    match (way, device) {
        (Some(way), Some(device)) => {
            if let Some(table) = way.table.and_then(|_| table_of(job, packet, mark, lookup)) {
                one("table", way.table.iter().map(u32::to_string).collect(), table.to_string());
            }
            one("device", vec![way.device.clone().unwrap_or_else(|| way.leads.clone())], device);
            let source = seen.source.map(|ip| ip.to_string()).unwrap_or_default();
            one("source", vec![way.source.clone().unwrap_or_else(|| source.clone())], source);
        }
        (Some(way), None) if seen.here => {
            one("device", vec![way.device.clone().unwrap_or_default()], "lo".to_owned())
        }
        (Some(way), None) => {
            let nowhere = ["unreachable", "blackhole"].contains(&way.leads.as_str());
            match &seen.dropped {
                Some((table, chain)) => {
                    notes.push(format!(
                        "then chain {chain} of table {table} dropped it: a firewall, not the rules here"
                    ));
                }
                None if nowhere => {
                    one("end", vec!["it does not leave".to_owned()], "it does not leave".to_owned())
                }
                None => {
                    notes.push("it was not seen at the last hook: not forwarded (net.ipv4.ip_forward, rp_filter), or no route".to_owned());
                }
            }
        }
        (None, _) => {}
    }
    let whole = seen.device.is_some() || seen.here || compared.iter().any(|c| c.what == "end");
    let outcome = match (compared.iter().all(|compared| compared.agree), whole) {
        (false, _) => "differs",
        (true, true) => "agreed",
        (true, false) => "unknown",
    };
    api::Verification { outcome: outcome.to_owned(), compared, notes }
}

fn table_of(job: &Job, packet: &Packet, mark: u32, lookup: &mut Lookup) -> Option<u32> {
    let index = |device: &String| job.explainer.net.links.get(device).map(|link| link.index);
    let input = packet.input.as_ref().map(index);
    let question = Question {
        destination: packet.destination,
        source: Some(packet.source),
        mark,
        input: input.flatten(),
    };
    lookup.ask(&question).ok().map(|route| route.table)
}

fn lost_early(packet: &Packet) -> String {
    let strict = std::fs::read_to_string(RP_FILTER).is_ok_and(|text| text.trim() == "1");
    match packet.input {
        Some(_) if strict && packet.source.is_ipv4() => {
            "net.ipv4.conf.all.rp_filter is 1: the kernel takes no packet of that source from another device"
                .to_owned()
        }
        _ => "the kernel did not take the packet".to_owned(),
    }
}
