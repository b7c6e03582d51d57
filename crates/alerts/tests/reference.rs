//! The engine beside a model that knows one link and one channel and looks at every second; and properties of many links,
//! bad servers and restarts.
#![allow(clippy::unwrap_used)]

mod world;

use std::collections::BTreeMap;

use mwan_alerts::*;
use proptest::prelude::*;
use world::*;

/// One link and what its owner was told.
#[derive(Default)]
struct Model {
    min_s: u64,
    open: bool,
    over_at: Option<u64>,
    told: &'static str,
    losses: u32,
    long: bool,
    again: bool,
    begin: u64,
    run: u64,
    up: u64,
    out: Vec<(u64, &'static str)>,
}

impl Model {
    /// Whether it is over, and whether something is to be told, at second `t` of a link that is down or not.
    fn look(&mut self, t: u64, is_down: bool) {
        if self.open && !is_down {
            let calm = if self.losses >= 3 || self.again { 600 } else { 30 };
            if t >= self.up + calm {
                (self.open, self.over_at) = (false, Some(self.up));
                if self.told == "open" || self.told.is_empty() && (self.losses >= 3 || self.long) {
                    self.told = if self.told == "open" { "over" } else { "both" };
                    self.out.push((t, self.told));
                }
            }
        }
        if self.open && self.told.is_empty() {
            let wait = if self.losses >= 3 || self.long { 3 } else { self.min_s.max(3) };
            if is_down && t >= self.run + wait || !is_down && self.losses >= 3 && t >= self.begin + 3 {
                self.out.push((t, "open"));
                self.told = "open";
            }
        }
    }

    fn goes_up(&mut self, t: u64) {
        self.up = t;
        self.long |= t - self.run >= self.min_s.max(3);
    }

