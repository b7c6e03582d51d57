//! The picture at two sizes, and what keys do. The status is that of a router in the lab whose second WAN has just been lost.
#![allow(clippy::unwrap_used)]

use mwan_api::{
    Event, EventKind, ExplainQuery, ExplainedPacket, Explanation, Flow, Flows, InterfaceFlows, PathSample,
    Request, Response, Sample, Severity, Status, Watched,
};
use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

use super::model::{Action, Model, Pane};
use super::view;

const NOON: u64 = 1_795_694_400_000;

fn status() -> Status {
    serde_json::from_str(include_str!("status.json")).unwrap()
}

fn event(id: u64, severity: Severity, text: &str) -> Watched {
    Watched::Event(Event {
        id,
        time_ms: NOON + id * 1000,
        kind: EventKind::Path,
        severity,
        interface: None,
        family: None,
        policy: None,
        from: None,
        to: None,
        code: None,
        text: text.to_owned(),
    })
}

fn sample(second: u64) -> Watched {
    let path = |interface: &str, family: &str, rtt: Option<u64>| PathSample {
        interface: interface.to_owned(),
        family: family.to_owned(),
        status: "online".to_owned(),
        usable: rtt.is_some(),
        carries: true,
        rtt_us: rtt,
        jitter_us: rtt.map(|rtt| rtt / 20),
        loss_percent: Some(if rtt.is_some() { 0 } else { 100 }),
        sent: second * 10,
        received: second * 10,
        rx_bytes: Some(second * 1_250_000),
        tx_bytes: Some(second * 64_000),
    };
    let up = second < 50;
    let paths = vec![
        path("wan", "ipv4", Some(8_000 + 400 * (second % 7))),
        path("wan", "ipv6", Some(9_100)),
        path("wanb", "ipv4", up.then_some(31_000)),
        path("wanb", "ipv6", up.then_some(128_000)),
    ];
    Watched::Sample(Sample { time_ms: NOON + second * 1000, paths })
}

fn flows(wan: u64, wanb: u64) -> Flows {
    let by =
        |interface: &str, flows| InterfaceFlows { interface: interface.to_owned(), flows, bytes: Some(1) };
    let flow = |src: &str, sport, dst: &str, interface: &str, bytes| Flow {
        proto: "tcp".to_owned(),
        src: src.to_owned(),
        dst: dst.to_owned(),
        sport,
        dport: 443,
        interface: Some(interface.to_owned()),
        bytes: Some(bytes),
        packets: Some(1),
        id: u32::from(sport),
    };
    Flows {
        schema: "mwan.flows.v1".to_owned(),
        total: wan + wanb,
        counted: true,
        by_interface: vec![by("wan", wan), by("wanb", wanb)],
        top: vec![
            flow("192.168.1.50", 40312, "198.51.100.10", "wan", 1_234_567_890),
            flow("fd00:1::2", 51000, "2001:db8:ffff::10", "wan", 45_000),
        ],
    }
}

/// A minute of it, the last ten seconds without the second WAN.
fn model() -> Model {
    let mut model = Model::default();
    model.answer(Ok(Response::Status(Box::new(status()))));
    (0..60).for_each(|second| model.watched(sample(second)));
    model.watched(event(1, Severity::Info, "wan ipv4: online: targets answer"));
    model.watched(event(2, Severity::Debug, "nobody is to see this"));
    model.watched(event(3, Severity::Warning, "wanb ipv4: offline: 3 rounds in a row lost"));
    model.watched(event(4, Severity::Info, "balanced ipv4: wan 60 %, wanb 40 % -> wan"));
    model.answer(Ok(Response::Flows(flows(1200, 480))));
    model.answer(Ok(Response::Flows(flows(1678, 2))));
    model
}

fn picture(model: &Model, width: u16, height: u16) -> String {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
    terminal.draw(|frame| view::draw(model, frame)).unwrap();
    terminal.backend().to_string()
}

fn press(model: &mut Model, code: KeyCode) -> Option<Action> {
    model.key(KeyEvent::new(code, KeyModifiers::NONE))
}

