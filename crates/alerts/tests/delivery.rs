//! Who is told when: limits, quiet hours, digests, faults, restarts.
#![allow(clippy::unwrap_used)]

mod world;

use std::cell::Cell;
use std::rc::Rc;

use mwan_alerts::*;
use world::*;

#[test]
fn what_was_over_before_it_could_be_sent_is_one_message() {
    let mut w = World::new(vec![channel("mail")]);
    w.server = Box::new(|now, _| if now < NOON + 200_000 { Err(unreachable()) } else { Ok(()) });
    w.down(10, "wan")
        .at(10, switch("p", "wan", "unreachable"))
        .up(200, "wan")
        .at(200, switch("p", "unreachable", "wan"));
    w.until(1000);
    assert_eq!(w.titles(), ["230 mail: no WAN was left for p; wan (IPv4) was down for 3 min 10 s"]);
}

#[test]
fn a_path_that_comes_up_is_used_at_once() {
    let mut w = World::new(vec![channel("mail")]);
    let up = Rc::new(Cell::new(false));
    let is_up = up.clone();
    w.server = Box::new(move |_, _| if is_up.get() { Ok(()) } else { Err(unreachable()) });
    w.down(10, "wan").down(12, "wanb").until(7000);
    let before = w.tries.len();
    assert!(
        (8..=20).contains(&before),
        "{before} attempts in two hours: ever more slowly, at most one hour apart"
    );
    up.set(true);
    w.up(7000, "wanb");
    w.until(7010);
    assert_eq!(w.titles(), ["7001 mail: wan (IPv4) is down"], "at once, of what is still down");
}

#[test]
fn pauses_grow_and_are_bounded() {
    for (fault, first, longest) in [(unreachable(), 9..=11, 3960), (refused(), 270..=330, 23_760)] {
        let mut w = World::new(vec![channel("mail")]);
        let said = fault.clone();
        w.server = Box::new(move |_, _| Err(said.clone()));
        w.down(10, "wan").until(2 * 86_400);
        let gaps: Vec<u64> = w.tries.windows(2).map(|t| t[1].0 - t[0].0).collect();
        assert!(first.contains(&gaps[0]), "{gaps:?}");
        assert!(gaps.windows(2).all(|g| g[1] * 10 >= g[0] * 8), "{gaps:?}");
        assert!(gaps.iter().all(|g| *g <= longest), "{gaps:?}");
        let status = &w.engine.status(w.now())[0];
        assert_eq!((status.last_error.as_deref(), status.queued), (Some(fault.text.as_str()), 1));
        assert_eq!(status.failures as usize, w.tries.len());
        assert!(status.next_try_ms.unwrap() > w.now_ms);
    }
}

#[test]
fn a_path_that_is_up_all_the_time_is_no_reason_to_try_again() {
    let lte = PathNow {
        interface: "lte".into(),
        family: "ipv4".into(),
        status: "online".into(),
        code: "answering".into(),
        text: String::new(),
        age_ms: 1_000_000,
    };
    let wan = PathNow {
        interface: "wan".into(),
        status: "offline".into(),
        code: "probes_lost".into(),
        ..lte.clone()
    };
    let everything = Snapshot { paths: vec![lte, wan], ..Snapshot::default() };
    let lossy = |to: &str, from: &str| mwan_api::Event {
        from: Some(from.into()),
        ..path("lte", "ipv4", to, "failing")
    };
    let tries = |looks: bool| {
        let mut w = World::new(vec![channel("mail")]);
        w.server = Box::new(|_, _| Err(unreachable()));
        w.down(10, "wan");
        for minute in 1..120 {
            w.until(minute * 60);
            if looks {
                w.engine.snapshot(w.now(), &everything);
                w.at(minute * 60 + 10, lossy("disconnecting", "online"));
                w.at(minute * 60 + 20, lossy("online", "disconnecting"));
            }
        }
        w.tries.len()
    };
    assert_eq!(tries(true), tries(false));
    assert!(tries(false) < 15);
}

#[test]
fn a_flapping_path_does_not_make_attempts_flap() {
    let mut w = World::new(vec![channel("mail")]);
    w.server = Box::new(|_, _| Err(unreachable()));
    w.down(0, "wan");
    for n in 40..640 {
        if n % 2 == 0 {
            w.down(n, "wanb")
        } else {
            w.up(n, "wanb")
        };
    }
    assert!(w.tries.len() <= 620 / 5 + 2, "{}", w.tries.len());
}

