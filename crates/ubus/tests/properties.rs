//! What holds for every message, and for bytes that are none.
#![allow(clippy::unwrap_used)]

use mwan_ubus::{Attr, Error, Kind, MESSAGE_BYTES_MAX, Message, Signature, Stream, Table, Value};
use proptest::prelude::*;

fn name() -> impl Strategy<Value = String> {
    "[a-zA-Z0-9_.äß-]{0,12}"
}

fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        proptest::collection::vec(any::<u8>(), 0..9).prop_map(Value::Unspecified),
        proptest::collection::vec(any::<u8>(), 0..9).prop_map(Value::Text),
        any::<i64>().prop_map(Value::Int64),
        any::<i32>().prop_map(Value::Int32),
        any::<i16>().prop_map(Value::Int16),
        any::<u8>().prop_map(Value::Int8),
        any::<u64>().prop_map(Value::Double),
    ];
    leaf.prop_recursive(5, 40, 6, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..6).prop_map(Value::Array),
            proptest::collection::vec((name(), inner), 0..6).prop_map(|t| Value::Table(Table(t))),
        ]
    })
}

fn table() -> impl Strategy<Value = Table> {
    proptest::collection::vec((name(), value()), 0..6).prop_map(Table)
}

fn attr() -> impl Strategy<Value = Attr> {
    prop_oneof![
        any::<u32>().prop_map(Attr::Status),
        name().prop_map(Attr::Path),
        any::<u32>().prop_map(Attr::ObjectId),
        name().prop_map(Attr::Method),
        any::<u32>().prop_map(Attr::TypeId),
        table().prop_map(|t| Attr::Signature(Signature(t))),
        table().prop_map(Attr::Data),
        any::<u32>().prop_map(Attr::Target),
        any::<u8>().prop_map(Attr::Active),
        any::<u8>().prop_map(Attr::NoReply),
        proptest::collection::vec(any::<u8>(), 0..20).prop_map(Attr::Subscribers),
        name().prop_map(Attr::User),
        name().prop_map(Attr::Group),
        (14u8..128, proptest::collection::vec(any::<u8>(), 0..20))
            .prop_map(|(id, data)| Attr::Other(id, data)),
    ]
}

fn message() -> impl Strategy<Value = Message> {
    let kind = prop_oneof![
        Just(Kind::Hello),
        Just(Kind::Status),
        Just(Kind::Data),
        Just(Kind::Lookup),
        Just(Kind::Invoke),
        Just(Kind::AddObject),
        Just(Kind::Monitor),
        (12u8..=255).prop_map(Kind::Other),
    ];
    (kind, any::<u16>(), any::<u32>(), proptest::collection::vec(attr(), 0..6))
        .prop_map(|(kind, sequence, peer, attrs)| Message { kind, sequence, peer, attrs })
}

/// A recorded message.
fn recorded() -> Vec<u8> {
    let text = include_str!("wire/call-dump.hex");
    let longest = text.lines().filter_map(|l| l.split(' ').nth(2)).max_by_key(|l| l.len()).unwrap();
    (0..longest.len()).step_by(2).map(|at| u8::from_str_radix(&longest[at..at + 2], 16).unwrap()).collect()
}

/// Takes everything a stream has; it ends, and what is decoded can be encoded.
fn drain(bytes: &[u8]) {
    let mut stream = Stream::default();
    stream.push(bytes);
    for _ in 0..=bytes.len() {
        match stream.next() {
            Ok(Some(message)) => assert!(message.encode().unwrap().len() <= bytes.len() + 4 * bytes.len()),
            Ok(None) => return,
            Err(_) if stream.usable() => {}
            Err(_) => return,
        }
    }
    panic!("more messages than bytes");
}

proptest! {
    #[test]
    fn what_is_written_is_read_again(message in message()) {
        let bytes = message.encode().unwrap();
        prop_assert_eq!(bytes.len() % 4, 0);
        prop_assert_eq!(Message::decode(&bytes).unwrap(), message);
    }

    #[test]
    fn any_bytes_are_a_message_or_an_error(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        drain(&bytes);
        let _ = Message::decode(&bytes);
    }

    /// Nearly right is worse than random: bytes of a real message changed in a few places.
    #[test]
    fn damaged_messages_are_messages_or_errors(
        damage in proptest::collection::vec((any::<proptest::sample::Index>(), any::<u8>()), 1..8)
    ) {
        let mut bytes = recorded();
        for (at, byte) in damage {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        drain(&bytes);
    }

    #[test]
    fn cut_messages_are_waited_for(message in message(), cut in any::<proptest::sample::Index>()) {
        let bytes = message.encode().unwrap();
        let mut stream = Stream::default();
        stream.push(&bytes[..cut.index(bytes.len())]);
        prop_assert_eq!(stream.next().unwrap(), None);
    }
}

#[test]
fn what_is_too_much_is_refused_before_it_is_held() {
    // 16 MiB announced: refused at the header.
    let mut stream = Stream::default();
    stream.push(&[0, 2, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 0xff]);
    assert!(matches!(stream.next(), Err(Error::TooLong(_))) && !stream.usable());
    let long = Message::new(Kind::Data, 0, 0)
        .with(Attr::Data(Table::new().with("x", Value::Text(vec![b'x'; MESSAGE_BYTES_MAX]))));
    assert!(matches!(long.encode(), Err(Error::TooLong(_))));
    let deep = (0..100).fold(Value::Array(Vec::new()), |inner, _| Value::Array(vec![inner]));
    let deep = Message::new(Kind::Data, 0, 0).with(Attr::Data(Table::new().with("x", deep)));
    assert_eq!(deep.encode(), Err(Error::TooDeep));
    let named = Message::new(Kind::Data, 0, 0).with(Attr::Data(Table::new().with("a\0b", 1)));
    assert_eq!(named.encode(), Err(Error::UnwritableName));
}

/// A million of the smallest values in one message: bounded by a small multiple of what came in.
#[test]
fn many_small_values_take_bounded_memory() {
    let item = [0x87, 0, 0, 9, 0, 0, 0, 0, 1, 0, 0, 0];
    let count = (MESSAGE_BYTES_MAX - 64) / item.len();
    let body: Vec<u8> = item.iter().copied().cycle().take(count * item.len()).collect();
    let mut bytes = vec![0, 2, 0, 0, 0, 0, 0, 0];
    for (id, length) in [(0u32, body.len() + 8), (7, body.len() + 4)] {
        bytes.extend((id << 24 | length as u32).to_be_bytes());
    }
    bytes.extend(body);
    let message = Message::decode(&bytes).unwrap();
    assert_eq!(message.data().unwrap().0.len(), count);
    assert!(std::mem::size_of::<(String, Value)>() <= 6 * item.len());
}

#[test]
fn a_bad_message_in_a_right_frame_costs_only_itself() {
    let bad = [0, 1, 0, 1, 0, 0, 0, 0, 0, 0, 0, 12, 1, 0, 0, 5, 9, 0, 0, 0];
    let good = Message::new(Kind::Ping, 2, 0).encode().unwrap();
    let mut stream = Stream::default();
    stream.push(&[&bad[..], &good].concat());
    assert!(stream.next().is_err() && stream.usable());
    assert_eq!(stream.next().unwrap().unwrap().kind, Kind::Ping);
}
