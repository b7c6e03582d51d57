//! Conversations recorded from the real ubusd, netifd and rpcd (`tests/wire`, see its README): every message is understood
//! and gives the same bytes again.
#![allow(clippy::unwrap_used, clippy::disallowed_methods)]

use std::path::{Path, PathBuf};

use mwan_ubus::{Attr, EVENT_OBJECT, Kind, Message, ParamType, Signature, Status, Stream, Table, Value};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/wire")
}

fn bytes(hex: &str) -> Vec<u8> {
    (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect()
}

/// The bytes of each direction, in order.
fn directions(name: &str) -> [(&'static str, Vec<u8>); 2] {
    let text = std::fs::read_to_string(folder().join(name)).unwrap();
    ["C>S", "S>C"].map(|direction| {
        let lines = text.lines().filter(|line| !line.starts_with('#'));
        let of = lines.filter_map(|line| {
            let mut words = line.split(' ');
            let _connection = words.next();
            (words.next() == Some(direction)).then(|| bytes(words.next().unwrap()))
        });
        (direction, of.flatten().collect())
    })
}

fn messages(name: &str, direction: &str) -> Vec<Message> {
    let [client, server] = directions(name);
    let (_, all) = if direction == "C>S" { client } else { server };
    let mut stream = Stream::default();
    stream.push(&all);
    std::iter::from_fn(|| stream.next().unwrap()).collect()
}

fn recordings() -> Vec<String> {
    let names = std::fs::read_dir(folder()).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap());
    names.filter(|name| name.ends_with(".hex")).collect()
}

#[test]
fn every_recorded_message_gives_the_same_bytes_again() {
    let mut count = 0;
    assert_eq!(recordings().len(), 11);
    for name in recordings() {
        for (direction, all) in directions(&name) {
            let mut again = Vec::new();
            for message in messages(&name, direction) {
                assert!(!matches!(message.kind, Kind::Other(_)), "{name}: {message:?}");
                assert!(!message.attrs.iter().any(|a| matches!(a, Attr::Other(..))), "{name}: {message:?}");
                again.extend(message.encode().unwrap());
                count += 1;
            }
            assert_eq!(again, all, "{name} {direction}");
        }
    }
    assert!(count > 90, "{count} messages");
}

/// However a stream is cut, the same messages come out.
#[test]
fn a_stream_may_be_cut_anywhere() {
    let [_, (_, all)] = directions("subscribe.hex");
    let whole = messages("subscribe.hex", "S>C");
    for size in [1, 2, 3, 7, 8, 11, 12, 13, 64, 1000] {
        let mut stream = Stream::default();
        let mut got = Vec::new();
        for piece in all.chunks(size) {
            stream.push(piece);
            while let Some(message) = stream.next().unwrap() {
                got.push(message);
            }
        }
        assert_eq!(got, whole, "pieces of {size}");
    }
}

fn json(value: &Value) -> serde_json::Value {
    match value {
        Value::Unspecified(_) => serde_json::Value::Null,
        Value::Array(items) => items.iter().map(json).collect(),
        Value::Table(table) => json_table(table),
        Value::Text(_) => value.as_str().unwrap().into(),
        Value::Int8(_) => value.as_bool().unwrap().into(),
        Value::Double(bits) => f64::from_bits(*bits).into(),
        _ => value.as_i64().unwrap().into(),
    }
}

fn json_table(table: &Table) -> serde_json::Value {
    serde_json::Value::Object(table.0.iter().map(|(name, value)| (name.clone(), json(value))).collect())
}

fn said(name: &str) -> serde_json::Value {
    serde_json::from_str(&std::fs::read_to_string(folder().join(name)).unwrap()).unwrap()
}

/// What the codec reads is what the real client printed.
#[test]
fn values_are_those_the_real_client_printed() {
    for (recording, printed) in [
        ("call-dump.hex", "call-dump.json"),
        ("call-status-wan.hex", "call-status-wan.json"),
        ("call-args.hex", "call-args.json"),
    ] {
        let answers = messages(recording, "S>C");
        let last = answers.iter().rev().find_map(Message::data).unwrap();
        assert_eq!(json_table(last), said(printed), "{recording}");
    }
    // rpcd's side: three answers.
    let answers = messages("object-server.hex", "C>S");
    let answers: Vec<_> =
        answers.iter().filter(|m| m.kind == Kind::Data).map(|m| m.data().unwrap()).collect();
    let printed = ["mwan3-status.json", "mwan3-status-policies.json", "mwan3-status-interfaces-wan.json"];
    assert_eq!(answers.len(), printed.len());
    for (answer, printed) in answers.iter().zip(printed) {
        assert_eq!(json_table(answer), said(printed), "{printed}");
    }
}

/// Requests built from scratch are, byte for byte, those of the real programs.
#[test]
fn requests_are_those_of_the_real_programs() {
    let text = Signature::default()
        .method("status", &[("section", ParamType::Text), ("interface", ParamType::Text)]);
    let publish =
        Message::new(Kind::AddObject, 4, 0).with(Attr::Path("mwan3".into())).with(Attr::Signature(text));
    assert!(messages("object-server.hex", "C>S").contains(&publish));

    let client = messages("listen.hex", "C>S");
    assert_eq!(client[0], Message::new(Kind::AddObject, 1, 0));
    let pattern = Table::new().with("object", 0x6f62_4ff9).with("pattern", "*");
    let register = Message::new(Kind::Invoke, 2, EVENT_OBJECT)
        .with(Attr::ObjectId(EVENT_OBJECT))
        .with(Attr::Method("register".into()))
        .with(Attr::Data(pattern));
    assert_eq!(client[1], register);

    let client = messages("subscribe.hex", "C>S");
    let subscribe =
        Message::new(Kind::Subscribe, 3, 0).with(Attr::ObjectId(0x2953_3c1d)).with(Attr::Target(0x90db_8624));
    assert_eq!(client[2], subscribe);

    let call = messages("call-args.hex", "C>S");
    let arguments = Table::new().with("name", "mwan3").with("verbose", true);
    let invoke = Message::new(Kind::Invoke, 2, 0x7888_0c7b)
        .with(Attr::ObjectId(0x7888_0c7b))
        .with(Attr::Method("list".into()))
        .with(Attr::Data(arguments));
    assert_eq!(call[1], invoke);
}

#[test]
fn outcomes_are_told_apart() {
    let last = |name| messages(name, "S>C").last().unwrap().status();
    assert_eq!(last("call-unknown.hex"), Some(Status::NotFound as u32));
    assert_eq!(last("call-badmethod.hex"), Some(Status::MethodNotFound as u32));
    assert_eq!(last("call-dump.hex"), Some(Status::Ok as u32));
}