#[test]
fn what_cannot_be_told_in_days_is_given_up_and_counted() {
    let mut w = World::new(vec![channel("mail")]);
    w.server = Box::new(|_, _| Err(refused()));
    w.down(10, "wan").up(100, "wan").until(4 * 86_400);
    let status = &w.engine.status(w.now())[0];
    assert_eq!((status.queued, status.dropped), (0, 1));
    assert_eq!(w.engine.incidents(), []);
    assert_eq!(w.engine.wake_at(w.now()), None);
}

#[test]
fn the_rate_is_limited_and_what_waits_comes_together() {
    let mut w = World::new(vec![Channel { rate_per_hour: 3, ..channel("mail") }]);
    for n in 0..30 {
        w.down(100 * n, &format!("wan{n}"));
    }
    w.until(3550);
    assert_eq!(w.sent.len(), 3, "{:?}", w.titles());
    w.until(4000);
    assert_eq!(w.sent.len(), 5, "{:?}", w.titles());
    assert_eq!(w.sent[3].message.parts.len(), 20, "many in one");
    assert!(w.titles()[3].ends_with("wan3 (IPv4) is down, and 19 more"), "{:?}", w.titles());
    let told: usize = w.sent.iter().map(|s| s.message.parts.len()).sum();
    assert_eq!(told, 30, "each once");
}

#[test]
fn a_webhook_that_takes_one_incident_gets_them_one_by_one() {
    let hook = How::Webhook(Webhook {
        url: Secret::new("https://example.com/hook"),
        shape: Shape::Json,
        template: None,
        to: None,
        secret: None,
    });
    let mut w = World::new(vec![Channel { how: hook, ..channel("hook") }]);
    let up = Rc::new(Cell::new(false));
    let is_up = up.clone();
    w.server = Box::new(move |_, _| if is_up.get() { Ok(()) } else { Err(unreachable()) });
    for n in 0..8 {
        w.down(100 * n, &format!("wan{n}"));
    }
    up.set(true);
    w.until(4000);
    assert_eq!(w.sent.len(), 8);
    assert!(w.sent.iter().all(|s| s.message.parts.len() == 1));
}

#[test]
fn quiet_hours_wait_but_not_for_the_worst() {
    let quiet = vec![Quiet { from: 12 * 60, to: 13 * 60 }];
    let mut w = World::new(vec![Channel { quiet, ..channel("mail") }]);
    w.down(10, "wan").down(300, "lte").up(400, "lte");
    w.until(3599);
    assert_eq!(w.titles(), Vec::<String>::new());
    w.until(3600);
    assert_eq!(
        w.titles(),
        ["3600 mail: wan (IPv4) is down", "3600 mail: lte (IPv4) was down for 1 min 40 s"]
    );
    let mut w =
        World::new(vec![Channel { quiet: vec![Quiet { from: 12 * 60, to: 13 * 60 }], ..channel("mail") }]);
    w.down(10, "wan").until(100);
    let status = &w.engine.status(w.now())[0];
    assert_eq!(
        (status.queued, status.next_try_ms),
        (1, Some(NOON + 3_600_000)),
        "not before the quiet hours end"
    );
    let quiet = vec![Quiet { from: 0, to: 24 * 60 - 1 }];
    let mut w = World::new(vec![Channel { quiet, ..channel("mail") }]);
    w.down(10, "wan").at(11, switch("p", "wan", "unreachable")).until(60);
    assert_eq!(w.sent.len(), 1);
    // In the local time zone.
    let mut w =
        World::new(vec![Channel { quiet: vec![Quiet { from: 14 * 60, to: 15 * 60 }], ..channel("mail") }]);
    w.offset_s = 2 * 3600;
    w.down(10, "wan").until(1000);
    assert_eq!(w.sent.len(), 0);
}

/// Threshold, and which of a warning and a critical incident are told.
#[test]
fn thresholds() {
    for (severity, told) in [
        (Threshold::From(Severity::Info), 2),
        (Threshold::From(Severity::Warning), 2),
        (Threshold::From(Severity::Error), 1),
        (Threshold::From(Severity::Critical), 1),
        (Threshold::Never, 0),
    ] {
        let mut w = World::new(vec![Channel { severity, ..channel("mail") }]);
        w.down(10, "wan").down(500, "wanb").at(501, switch("p", "wanb", "unreachable")).until(1000);
        assert_eq!(w.sent.len(), told, "{severity:?}");
    }
}

