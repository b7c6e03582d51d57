//! The whole server over connections in memory, with a daemon that is none.
#![allow(clippy::unwrap_used)]

mod fake;
mod fuzz;
mod stream;

use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::auth::Role;
use crate::routes::{Access, ROUTES};
use fake::{Answer, Client, World};

const PASSWORD: &str = "correct horse";

fn path(route: &str) -> String {
    let query = if route == "/api/v1/history" { "?interface=wan" } else { "" };
    format!("{}{query}", route.replace("{name}", "wan").replace("{number}", "0"))
}

/// A body that fits the route, as far as a body is asked for.
fn body(route: &str) -> Value {
    match route {
        "/api/v1/login" => json!({ "user": "ann", "password": PASSWORD }),
        "/api/v1/setup" => json!({ "token": "x", "password": PASSWORD }),
        "/api/v1/config" | "/api/v1/config/validate" => json!({ "text": "config globals" }),
        "/api/v1/config/rollback" => json!({ "number": 0 }),
        "/api/v1/config/plan" => json!({ "file": "mwan.toml", "text": "" }),
        _ => json!({}),
    }
}

#[tokio::test]
async fn every_route_takes_its_role_and_no_lower_one() {
    let world = World::new();
    for route in ROUTES {
        for role in [None, Some(Role::Viewer), Some(Role::Operator), Some(Role::Admin)] {
            let mut client = Client { token: role.map(|role| world.token(role)), ..world.client() };
            let answer = client.ask(route.method, &path(route.path), &body(route.path)).await;
            let what = format!("{} {} as {role:?}: {answer:?}", route.method, route.path);
            match route.access {
                Access::Role(wanted) if role.is_none_or(|role| role < wanted) => {
                    assert_eq!(answer.status, if role.is_none() { 401 } else { 403 }, "{what}");
                    assert!(answer.error()["hint"].is_string() || role.is_some(), "{what}");
                }
                _ => assert!(![401, 404, 405, 500, 502].contains(&answer.status), "{what}"),
            }
        }
    }
}

#[tokio::test]
async fn every_answer_has_the_headers_that_protect_browsers() {
    let world = World::new();
    for target in ["/", "/none", "/api/v1/status", "/api/v1/openapi.json", "/metrics"] {
        let answer = world.client().get(target).await;
        let policy = answer.header("content-security-policy").unwrap();
        assert!(
            policy.contains("script-src 'self'") && policy.contains("frame-ancestors 'none'"),
            "{policy}"
        );
        assert!(!policy.contains("unsafe"), "{policy}");
        assert_eq!(answer.header("x-content-type-options"), Some("nosniff"), "{target}");
        if target.starts_with("/api") && target != "/api/v1/openapi.json" || target == "/metrics" {
            assert_eq!(answer.header("cache-control"), Some("no-store"), "{target}");
        }
    }
    let page = world.client().get("/").await;
    assert_eq!((page.status, page.header("content-type")), (200, Some("text/html; charset=utf-8")));
    assert_eq!(world.client().ask("HEAD", "/", &Value::Null).await.status, 200);
}

