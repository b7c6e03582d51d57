//! A daemon that is none, and clients that speak HTTP over memory.

use std::io;
use std::net::IpAddr;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use mwan_api::{
    Applied, ApplyOrder, Content, Event, EventKind, Events, Request, Response, Severity, Status, Watched,
};
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::sync::mpsc;

use crate::auth::{Peer, Role};
use crate::client::{Daemon, Later};
use crate::places::Seat;
use crate::{Site, Store, api, auth, live, metrics, routes, server};

/// Says yes to everything, and remembers it.
#[derive(Default)]
pub(super) struct Fake {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    away: bool,
    refusal: Option<(String, String)>,
    asked: Vec<String>,
    events: Vec<Event>,
    /// The configuration; its revision is its length.
    text: String,
    /// Those that were in force, with who it was.
    revisions: Vec<(String, Option<String>)>,
    /// What comes back unless it is confirmed.
    before: Option<String>,
    watchers: Vec<mpsc::Sender<Watched>>,
}

/// What must not come into force.
fn wrong(text: &str) -> Option<String> {
    text.contains("wrong").then(|| "it is wrong".to_owned())
}

impl State {
    fn put(&mut self, text: &str, revision: Option<&String>) -> Response {
        let present = self.text.len().to_string();
        if revision.is_some_and(|revision| *revision != present) {
            return Response::Conflict { revision: present };
        }
        if let Some(message) = wrong(text) {
            let diagnostic = mwan_api::Diagnostic {
                severity: "error".into(),
                code: "E0101".into(),
                text: "mwan3:1".into(),
            };
            return Response::Refused { message, diagnostics: vec![diagnostic] };
        }
        self.revisions.push((std::mem::replace(&mut self.text, text.to_owned()), None));
        let revision = text.len().to_string();
        Response::Put(mwan_api::ConfigPut {
            revision,
            changed: true,
            diagnostics: Vec::new(),
            text: None,
            waiting: None,
        })
    }
}

impl State {
    fn apply(&mut self, order: &ApplyOrder) -> Response {
        if self.before.is_some() {
            return Response::Refused { message: "one waits".to_owned(), diagnostics: Vec::new() };
        }
        let text = match &order.content {
            Content::Text { text, .. } => text.clone(),
            Content::Revision { number } => {
                let number = usize::try_from(number.unwrap()).unwrap();
                match self.revisions.get(number) {
                    Some((text, _)) => text.clone(),
                    None => return Response::Error { message: "not kept".to_owned(), hint: None },
                }
            }
        };
        let before = self.text.clone();
        let Response::Put(put) = self.put(&text, order.revision.as_ref()) else {
            return self.put(&text, order.revision.as_ref());
        };
        if let Some(last) = self.revisions.last_mut() {
            last.1.clone_from(&order.by);
        }
        let missed = order.must_reach.contains(&"192.0.2.99".to_owned());
        let reached = order.must_reach.iter().map(|target| mwan_api::Reached {
            target: target.clone(),
            rtt_us: (!missed).then_some(1),
            error: None,
        });
        let reached = reached.collect();
        let taken_back = missed.then(|| {
            self.text.clone_from(&before);
            "192.0.2.99 is not reached".to_owned()
        });
        self.before = order.confirm_s.map(|_| before).filter(|_| !missed);
        let (file, confirm_s, notes) = ("mwan3".to_owned(), order.confirm_s, Vec::new());
        Response::Applied(Applied { file, put, confirm_s, reached, taken_back, notes })
    }

    fn decide(&mut self, keep: bool) -> Response {
        let Some(before) = self.before.take() else {
            return Response::Error { message: "nothing waits".to_owned(), hint: Some("hint".to_owned()) };
        };
        if !keep {
            self.text = before;
        }
        Response::Done
    }

    fn revisions(&self) -> Response {
        let count = self.revisions.len() as u64;
        let revisions = (0..count).rev().map(|number| self.revision(number)).collect();
        let waiting = self.before.as_ref().map(|_| mwan_api::Waiting { by: None, time_ms: 0, left_s: 42 });
        let schema = mwan_api::SCHEMA_REVISIONS.to_owned();
        Response::Revisions(mwan_api::Revisions { schema, revisions, damaged: Vec::new(), waiting })
    }

    fn text(&self, number: u64) -> Response {
        let text = self.revisions[usize::try_from(number).unwrap()].0.clone();
        Response::Revision(mwan_api::RevisionText { revision: self.revision(number), text, before: None })
    }

    fn revision(&self, number: u64) -> mwan_api::Revision {
        let (text, by) = &self.revisions[usize::try_from(number).unwrap()];
        mwan_api::Revision {
            number,
            time_ms: number,
            way: mwan_api::Way::Put,
            by: by.clone(),
            file: "mwan3".to_owned(),
            revision: text.len().to_string(),
            taken_back: false,
        }
    }
}

