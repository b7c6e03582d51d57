//! What `mwan check` costs beyond reading: `cargo bench -p mwan-config --bench check`. The promise is 100 ms for 1,000 rules.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, clippy::disallowed_types)]

use std::fmt::Write;
use std::time::{Duration, Instant};

use mwan_config::lint::lint;
use mwan_config::parse;

const ROUNDS: usize = 11;
const HEAD: &str = "config interface 'a'\n\toption enabled '1'\n\toption family 'ipv4'\n\tlist track_ip '1.1.1.1'\nconfig member 'm'\n\toption interface 'a'\n\
                    config policy 'p'\n\tlist use_member 'm'\nconfig policy 'q'\n\tlist use_member 'm'\n";

/// `count` rules, each made by its number.
fn rules(count: u32, rule: &dyn Fn(u32, &mut String)) -> String {
    let mut text = HEAD.to_owned();
    for number in 0..count {
        let policy = if number % 2 == 0 { 'p' } else { 'q' };
        write!(text, "config rule 'r{number}'\n\toption use_policy '{policy}'\n").unwrap();
        rule(number, &mut text);
    }
    text
}

fn main() {
    let own = |n: u32, t: &mut String| {
        write!(
            t,
            "\toption dest_ip '10.{}.{}.0/24'\n\toption proto 'tcp'\n\toption dest_port '{}'\n",
            n / 250,
            n % 250,
            1 + n % 1000
        )
        .unwrap();
    };
    // Each overlaps every one before in part: a source for all destinations, a destination for all sources.
    let crossed = |n: u32, t: &mut String| {
        let what = if n.is_multiple_of(2) { "src_ip" } else { "dest_ip" };
        writeln!(t, "\toption {what} '10.{}.{}.0/24'", n / 250, n % 250).unwrap();
    };
    // What is left of a rule falls into more and more pieces: the budget ends that.
    let spiteful = |n: u32, t: &mut String| {
        let at = |k: u32| n.wrapping_mul(2_654_435_761).rotate_left(k) % 200;
        write!(
            t,
            "\toption proto 'tcp udp'\n\toption src_ip '10.0.{0}.0-10.0.{1}.255'\n\toption dest_ip '10.0.{2}.0-10.0.{3}.255'\n\t\
             option src_port '{4}:{5}'\n\toption dest_port '{6}:{7}'\n",
            at(3), at(3) + 50, at(9), at(9) + 50, 1 + at(15), 100 + at(15), 1 + at(21), 100 + at(21)
        )
        .unwrap();
    };
    let behind = |n: u32, t: &mut String| {
        if n > 0 {
            own(n, t)
        }
    };
    type Rule<'a> = &'a dyn Fn(u32, &mut String);
    let cases: [(&str, u32, Rule<'_>); 6] = [
        ("each its own destination and port", 1000, &own),
        ("all behind one that matches everything", 1000, &behind),
        ("sources and destinations crossed", 1000, &crossed),
        ("random boxes in four dimensions", 1000, &spiteful),
        ("each its own destination and port", 10_000, &own),
        ("random boxes in four dimensions", 10_000, &spiteful),
    ];
    for (what, count, rule) in cases {
        let text = rules(count, rule);
        let (mut parsing, mut linting, mut found) = (Vec::new(), Vec::new(), 0);
        for _ in 0..ROUNDS {
            let started = Instant::now();
            let loaded = parse("mwan3", text.as_bytes());
            parsing.push(started.elapsed());
            assert!(!loaded.has_errors(), "{:?}", loaded.diagnostics.first());
            let started = Instant::now();
            found = lint(&loaded).len();
            linting.push(started.elapsed());
        }
        let (parsing, linting) = (median(&mut parsing), median(&mut linting));
        println!(
            "check of {count:>5} rules, {what}: read {parsing:>8.1?}, lints {linting:>8.1?}, {found} findings"
        );
    }
}

fn median(values: &mut [Duration]) -> Duration {
    values.sort_unstable();
    values[values.len() / 2]
}