#[tokio::test]
async fn a_session_begins_by_a_password_and_ends_by_logging_out() {
    let world = World::new();
    let mut client = world.client();
    assert_eq!(client.get("/api/v1/session").await.status, 401);
    let login = client.ask("POST", "/api/v1/login", &json!({ "user": "ann", "password": PASSWORD })).await;
    assert_eq!(login.status, 200, "{login:?}");
    let cookie = login.header("set-cookie").unwrap().to_owned();
    for attribute in ["HttpOnly", "SameSite=Strict", "Path=/"] {
        assert!(cookie.contains(attribute), "{cookie}");
    }
    let (user, role, csrf) = (&login.json["user"], &login.json["role"], login.json["csrf"].as_str().unwrap());
    assert_eq!((user, role), (&json!("ann"), &json!("admin")));
    client.cookie = Some(cookie.split(';').next().unwrap().to_owned());
    assert_eq!(client.get("/api/v1/session").await.json["csrf"], csrf);

    // What changes something has to say that its user wants it.
    let down = "/api/v1/interfaces/wan/down";
    let refused = client.ask("POST", down, &json!({})).await;
    assert_eq!((refused.status, refused.code()), (403, "csrf"));
    client.csrf = Some("0".repeat(64));
    assert_eq!(client.ask("POST", down, &json!({})).await.code(), "csrf");
    client.csrf = Some(csrf.to_owned());
    assert_eq!(client.ask("POST", down, &json!({})).await.status, 204);
    client.origin = Some("http://evil.example".to_owned());
    assert_eq!(client.ask("POST", down, &json!({})).await.code(), "cross_site");
    client.origin = None;

    // Another session of the same user has another id and another token.
    let again = client.ask("POST", "/api/v1/login", &json!({ "user": "ann", "password": PASSWORD })).await;
    assert_ne!(again.json["csrf"], csrf);
    assert_ne!(again.header("set-cookie").unwrap(), cookie);
    let out = client.ask("POST", "/api/v1/logout", &json!({})).await;
    assert_eq!(out.status, 204);
    assert!(out.header("set-cookie").unwrap().contains("Max-Age=0"));
    // Replayed.
    assert_eq!(client.ask("POST", down, &json!({})).await.status, 401);
    assert_eq!(world.daemon.count("if_down"), 1);
}

#[tokio::test]
async fn whoever_is_removed_or_gets_another_password_is_out() {
    let world = World::new();
    let mut client = world.logged_in("ann").await;
    assert_eq!(client.get("/api/v1/status").await.status, 200);
    world.store.change(|accounts| accounts.set_user("ann", Role::Viewer, "another one")).unwrap();
    assert_eq!(client.get("/api/v1/status").await.status, 401);
    world.store.change(|accounts| accounts.set_user("ann", Role::Viewer, PASSWORD)).unwrap();
    let mut client = world.logged_in("ann").await;
    assert_eq!(client.get("/api/v1/status").await.status, 200);
    assert_eq!(client.ask("POST", "/api/v1/interfaces/wan/up", &json!({})).await.code(), "forbidden");
    world.store.change(|accounts| Ok(accounts.remove_user("ann"))).unwrap();
    assert_eq!(client.get("/api/v1/status").await.status, 401);
    let token = world.token(Role::Viewer);
    let mut program = Client { token: Some(token), ..world.client() };
    assert_eq!(program.get("/api/v1/status").await.status, 200);
    world.store.change(|accounts| Ok(accounts.remove_token("viewer"))).unwrap();
    assert_eq!(program.get("/api/v1/status").await.status, 401);
}

#[tokio::test]
async fn guesses_are_limited_and_a_guesser_does_not_lock_others_out() {
    let world = World::new();
    let right = json!({ "user": "ann", "password": PASSWORD });
    let address = "192.0.2.66".parse().unwrap();
    // From another machine, and an operator at the Unix socket.
    for guesser in [None, Some(Role::Operator)] {
        let mut guesser = Client { address, local: guesser, ..world.client() };
        let mut statuses = Vec::new();
        for n in 0..8 {
            let guess = json!({ "user": "ann", "password": format!("guess {n}") });
            let answer = guesser.ask("POST", "/api/v1/login", &guess).await;
            statuses.push(answer.status);
            if answer.status == 429 {
                assert!(answer.header("retry-after").unwrap().parse::<u64>().unwrap() > 0);
            }
        }
        assert_eq!(statuses, [401, 401, 401, 401, 401, 429, 429, 429]);
        // Even with the right one.
        assert_eq!(guesser.ask("POST", "/api/v1/login", &right).await.status, 429);
    }
    let mut other = Client { address: "192.0.2.1".parse().unwrap(), ..world.client() };
    assert_eq!(other.ask("POST", "/api/v1/login", &right).await.status, 200);
    for unknown in ["bob", "", "ann\n", &"x".repeat(300)] {
        let answer =
            other.ask("POST", "/api/v1/login", &json!({ "user": unknown, "password": PASSWORD })).await;
        assert!([401, 429].contains(&answer.status), "{answer:?}");
    }
}