/// Whatever a terminal's size is, and whatever the daemon says.
#[test]
fn no_size_and_no_word_is_too_much() {
    let hostile = || {
        let mut model = model();
        let mut status = status();
        status.interfaces[0].name = "\u{1b}[31mwan\r\n\t\u{202e}".repeat(40);
        status.problems = vec!["\u{1b}]0;title\u{7}".to_owned(); 3];
        status.daemon.uptime_s = u64::MAX;
        model.answer(Ok(Response::Status(Box::new(status))));
        for second in [0, u64::MAX / 1000 - NOON, 5] {
            let Watched::Sample(mut sample) = sample(second.min(60)) else { unreachable!() };
            sample.time_ms = second;
            sample.paths[0].rtt_us = Some(u64::MAX);
            sample.paths[0].rx_bytes = Some(u64::MAX - second);
            model.watched(Watched::Sample(sample));
        }
        let Watched::Event(mut event) = event(9, Severity::Error, "\u{1b}[2J\u{9b}31mx\n") else {
            unreachable!()
        };
        (event.id, event.time_ms) = (u64::MAX, u64::MAX);
        model.watched(Watched::Event(event));
        let mut most = flows(u64::MAX, 0);
        most.total = u64::MAX;
        most.top[0].src = "\u{1b}c".to_owned();
        model.answer(Ok(Response::Flows(most)));
        model
    };
    for (width, height) in [1, 9, 79, 140].into_iter().flat_map(|w| [1, 3, 5, 24, 45].map(|h| (w, h))) {
        let mut model = hostile();
        for _ in Pane::ALL {
            let picture = picture(&model, width, height);
            assert!(!picture.chars().any(|c| c.is_control() && c != '\n'), "{width}x{height}: {picture:?}");
            press(&mut model, KeyCode::Tab);
            press(&mut model, KeyCode::End);
        }
        press(&mut model, KeyCode::Char('?'));
        picture(&model, width, height);
    }
}

#[test]
fn a_small_terminal_has_it_all() {
    insta::assert_snapshot!("small", picture(&model(), 80, 24));
    let mut model = model();
    press(&mut model, KeyCode::Tab);
    insta::assert_snapshot!("small_policies", picture(&model, 80, 24));
    press(&mut model, KeyCode::Tab);
    insta::assert_snapshot!("small_flows", picture(&model, 80, 24));
}

#[test]
fn a_large_terminal_has_it_all_at_once() {
    insta::assert_snapshot!("large", picture(&model(), 200, 60));
}

#[test]
fn help_lies_over_it() {
    let mut model = model();
    press(&mut model, KeyCode::Char('?'));
    insta::assert_snapshot!("help", picture(&model, 80, 24));
    assert_eq!(press(&mut model, KeyCode::Char('q')), None, "it closes the help");
    assert_eq!(press(&mut model, KeyCode::Char('q')), Some(Action::Quit));
}

#[test]
fn no_size_is_too_small() {
    for width in [1, 2, 10, 79, 500] {
        for height in [1, 2, 5, 39, 40, 200] {
            for pane in 0..4 {
                let mut model = model();
                (0..pane).for_each(|_| _ = press(&mut model, KeyCode::Tab));
                picture(&model, width, height);
                picture(&Model::default(), width, height);
                press(&mut model, KeyCode::Char('?'));
                picture(&model, width, height);
            }
        }
    }
}

#[test]
fn draining_is_about_the_interface_that_is_selected_and_its_own_end() {
    let mut model = model();
    press(&mut model, KeyCode::Down);
    press(&mut model, KeyCode::Down);
    let drain = press(&mut model, KeyCode::Char('d'));
    assert_eq!(drain, Some(Action::Ask(Request::Drain { interface: "wanb".to_owned() })));
    model.told(Ok(Response::Done));
    assert_eq!(model.message.as_deref(), Some("drain wanb: done"));
    let mut status = status();
    status.interfaces[1].paths[0].drained = true;
    model.answer(Ok(Response::Status(Box::new(status))));
    let undrain = press(&mut model, KeyCode::Char('d'));
    assert_eq!(undrain, Some(Action::Ask(Request::Undrain { interface: "wanb".to_owned() })));
    model.told(Err("no interface is called wanb".to_owned()));
    assert_eq!(model.message.as_deref(), Some("no interface is called wanb"));
}