    fn goes_down(&mut self, t: u64) {
        if !self.open {
            // Ten minutes after its end nothing is remembered.
            if self.over_at.is_none_or(|over| t >= over + 600) {
                (self.losses, self.again, self.told) = (0, false, "");
            }
            // What nobody was told of begins now.
            self.again |= !self.told.is_empty();
            if self.told.is_empty() {
                self.begin = t;
            }
            (self.open, self.told, self.long) = (true, "", false);
        }
        self.losses += 1;
        self.run = t;
    }
}

/// What the documentation says, second by second.
fn model(down: &[bool], min_s: u64) -> Vec<(u64, &'static str)> {
    let mut model = Model { min_s, ..Model::default() };
    let mut was_down = false;
    for (t, is_down) in (0u64..).zip(down.iter().copied()) {
        model.look(t, was_down);
        match (was_down, is_down) {
            (false, true) => model.goes_down(t),
            (true, false) => model.goes_up(t),
            _ => {}
        }
        model.look(t, is_down);
        was_down = is_down;
    }
    model.out
}

fn run(down: &[bool], min_s: u64) -> Vec<(u64, &'static str)> {
    let mut w =
        World::new(vec![Channel { min_duration_ms: min_s * 1000, rate_per_hour: 1000, ..channel("mail") }]);
    for (t, is_down) in (0u64..).zip(down.iter().copied()) {
        let was_down = t > 0 && down[t as usize - 1];
        match (was_down, is_down) {
            (false, true) => drop(w.down(t, "wan")),
            (true, false) => drop(w.up(t, "wan")),
            _ => {}
        }
    }
    w.until(down.len() as u64 - 1);
    w.sent.iter().map(|s| (s.at_s, s.words.stage.word())).collect()
}

/// Times down and up in turn, as seconds that are down or not.
fn timeline(times: &[(u64, u64)]) -> Vec<bool> {
    let mut out = vec![false; 5];
    for (down, up) in times {
        out.extend(std::iter::repeat_n(true, *down as usize));
        out.extend(std::iter::repeat_n(false, *up as usize));
    }
    out.extend(std::iter::repeat_n(false, 1300));
    out
}

/// Every pattern of two outages with lengths about each limit.
#[test]
fn as_the_model_says_for_every_length_about_a_limit() {
    let lengths = [1, 2, 3, 4, 29, 30, 31, 599, 600, 601];
    for min_s in [0, 3, 30] {
        for a in lengths {
            for b in lengths {
                for c in [1, 3, 30, 31] {
                    let down = timeline(&[(a, b), (c, 0)]);
                    assert_eq!(run(&down, min_s), model(&down, min_s), "{min_s}: down {a}, up {b}, down {c}");
                }
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn as_the_model_says(times in prop::collection::vec((1u64..80, 1u64..700), 1..12), min_s in 0u64..60) {
        let down = timeline(&times);
        prop_assert_eq!(run(&down, min_s), model(&down, min_s), "{:?}", times);
    }

    /// Many links, a server that fails at times, a process that is killed at times: each channel hears of the beginning of
    /// every incident at most once for each severity and return, hears of no end whose beginning it does not know, and when all is calm nobody is owed anything.
    #[test]
    fn nobody_is_told_twice_or_left_in_the_dark(
        steps in prop::collection::vec((0u64..200, 0u8..4, any::<bool>(), any::<bool>()), 1..60),
        failures in prop::collection::vec(any::<bool>(), 1..20),
        batches in any::<bool>(),
    ) {
        let how = if batches { email() } else { How::Command(CommandRun { argv: vec!["x".into()], timeout_ms: 1 }) };
        let mut w = World::new(vec![
            Channel { how, min_duration_ms: 5_000, ..channel("a") },
            Channel { severity: Threshold::From(Severity::Critical), ..channel("b") },
        ]);
        let mut n = 0;
        w.server = Box::new(move |now, _| {
            n += 1;
            let late = now > NOON + 60 * 3_600_000;
            if late || failures[n % failures.len()] { Ok(()) } else { Err(unreachable()) }
        });
        let mut at = 0;
        for (pause, link, is_down, kill) in steps {
            at += pause;
            let name = format!("wan{link}");
            if is_down { w.down(at, &name) } else { w.up(at, &name) };
            if is_down && link == 3 {
                w.at(at, switch("p", "wan3", "unreachable"));
            } else if !is_down && link == 3 {
                w.at(at, switch("p", "unreachable", "wan3"));
            }
            if kill {
                w.restart();
            }
        }
        for link in 0..4 {
            w.up(at + 1, &format!("wan{link}"));
        }
        w.at(at + 1, switch("p", "unreachable", "wan3"));
        w.until(at + 61 * 3600 + 3600);
        prop_assert_eq!(w.engine.incidents(), &[][..]);
        type Told = (Stage, Severity, u32);
        let mut heard: BTreeMap<(String, u64), Vec<Told>> = BTreeMap::new();
        for sent in &w.sent {
            for part in &sent.message.parts {
                let key = (sent.message.channel.clone(), part.incident.number);
                heard.entry(key).or_default().push((part.stage, part.incident.severity, part.incident.again));
            }
        }
        for (key, told) in heard {
            for (index, now) in told.iter().enumerate() {
                prop_assert!(!told[..index].contains(now), "{key:?} is told twice: {told:?}");
                let before = index.checked_sub(1).map(|i| told[i].0);
                prop_assert_eq!(now.0 == Stage::Over, before == Some(Stage::Open) && now.0 != Stage::Open, "{:?}: {:?}", key, told);
            }
            prop_assert_ne!(told.last().map(|t| t.0), Some(Stage::Open), "{:?}: never told that it is over: {:?}", key, told);
        }
        for status in w.engine.status(w.now()) {
            prop_assert_eq!((status.queued, status.dropped), (0, 0));
        }
    }

    #[test]
    fn no_state_panics(text in "(\\{\"line\":\"(meta|channel|incident)\"[,:a-z0-9\"\\[\\]{}_ -]{0,80}\n){0,5}") {
        let (mut engine, _) = Engine::new(Settings { site: "x".into(), channels: vec![channel("a")] }, &text, Now { ms: NOON, utc_offset_s: 0 });
        engine.due(Now { ms: NOON, utc_offset_s: 0 });
        engine.wake_at(Now { ms: NOON, utc_offset_s: 0 });
    }
}