/// Who has many addresses has what they all share, and takes nothing from anybody else.
#[tokio::test]
async fn guesses_from_everywhere_lock_nobody_out() {
    let world = World::new();
    let right = json!({ "user": "ann", "password": PASSWORD });
    let mut owner = Client { address: "192.0.2.1".parse().unwrap(), ..world.client() };
    assert_eq!(owner.ask("POST", "/api/v1/login", &right).await.status, 200);
    let crowd: Vec<Client> = (0..100)
        .map(|n: u32| Client { address: std::net::IpAddr::V4((0x0a00_0000 + n).into()), ..world.client() })
        .collect();
    // Too long to be a password: judged without being hashed, and no less wrong.
    let guess = json!({ "user": "ann", "password": "x".repeat(2000) });
    let mut statuses = Vec::new();
    for _ in 0..2 {
        for client in &crowd {
            statuses.push(client.clone().ask("POST", "/api/v1/login", &guess).await.status);
        }
    }
    assert!(statuses[..100].iter().all(|status| *status == 401));
    assert!(statuses[190..].contains(&429), "{statuses:?}");
    assert_eq!(crowd[99].clone().ask("POST", "/api/v1/login", &right).await.status, 429);
    assert_eq!(owner.ask("POST", "/api/v1/login", &right).await.status, 200);
    let mut new = Client { address: "192.0.2.2".parse().unwrap(), ..world.client() };
    assert_eq!(new.ask("POST", "/api/v1/login", &right).await.status, 200);
}

#[tokio::test]
async fn the_link_sets_a_password_once() {
    let world = World::new();
    let secret =
        world.store.change(|accounts| accounts.begin_setup("eve", crate::auth::now_s(), 60)).unwrap();
    let mut client = world.client();
    assert!(client.get("/api/v1/status").await.error()["hint"].as_str().unwrap().contains("mwan web init"));
    let set = |token: &str, password: &str| json!({ "token": token, "password": password });
    let short = client.ask("POST", "/api/v1/setup", &set(&secret, "short")).await;
    assert_eq!((short.status, short.code()), (422, "password"));
    assert_eq!(client.ask("POST", "/api/v1/setup", &set("wrong", PASSWORD)).await.status, 403);
    let done = client.ask("POST", "/api/v1/setup", &set(&secret, PASSWORD)).await;
    assert_eq!((done.status, &done.json["role"]), (200, &json!("admin")), "{done:?}");
    let replayed = client.ask("POST", "/api/v1/setup", &set(&secret, "other password")).await;
    assert_eq!((replayed.status, replayed.code()), (403, "link_invalid"));
    let login = json!({ "user": "eve", "password": PASSWORD });
    assert_eq!(client.ask("POST", "/api/v1/login", &login).await.status, 200);
}