#[test]
fn nothing_is_taken_down_without_a_yes() {
    let mut model = model();
    assert_eq!(press(&mut model, KeyCode::Char('e')), None);
    assert!(model.question.is_some());
    assert_eq!(press(&mut model, KeyCode::Enter), None);
    assert_eq!(model.message.as_deref(), Some("nothing done"));
    press(&mut model, KeyCode::Char('e'));
    let down = press(&mut model, KeyCode::Char('y'));
    assert_eq!(down, Some(Action::Ask(Request::IfDown { interface: "wan".to_owned() })));
    // What is down is brought up.
    let mut status = status();
    status.interfaces[0].paths.iter_mut().for_each(|path| path.reason.code = "taken_down".to_owned());
    model.answer(Ok(Response::Status(Box::new(status))));
    press(&mut model, KeyCode::Char('e'));
    let up = press(&mut model, KeyCode::Char('y'));
    assert_eq!(up, Some(Action::Ask(Request::IfUp { interface: "wan".to_owned() })));
    // Of what the configuration disables it only says so.
    press(&mut model, KeyCode::End);
    press(&mut model, KeyCode::Char('e'));
    assert!(model.question.is_none());
    assert!(model.message.unwrap().contains("lte is disabled"));
}

#[test]
fn a_connection_is_explained_over_the_rest() {
    let mut model = model();
    assert_eq!(press(&mut model, KeyCode::Char('x')), None, "none is selected");
    (0..2).for_each(|_| _ = press(&mut model, KeyCode::Tab));
    press(&mut model, KeyCode::Down);
    let query = ExplainQuery { flow: Some("51000".to_owned()), ..ExplainQuery::default() };
    assert_eq!(press(&mut model, KeyCode::Char('x')), Some(Action::Ask(Request::Explain(query))));
    let explanation = Explanation {
        schema: "mwan.explanation.v1".to_owned(),
        packet: ExplainedPacket {
            family: "ipv4".to_owned(),
            protocol: "tcp".to_owned(),
            source: "192.168.1.50".to_owned(),
            source_port: Some(40312),
            destination: "198.51.100.10".to_owned(),
            destination_port: Some(443),
            input: Some("lan".to_owned()),
        },
        notes: (0..40).map(|n| format!("note {n}")).collect(),
        ..serde_json::from_value(serde_json::json!({
            "schema": "", "packet": {"family": "", "protocol": "", "source": "", "destination": ""}, "notes": [], "steps": [],
            "rules": [], "decided_by": "rule", "members": [], "choice": "only", "choice_text": "", "ways": []
        }))
        .unwrap()
    };
    model.told(Ok(Response::Explanation(Box::new(explanation))));
    let first = picture(&model, 80, 24);
    assert!(
        first.contains("192.168.1.50:40312 -> 198.51.100.10:443") && !first.contains("note 39"),
        "{first}"
    );
    (0..200).for_each(|_| _ = press(&mut model, KeyCode::Down));
    assert!(!picture(&model, 80, 24).contains("192.168.1.50:40312 ->"));
    assert_eq!(press(&mut model, KeyCode::Char('q')), None, "it closes the page");
    assert!(picture(&model, 80, 24).contains("Interfaces"));
}

#[test]
fn a_daemon_that_comes_back_tells_nothing_twice() {
    let mut model = model();
    model.answer(Err("no daemon answers".to_owned()));
    assert!(picture(&model, 80, 24).contains("no daemon answers"));
    let known = model.events.len();
    for id in 1..=4 {
        model.watched(event(id, Severity::Info, "again"));
    }
    model.watched(event(5, Severity::Info, "started"));
    assert_eq!(model.events.len(), known + 1);
    model.answer(Ok(Response::Status(Box::new(status()))));
    assert!(!picture(&model, 80, 24).contains("no daemon answers"));
    // Whose counters begin anew has no rate, and no panic.
    model.watched(sample(1));
}

#[test]
fn who_reads_an_older_event_goes_on_reading_it() {
    let mut model = model();
    (0..3).for_each(|_| _ = press(&mut model, KeyCode::Tab));
    assert_eq!(model.focus, Pane::Events);
    press(&mut model, KeyCode::Down);
    let read = |model: &Model| model.events.iter().rev().nth(model.selected(Pane::Events)).unwrap().id;
    let before = read(&model);
    model.watched(event(9, Severity::Info, "newer"));
    assert_eq!(read(&model), before);
    (10..2000).for_each(|id| model.watched(event(id, Severity::Info, "flood")));
    assert_eq!(model.events.len(), 500);
    picture(&model, 80, 24);
}

#[test]
fn what_a_peer_calls_itself_stays_text() {
    let mut model = model();
    model.watched(event(20, Severity::Info, "\u{1b}[2Jgone\u{7}"));
    let picture = picture(&model, 80, 24);
    assert!(!picture.contains('\u{1b}') && picture.contains("\\u{1b}[2Jgone"), "{picture}");
}
