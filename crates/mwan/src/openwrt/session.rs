//! What is said on one connection to ubusd: messages in, messages and news out. No socket and no clock in here.
//!
//! ubusd greets; then we publish our objects and one without a name that hears of changes. netifd's whole `dump` is asked for
//! after every hint that something changed, so no hint needs to be understood, and a lost one costs a minute at most.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use mwan_core::{PlatformView, Time};
use mwan_ubus::{Attr, EVENT_OBJECT, Kind, Message, ParamType, Signature, Status, Table};

use super::netif;

/// Names under which the status is published: ours and those of the packages we replace.
pub(super) const OBJECTS: [&str; 3] = ["mwan", "mwan3", "mwan4"];
/// netifd's object.
const NETIF: &str = "network.interface";
/// Sent by ubusd for every object that is published, by anybody.
const OBJECT_ADDED: &str = "ubus.object.add";
/// Between two dumps while hints pour in; the first is asked for at once.
const DUMP_PAUSE: Duration = Duration::from_millis(100);
/// An answer that takes longer is taken for lost. netifd answers in milliseconds.
const ANSWER_MAX: Duration = Duration::from_secs(10);
/// A dump is asked for though nothing was heard, and names we could not have are tried again.
const IDLE: Duration = Duration::from_secs(60);
/// netifd is not there yet: looked for after this long, and half of the time waited so far.
const SEARCH_PAUSE: Duration = Duration::from_secs(1);

/// What is to be done.
#[derive(Clone, PartialEq, Debug)]
pub(super) enum Action {
    /// Send this.
    Send(Message),
    /// The network manager's interfaces, as they are now.
    View(PlatformView),
    /// There is no network manager at the moment.
    Absent,
    /// Somebody wants an answer of ours.
    Answer(Call),
    /// An object has a name that somebody else has already.
    Taken(&'static str),
}

/// Somebody calls a method of ours.
#[derive(Clone, PartialEq, Debug)]
pub(super) struct Call {
    /// Which object, by name.
    pub(super) object: &'static str,
    /// The arguments.
    pub(super) arguments: Table,
    id: u32,
    sequence: u16,
    peer: u32,
    wanted: bool,
}

impl Call {
    /// The messages that answer it.
    pub(super) fn answer(&self, result: Result<Table, Status>) -> Vec<Message> {
        if !self.wanted {
            return Vec::new();
        }
        let (data, status) = match result {
            Ok(table) => (Some(table), Status::Ok),
            Err(status) => (None, status),
        };
        let of = |kind| Message::new(kind, self.sequence, self.peer);
        let data = data.map(|table| of(Kind::Data).with(Attr::ObjectId(self.id)).with(Attr::Data(table)));
        let end = of(Kind::Status).with(status.into()).with(Attr::ObjectId(self.id));
        data.into_iter().chain([end]).collect()
    }
}

/// A request of ours that is not answered yet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Asked {
    Publish(&'static str),
    Listener,
    Netif,
    Dump,
    /// Nothing follows from the answer.
    Other,
}

/// One connection.
#[derive(Debug, Default)]
pub(super) struct Session {
    /// Names to publish.
    names: Vec<&'static str>,
    sequence: u16,
    asked: BTreeMap<u16, Asked>,
    /// ubusd has greeted.
    greeted: bool,
    /// Ids of what is published, by name.
    published: BTreeMap<&'static str, u32>,
    /// Names that somebody else had when we wanted them: told of once.
    taken: BTreeSet<&'static str>,
    /// The object that hears of changes.
    listener: Option<u32>,
    /// netifd's object.
    netif: Option<u32>,
    /// When the dump was asked for that is not answered yet.
    dumping: Option<Time>,
    /// Something has changed since.
    stale: bool,
    last_dump: Option<Time>,
    /// When nothing was heard until then, look.
    look_at: Option<Time>,
    search_since: Option<Time>,
}

impl Session {
    /// A connection on which nothing has been said.
    pub(super) fn new(names: &[&'static str]) -> Self {
        Session { names: names.to_vec(), ..Session::default() }
    }

    /// Whether this is a conversation at all.
    pub(super) fn greeted(&self) -> bool {
        self.greeted
    }

    /// When [`Session::tick`] is to be called at the latest.
    pub(super) fn wake_at(&self) -> Option<Time> {
        let next_dump = self.last_dump.map_or(Time(0), |at| at + DUMP_PAUSE);
        let stale = (self.stale && self.netif.is_some() && self.dumping.is_none()).then_some(next_dump);
        let lost = self.dumping.map(|at| at + ANSWER_MAX);
        [stale, lost, self.look_at].into_iter().flatten().min()
    }

    /// Time has passed.
    pub(super) fn tick(&mut self, now: Time) -> Vec<Action> {
        if self.dumping.is_some_and(|at| at + ANSWER_MAX <= now) {
            self.dumping = None;
            self.stale = true;
        }
        let mut actions = Vec::new();
        if self.look_at.is_some_and(|at| at <= now) {
            self.stale = true;
            actions.extend(self.missing().into_iter().map(|name| self.publish(name)));
            if self.netif.is_none() {
                actions.extend(self.search());
            }
            self.look_later(now);
        }
        actions.extend(self.dump_if_due(now));
        actions
    }

    /// ubusd said something.
    pub(super) fn handle(&mut self, now: Time, message: &Message) -> Vec<Action> {
        match message.kind {
            Kind::Hello if !self.greeted => {
                self.greeted = true;
                self.look_later(now);
                let names = self.names.clone();
                let mut actions: Vec<Action> = names.into_iter().map(|name| self.publish(name)).collect();
                actions.push(self.request(Asked::Listener, Kind::AddObject, 0, Vec::new()));
                actions
            }
            Kind::Data => self.data(message),
            Kind::Status => self.outcome(now, message),
            Kind::Invoke => self.invoked(now, message),
            // What we listened to is gone: netifd was restarted. What is known stays in force.
            Kind::Unsubscribe if message.target().is_none_or(|id| self.netif == Some(id)) => {
                self.lose_netif(now);
                Vec::new()
            }
            _ => Vec::new(),
        }
    }

    fn request(&mut self, asked: Asked, kind: Kind, peer: u32, attrs: Vec<Attr>) -> Action {
        self.sequence = self.sequence.wrapping_add(1);
        self.asked.insert(self.sequence, asked);
        Action::Send(Message { kind, sequence: self.sequence, peer, attrs })
    }

    /// Names that are neither published nor about to be.
    fn missing(&self) -> Vec<&'static str> {
        let pending = |name| self.asked.values().any(|asked| *asked == Asked::Publish(name));
        let missing = |name: &&'static str| !self.published.contains_key(name) && !pending(name);
        self.names.iter().copied().filter(missing).collect()
    }