#[test]
fn a_digest_tells_of_the_day_what_was_too_short_too() {
    let day = 86_400;
    let digest = Channel { digest: Some(18 * 60), severity: Threshold::Never, ..channel("mail") };
    let mut w = World::new(vec![digest]);
    w.down(10, "wan").up(13, "wan").down(1000, "lte").until(6 * 3600);
    assert_eq!(w.titles(), ["21600 mail: digest: 1 open, 1 over"]);
    let text = &w.sent[0].words.text;
    assert!(text.contains("12:00:10 +00:00  took 3 s: wan (IPv4) was down"), "{text}");
    assert!(
        text.contains("open for 5 h 43 min: lte (IPv4) was down (lte, IPv4: because of probes_lost"),
        "{text}"
    );
    w.up(day, "lte").until(6 * 3600 + day);
    assert_eq!(w.titles()[1..], ["108000 mail: digest: 1 incident, all over"]);
    w.until(6 * 3600 + 3 * day);
    assert_eq!(w.sent.len(), 4);
    assert!(w.sent[3].words.text.contains("Nothing has happened."));
    // A server that is away gets it later, once.
    w.server = Box::new(
        move |now, _| if now < NOON + (10 * 3600 + 4 * day) * 1000 { Err(unreachable()) } else { Ok(()) },
    );
    w.until(4 * day + 12 * 3600);
    assert_eq!(w.sent.len(), 5);
}

/// Nobody was told of the first part: a digest has both.
#[test]
fn a_digest_counts_what_came_again_as_a_whole() {
    let digest = Channel { digest: Some(18 * 60), severity: Threshold::Never, ..channel("mail") };
    let mut w = World::new(vec![digest]);
    w.down(10, "wan").up(310, "wan").down(500, "wan").up(503, "wan").down(700, "wan").up(710, "wan");
    w.restart();
    w.until(6 * 3600);
    let text = &w.sent[0].words.text;
    assert!(text.contains("12:00:10 +00:00  took 5 min 13 s, 3 times: wan (IPv4) was down"), "{text}");
}

#[test]
fn a_test_is_sent_at_once_and_tried_once() {
    let night =
        Channel { quiet: vec![Quiet { from: 0, to: 1439 }], severity: Threshold::Never, ..channel("mail") };
    let mut w = World::new(vec![night, channel("other")]);
    w.engine.test(w.now(), "mail", 77);
    w.engine.test(w.now(), "nobody", 78);
    w.deliver();
    assert_eq!(w.titles(), ["0 mail: test message: nothing has happened"]);
    assert_eq!(w.engine.status(w.now())[0].test, Some((77, None)));
    w.server = Box::new(|_, _| Err(refused()));
    w.engine.test(w.now(), "mail", 79);
    w.until(100_000);
    assert_eq!(w.tries.len(), 2);
    let status = &w.engine.status(w.now())[0];
    assert_eq!(status.test, Some((79, Some("535 wrong password".into()))));
    assert_eq!((status.queued, status.failures), (0, 0));
}

#[test]
fn a_restart_loses_nothing_and_doubles_what_was_in_flight_alone() {
    let mut w = World::new(vec![channel("mail")]);
    w.down(10, "wan");
    w.restart();
    w.until(39);
    w.restart();
    w.until(40);
    w.restart();
    w.up(200, "wan");
    w.restart();
    w.until(1000);
    w.restart();
    assert_eq!(w.titles().len(), 2, "{:?}", w.titles());
    // Killed while it was sending: it is sent again, under the same name.
    w.down(2000, "wan");
    w.now_ms = NOON + 2_030_000;
    let first = w.engine.due(w.now());
    w.restart();
    let again = w.engine.due(w.now());
    assert_eq!(first, again);
    assert_eq!(first.len(), 1);
}

#[test]
fn a_state_file_of_another_age_or_torn_is_no_harm() {
    let mut w = World::new(vec![channel("mail")]);
    w.down(10, "wan").until(20);
    let kept = w.engine.save();
    let settings = w.settings.clone();
    for end in 0..kept.len() {
        let (mut engine, bad) = Engine::new(settings.clone(), &kept[..end], w.now());
        assert!(bad <= 1, "{end}");
        engine.due(w.now());
    }
    let (engine, bad) = Engine::new(settings, "not\n{\"line\":\"future\"}\n\n[]", w.now());
    assert_eq!((bad, engine.incidents().len()), (3, 0));
}