/// A status with one interface of each kind.
pub(super) fn status() -> Status {
    let text = include_str!("status.json");
    serde_json::from_str(text).unwrap()
}

pub(super) fn event(id: u64) -> Event {
    Event {
        id,
        time_ms: id,
        kind: EventKind::Path,
        severity: Severity::Info,
        interface: Some("wan".to_owned()),
        family: None,
        policy: None,
        from: None,
        to: None,
        code: None,
        text: format!("event {id}"),
    }
}

impl Fake {
    pub(super) fn set_away(&self, away: bool) {
        let mut state = self.state.lock().unwrap();
        state.away = away;
        state.watchers.clear();
    }

    pub(super) fn refuse(&self, message: &str, hint: &str) {
        self.state.lock().unwrap().refusal = Some((message.to_owned(), hint.to_owned()));
    }

    /// How often something was asked.
    pub(super) fn count(&self, method: &str) -> usize {
        self.state.lock().unwrap().asked.iter().filter(|asked| *asked == method).count()
    }

    /// An event happens.
    pub(super) fn note(&self, id: u64) {
        self.state.lock().unwrap().events.push(event(id));
        self.tell(&Watched::Event(event(id)));
    }

    /// Who watches hears it.
    pub(super) fn tell(&self, watched: &Watched) {
        let state = self.state.lock().unwrap();
        state.watchers.iter().for_each(|watcher| drop(watcher.try_send(watched.clone())));
    }

    pub(super) fn watchers(&self) -> usize {
        self.state.lock().unwrap().watchers.len()
    }

    fn answer(&self, request: &Request) -> io::Result<Response> {
        let mut state = self.state.lock().unwrap();
        if state.away {
            return Err(io::ErrorKind::NotFound.into());
        }
        let method = serde_json::to_value(request).unwrap()["method"].as_str().unwrap().to_owned();
        state.asked.push(method);
        Ok(match request {
            Request::Status => Response::Status(Box::new(status())),
            _ if state.refusal.is_some() => {
                let (message, hint) = state.refusal.clone().unwrap();
                Response::Error { message, hint: Some(hint) }
            }
            Request::Events(query) => {
                let limit = query.limit.unwrap() as usize;
                let wanted = |e: &&Event| {
                    query.after.is_none_or(|a| e.id > a) && query.before.is_none_or(|b| e.id < b)
                };
                let mut events: Vec<Event> = state.events.iter().filter(wanted).cloned().collect();
                if query.after.is_none() {
                    events.reverse();
                }
                events.truncate(limit);
                let latest = state.events.last().map_or(0, |e| e.id);
                Response::Events(Events { schema: String::new(), events, oldest: 1, latest })
            }
            Request::Candidates => Response::Candidates(mwan_api::Candidates {
                schema: mwan_api::SCHEMA_CANDIDATES.to_owned(),
                candidates: Vec::new(),
            }),
            Request::Flows { .. } => Response::Flows(mwan_api::Flows {
                schema: mwan_api::SCHEMA_FLOWS.to_owned(),
                total: 0,
                counted: false,
                by_interface: Vec::new(),
                top: Vec::new(),
            }),
            Request::Explain(query) => Response::Error {
                message: format!("asked for {:?} from {:?} by {:?}", query.to, query.from, query.input),
                hint: Some(format!("verify {}", query.verify)),
            },
            Request::Plan { .. } | Request::Diff => Response::Plan(mwan_api::Plan {
                schema: mwan_api::SCHEMA_PLAN.to_owned(),
                nft: String::new(),
                rules: Vec::new(),
                routes: Vec::new(),
                changes: Vec::new(),
                diagnostics: Vec::new(),
                impact: None,
            }),
            Request::History(query) => Response::History(Box::new(mwan_api::History {
                schema: mwan_api::SCHEMA_HISTORY.to_owned(),
                interface: query.interface.clone(),
                family: "ipv4".to_owned(),
                from_s: query.from_s.unwrap_or(0),
                step_s: 1,
                series: mwan_api::Series::default(),
                outages: Vec::new(),
            })),
            Request::Report { .. } => Response::Report(Box::new(mwan_api::Report {
                schema: mwan_api::SCHEMA_REPORT.to_owned(),
                month: "2026-11".to_owned(),
                from_s: 0,
                to_s: 0,
                made_s: 0,
                interfaces: Vec::new(),
                problems: Vec::new(),
            })),
            Request::Config => Response::Config(mwan_api::ConfigText {
                file: "mwan3".to_owned(),
                format: "uci".to_owned(),
                text: state.text.clone(),
                revision: state.text.len().to_string(),
            }),
            Request::Validate { text, .. } => {
                Response::Checked { diagnostics: Vec::new(), refusal: wrong(text) }
            }
            Request::PutConfig { text, revision, .. } => state.put(text, Some(revision)),
            Request::Apply(order) => state.apply(order),
            Request::Confirm => state.decide(true),
            Request::TakeBack => state.decide(false),
            Request::Revisions => state.revisions(),
            Request::Revision { number } => state.text(*number),
            Request::PutCloud { document, revision, .. } => state.put(document, revision.as_ref()),
            Request::Cloud => Response::Cloud(mwan_api::CloudDocument {
                file: "mwan3".to_owned(),
                revision: state.text.len().to_string(),
                document: "{\"multiWanV2\":{}}".to_owned(),
            }),
            Request::Alerts => Response::Alerts(mwan_api::Alerts {
                schema: mwan_api::SCHEMA_ALERTS.to_owned(),
                problem: None,
                alerts: Vec::new(),
            }),
            Request::TestAlert { .. } => Response::TestAlert { number: 7 },
            _ => Response::Done,
        })
    }
}