    fn publish(&mut self, name: &'static str) -> Action {
        let parameters = [("section", ParamType::Text), ("interface", ParamType::Text)];
        let methods = Signature::default().method("status", &parameters);
        let attrs = vec![Attr::Path(name.to_owned()), Attr::Signature(methods)];
        self.request(Asked::Publish(name), Kind::AddObject, 0, attrs)
    }

    fn invoke(&mut self, asked: Asked, object: u32, method: &str, arguments: Table) -> Action {
        let attrs = vec![Attr::ObjectId(object), Attr::Method(method.to_owned()), Attr::Data(arguments)];
        self.request(asked, Kind::Invoke, object, attrs)
    }

    fn search(&mut self) -> Option<Action> {
        let searching = self.asked.values().any(|asked| *asked == Asked::Netif);
        let path = Attr::Path(NETIF.to_owned());
        (!searching).then(|| self.request(Asked::Netif, Kind::Lookup, 0, vec![path]))
    }

    fn lose_netif(&mut self, now: Time) {
        self.netif = None;
        self.dumping = None;
        self.search_since = None;
        self.look_later(now);
    }

    fn look_later(&mut self, now: Time) {
        let pause = if self.netif.is_some() {
            self.search_since = None;
            IDLE
        } else {
            let since = *self.search_since.get_or_insert(now);
            (SEARCH_PAUSE + now.since(since) / 2).min(IDLE)
        };
        self.look_at = Some(now + pause);
    }