#[tokio::test(start_paused = true)]
async fn what_is_too_large_or_malformed_gets_one_clear_error() {
    let world = World::new();
    let admin = world.token(Role::Admin);
    let raw = |head: &str, body: &[u8]| {
        let mut bytes =
            format!("{head}\r\nHost: localhost\r\nAuthorization: Bearer {admin}\r\n").into_bytes();
        bytes.extend_from_slice(b"Content-Type: application/json\r\n");
        bytes.extend_from_slice(body);
        bytes
    };
    let length = |n: usize| format!("Content-Length: {n}\r\n\r\n");
    let login = "POST /api/v1/login HTTP/1.1";
    let long = "x".repeat(70_000);
    let cases: Vec<(u16, &str, Vec<u8>)> = vec![
        (400, "malformed", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n".to_vec()),
        (400, "malformed", b"GET / HTTP/9.9\r\n\r\n".to_vec()),
        (400, "malformed", b"GET / HTTP/1.1\r\nHost: localhost\r\nb\x00d: x\r\n\r\n".to_vec()),
        (
            431,
            "headers_too_large",
            format!("GET / HTTP/1.1\r\nHost: localhost\r\nX: {long}\r\n\r\n").into_bytes(),
        ),
        (431, "headers_too_large", format!("GET / HTTP/1.1\r\n{}\r\n", "X: y\r\n".repeat(500)).into_bytes()),
        (400, "bad_request", b"GET /api/v1/status HTTP/1.1\r\n\r\n".to_vec()),
        (400, "bad_request", b"GET /api/v1/status HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n".to_vec()),
        (421, "unknown_host", b"GET /api/v1/status HTTP/1.1\r\nHost: evil.example\r\n\r\n".to_vec()),
        (404, "not_found", raw("GET /api/v2/status HTTP/1.1", b"\r\n")),
        (404, "not_found", raw("DELETE /x HTTP/1.1", b"\r\n")),
        (405, "method_not_allowed", raw("DELETE /api/v1/status HTTP/1.1", b"\r\n")),
        (413, "too_large", raw(login, length(1 << 30).as_bytes())),
        (413, "too_large", raw("GET /api/v1/status HTTP/1.1", format!("{}x", length(1)).as_bytes())),
        (
            413,
            "too_large",
            raw(
                login,
                format!("Transfer-Encoding: chunked\r\n\r\n{:x}\r\n{long}\r\n0\r\n\r\n", long.len())
                    .as_bytes(),
            ),
        ),
        (400, "bad_request", raw(login, b"Transfer-Encoding: chunked\r\n\r\nzz\r\n")),
        (400, "bad_request", raw(login, format!("{}[[[", length(3)).as_bytes())),
        (400, "bad_request", raw(login, format!("{}{{}}", length(2)).as_bytes())),
        (400, "bad_request", raw(login, format!("{}{}", length(4000), "[".repeat(4000)).as_bytes())),
        (400, "bad_request", raw("GET /api/v1/events?limit=0 HTTP/1.1", b"\r\n")),
        (400, "bad_request", raw("GET /api/v1/events?limit=abc HTTP/1.1", b"\r\n")),
        (400, "bad_request", raw("GET /api/v1/events?colour=red HTTP/1.1", b"\r\n")),
        (400, "bad_request", raw("GET /api/v1/events?after=1&after=2 HTTP/1.1", b"\r\n")),
        (400, "bad_request", raw("GET /api/v1/flows?limit=-1 HTTP/1.1", b"\r\n")),
        (400, "bad_request", raw("POST /api/v1/interfaces/%ff/up HTTP/1.1", b"\r\n")),
        (404, "no_interface", raw("POST /api/v1/interfaces/none/up HTTP/1.1", b"\r\n")),
        (404, "no_interface", raw("POST /api/v1/interfaces/%1b%5b31m/up HTTP/1.1", b"\r\n")),
    ];
    for (status, code, bytes) in cases {
        let answer = world.raw(&bytes).await;
        let shown = String::from_utf8_lossy(&bytes[..bytes.len().min(60)]).into_owned();
        assert_eq!((answer.status, answer.code()), (status, code), "{shown:?}: {answer:?}");
        assert!(answer.error()["message"].as_str().unwrap().len() < 600);
        assert!(answer.header("content-type") == Some("application/json"), "{shown:?}");
    }
    let text = raw(login, b"")
        .iter()
        .map(|b| *b as char)
        .collect::<String>()
        .replace("application/json", "text/plain");
    let answer = world.raw(format!("{text}{}{{}}", length(2)).as_bytes()).await;
    assert_eq!((answer.status, answer.code()), (415, "content_type"));
    let answer = world.raw(&raw("DELETE /api/v1/status HTTP/1.1", b"\r\n")).await;
    assert_eq!(answer.header("allow"), Some("GET,HEAD"));
}

#[tokio::test(start_paused = true)]
async fn who_speaks_slowly_or_not_at_all_is_let_go() {
    let world = World::new();
    // Nothing at all, half a head, and a head without its body.
    for part in [&b""[..], b"GET / HTTP/1.1\r\nHost: loc"] {
        let (answer, after) = world.raw_until_closed(part).await;
        assert!(answer.is_empty() && after <= Duration::from_secs(11), "{after:?}");
    }
    let half = b"POST /api/v1/login HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\n{";
    let (answer, after) = world.raw_until_closed(half).await;
    let answer = Answer::parse(&answer);
    assert_eq!((answer.status, answer.code()), (408, "too_slow"));
    assert!(after <= Duration::from_secs(21), "{after:?}");
}

#[tokio::test]
async fn the_daemon_is_asked_for_its_status_once_for_many() {
    let world = World::new();
    let token = world.token(Role::Viewer);
    let mut asking = tokio::task::JoinSet::new();
    for _ in 0..50 {
        let mut client = Client { token: Some(token.clone()), ..world.client() };
        asking.spawn(async move { client.get("/api/v1/status").await.status });
    }
    while let Some(status) = asking.join_next().await {
        assert_eq!(status.unwrap(), 200);
    }
    assert!(world.daemon.count("status") < 10, "{}", world.daemon.count("status"));
}

#[tokio::test]
async fn connections_are_read_seldom_however_many_are_asked_for() {
    let world = World::new();
    let mut client = Client { token: Some(world.token(Role::Viewer)), ..world.client() };
    let start = std::time::Instant::now();
    for limit in 1..=100 {
        assert_eq!(client.get(&format!("/api/v1/flows?limit={limit}")).await.status, 200);
    }
    let seconds = usize::try_from(start.elapsed().as_secs()).unwrap();
    assert!(world.daemon.count("flows") <= 2 * (seconds + 1), "{}", world.daemon.count("flows"));
}

/// A request that has another configuration put in force may be what ends the server.
#[tokio::test]
async fn what_has_been_asked_at_the_end_is_answered_and_nothing_is_begun() {
    let world = World::new();
    let mut idle = world.client().connect();
    let mut asking = world.client().connect();
    let body = br#"{"user":"ann","password":"correct horse"}"#;
    let head = format!(
        "POST /api/v1/login HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    asking.write_all(head.as_bytes()).await.unwrap();
    asking.write_all(&body[..10]).await.unwrap();
    // Until its head has been read.
    tokio::time::sleep(Duration::from_millis(50)).await;
    world.ending.send(true).unwrap();
    assert_eq!(idle.read(&mut [0; 10]).await.unwrap(), 0, "who asks nothing is let go");
    asking.write_all(&body[10..]).await.unwrap();
    let mut answer = String::new();
    asking.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200") && answer.contains("connection: close"), "{answer}");
}

#[tokio::test]
async fn without_a_daemon_there_is_a_clear_error_and_a_metric() {
    let world = World::new();
    world.daemon.set_away(true);
    let if_match = Some("\"0\"".to_owned());
    let mut client = Client { token: Some(world.token(Role::Admin)), if_match, ..world.client() };
    for route in ROUTES
        .iter()
        .filter(|route| !["/api/v1/login", "/api/v1/setup", "/api/v1/live"].contains(&route.path))
    {
        let answer = client.ask(route.method, &path(route.path), &body(route.path)).await;
        assert!([200, 204, 503].contains(&answer.status), "{} {answer:?}", route.path);
        if answer.status == 503 {
            assert_eq!(answer.code(), "daemon_unavailable");
        }
    }
    let metrics = client.get("/metrics").await;
    assert_eq!(metrics.status, 200);
    assert!(
        metrics.text.contains("\nmwan_up 0\n") && !metrics.text.contains("mwan_path_"),
        "{}",
        metrics.text
    );
    world.daemon.set_away(false);
    let status = client.get("/api/v1/status").await;
    assert_eq!((status.status, &status.json["schema"]), (200, &json!("mwan.status.v1")));
}

#[tokio::test]
async fn what_the_daemon_refuses_is_told_with_its_hint() {
    let world = World::new();
    world.daemon.refuse("no such thing", "do something else");
    let mut client = Client { token: Some(world.token(Role::Admin)), ..world.client() };
    let answer = client.ask("POST", "/api/v1/interfaces/wan/drain", &json!({})).await;
    assert_eq!((answer.status, answer.code()), (409, "refused"));
    assert_eq!(answer.error()["hint"], "do something else");
}

#[tokio::test]
async fn events_come_in_pages() {
    let world = World::new();
    (1..=5).for_each(|n| world.daemon.note(n));
    let mut client = Client { token: Some(world.token(Role::Viewer)), ..world.client() };
    let page = client.get("/api/v1/events?limit=2").await.json;
    assert_eq!(
        (page["events"][0]["id"].as_u64(), page["next"].as_u64(), page["latest"].as_u64()),
        (Some(5), Some(4), Some(5))
    );
    let rest = client.get("/api/v1/events?before=4&limit=1000").await.json;
    assert_eq!((rest["events"].as_array().unwrap().len(), &rest["next"]), (3, &Value::Null));
    let newer = client.get("/api/v1/events?after=3").await.json;
    assert_eq!(newer["events"][0]["id"], 4);
}

#[tokio::test]
async fn members_of_the_group_are_operators_and_root_is_an_administrator() {
    let world = World::new();
    for (role, plan) in [(Role::Operator, 403), (Role::Admin, 200)] {
        let mut local = Client { local: Some(role), ..world.client() };
        // No cookie that could be stolen, so nothing to be protected from.
        assert_eq!(local.ask("POST", "/api/v1/interfaces/wan/up", &json!({})).await.status, 204);
        let planned = local.ask("POST", "/api/v1/config/plan", &body("/api/v1/config/plan")).await;
        assert_eq!(planned.status, plan, "{planned:?}");
        assert_eq!(local.get("/api/v1/session").await.json["role"], role.name());
    }
}

#[tokio::test]
async fn updates_of_others_are_not_lost_and_what_is_wrong_is_not_written() {
    let world = World::new();
    let mut client = Client { token: Some(world.token(Role::Admin)), ..world.client() };
    let text = |text: &str| json!({ "text": text });
    let blind = client.ask("PUT", "/api/v1/config", &text("new")).await;
    assert_eq!((blind.status, blind.code()), (428, "revision_required"));
    let read = client.get("/api/v1/config").await;
    assert_eq!((read.header("etag"), &read.json["revision"]), (Some("\"0\""), &json!("0")));
    client.if_match = read.header("etag").map(str::to_owned);
    // Two make a change from the same revision at once: one of them is told.
    let (mut one, mut other) = (client.clone(), client.clone());
    let (mine, theirs) = (text("mine"), text("theirs!"));
    let (first, second) =
        tokio::join!(one.ask("PUT", "/api/v1/config", &mine), other.ask("PUT", "/api/v1/config", &theirs));
    let (done, lost) = if first.status == 200 { (first, second) } else { (second, first) };
    assert_eq!((done.status, lost.status, lost.code()), (200, 412, "conflict"), "{done:?} {lost:?}");
    assert_eq!(lost.error()["revision"], done.json["revision"]);
    assert_eq!(lost.header("etag"), done.header("etag"));
    client.if_match = done.header("etag").map(str::to_owned);
    let wrong = client.ask("PUT", "/api/v1/config", &text("wrong")).await;
    assert_eq!((wrong.status, wrong.code()), (422, "invalid"));
    assert_eq!(wrong.error()["diagnostics"][0]["code"], "E0101");
    let checked = client.ask("POST", "/api/v1/config/validate", &text("wrong")).await;
    assert_eq!((checked.status, &checked.json["refusal"]), (200, &json!("it is wrong")));
    assert_eq!(
        client.get("/api/v1/config").await.json["revision"],
        done.json["revision"],
        "nothing was written"
    );
    // The cloud's document is its own body; a revision is not asked for.
    client.if_match = None;
    assert_eq!(client.get("/api/v1/cloud/multiwan").await.json, json!({ "multiWanV2": {} }));
    let pushed = client.ask("PUT", "/api/v1/cloud/multiwan?partial=true", &json!({ "multiWanV2": {} })).await;
    assert_eq!((pushed.status, &pushed.json["changed"]), (200, &json!(true)), "{pushed:?}");
    assert_eq!(client.ask("PUT", "/api/v1/cloud/multiwan?partial=maybe", &json!({})).await.status, 400);
}

/// A viewer who asks for one explanation after the other holds no order of an admin's up, nor a slow order his questions.
#[tokio::test]
async fn questions_and_orders_do_not_wait_for_each_other() {
    let world = World::new();
    let mut client = Client { token: Some(world.token(Role::Admin)), ..world.client() };
    let (question, order) = ("/api/v1/explain?to=192.0.2.1", "/api/v1/config/rollback");
    let soon = Duration::from_secs(20);
    let ordering = world.site.plans.acquire().await.unwrap();
    let explained = tokio::time::timeout(soon, client.get(question)).await.unwrap();
    assert_eq!((explained.status, explained.code()), (409, "refused"), "the fake explains nothing");
    drop(ordering);
    let _asking = world.site.questions.acquire().await.unwrap();
    let done = tokio::time::timeout(soon, client.ask("POST", order, &body(order))).await.unwrap();
    assert_eq!(done.status, 200, "{done:?}");
}

#[tokio::test]
async fn what_is_not_confirmed_can_be_kept_or_taken_back_and_gone_back_to() {
    let world = World::new();
    let mut client = world.logged_in("ann").await;
    client.if_match = Some("\"0\"".to_owned());
    let text = |text: &str| json!({ "text": text });
    for wrong in ["0", "86401", "-1", "x", "4294967296"] {
        let answer = client.ask("PUT", &format!("/api/v1/config?confirm={wrong}"), &text("new")).await;
        assert_eq!((answer.status, answer.code()), (400, "bad_request"), "{wrong}");
    }
    let put = client.ask("PUT", "/api/v1/config?confirm=60", &text("new")).await;
    assert_eq!(
        (put.status, &put.json["confirm_s"], put.header("etag")),
        (200, &json!(60), Some("\"3\"")),
        "{put:?}"
    );
    let waiting = client.get("/api/v1/config/revisions").await;
    assert_eq!(waiting.json["waiting"]["left_s"], 42);
    assert_eq!(waiting.json["revisions"][0]["by"], "ann");
    // Nothing else meanwhile, and none of it without the token of the session.
    client.if_match = Some("\"3\"".to_owned());
    let other = client.ask("PUT", "/api/v1/config?confirm=60", &text("other")).await;
    assert_eq!(
        (other.status, other.code(), &other.error()["hint"]),
        (422, "invalid", &json!("nothing was written"))
    );
    let csrf = client.csrf.take();
    for path in ["confirm", "takeback", "rollback"] {
        let answer = client.ask("POST", &format!("/api/v1/config/{path}"), &json!({ "number": 0 })).await;
        assert_eq!((answer.status, answer.code()), (403, "csrf"), "{path}");
    }
    client.csrf = csrf;
    assert_eq!(client.ask("POST", "/api/v1/config/takeback", &json!({})).await.status, 204);
    assert_eq!(client.get("/api/v1/config").await.json["text"], "");
    for path in ["confirm", "takeback"] {
        let late = client.ask("POST", &format!("/api/v1/config/{path}"), &json!({})).await;
        assert_eq!((late.status, late.code(), &late.error()["hint"]), (409, "refused", &json!("hint")));
    }
    client.if_match = Some("\"0\"".to_owned());
    assert_eq!(client.ask("PUT", "/api/v1/config?confirm=60", &text("new")).await.status, 200);
    assert_eq!(client.ask("POST", "/api/v1/config/confirm", &json!({})).await.status, 204);
    assert_eq!(client.get("/api/v1/config").await.json["text"], "new");
    // What has to be reached and is not.
    client.if_match = Some("\"3\"".to_owned());
    let missed = json!({ "text": "newer", "must_reach": ["192.0.2.99"] });
    let missed = client.ask("PUT", "/api/v1/config", &missed).await;
    assert_eq!((missed.status, missed.code()), (422, "not_reached"), "{missed:?}");
    assert_eq!(missed.error()["reached"][0]["rtt_us"], Value::Null);
    assert_eq!(client.get("/api/v1/config").await.json["text"], "new");
    // Back to one there was, unless the file is another than was looked at.
    let stale = Client { if_match: Some("\"9\"".to_owned()), ..client.clone() };
    let stale = stale.clone().ask("POST", "/api/v1/config/rollback", &json!({ "number": 0 })).await;
    assert_eq!((stale.status, stale.code()), (412, "conflict"));
    let back = client.ask("POST", "/api/v1/config/rollback", &json!({ "number": 0, "confirm": 5 })).await;
    assert_eq!((back.status, &back.json["confirm_s"]), (200, &json!(5)), "{back:?}");
    assert_eq!(client.get("/api/v1/config").await.json["text"], "");
    let one = client.get("/api/v1/config/revisions/0").await;
    assert_eq!((one.status, &one.json["revision"]["number"]), (200, &json!(0)));
    for none in ["99", "x", "-1", "18446744073709551616"] {
        let answer = client.get(&format!("/api/v1/config/revisions/{none}")).await;
        assert_eq!((answer.status, answer.code()), (404, "no_revision"), "{none}");
    }
}

#[tokio::test]
async fn a_report_is_a_document_or_a_page_without_scripts() {
    let world = World::new();
    let mut client = Client { token: Some(world.token(Role::Viewer)), ..world.client() };
    assert_eq!(client.get("/api/v1/report?month=2026-11").await.json["schema"], "mwan.report.v1");
    let page = client.get("/api/v1/report?format=html").await;
    assert_eq!(page.header("content-type"), Some("text/html; charset=utf-8"));
    let policy = page.header("content-security-policy").unwrap();
    assert!(policy.starts_with("default-src 'none'") && !policy.contains("script"), "{policy}");
    assert!(page.text.starts_with("<!DOCTYPE html>"));
    assert_eq!(client.get("/api/v1/report?format=pdf").await.status, 400);
    assert_eq!(client.get("/api/v1/history").await.status, 400, "of which interface?");
    assert_eq!(client.get("/api/v1/history?interface=wan&from=5").await.json["from_s"], 5);
}

/// A cookie that was sent by TLS never goes, nor is it taken, without; and no other site or subdomain can set it.
#[tokio::test]
async fn a_session_by_tls_is_one_of_tls_alone() {
    let world = World::new();
    let mut client = Client { tls: true, ..world.client() };
    let login = json!({ "user": "ann", "password": PASSWORD });
    client.origin = Some("https://localhost".to_owned());
    let answer = client.ask("POST", "/api/v1/login", &login).await;
    let cookie = answer.header("set-cookie").unwrap().to_owned();
    assert!(
        cookie.starts_with("__Host-mwan=") && cookie.contains("; Secure") && cookie.contains("; Path=/"),
        "{cookie}"
    );
    assert!(!cookie.contains("Domain"), "{cookie}");
    client.cookie = Some(cookie.split(';').next().unwrap().to_owned());
    assert_eq!(client.get("/api/v1/session").await.status, 200);
    client.tls = false;
    assert_eq!(client.get("/api/v1/session").await.status, 401);
    client.tls = true;
    client.origin = Some("http://localhost".to_owned());
    client.csrf = answer.json["csrf"].as_str().map(str::to_owned);
    assert_eq!(client.ask("POST", "/api/v1/logout", &json!({})).await.code(), "cross_site");
}
