//! What a scenario may expect, each measured from what really happened on the wires and in the kernel.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crate::daemon::{POLL, status_is};
use crate::lab::{Lab, Outcome, chain, millis};
use crate::scenario::{Expect, Reference, StatusIs};
use crate::stats::split_probability;

/// A packet seen by the kernel may take this long to reach the capture's books on a busy machine.
const CAPTURE_LAG: Duration = Duration::from_millis(100);
/// What was sent before a moment may pass the wire this much after it.
const IN_FLIGHT: Duration = Duration::from_millis(20);
/// An expectation that came too late is still waited for this long, for the sake of the figure.
const FOR_THE_FIGURE: Duration = Duration::from_secs(5);
/// Messages are decided (answered or lost) after a second; see `flows::stats`.
const DECIDED: Duration = Duration::from_millis(1500);
/// From a carrier to whoever is told of it, at most: what is not by then stays so.
const CARRIERS_TOLD: Duration = Duration::from_secs(2);

impl Lab {
    /// Checks one expectation.
    pub fn expect(&mut self, expect: &Expect) -> Outcome {
        match expect {
            Expect::Share { isps, weights, flow, confidence } => self.share(isps, weights, flow, *confidence),
            Expect::Lost(flow, max) => self.counted(flow, |t| (t.lost, "lost"), *max),
            Expect::Resets(flow, max) => self.counted(flow, |t| (t.resets, "resets"), *max),
            Expect::Undisturbed(flow) => {
                self.counted(flow, |t| (t.lost + t.resets + t.reconnects + t.failures, "disturbances"), 0)
            }
            Expect::On(flow, isp, within, reference) => self.on(flow, isp, *within, *reference),
            Expect::OnlyOn(flow, isp, time) => self.only_on(flow, isp, *time),
            Expect::Reconnected(flow, within, reference) => self.reconnected(flow, *within, *reference),
            Expect::NotOn(flow, isp, after, reference, watch) => {
                self.not_on(flow, isp, *after, *reference, *watch)
            }
            Expect::Source(flow, isp) => self.source(flow, isp),
            Expect::NoForeign => self.no_foreign(),
            Expect::Output(present, text, within, node, argv) => {
                self.output(*present, text, *within, node, &self.fill_in(argv))
            }
            Expect::Kernel(snapshot, within) => self.kernel(snapshot, *within),
            Expect::Diff(within) => self.diff(*within),
            Expect::Steady(is, time) => self.steady(is, *time),
            Expect::Log(text, within) => self.log_has(text, *within),
        }
    }

    /// Connections of a flow per ISP.
    pub fn split(&self, isps: &[String], flow: &str) -> Result<Vec<u64>, String> {
        let id = self.known(flow)?;
        isps.iter().map(|isp| Ok(self.capture(isp)?.link().connections(id))).collect()
    }

    fn share(&self, isps: &[String], weights: &[u64], flow: &str, confidence: f64) -> Outcome {
        std::thread::sleep(CAPTURE_LAG);
        let seen = self.split(isps, flow)?;
        let total: u64 = seen.iter().sum();
        let elsewhere: u64 = {
            let others: Vec<String> = self.captures.keys().filter(|n| !isps.contains(n)).cloned().collect();
            self.split(&others, flow)?.iter().sum()
        };
        let text = format!(
            "{} of {total} connections",
            seen.iter().map(u64::to_string).collect::<Vec<_>>().join(" : ")
        );
        if elsewhere > 0 {
            return Err(format!("{text}, and {elsewhere} by other ISPs"));
        }
        // Below this the test says nothing (the smallest expected count should be 5 or more).
        if total < 50 {
            return Err(format!("{text}: too few to tell"));
        }
        let p = split_probability(&seen, weights);
        let text = format!("{text}, p = {p:.4}");
        if p >= 1.0 - confidence / 100.0 { Ok(text) } else { Err(text) }
    }