    fn dump_if_due(&mut self, now: Time) -> Option<Action> {
        let netif = self.netif.filter(|_| self.stale && self.dumping.is_none())?;
        if self.last_dump.is_some_and(|at| now < at + DUMP_PAUSE) {
            return None;
        }
        self.stale = false;
        self.dumping = Some(now);
        self.last_dump = Some(now);
        Some(self.invoke(Asked::Dump, netif, "dump", Table::new()))
    }

    fn data(&mut self, message: &Message) -> Vec<Action> {
        match self.asked.get(&message.sequence) {
            Some(Asked::Publish(name)) => {
                self.published.extend(message.object_id().map(|id| (*name, id)));
            }
            Some(Asked::Listener) => self.listener = message.object_id().or(self.listener),
            // A lookup finds children too; only one has this very name.
            Some(Asked::Netif) if message.path() == Some(NETIF) => self.netif = message.object_id(),
            Some(Asked::Dump) => {
                return message.data().map(netif::view).map(Action::View).into_iter().collect();
            }
            _ => {}
        }
        Vec::new()
    }

    fn outcome(&mut self, now: Time, message: &Message) -> Vec<Action> {
        let Some(asked) = self.asked.remove(&message.sequence) else { return Vec::new() };
        let done = message.status() == Some(Status::Ok as u32);
        match asked {
            Asked::Publish(name) if !done => {
                self.taken.insert(name).then_some(Action::Taken(name)).into_iter().collect()
            }
            Asked::Listener => {
                let Some(listener) = self.listener.filter(|_| done) else { return Vec::new() };
                let register = [NETIF, OBJECT_ADDED].map(|pattern| {
                    // As libubus writes ids: 32 bits, whatever their sign.
                    let arguments = Table::new().with("object", listener as i32).with("pattern", pattern);
                    self.invoke(Asked::Other, EVENT_OBJECT, "register", arguments)
                });
                register.into_iter().chain(self.search()).collect()
            }
            Asked::Netif => self.found(now),
            Asked::Dump => {
                self.dumping = None;
                if !done {
                    self.lose_netif(now);
                }
                self.dump_if_due(now).into_iter().collect()
            }
            Asked::Publish(_) | Asked::Other => Vec::new(),
        }
    }

    /// netifd's object is known, or it is known that there is none.
    fn found(&mut self, now: Time) -> Vec<Action> {
        self.look_later(now);
        let (Some(netif), Some(listener)) = (self.netif, self.listener) else { return vec![Action::Absent] };
        self.stale = true;
        let subscribe = vec![Attr::ObjectId(listener), Attr::Target(netif)];
        let subscribe = self.request(Asked::Other, Kind::Subscribe, 0, subscribe);
        [subscribe].into_iter().chain(self.dump_if_due(now)).collect()
    }

    fn invoked(&mut self, now: Time, message: &Message) -> Vec<Action> {
        let id = message.object_id().unwrap_or_default();
        let mut call = Call {
            object: "",
            arguments: message.data().cloned().unwrap_or_default(),
            id,
            sequence: message.sequence,
            peer: message.peer,
            wanted: message.wants_reply(),
        };
        let method = message.method().unwrap_or_default();
        let send = |messages: Vec<Message>| messages.into_iter().map(Action::Send).collect::<Vec<_>>();
        if let Some((name, _)) = self.published.iter().find(|(_, own)| **own == id) {
            call.object = name;
            return match method {
                "status" => vec![Action::Answer(call)],
                _ => send(call.answer(Err(Status::MethodNotFound))),
            };
        }
        if self.listener != Some(id) {
            return send(call.answer(Err(Status::NotFound)));
        }
        let mut actions = send(call.answer_event());
        if method != OBJECT_ADDED {
            self.stale = true;
        } else if call.arguments.str("path") == Some(NETIF) {
            // Another than before, if there was one.
            self.lose_netif(now);
            actions.extend(self.search());
        }
        actions.extend(self.dump_if_due(now));
        actions
    }
}

impl Call {
    /// The answer to an event: that it was heard.
    fn answer_event(&self) -> Vec<Message> {
        let end = Message::new(Kind::Status, self.sequence, self.peer);
        let end = end.with(Status::Ok.into()).with(Attr::ObjectId(self.id));
        if self.wanted { vec![end] } else { Vec::new() }
    }
}

#[cfg(test)]
#[path = "session_tests.rs"]
mod tests;
