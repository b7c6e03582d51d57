//! What webhooks are sent.
#![allow(clippy::unwrap_used)]

mod world;

use mwan_alerts::*;
use serde_json::{Value, json};
use world::*;

const EVIL: &str = "w\"an\\ {{text}} </script> ü \u{2028}";

fn hook(shape: Shape, url: &str) -> Webhook {
    Webhook {
        url: Secret::new(url),
        shape,
        template: None,
        to: Some("!room:example.org".into()),
        secret: Some(Secret::new("s3cret")),
    }
}

/// An incident's beginning and its end.
fn messages(interface: &str) -> (Outgoing, Outgoing) {
    let mut w = World::new(vec![channel("mail")]);
    w.down(10, interface).at(11, switch("p", interface, "wanb")).up(100, interface).until(1000);
    (w.sent[0].message.clone(), w.sent[1].message.clone())
}

fn body(request: &HttpRequest) -> Value {
    serde_json::from_str(&request.body).unwrap_or_else(|e| panic!("{e}: {}", request.body))
}

#[test]
fn the_document() {
    let (open, over) = messages("wan");
    let id = "1a217ba3910-0";
    assert_eq!(
        document(&open, "router"),
        json!({
            "schema": "mwan.alert.v1", "id": format!("{id}-openwarning0"), "site": "router", "stage": "open", "severity": "warning",
            "title": "wan (IPv4) is down", "text": words(&open, "router").text, "time_ms": NOON + 40_000,
            "incidents": [{
                "id": id, "stage": "open", "severity": "warning", "begin_ms": NOON + 10_000, "end_ms": null, "duration_s": 30,
                "unstable": false,
                "causes": [{"interface": "wan", "family": "ipv4", "code": "probes_lost", "text": "because of probes_lost",
                            "since_ms": NOON + 10_000, "until_ms": null, "withdrawn": false, "times": 1}],
                "moved": [{"policy": "p", "family": "ipv4", "from": "wan", "to": "wanb"}],
            }],
        })
    );
    assert_eq!(document(&over, "router")["incidents"][0]["end_ms"], NOON + 100_000);
    let sent = requests(&open, "router", &hook(Shape::Json, "https://example.com/x"));
    assert_eq!((sent.len(), sent[0].signed, sent[0].method), (1, true, "POST"));
}

#[test]
fn every_shape_is_what_its_service_documents() {
    let (open, over) = messages("wan");
    let one = |shape, url: &str| requests(&open, "router", &hook(shape, url)).remove(0);
    let ntfy = one(Shape::Ntfy, "https://ntfy.sh/my-topic");
    assert_eq!(ntfy.url.reveal(), "https://ntfy.sh/");
    assert_eq!(ntfy.authorization.as_ref().unwrap().reveal(), "Bearer s3cret");
    assert_eq!(body(&ntfy)["topic"], "my-topic");
    assert_eq!(body(&ntfy)["title"], "[router] wan (IPv4) is down");
    assert_eq!(body(&ntfy)["priority"], 4);

    let telegram = one(Shape::Telegram, "");
    assert_eq!(telegram.url.reveal(), "https://api.telegram.org/bots3cret/sendMessage");
    assert_eq!(body(&telegram)["chat_id"], "!room:example.org");
    assert!(!telegram.body.contains("s3cret"));

    let slack = one(Shape::Slack, "https://hooks.slack.com/services/T0/B0/x");
    assert_eq!(slack.url.reveal(), "https://hooks.slack.com/services/T0/B0/x");
    assert!(body(&slack)["text"].as_str().unwrap().contains("wan -&gt; wanb"));

    let matrix = one(Shape::Matrix, "https://matrix.example.org/");
    assert_eq!(matrix.method, "PUT");
    assert_eq!(
        matrix.url.reveal(),
        "https://matrix.example.org/_matrix/client/v3/rooms/%21room%3Aexample.org/send/m.room.message/1a217ba3910-0-openwarning0"
    );
    assert_eq!(body(&matrix)["msgtype"], "m.text");

    let pager = |message: &Outgoing| {
        let all = requests(message, "router", &hook(Shape::Pagerduty, ""));
        all.iter().map(|r| (r.url.reveal().to_owned(), body(r))).collect::<Vec<_>>()
    };
    let opened = pager(&open);
    assert_eq!(opened[0].0, "https://events.pagerduty.com/v2/enqueue");
    assert_eq!(opened[0].1["event_action"], "trigger");
    assert_eq!(opened[0].1["routing_key"], "s3cret");
    assert_eq!(opened[0].1["payload"]["severity"], "warning");
    let closed = pager(&over);
    assert_eq!((closed.len(), &closed[0].1["event_action"]), (1, &json!("resolve")));
    assert_eq!(closed[0].1["dedup_key"], opened[0].1["dedup_key"]);
}

#[test]
fn whatever_a_value_holds_it_stays_a_value() {
    let (open, _) = messages(EVIL);
    for shape in [Shape::Json, Shape::Ntfy, Shape::Telegram, Shape::Slack, Shape::Matrix, Shape::Pagerduty] {
        for request in requests(&open, "ro\"uter", &hook(shape, "https://example.com/a")) {
            assert!(body(&request).is_object());
        }
    }
    let template = r#"{"a":"{{title}}","b":["{{ interfaces }}","{{duration_s}}"],"n":{{duration_s}},"id":"{{id}}","at":"{{begin}}"}"#;
    let hook = Webhook { template: Some(template.into()), ..hook(Shape::Json, "https://example.com/a") };
    let request = requests(&open, "router", &hook).remove(0);
    let filled = body(&request);
    assert_eq!(filled["b"][0], EVIL);
    assert_eq!((&filled["n"], &filled["b"][1]), (&json!(30), &json!("30")));
    assert_eq!(filled["at"], "2026-11-26T12:00:10+00:00");
    assert!(request.signed);
}

/// A placeholder the configuration takes and nobody fills in would be silently empty.
#[test]
fn every_placeholder_has_a_value() {
    let (_, over) = messages("wan");
    for name in mwan_config::TEMPLATE_PLACEHOLDERS {
        let template = Some(format!("{{\"x\":\"{{{{{name}}}}}\"}}"));
        let hook = Webhook { template, ..hook(Shape::Json, "https://example.com/a") };
        let filled = body(&requests(&over, "router", &hook)[0]);
        assert_ne!(filled["x"], "", "{name}");
    }
}
