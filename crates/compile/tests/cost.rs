//! What a failover costs (`cargo test --release -p mwan-compile --test cost -- --ignored --nocapture`). Figures, not
//! assertions; what is asserted is only that unchanged sections are shared.

#![allow(clippy::unwrap_used, clippy::disallowed_methods, clippy::disallowed_types)]

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::{Duration, Instant};

use mwan_compile::{Compiler, diff, diff_observed};
use mwan_core::*;

/// `wans` interfaces, ten policies over all of them, `rules` rules of one shape.
fn core(wans: usize, rules: usize) -> Core {
    let mut text = String::new();
    let mut net = NetView::default();
    for w in 1..=wans {
        writeln!(
            text,
            "config interface 'wan{w}'\n option enabled 1\n list family ipv4\n list family ipv6\n \
             option up 1\n list track_ip 1.1.1.1\n list track_ip 2606:4700::1111\nconfig member 'm{w}'\n \
             option interface 'wan{w}'\n option metric {}",
            w % 3 + 1
        )
        .unwrap();
        let address = |ip: String, prefix_len| Address {
            ip: ip.parse().unwrap(),
            prefix_len,
            peer: None,
            global: true,
            preferred: true,
        };
        let addresses = vec![address(format!("100.64.{w}.2"), 24), address(format!("2001:db8:{w}::2"), 64)];
        let link = Link { index: w as u32, up: true, carrier: true, point_to_point: true, addresses };
        net.links.insert(format!("wan{w}"), link);
    }
    for p in 0..10 {
        writeln!(text, "config policy 'p{p}'").unwrap();
        for w in 1..=wans {
            writeln!(text, " list use_member 'm{w}'").unwrap();
        }
    }
    for r in 0..rules {
        writeln!(
            text,
            "config rule 'r{r}'\n option proto tcp\n option dest_ip 10.{}.{}.0/24\n option dest_port 443\n \
             option use_policy p{}",
            r / 250,
            r % 250,
            r % 10
        )
        .unwrap();
    }
    let config = mwan_config::parse("cost", text.as_bytes()).config;
    assert_eq!((config.interfaces.len(), config.rules.len()), (wans, rules));
    let mut core = Core::new(Platform { translate: true }, Arc::new(config), Memory::default());
    core.handle(Time::from_ms(1), Event::Network(Arc::new(net)));
    core
}

/// `wan3` is up again, and its targets answer.
fn back(core: &mut Core, now: Time) {
    for effect in core.handle(now, Event::IfUp("wan3".to_owned())).effects {
        if let Effect::Probe(ProbeRequest { path, round, .. }) = effect {
            let rtt = Duration::ZERO;
            let reply = ProbeReport::Reply { path, round, target: 0, sequence: 0, rtt };
            core.handle(now, Event::Probe(reply));
        }
    }
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times[times.len() / 2]
}

#[test]
fn a_failover_shares_what_it_does_not_change() {
    let mut core = core(4, 50);
    let mut compiler = Compiler::default();
    let before = compiler.compile(core.desired().unwrap());
    let out = core.handle(Time::from_ms(2), Event::IfDown("wan3".into()));
    let after = compiler.compile(&out.desired.unwrap());
    let same: Vec<bool> =
        before.table.sections.iter().zip(&after.table.sections).map(|(a, b)| Arc::ptr_eq(a, b)).collect();
    let words = "base, members, policies, rules, translation, sticky and sources (there are none)";
    assert_eq!(same, [true, true, false, true, true, true, true], "{words}");
    let touched = diff(&before, &after).nft.len();
    assert!(touched <= 2 * 2 * 10, "{touched} operations for 10 policies in 2 families");
}

/// Probes that stay unanswered change what carries, and nothing of the interfaces and their routes.
#[test]
fn a_silent_link_shares_interfaces_and_routes() {
    let mut core = core(4, 50);
    let mut compiler = Compiler::default();
    let first = core.desired().unwrap().clone();
    let before = compiler.compile(&first);
    let mut out = core.handle(Time::from_ms(2), Event::Tick);
    while out.desired.is_none() {
        out = core.handle(out.wake_at.expect("rounds go on"), Event::Tick);
    }
    let next = out.desired.unwrap();
    let after = compiler.compile(&next);
    assert!(Arc::ptr_eq(&first.interfaces, &next.interfaces) && Arc::ptr_eq(&before.routes, &after.routes));
    let ops = diff(&before, &after);
    assert!(!ops.nft.is_empty() && ops.add.is_empty() && ops.remove.is_empty());
}

#[test]
#[ignore = "prints figures"]
fn figures() {
    for (wans, rules) in [(3, 3), (30, 300), (30, 3000)] {
        let mut core = core(wans, rules);
        let mut compiler = Compiler::default();
        let started = Instant::now();
        let mut program = compiler.compile(core.desired().unwrap());
        let cold = started.elapsed();
        let started = Instant::now();
        let create = diff_observed(&Default::default(), &program);
        let cold_diff = started.elapsed();
        let (mut decide, mut compile, mut differ) = (vec![], vec![], vec![]);
        for round in 1..200u64 {
            let now = Time::from_ms(10 * round);
            let started = Instant::now();
            let out = core.handle(now, Event::IfDown("wan3".to_owned()));
            decide.push(started.elapsed());
            let started = Instant::now();
            let next = compiler.compile(&out.desired.unwrap());
            compile.push(started.elapsed());
            let started = Instant::now();
            let ops = diff(&program, &next);
            differ.push(started.elapsed());
            assert!(ops.nft.len() > 10, "the policies of both families change");
            back(&mut core, now);
            program = compiler.compile(core.desired().unwrap());
        }
        println!(
            "{wans} interfaces, {rules} rules: cold compile {cold:?}, cold diff {cold_diff:?} ({} operations); \
             failover: decide {:?}, compile {:?}, diff {:?}",
            create.nft.len(),
            median(decide),
            median(compile),
            median(differ)
        );
    }
}