    fn counted(
        &self,
        flow: &str,
        pick: impl Fn(crate::flows::Counts) -> (u64, &'static str),
        max: u64,
    ) -> Outcome {
        let flow = self.flow(flow)?;
        let moment = Instant::now();
        while flow.undecided(moment) > 0 && moment.elapsed() < DECIDED {
            std::thread::sleep(POLL);
        }
        let totals = flow.totals();
        let (count, what) = pick(totals);
        let text = format!("{count} {what} ({totals})");
        if totals.sent == 0 {
            return Err("nothing was sent".into());
        }
        if count <= max { Ok(format!("{count} {what} of {} messages", totals.sent)) } else { Err(text) }
    }

    fn on(&self, flow: &str, isp: &str, within: Duration, reference: Reference) -> Outcome {
        let (id, capture) = (self.known(flow)?, self.capture(isp)?);
        let from = self.reference(reference);
        let patience = within + CAPTURE_LAG + FOR_THE_FIGURE;
        loop {
            let first = capture.link().first_since(id, from);
            if let Some(at) = first {
                let took = at - from;
                let text = format!("{} after the {}", millis(took), of(reference));
                return if took <= within {
                    Ok(text)
                } else {
                    Err(format!("{text}, wanted {}", millis(within)))
                };
            }
            if from.elapsed() > patience && from.elapsed() > within {
                return Err(format!("no packet by {isp} in {}", millis(from.elapsed())));
            }
            std::thread::sleep(POLL);
        }
    }

    fn only_on(&self, flow: &str, isp: &str, time: Duration) -> Outcome {
        let id = self.known(flow)?;
        self.capture(isp)?;
        let from = Instant::now() + IN_FLIGHT;
        std::thread::sleep(IN_FLIGHT + time + CAPTURE_LAG);
        let counts: BTreeMap<&String, usize> =
            self.captures.iter().map(|(name, c)| (name, c.link().count_since(id, from).0)).collect();
        let text = counts.iter().map(|(n, c)| format!("{n} {c}")).collect::<Vec<_>>().join(", ");
        let good = counts.iter().all(|(name, count)| (*name == isp) == (*count > 0));
        if good { Ok(format!("packets: {text}")) } else { Err(format!("packets: {text}")) }
    }

    fn reconnected(&self, flow: &str, within: Duration, reference: Reference) -> Outcome {
        let (flow, from) = (self.flow(flow)?, self.reference(reference));
        let patience = from.elapsed().max(within) + FOR_THE_FIGURE;
        loop {
            let (well, took) = flow.recovery(from);
            if well {
                let text = format!("{} after the {}", millis(took), of(reference));
                return if took <= within {
                    Ok(text)
                } else {
                    Err(format!("{text}, wanted {}", millis(within)))
                };
            }
            if from.elapsed() > patience {
                let (alive, all) = flow.alive();
                return Err(format!("only {alive} of {all} connections answer ({})", flow.totals()));
            }
            std::thread::sleep(POLL);
        }
    }

    fn not_on(
        &self,
        flow: &str,
        isp: &str,
        after: Duration,
        reference: Reference,
        watch: Duration,
    ) -> Outcome {
        let (id, capture) = (self.known(flow)?, self.capture(isp)?);
        let from = self.reference(reference);
        let until = (from + after).max(Instant::now()) + watch;
        std::thread::sleep(until.saturating_duration_since(Instant::now()) + CAPTURE_LAG);
        let (late, _) = capture.link().count_since(id, from + after);
        let last = capture.link().count_since(id, from).1;
        let last = last.map_or("none at all".into(), |at| {
            format!("last one {} after the {}", millis(at - from), of(reference))
        });
        if late == 0 { Ok(last) } else { Err(format!("{late} packets too late, {last}")) }
    }

    fn source(&self, flow: &str, isp: &str) -> Outcome {
        std::thread::sleep(CAPTURE_LAG);
        let (id, state) = (self.known(flow)?, self.net.state(isp).map_err(|e| chain(&e))?);
        let sources = self.capture(isp)?.link().sources(id);
        let given = [false, true].map(|v6| state.isp.wan(v6).map(|w| w.address.ip));
        let text = sources.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
        if sources.is_empty() {
            return Err("the flow was never seen there".into());
        }
        if sources.iter().all(|s| given.contains(&Some(*s))) {
            Ok(text)
        } else {
            Err(format!("seen: {text}"))
        }
    }

    fn no_foreign(&self) -> Outcome {
        let mut bad = Vec::new();
        for (name, capture) in &self.captures {
            let link = capture.link();
            if let Some(last) = link.foreign_last {
                bad.push(format!("{name}: {} packets, the last from {last}", link.foreign));
            }
        }
        if bad.is_empty() { Ok(String::new()) } else { Err(bad.join("; ")) }
    }

    /// Repeats `check` until it holds, at most `within` after now; the figure counts from the last fault.
    fn eventually(&self, within: Duration, check: impl Fn() -> Result<(), String>) -> Outcome {
        let begin = Instant::now();
        loop {
            match check() {
                Ok(()) => return Ok(format!("{} after the fault", millis(self.fault.elapsed()))),
                Err(e) if begin.elapsed() >= within => return Err(e),
                Err(_) => std::thread::sleep(POLL),
            }
        }
    }

    fn output(&self, present: bool, text: &str, within: Duration, node: &str, argv: &[String]) -> Outcome {
        let ns = self.net.node(node).map_err(|e| chain(&e))?;
        let argv: Vec<&str> = argv.iter().map(String::as_str).collect();
        self.eventually(within, || {
            let out = ns.output(&argv, "").map_err(|e| chain(&e))?;
            let said =
                String::from_utf8_lossy(&out.stdout).into_owned() + &String::from_utf8_lossy(&out.stderr);
            if said.contains(text) == present {
                Ok(())
            } else {
                Err(format!("`{}` says:\n{}", argv.join(" "), said.trim_end()))
            }
        })
    }

    /// Rules, routes and ruleset of the router as sorted lines, without what changes by itself.
    fn kernel_state(&self) -> Result<Vec<String>, String> {
        let router = self.net.node("router").map_err(|e| chain(&e))?;
        let mut lines = Vec::new();
        for argv in [
            &["ip", "-d", "rule"][..],
            &["ip", "-6", "-d", "rule"],
            &["ip", "-d", "route", "show", "table", "all"],
            &["ip", "-6", "-d", "route", "show", "table", "all"],
            &["nft", "-s", "list", "ruleset"],
        ] {
            let text = router.must(argv, "").map_err(|e| chain(&e))?;
            let title = argv.join(" ");
            lines.extend(text.lines().map(|l| format!("{title}: {}", settled(l))));
        }
        lines.sort_unstable();
        Ok(lines)
    }

    /// Devices of the router that have a carrier, but nobody was told yet: the kernel does that up to a second later
    /// (`linkwatch_event`), and only then makes their IPv6 addresses and routes.
    fn carriers_are_told(&self) -> Result<(), String> {
        let router = self.net.node("router").map_err(|e| chain(&e))?;
        let links = router.must(&["ip", "-o", "link"], "").map_err(|e| chain(&e))?;
        let told = |line: &&str| ["state UP", "state UNKNOWN"].iter().any(|state| line.contains(state));
        match links.lines().find(|line| line.contains("LOWER_UP") && !told(line)) {
            None => Ok(()),
            Some(line) => Err(line.to_owned()),
        }
    }

    /// Remembers the kernel's state.
    pub fn snapshot(&mut self, name: &str) -> Outcome {
        // Some devices never say that they are up.
        let _ = self.eventually(CARRIERS_TOLD, || self.carriers_are_told());
        let lines = self.kernel_state()?;
        let text = format!("{} lines", lines.len());
        self.snapshots.insert(name.into(), lines);
        Ok(text)
    }

    fn kernel(&self, snapshot: &str, within: Duration) -> Outcome {
        let wanted = self.snapshots.get(snapshot).ok_or_else(|| format!("no snapshot `{snapshot}`"))?;
        self.eventually(within, || {
            let now = self.kernel_state()?;
            if now == *wanted { Ok(()) } else { Err(difference(wanted, &now)) }
        })
    }

    fn diff(&self, within: Duration) -> Outcome {
        self.eventually(within, || {
            let out = self.daemon.command(&["diff".into()]).map_err(|e| chain(&e))?;
            if out.status.success() {
                return Ok(());
            }
            let said =
                String::from_utf8_lossy(&out.stdout).into_owned() + &String::from_utf8_lossy(&out.stderr);
            Err(format!("`mwan diff` ends with {} and says:\n{}", out.status, said.trim_end()))
        })
    }

    fn steady(&self, is: &StatusIs, time: Duration) -> Outcome {
        let begin = Instant::now();
        let mut looks = 0;
        while begin.elapsed() < time {
            let status = self.daemon.status()?;
            status_is(&status, is).map_err(|e| format!("after {}: {e}", millis(begin.elapsed())))?;
            looks += 1;
            std::thread::sleep(POLL * 5);
        }
        Ok(format!("{looks} looks"))
    }

    fn log_has(&self, text: &str, within: Duration) -> Outcome {
        self.eventually(within, || {
            if self.daemon.log().contains(text) {
                Ok(())
            } else {
                Err(format!("the log never says `{text}`"))
            }
        })
    }
}

fn of(reference: Reference) -> &'static str {
    match reference {
        Reference::Fault => "fault",
        Reference::Verdict => "verdict",
    }
}

