//! Whatever is sent: an answer that is HTTP and, if it is a refusal, one JSON error; or the end of the connection. Never a panic, which
//! would end the process.

use proptest::prelude::*;
use serde_json::Value;

use super::fake::{Answer, Client, World};
use crate::auth::Role;
use crate::routes::ROUTES;

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap()
}

/// What is right of an answer, whatever was asked.
fn check(bytes: &[u8]) -> Result<(), TestCaseError> {
    if bytes.is_empty() {
        return Ok(());
    }
    prop_assert!(bytes.starts_with(b"HTTP/1."), "{:?}", String::from_utf8_lossy(bytes));
    let answer = Answer::parse(bytes);
    prop_assert!((200..600).contains(&answer.status) && ![500, 502].contains(&answer.status), "{answer:?}");
    prop_assert_eq!(answer.header("x-content-type-options"), Some("nosniff"));
    if answer.status >= 400 && !answer.text.is_empty() {
        prop_assert!(
            answer.error()["code"].is_string() && answer.error()["message"].is_string(),
            "{answer:?}"
        );
        prop_assert!(answer.text.len() < 4096, "{answer:?}");
    }
    Ok(())
}

fn json(depth: u32) -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<String>().prop_map(Value::from),
    ];
    let names = prop_oneof![
        Just("user".to_owned()),
        Just("password".to_owned()),
        Just("token".to_owned()),
        Just("file".to_owned()),
        Just("text".to_owned()),
        any::<String>(),
    ];
    leaf.prop_recursive(depth, 16, 4, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map(names.clone(), inner, 0..4)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

/// Text that may be in a line of a head.
fn line() -> impl Strategy<Value = String> {
    prop::collection::vec(prop_oneof![8 => 0x20u8..0x7f, 1 => any::<u8>()], 0..40)
        .prop_map(|bytes| bytes.into_iter().filter(|b| ![b'\r', b'\n'].contains(b)).map(char::from).collect())
}

fn header() -> impl Strategy<Value = (String, String)> {
    let names = prop::sample::select(vec![
        "Host",
        "Cookie",
        "Authorization",
        "X-CSRF-Token",
        "Content-Type",
        "Content-Length",
        "Transfer-Encoding",
        "Origin",
        "Last-Event-ID",
        "If-None-Match",
        "Accept",
        "Accept-Encoding",
        "Expect",
        "Upgrade",
        "Connection",
        "Sec-Fetch-Site",
    ]);
    (prop_oneof![4 => names.prop_map(str::to_owned), 1 => line()], line())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn random_bytes(bytes in prop::collection::vec(any::<u8>(), 0..600)) {
        let answer = runtime().block_on(async { World::new().client().exchange(&bytes).await });
        check(&answer)?;
    }

    #[test]
    fn random_requests_at_every_endpoint(
        route in 0..ROUTES.len(),
        method in prop_oneof![3 => Just(None), 1 => prop::sample::select(vec!["GET", "PUT", "POST", "DELETE", "OPTIONS", "HEAD", "PATCH", "CONNECT", "TRACE", "BREW"]).prop_map(Some)],
        name in any::<String>(),
        query in prop::option::of(line()),
        headers in prop::collection::vec(header(), 0..6),
        body in prop_oneof![json(4).prop_map(|value| value.to_string().into_bytes()), prop::collection::vec(any::<u8>(), 0..300)],
        role in prop::option::of(prop::sample::select(Role::ALL.to_vec())),
        length in prop::option::weighted(0.2, 0usize..10_000),
    ) {
        let route = &ROUTES[route];
        let method = method.unwrap_or(route.method);
        let encoded: String = name.bytes().map(|b| format!("%{b:02x}")).collect();
        let target = route.path.replace("{name}", &encoded);
        let target = format!("{target}{}", query.map(|q| format!("?{}", q.replace(' ', "+"))).unwrap_or_default());
        let answer = runtime().block_on(async {
            let world = World::new();
            let client = Client { token: role.map(|role| world.token(role)), ..world.client() };
            let mut request = client.head(method, &target).into_bytes();
            for (name, value) in headers {
                request.extend_from_slice(format!("{name}: {value}\r\n").as_bytes());
            }
            let length = length.unwrap_or(body.len());
            request.extend_from_slice(format!("Content-Type: application/json\r\nContent-Length: {length}\r\n\r\n").as_bytes());
            request.extend_from_slice(&body);
            let exchanged = tokio::time::timeout(std::time::Duration::from_secs(120), client.exchange(&request)).await;
            // The event stream goes on as long as its client is there.
            exchanged.unwrap_or_default()
        });
        check(&answer)?;
    }
}