#[test]
fn incidents_are_bounded_and_what_is_lost_is_counted() {
    let mut w = World::new(vec![channel("mail")]);
    w.server = Box::new(|_, _| Err(refused()));
    for n in 0..300 {
        w.down(100 * n, &format!("wan{n}"));
    }
    assert_eq!(w.engine.incidents().len(), 200);
    assert_eq!(w.engine.status(w.now())[0].dropped, 100);
    assert!(w.engine.save().len() < 200 * 1000, "{}", w.engine.save().len());
}

#[test]
fn no_secret_is_in_what_is_kept_or_shown() {
    let secret = |text: &str| Some(Secret::new(text));
    let mail = How::Email(match email() {
        How::Email(mail) => Email { username: Some("me".into()), password: secret("hunter2"), ..mail },
        _ => unreachable!(),
    });
    let hook = How::Webhook(Webhook {
        url: Secret::new("https://hooks.example.com/T0/slackpath"),
        shape: Shape::Slack,
        template: None,
        to: None,
        secret: secret("tok3n"),
    });
    let mut w =
        World::new(vec![Channel { how: mail, ..channel("mail") }, Channel { how: hook, ..channel("hook") }]);
    w.server = Box::new(|_, _| {
        let text = "535 hunter2 is wrong, tok3n too\r\nat https://hooks.example.com/T0/slackpath".into();
        Err(Fault { kind: FaultKind::Refused, text })
    });
    w.down(10, "wan").until(100);
    let shown = format!("{:?} {:?} {}", w.engine, w.engine.status(w.now()), w.engine.save());
    for secret in ["hunter2", "tok3n", "slackpath"] {
        assert!(!shown.contains(secret), "{secret}: {shown}");
    }
    assert_eq!(w.engine.status(w.now())[0].last_error.as_deref(), Some("535 … is wrong, … too  at …"));
}

#[test]
fn a_channel_that_cannot_be_used_keeps_no_other_from_being_used() {
    let broken = Channel { problem: Some("no such file".into()), ..channel("broken") };
    let mut w = World::new(vec![broken, channel("mail")]);
    w.down(10, "wan").until(100);
    assert_eq!(w.titles(), ["40 mail: wan (IPv4) is down"]);
    assert_eq!(w.engine.status(w.now())[0].last_error.as_deref(), Some("no such file"));
    // Who tests it is told why at once.
    w.engine.test(w.now(), "broken", 7);
    assert_eq!(w.engine.status(w.now())[0].test, Some((7, Some("it is not tried: no such file".into()))));
}

#[test]
fn a_digest_comes_once_a_day_when_clocks_are_put_forward_or_back() {
    const HOUR: u64 = 3600;
    // At one in the morning UTC, 37 hours after we begin.
    const CHANGE: u64 = 37 * HOUR;
    for (before, after) in [(2, 1), (1, 2)] {
        for minute in [18 * 60, 2 * 60 + 30] {
            let digest = Channel { digest: Some(minute), severity: Threshold::Never, ..channel("mail") };
            let mut w = World::new(vec![digest]);
            w.offset_s = before * 3600;
            w.until(CHANGE);
            w.offset_s = after * 3600;
            w.until(CHANGE + 48 * HOUR);
            let shown: Vec<(u64, u64)> = w
                .sent
                .iter()
                .map(|sent| {
                    let offset = if sent.at_s < CHANGE { before } else { after };
                    let local = 12 * HOUR + sent.at_s + u64::try_from(offset).unwrap() * HOUR;
                    (local / (24 * HOUR), local % (24 * HOUR) / 60)
                })
                .collect();
            let first = shown[0].0;
            // Half past two is not there in the night in which clocks go from two to three.
            let skipped = |day| minute < 180 && before < after && day == 2;
            let wanted: Vec<(u64, u64)> = (first..first + shown.len() as u64)
                .map(|day| (day, if skipped(day) { 180 } else { minute.into() }))
                .collect();
            assert_eq!(shown, wanted, "{before} {after} {minute}: {:?}", w.titles());
            assert!(shown.len() >= 3);
        }
    }
}
