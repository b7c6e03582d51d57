//! Conversations with a ubusd made of a few lines, and the recorded one.
#![allow(clippy::unwrap_used)]

use super::*;

const NETIF_ID: u32 = 0x90db_8624;

/// Answers of ubusd and netifd to one request, as recorded.
fn answer(request: &Message, netif: bool, dump: &Table) -> Vec<Message> {
    let of = |kind| Message::new(kind, request.sequence, 0);
    let status = |status: Status| of(Kind::Status).with(status.into());
    let id = 0x1000 + u32::from(request.sequence);
    match request.kind {
        Kind::AddObject => vec![of(Kind::Data).with(Attr::ObjectId(id)), status(Status::Ok)],
        Kind::Lookup if netif => {
            let found = of(Kind::Data).with(Attr::Path(NETIF.into())).with(Attr::ObjectId(NETIF_ID));
            vec![found, status(Status::Ok)]
        }
        Kind::Lookup => vec![status(Status::NotFound)],
        Kind::Invoke if request.method() == Some("dump") => {
            let data = of(Kind::Data).with(Attr::ObjectId(NETIF_ID)).with(Attr::Data(dump.clone()));
            vec![data, status(Status::Ok)]
        }
        _ => vec![status(Status::Ok)],
    }
}

struct World {
    session: Session,
    now: Time,
    netif: bool,
    dump: Table,
    /// What was sent, in short.
    sent: Vec<String>,
    views: usize,
    /// Times it was said that there is no netifd.
    absent: usize,
}

impl World {
    fn new(netif: bool) -> Self {
        let dump = Table::new().with("interface", Vec::new());
        let session = Session::new(&OBJECTS);
        let mut world =
            World { session, now: Time(1_000_000), netif, dump, sent: Vec::new(), views: 0, absent: 0 };
        world.hear(&Message::new(Kind::Hello, 0, 7));
        world
    }

    fn hear(&mut self, message: &Message) -> Vec<Action> {
        let actions = self.session.handle(self.now, message);
        self.take(actions)
    }

    /// Lets requests be answered until nothing is said any more; returns the other actions.
    fn take(&mut self, actions: Vec<Action>) -> Vec<Action> {
        let mut queue: std::collections::VecDeque<Action> = actions.into();
        let mut other = Vec::new();
        while let Some(action) = queue.pop_front() {
            match action {
                Action::Send(request) => {
                    let what = request.method().or(request.path()).unwrap_or_default();
                    self.sent.push(format!("{:?} {what}", request.kind));
                    if matches!(request.kind, Kind::Status | Kind::Data) {
                        continue;
                    }
                    for message in answer(&request, self.netif, &self.dump) {
                        queue.extend(self.session.handle(self.now, &message));
                    }
                }
                Action::View(_) => self.views += 1,
                Action::Absent => self.absent += 1,
                action => other.push(action),
            }
        }
        other
    }

    fn wait(&mut self) {
        self.now = self.session.wake_at().unwrap().max(self.now);
        let actions = self.session.tick(self.now);
        self.take(actions);
    }

    fn event(&self, object: u32, method: &str, arguments: Table) -> Message {
        Message::new(Kind::Invoke, 44, 0)
            .with(Attr::ObjectId(object))
            .with(Attr::Method(method.into()))
            .with(Attr::Data(arguments))
    }

    fn sent(&mut self) -> Vec<String> {
        std::mem::take(&mut self.sent)
    }
}

const DUMP: &str = "Invoke dump";

#[test]
fn a_conversation_publishes_listens_and_asks() {
    let mut world = World::new(true);
    assert_eq!(
        world.sent(),
        [
            "AddObject mwan",
            "AddObject mwan3",
            "AddObject mwan4",
            "AddObject ",
            "Invoke register",
            "Invoke register",
            "Lookup network.interface",
            "Subscribe ",
            DUMP
        ]
    );
    assert_eq!(world.views, 1);
}

#[test]
fn hints_are_answered_and_lead_to_one_dump_at_a_time() {
    let mut world = World::new(true);
    world.sent();
    let listener = world.session.listener.unwrap();
    for _ in 0..50 {
        world.hear(&world.event(listener, "interface.update", Table::new()));
    }
    assert_eq!(world.sent(), ["Status "].repeat(50), "the last dump was just now");
    world.wait();
    assert_eq!(world.sent(), [DUMP]);
    assert_eq!(world.views, 2);
    // Nothing more to be done but to look once a minute.
    assert_eq!(world.session.wake_at().unwrap().since(world.now), IDLE - DUMP_PAUSE);
    world.wait();
    assert_eq!(world.sent(), [DUMP]);
}

#[test]
fn a_hint_while_netifd_answers_is_not_lost() {
    let mut world = World::new(true);
    world.now = world.now + DUMP_PAUSE;
    let listener = world.session.listener.unwrap();
    let hint = world.event(listener, "network.interface", Table::new());
    let first = world.session.handle(world.now, &hint);
    let Some(Action::Send(dump)) = first.last().cloned() else { panic!("{first:?}") };
    assert_eq!(dump.method(), Some("dump"));
    assert_eq!(world.session.handle(world.now, &hint).len(), 1, "only the answer");
    world.take(vec![Action::Send(dump)]);
    world.sent();
    world.wait();
    assert_eq!(world.sent(), [DUMP]);
}

#[test]
fn an_answer_that_never_comes_is_asked_for_again() {
    let mut world = World::new(true);
    world.now = world.now + IDLE;
    let listener = world.session.listener.unwrap();
    world.session.handle(world.now, &world.event(listener, "interface.down", Table::new()));
    world.sent();
    while world.sent.is_empty() {
        world.wait();
    }
    assert_eq!(world.sent(), [DUMP]);
}