impl Daemon for Fake {
    fn ask(&self, request: Request) -> Later<'_, io::Result<Response>> {
        let answer = self.answer(&request);
        Box::pin(async move {
            tokio::task::yield_now().await;
            answer
        })
    }

    fn watch(&self, after: Option<u64>) -> Later<'_, io::Result<mpsc::Receiver<Watched>>> {
        Box::pin(async move {
            let mut state = self.state.lock().unwrap();
            if state.away {
                return Err(io::ErrorKind::NotFound.into());
            }
            let (sender, receiver) = mpsc::channel(1000);
            for event in state.events.iter().filter(|event| after.is_some_and(|after| event.id > after)) {
                let _ = sender.try_send(Watched::Event(event.clone()));
            }
            state.watchers.push(sender);
            Ok(receiver)
        })
    }
}

static ACCOUNTS: OnceLock<Vec<u8>> = OnceLock::new();

fn accounts() -> Vec<u8> {
    let folder = tempfile::tempdir().unwrap();
    Store::new(folder.path())
        .change(|accounts| accounts.set_user("ann", Role::Admin, super::PASSWORD))
        .unwrap();
    std::fs::read(folder.path().join("accounts.json")).unwrap()
}

/// A server with its daemon and accounts.
pub(super) struct World {
    pub(super) daemon: Arc<Fake>,
    pub(super) store: Store,
    pub(super) site: Arc<Site>,
    server: Arc<server::Server>,
    pub(super) ending: tokio::sync::watch::Sender<bool>,
    _folder: tempfile::TempDir,
}

impl World {
    /// With the user `ann`, an administrator.
    pub(super) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::new(folder.path());
        // Hashed once: there are many worlds.
        std::fs::write(folder.path().join("accounts.json"), ACCOUNTS.get_or_init(accounts)).unwrap();
        let daemon = Arc::new(Fake::default());
        daemon.state.lock().unwrap().revisions.push((String::new(), None));
        let site = Arc::new(Site {
            daemon: daemon.clone(),
            auth: auth::Auth::new(folder.path(), Duration::from_secs(1800)),
            hub: live::Hub::default(),
            hosts: server::Hosts::new(&[]),
            status: api::StatusCache::default(),
            window: Mutex::new(metrics::window::Window::default()),
            plans: tokio::sync::Semaphore::new(1),
            questions: tokio::sync::Semaphore::new(1),
            flows: api::FlowsCache::default(),
        });
        let (ending, told) = tokio::sync::watch::channel(false);
        let router = routes::router(&site);
        let server = Arc::new(server::Server { site: site.clone(), router, ending: told });
        World { daemon, store, site, server, ending, _folder: folder }
    }

    /// A token of this role.
    pub(super) fn token(&self, role: Role) -> String {
        self.store
            .change(|accounts| {
                accounts.remove_token(role.name());
                accounts.add_token(role.name(), role)
            })
            .unwrap()
    }

    /// Somebody unknown, on this machine, without TLS.
    pub(super) fn client(&self) -> Client {
        Client {
            server: self.server.clone(),
            address: IpAddr::from([127, 0, 0, 1]),
            local: None,
            token: None,
            cookie: None,
            csrf: None,
            origin: None,
            if_match: None,
            tls: false,
        }
    }

    pub(super) async fn logged_in(&self, user: &str) -> Client {
        let mut client = self.client();
        let login = serde_json::json!({ "user": user, "password": super::PASSWORD });
        let answer = client.ask("POST", "/api/v1/login", &login).await;
        client.cookie = Some(answer.header("set-cookie").unwrap().split(';').next().unwrap().to_owned());
        client.csrf = Some(answer.json["csrf"].as_str().unwrap().to_owned());
        client
    }

    /// Sends bytes and reads until the end: of a connection that stays open, with the clock stopped, at once.
    pub(super) async fn raw(&self, bytes: &[u8]) -> Answer {
        Answer::parse(&self.client().exchange(bytes).await)
    }

    /// Sends bytes and nothing more, and waits for what comes back and for the end; and how long that took.
    pub(super) async fn raw_until_closed(&self, bytes: &[u8]) -> (Vec<u8>, Duration) {
        let mut stream = self.client().connect();
        let start = tokio::time::Instant::now();
        stream.write_all(bytes).await.unwrap();
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer).await;
        (answer, start.elapsed())
    }
}

