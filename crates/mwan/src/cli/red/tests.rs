#![allow(clippy::unwrap_used)]
use serde_json::json;

use super::*;

/// A primary in a phase after so many attempts, and the number of its last round, of the last that was judged, of the last good.
fn seen(phase: &str, attempts: u64, rounds: Option<(u64, u64, u64)>) -> Seen {
    let link = json!({
        "name": "red", "method": "PPPOE", "primary": true, "phase": phase, "on_trial": false, "device": "ppp0",
        "attempt": 0, "attempts": attempts, "reason": null, "retry_s": null
    });
    let path = rounds.map(|(rounds, judged, good)| {
        json!({
            "family": "ipv4", "status": "online", "usable": true, "carries": false,
            "reason": { "code": "", "text": "" }, "since_s": 0, "uptime_s": 0, "tracking": "active", "score": 0,
            "lost": 0, "rounds": rounds, "judged_round": judged, "good_round": good, "age_s": 0, "hold": null,
            "source": null, "gateway": null, "worst_case_detection_ms": null, "missing": 0, "targets": [],
            "network": null
        })
    });
    let paths = path.into_iter().map(|path| serde_json::from_value(path).unwrap());
    Seen { link: serde_json::from_value(link).unwrap(), paths: paths.collect() }
}

#[test]
fn only_what_happened_since_is_a_verdict() {
    let before = seen("kept", 0, Some((7, 6, 6)));
    let of = |now: (u64, u64, u64)| verdict(&before, &seen("kept", 0, Some(now)), false);
    assert_eq!(of((7, 6, 6)), None, "it was online before");
    assert_eq!(of((7, 7, 7)), None, "that round had begun");
    assert_eq!(of((8, 8, 8)), Some(true));
    for lost in 8..10 {
        assert_eq!(of((lost, lost, 7)), None, "one lost packet is no verdict");
    }
    assert_eq!(of((10, 10, 7)), Some(false));
    let before = seen("waiting", 3, None);
    let of = |phase: &str, attempts| verdict(&before, &seen(phase, attempts, None), false);
    assert_eq!(of("waiting", 3), None, "it failed before");
    assert_eq!(of("dialling", 4), None);
    assert_eq!(of("waiting", 4), Some(false));
    assert_eq!(of("refused", 3), Some(false));
    assert_eq!(verdict(&before, &seen("up", 4, Some((1, 1, 1))), false), Some(true));
}

#[test]
fn nothing_to_be_asked_is_a_verdict_after_a_while() {
    let before = seen("kept", 0, None);
    for (phase, expected) in
        [("kept", Some(false)), ("idle", Some(false)), ("dialling", None), ("waiting", None)]
    {
        assert_eq!(verdict(&before, &seen(phase, 0, None), true), expected, "{phase}");
        assert_eq!(verdict(&before, &seen(phase, 0, None), false), None, "{phase}");
    }
}