#[test]
fn netifd_may_come_later_and_may_be_restarted() {
    let mut world = World::new(false);
    assert_eq!((world.views, world.absent), (0, 1));
    world.sent();
    for _ in 0..3 {
        world.wait();
    }
    assert_eq!(world.sent(), ["Lookup network.interface"].repeat(3), "now and then");
    world.netif = true;
    let listener = world.session.listener.unwrap();
    let added = world.event(listener, OBJECT_ADDED, Table::new().with("path", NETIF));
    world.hear(&added);
    assert_eq!(world.sent(), ["Status ", "Lookup network.interface", "Subscribe ", DUMP]);

    world.hear(&Message::new(Kind::Unsubscribe, 0, 0).with(Attr::Target(NETIF_ID)));
    world.now = world.now + IDLE;
    world.hear(&added);
    assert_eq!(world.sent(), ["Status ", "Lookup network.interface", "Subscribe ", DUMP]);
    let other = world.event(listener, OBJECT_ADDED, Table::new().with("path", "log"));
    world.hear(&other);
    assert_eq!(world.sent(), ["Status "]);
}

#[test]
fn calls_reach_the_daemon_and_wrong_ones_are_refused() {
    let mut world = World::new(true);
    world.sent();
    let id = world.session.published["mwan3"];
    let arguments = Table::new().with("section", "policies");
    let actions = world.hear(&world.event(id, "status", arguments.clone()));
    let [Action::Answer(call)] = actions.as_slice() else { panic!("{actions:?}") };
    assert_eq!((call.object, &call.arguments), ("mwan3", &arguments));
    let [data, end] = <[Message; 2]>::try_from(call.answer(Ok(arguments.clone()))).unwrap();
    assert_eq!((data.kind, data.sequence, data.data()), (Kind::Data, 44, Some(&arguments)));
    assert_eq!((end.status(), end.object_id()), (Some(0), Some(id)));
    assert_eq!(call.answer(Err(Status::InvalidArgument))[0].status(), Some(2));
    // Who wants no answer gets none.
    let silent = world.event(id, "status", arguments).with(Attr::NoReply(1));
    let actions = world.hear(&silent);
    let [Action::Answer(call)] = actions.as_slice() else { panic!("{actions:?}") };
    assert!(call.answer(Err(Status::NotFound)).is_empty());

    for (object, method, status) in [(id, "nope", Status::MethodNotFound), (99, "status", Status::NotFound)] {
        let actions = world.session.handle(world.now, &world.event(object, method, Table::new()));
        let [Action::Send(refusal)] = actions.as_slice() else { panic!("{actions:?}") };
        assert_eq!(refusal.status(), Some(status as u32));
    }
}

/// The answers of the real rpcd, message by message, are ours if the content is the same.
#[test]
fn answers_have_the_form_of_the_real_ones() {
    let text = include_str!("../../../ubus/tests/wire/object-server.hex");
    let mut streams = [mwan_ubus::Stream::default(), mwan_ubus::Stream::default()];
    for line in text.lines().filter(|l| !l.starts_with('#')) {
        let words: Vec<&str> = line.split(' ').collect();
        let byte = |at| u8::from_str_radix(&words[2][at..at + 2], 16).unwrap();
        let bytes: Vec<u8> = (0..words[2].len()).step_by(2).map(byte).collect();
        streams[usize::from(words[1] == "S>C")].push(&bytes);
    }
    let [mut client, mut server] = streams.map(|mut s| {
        let all: Vec<Message> = std::iter::from_fn(|| s.next().unwrap()).collect();
        all.into_iter()
    });
    let calls: Vec<Message> = server.by_ref().filter(|m| m.kind == Kind::Invoke).collect();
    let said: Vec<Message> =
        client.by_ref().filter(|m| matches!(m.kind, Kind::Data | Kind::Status)).collect();
    assert_eq!((calls.len(), said.len()), (3, 6));
    for (call, said) in calls.iter().zip(said.chunks(2)) {
        let mut session = Session::new(&[]);
        session.published.insert("mwan3", call.object_id().unwrap());
        let actions = session.handle(Time(0), call);
        let [Action::Answer(call)] = actions.as_slice() else { panic!("{actions:?}") };
        let mut ours = call.answer(Ok(said[0].data().unwrap().clone()));
        // ubusd does not mind whether the outcome or the object comes first.
        ours[1].attrs.sort_by_key(|attr| matches!(attr, Attr::ObjectId(_)));
        assert_eq!(ours, said);
    }
}

#[test]
fn a_name_that_is_taken_is_told_of_and_tried_again() {
    let mut session = Session::new(&["mwan3"]);
    let now = Time(1_000_000);
    let hello = session.handle(now, &Message::new(Kind::Hello, 0, 7));
    let Action::Send(publish) = &hello[0] else { panic!("{hello:?}") };
    let refused = Message::new(Kind::Status, publish.sequence, 0).with(Status::InvalidArgument.into());
    assert_eq!(session.handle(now, &refused), [Action::Taken("mwan3")]);
    let later = session.wake_at().unwrap();
    let again = session.tick(later);
    let first = again.first().cloned();
    let Some(Action::Send(publish)) = first else { panic!("{again:?}") };
    assert_eq!(publish.path(), Some("mwan3"));
    let later = session.wake_at().unwrap();
    let waiting = session.tick(later);
    assert!(
        !waiting.iter().any(|a| matches!(a, Action::Send(m) if m.kind == Kind::AddObject)),
        "{waiting:?}"
    );
    let refused = Message::new(Kind::Status, publish.sequence, 0).with(Status::InvalidArgument.into());
    assert_eq!(session.handle(later, &refused), [], "told of once");
}