/// A line without life times and counters that move by themselves.
fn settled(line: &str) -> String {
    let mut words: Vec<&str> = Vec::new();
    let mut skip = false;
    for word in line.trim().split(' ') {
        if std::mem::take(&mut skip) {
            continue;
        }
        if word == "expires" || word == "age" {
            skip = true;
        } else {
            words.push(word);
        }
    }
    words.join(" ")
}

fn difference(wanted: &[String], now: &[String]) -> String {
    const LINES_MAX: usize = 12;
    let mut counts: BTreeMap<&str, i64> = BTreeMap::new();
    for line in wanted {
        *counts.entry(line).or_default() -= 1;
    }
    for line in now {
        *counts.entry(line).or_default() += 1;
    }
    let changed = counts.iter().filter(|(_, n)| **n != 0);
    let lines: Vec<String> =
        changed.map(|(l, n)| format!("{} {l}", if *n < 0 { "-" } else { "+" })).collect();
    let more = lines.len().saturating_sub(LINES_MAX);
    let mut text = format!("the kernel differs:\n{}", lines[..lines.len() - more].join("\n"));
    if more > 0 {
        text.push_str(&format!("\n… and {more} more lines"));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn differences_count_duplicates() {
        let (a, b) = (vec!["x".to_owned(), "y".into()], vec!["x".to_owned(), "x".into()]);
        assert_eq!(difference(&a, &b), "the kernel differs:\n+ x\n- y");
    }

    #[test]
    fn what_moves_by_itself_is_left_out() {
        assert_eq!(settled("  1.2.3.4 expires 59s flags"), "1.2.3.4 flags");
    }
}
