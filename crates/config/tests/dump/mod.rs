//! A readable form of a `Config` and its diagnostics.

use std::fmt::Write;
use std::time::Duration;

use mwan_config::*;

/// Everything, one line per thing.
pub(crate) fn dump(loaded: &Loaded) -> String {
    let mut out = String::new();
    let config = &loaded.config;
    globals(&mut out, &config.globals);
    for i in &config.interfaces {
        interface(&mut out, i);
    }
    for link in config.links.iter() {
        writeln!(out, "link {}: {link:?}", link.name).unwrap();
    }
    if let Some(site) = &config.site {
        writeln!(out, "{site:?}").unwrap();
    }
    if let Some(web) = &config.web {
        writeln!(out, "{web:?}").unwrap();
    }
    for p in &config.policies {
        writeln!(out, "policy {} (line {}), last resort {}", p.name, p.location.line, p.last_resort.name())
            .unwrap();
        for m in &p.members {
            writeln!(out, "  {}: {} metric {} weight {}", m.name, m.interface, m.metric, m.weight).unwrap();
        }
    }
    for set in config.sets.iter() {
        write!(out, "set {} (line {}), {}", set.name, set.location.line, families(set.families)).unwrap();
        write!(out, ", {} entries", set.entries.len()).unwrap();
        if !set.domains.is_empty() {
            write!(out, ", domains {}", set.domains.join(" ")).unwrap();
        }
        if let Some(timeout) = set.timeout {
            write!(out, ", timeout {}", s(timeout)).unwrap();
        }
        writeln!(out, "{}", if set.counters { ", counters" } else { "" }).unwrap();
    }
    for a in config.alerts.iter() {
        writeln!(out, "alert {}: {a:?}", a.name).unwrap();
    }
    for r in &config.rules {
        rule(&mut out, r);
    }
    writeln!(out, "\n{} diagnostics", loaded.diagnostics.len()).unwrap();
    for d in &loaded.diagnostics {
        writeln!(out, "{d}").unwrap();
    }
    out
}

fn globals(out: &mut String, g: &Globals) {
    let d = Globals::default();
    write!(out, "globals: mask {:#06X}", g.mask).unwrap();
    if !g.enabled {
        write!(out, ", disabled").unwrap();
    }
    if g.logging != d.logging || g.loglevel != d.loglevel {
        write!(out, ", logging {} level {}", g.logging, g.loglevel).unwrap();
    }
    if !g.rt_table_lookup.is_empty() {
        write!(out, ", tables {:?}", g.rt_table_lookup).unwrap();
    }
    if !g.rt_table_names.is_empty() {
        let names: Vec<&str> = g.rt_table_names.iter().map(|t| t.name.as_str()).collect();
        write!(out, ", named tables {}", names.join(" ")).unwrap();
    }
    if let Some(name) = &g.local_source {
        write!(out, ", local source {name}").unwrap();
    }
    if let Some((mode, _)) = g.mode {
        write!(out, ", {mode:?}").unwrap();
    }
    if !g.notification_emails.is_empty() {
        write!(out, ", told {}", g.notification_emails.join(" ")).unwrap();
    }
    if let Some(document) = &g.cloud_document {
        write!(out, ", document {document}").unwrap();
    }
    if g.source_routing {
        write!(out, ", source routing").unwrap();
    }
    if g.masquerade != d.masquerade {
        write!(out, ", masquerade {:?}", g.masquerade).unwrap();
    }
    if g.table_base != d.table_base {
        write!(out, ", tables from {}", g.table_base).unwrap();
    }
    if g.rule_base != d.rule_base {
        write!(out, ", {:?}", g.rule_base).unwrap();
    }
    if g.hooks != d.hooks {
        write!(out, ", {:?}", g.hooks).unwrap();
    }
    out.push('\n');
}