/// Connections whose task panicked.
static PANICS: AtomicUsize = AtomicUsize::new(0);

/// Who asks.
#[derive(Clone)]
pub(super) struct Client {
    pub(super) server: Arc<server::Server>,
    pub(super) address: IpAddr,
    pub(super) local: Option<Role>,
    pub(super) token: Option<String>,
    pub(super) cookie: Option<String>,
    pub(super) csrf: Option<String>,
    pub(super) origin: Option<String>,
    pub(super) if_match: Option<String>,
    /// As if by TLS.
    pub(super) tls: bool,
}

impl Client {
    /// A connection.
    pub(super) fn connect(&self) -> DuplexStream {
        let (ours, theirs) = tokio::io::duplex(64 * 1024);
        let peer = Peer {
            address: Some(self.address).filter(|_| self.local.is_none()),
            local: self.local,
            tls: self.tls,
        };
        let server = self.server.clone();
        let connection = async move { server.connection(theirs, peer, Arc::new(Seat::default())).await };
        tokio::spawn(async move {
            if tokio::spawn(connection).await.is_err_and(|error| error.is_panic()) {
                PANICS.fetch_add(1, Relaxed);
            }
        });
        ours
    }

    pub(super) async fn exchange(&self, bytes: &[u8]) -> Vec<u8> {
        let mut stream = self.connect();
        // The server may have heard enough before all is sent.
        let _ = stream.write_all(bytes).await;
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer).await;
        assert_eq!(PANICS.load(Relaxed), 0, "a panic would have ended the process");
        answer
    }

    pub(super) async fn get(&mut self, target: &str) -> Answer {
        self.ask("GET", target, &Value::Null).await
    }

    /// The head of a request, without its end.
    pub(super) fn head(&self, method: &str, target: &str) -> String {
        let mut head = format!("{method} {target} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n");
        let lines = [
            ("Authorization", self.token.as_ref().map(|token| format!("Bearer {token}"))),
            ("Cookie", self.cookie.clone()),
            ("X-CSRF-Token", self.csrf.clone()),
            ("Origin", self.origin.clone()),
            ("If-Match", self.if_match.clone()),
        ];
        for (name, value) in lines {
            value.into_iter().for_each(|value| head.push_str(&format!("{name}: {value}\r\n")));
        }
        head
    }

    pub(super) async fn ask(&mut self, method: &str, target: &str, body: &Value) -> Answer {
        let mut request = self.head(method, target);
        if body.is_null() || method == "GET" {
            request.push_str("\r\n");
        } else {
            let body = body.to_string();
            request.push_str(&format!(
                "Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
                body.len()
            ));
        }
        if target.starts_with("/api/v1/live") {
            // It does not end by itself.
            let mut stream = self.connect();
            stream.write_all(request.as_bytes()).await.unwrap();
            let mut answer = vec![0; 64 * 1024];
            let read = stream.read(&mut answer).await.unwrap();
            return Answer::parse(&answer[..read]);
        }
        Answer::parse(&self.exchange(request.as_bytes()).await)
    }
}

/// What came back.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    headers: Vec<(String, String)>,
    pub(super) text: String,
    pub(super) json: Value,
}

impl Answer {
    /// Of the first response in these bytes.
    pub(super) fn parse(bytes: &[u8]) -> Self {
        let text = String::from_utf8_lossy(bytes).into_owned();
        let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
        let mut lines = head.split("\r\n");
        let first = lines.next().unwrap_or_default();
        let status = first
            .strip_prefix("HTTP/1.1 ")
            .or(first.strip_prefix("HTTP/1.0 "))
            .and_then(|rest| rest.get(..3)?.parse().ok());
        let status = status.unwrap_or_else(|| panic!("not a response: {text:?}"));
        let headers = lines.filter_map(|line| line.split_once(": "));
        let headers = headers.map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned())).collect();
        let json = serde_json::from_str(body).unwrap_or_default();
        Answer { status, headers, text: body.to_owned(), json }
    }

    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    pub(super) fn error(&self) -> &Value {
        &self.json["error"]
    }

    pub(super) fn code(&self) -> &str {
        self.error()["code"].as_str().unwrap_or("none")
    }
}
