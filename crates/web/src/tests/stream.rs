//! The event stream: what is told, to whom, and for how long.

use std::time::Duration;

use mwan_api::{Sample, Watched};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};

use super::fake::{Client, World};
use crate::auth::Role;
use crate::live;

/// A world whose daemon is listened to.
async fn listening() -> World {
    let world = World::new();
    tokio::spawn(live::listen(world.site.clone()));
    while world.daemon.watchers() == 0 {
        tokio::task::yield_now().await;
    }
    world
}

struct Events {
    stream: DuplexStream,
    text: String,
}

impl Events {
    async fn open(client: &Client, last: Option<u64>) -> Self {
        let mut stream = client.connect();
        let last = last.map(|id| format!("Last-Event-ID: {id}\r\n")).unwrap_or_default();
        let request = format!("{}{last}\r\n", client.head("GET", "/api/v1/live"));
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut events = Events { stream, text: String::new() };
        events.until("event: status").await;
        events
    }

    /// Reads until this is there.
    async fn until(&mut self, wanted: &str) {
        let mut buffer = [0; 4096];
        while !self.text.contains(wanted) {
            let read = tokio::time::timeout(Duration::from_secs(30), self.stream.read(&mut buffer)).await;
            let read = read.unwrap_or_else(|_| panic!("no {wanted:?} in {}", self.text)).unwrap();
            assert!(read > 0, "ended without {wanted:?}: {}", self.text);
            self.text.push_str(&String::from_utf8_lossy(&buffer[..read]));
        }
    }

    fn ids(&self) -> Vec<u64> {
        self.text.lines().filter_map(|line| line.strip_prefix("id: ")?.parse().ok()).collect()
    }
}

fn viewer(world: &World) -> Client {
    Client { token: Some(world.token(Role::Viewer)), ..world.client() }
}

#[tokio::test]
async fn all_clients_hear_of_one_stream_what_happens() {
    let world = listening().await;
    let client = viewer(&world);
    let mut all = Vec::new();
    for _ in 0..50 {
        all.push(Events::open(&client, None).await);
    }
    world.daemon.note(1);
    world.daemon.tell(&Watched::Sample(Sample { time_ms: 7, paths: Vec::new() }));
    for events in &mut all {
        events.until("id: 1\ndata: {\"id\":1,").await;
        events.until("event: sample\ndata: {\"time_ms\":7,\"paths\":[]}\n\n").await;
        assert!(events.text.contains("content-type: text/event-stream"), "{}", events.text);
    }
    assert_eq!(world.daemon.watchers(), 1, "however many there are");
}

#[tokio::test]
async fn a_client_that_comes_back_gets_what_it_missed_and_nothing_twice() {
    let world = listening().await;
    (1..=5).for_each(|n| world.daemon.note(n));
    let client = viewer(&world);
    let mut events = Events::open(&client, Some(2)).await;
    events.until("id: 5").await;
    world.daemon.note(6);
    events.until("id: 6").await;
    assert_eq!(events.ids(), [3, 4, 5, 6]);
    let mut fresh = Events::open(&client, None).await;
    world.daemon.note(7);
    fresh.until("id: 7").await;
    assert_eq!(fresh.ids().iter().filter(|id| **id < 7).count(), 0);
}

/// By a browser of before the router lost its state, or by whoever makes one up.
#[tokio::test]
async fn an_id_that_was_never_given_keeps_nothing_from_a_client() {
    let world = listening().await;
    world.daemon.note(1);
    let mut events = Events::open(&viewer(&world), Some(u64::MAX)).await;
    world.daemon.note(2);
    events.until("id: 2").await;
    assert_eq!(events.ids(), [2]);
}

#[tokio::test]
async fn what_the_server_missed_of_the_daemon_it_asks_for() {
    let world = listening().await;
    let mut events = Events::open(&viewer(&world), None).await;
    world.daemon.note(1);
    events.until("id: 1").await;
    // The daemon goes and comes back; meanwhile two things happened.
    world.daemon.set_away(true);
    events.until("event: daemon\ndata: {\"connected\":false}").await;
    world.daemon.note(2);
    world.daemon.set_away(false);
    world.daemon.note(3);
    events.until("event: daemon\ndata: {\"connected\":true}").await;
    events.until("id: 3").await;
    world.daemon.tell(&Watched::Missed);
    world.daemon.note(4);
    events.until("id: 4").await;
    assert_eq!(events.ids(), [1, 2, 3, 4]);
}

#[tokio::test]
async fn who_logs_out_hears_no_more() {
    let world = listening().await;
    let mut client = world.logged_in("ann").await;
    let mut events = Events::open(&client, None).await;
    client.ask("POST", "/api/v1/logout", &serde_json::json!({})).await;
    world.daemon.note(1);
    events.until("event: logout").await;
    assert!(!events.text.contains("id: 1"), "{}", events.text);
    let mut rest = Vec::new();
    events.stream.read_to_end(&mut rest).await.unwrap();
    assert!(!String::from_utf8_lossy(&rest).contains("data: {\"id\""));
}

#[tokio::test(start_paused = true)]
async fn a_client_that_does_not_read_is_dropped_and_the_others_go_on() {
    let world = listening().await;
    let client = viewer(&world);
    let stuck = Events::open(&client, None).await;
    let mut good = Events::open(&client, None).await;
    for n in 1..=3000 {
        world.daemon.note(n);
        good.until(&format!("id: {n}\n")).await;
        good.text.clear();
    }
    assert_eq!(world.site.hub.dropped(), 1);
    assert_eq!(world.site.hub.count(), 1);
    drop(stuck);
}