fn interface(out: &mut String, i: &Interface) {
    let t = &i.tracking;
    write!(out, "interface {} (line {}): ", i.name, i.location.line).unwrap();
    write!(out, "{}, position {}", if i.enabled { "enabled" } else { "disabled" }, i.position).unwrap();
    write!(out, ", {}", families(i.families)).unwrap();
    if let Some(device) = &i.device {
        write!(out, ", device {device}").unwrap();
    }
    for gateway in
        [i.gateway4.map(|g| g.to_string()), i.gateway6.map(|g| g.to_string())].into_iter().flatten()
    {
        write!(out, ", gateway {gateway}").unwrap();
    }
    if !i.routed_networks.is_empty() {
        write!(out, ", routed {:?}", i.routed_networks).unwrap();
    }
    write!(out, ", starts {:?}", i.initial_state).unwrap();
    if i.failback != Failback::Keep {
        write!(out, ", failback {:?}", i.failback).unwrap();
    }
    if i.flush_conntrack != FlushEvents::default() {
        write!(out, ", {:?}", i.flush_conntrack).unwrap();
    }
    if let Some(drill) = &i.drill {
        write!(out, ", drill {drill} for {:?}", drill.length).unwrap();
    }
    let targets: Vec<String> = t.targets.iter().map(ToString::to_string).collect();
    writeln!(out, "\n  {:?} [{}], reliability {}", t.method, targets.join(" "), t.reliability).unwrap();
    write!(out, "  count {}, timeout {}, interval {}", t.count, s(t.timeout), s(t.interval)).unwrap();
    write!(out, " (failure {}{}", s(t.failure_interval), if t.keep_failure_interval { " kept" } else { "" })
        .unwrap();
    write!(out, ", recovery {}), up {}, down {}", s(t.recovery_interval), t.up, t.down).unwrap();
    write!(out, ", size {}, ttl {}", t.size, t.max_ttl).unwrap();
    if t.track_gateway {
        write!(out, ", gateway tracked").unwrap();
    }
    if let Some(q) = t.quality {
        write!(out, ", {q:?}").unwrap();
    }
    out.push('\n');
}

fn rule(out: &mut String, r: &Rule) {
    write!(out, "rule {} (line {}): {}", r.name, r.location.line, families(r.families)).unwrap();
    if !r.protocols.is_empty() {
        write!(out, ", proto {:?}", r.protocols).unwrap();
    }
    for (what, list) in [("from", &r.source), ("to", &r.destination)] {
        if let Some(list) = list {
            let ranges: Vec<String> = list.ranges.iter().map(|r| format!("{}-{}", r.first, r.last)).collect();
            write!(out, ", {what} {}{}", if list.negated { "not " } else { "" }, ranges.join(" ")).unwrap();
        }
    }
    for (what, ports) in [("sport", &r.source_ports), ("dport", &r.destination_ports)] {
        if !ports.is_empty() {
            let ports: Vec<String> = ports.iter().map(|p| format!("{}-{}", p.first, p.last)).collect();
            write!(out, ", {what} {}", ports.join(" ")).unwrap();
        }
    }
    for (what, name) in
        [("in", &r.source_interface), ("to set", &r.destination_set), ("from set", &r.source_set)]
    {
        if let Some(name) = name {
            write!(out, ", {what} {name}").unwrap();
        }
    }
    if let Some(sticky) = r.sticky {
        write!(out, ", sticky {}", s(sticky.timeout)).unwrap();
        if sticky.key == StickyKey::SourceAndDestination {
            write!(out, " by source and destination").unwrap();
        }
    }
    if r.logging {
        write!(out, ", logged").unwrap();
    }
    match &r.target {
        Target::Policy(p) => writeln!(out, " -> policy {p}").unwrap(),
        Target::Direct(d) => writeln!(out, " -> {}", d.name()).unwrap(),
    }
}

fn families(f: Families) -> String {
    f.iter().map(Family::name).collect::<Vec<_>>().join("+")
}

fn s(d: Duration) -> String {
    format!("{}s", d.as_secs_f64())
}
