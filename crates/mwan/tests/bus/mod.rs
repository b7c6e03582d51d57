//! A ubusd with a netifd in it: the server's side of the protocol, as the recordings have it.
#![allow(unreachable_pub)] // a module of a test

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use mwan_ubus::{Attr, EVENT_OBJECT, Kind, Message, Signature, Status, Stream, Table, Value};

const NETIF: u32 = 0x90db_8624;

struct Object {
    path: String,
    client: u32,
    methods: Signature,
}

#[derive(Default)]
struct State {
    clients: BTreeMap<u32, UnixStream>,
    objects: BTreeMap<u32, Object>,
    /// Listener and what it listens to.
    subscribers: Vec<(u32, u32)>,
    patterns: Vec<(u32, String)>,
    dump: Table,
    last_id: u32,
    dumps: usize,
}

/// A running ubusd; ends with this value, and its clients lose it.
pub struct Bus {
    path: PathBuf,
    state: Arc<Mutex<State>>,
}

impl Bus {
    /// Listens at `path`.
    pub fn start(path: &Path, dump: Table) -> Self {
        let _ = std::fs::remove_file(path);
        let listener = UnixListener::bind(path).unwrap();
        let state = Arc::new(Mutex::new(State { dump, last_id: 0x1000, ..State::default() }));
        let (shared, own) = (state.clone(), path.to_owned());
        std::thread::spawn(move || {
            for client in listener.incoming() {
                // The last client is the one that ends us.
                if !own.exists() {
                    return;
                }
                serve(&shared, client.unwrap());
            }
        });
        Bus { path: path.to_owned(), state }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    /// What netifd says from now on; it tells its subscribers as the real one does.
    pub fn netif(&self, dump: Table, event: &str) {
        let mut state = self.state();
        state.dump = dump;
        let listeners: Vec<u32> =
            state.subscribers.iter().filter(|(_, to)| *to == NETIF).map(|(who, _)| *who).collect();
        for listener in listeners {
            let note = Message::new(Kind::Invoke, 49, 0xa208_447f)
                .with(Attr::NoReply(1))
                .with(Attr::ObjectId(listener))
                .with(Attr::Method(event.to_owned()))
                .with(Attr::User("root".into()))
                .with(Attr::Group("root".into()))
                .with(Attr::Data(Table::new()));
            state.send_to_object(listener, note);
        }
    }

    /// Paths of what is published, netifd aside.
    pub fn objects(&self) -> Vec<String> {
        let mut all: Vec<String> = self.state().objects.values().map(|o| o.path.clone()).collect();
        all.retain(|path| !path.is_empty());
        all.sort();
        all
    }

    /// Dumps asked for so far.
    pub fn dumps(&self) -> usize {
        self.state().dumps
    }

    /// Whether somebody hears of netifd's changes.
    pub fn has_subscriber(&self) -> bool {
        !self.state().subscribers.is_empty()
    }
}

impl Drop for Bus {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
        for (_, client) in std::mem::take(&mut self.state().clients) {
            let _ = client.shutdown(std::net::Shutdown::Both);
        }
    }
}

fn serve(state: &Arc<Mutex<State>>, socket: UnixStream) {
    let mut reader = socket.try_clone().unwrap();
    let client = {
        let mut state = state.lock().unwrap();
        let client = state.new_id();
        state.clients.insert(client, socket);
        state.send(client, &Message::new(Kind::Hello, 0, client));
        client
    };
    let state = state.clone();
    std::thread::spawn(move || {
        let mut stream = Stream::default();
        let mut buffer = [0; 4096];
        while let Ok(n @ 1..) = reader.read(&mut buffer) {
            stream.push(&buffer[..n]);
            while let Some(message) = stream.next().expect("mwan speaks ubus") {
                state.lock().unwrap().handle(client, message);
            }
        }
        state.lock().unwrap().forget(client);
    });
}

impl State {
    fn new_id(&mut self) -> u32 {
        // Like the real ids: most of them look negative as 32 bits with a sign.
        self.last_id = self.last_id.wrapping_add(0x9e37_79b1);
        self.last_id
    }

    fn forget(&mut self, client: u32) {
        self.clients.remove(&client);
        self.objects.retain(|_, o| o.client != client);
        let objects = &self.objects;
        self.subscribers.retain(|(who, _)| objects.contains_key(who));
        self.patterns.retain(|(who, _)| objects.contains_key(who));
    }

    fn send(&mut self, client: u32, message: &Message) {
        let bytes = message.encode().unwrap();
        if let Some(socket) = self.clients.get_mut(&client) {
            // In two pieces, as streams do it.
            let (head, tail) = bytes.split_at(bytes.len() / 3);
            let _ = socket.write_all(head).and_then(|()| socket.write_all(tail));
        }
    }

    fn send_to_object(&mut self, object: u32, message: Message) {
        if let Some(client) = self.objects.get(&object).map(|o| o.client) {
            self.send(client, &message);
        }
    }

    fn event(&mut self, name: &str, data: &Table) {
        for (listener, _) in self.patterns.clone().into_iter().filter(|(_, pattern)| pattern == name) {
            let event = Message::new(Kind::Invoke, 44, 0)
                .with(Attr::ObjectId(listener))
                .with(Attr::Method(name.to_owned()))
                .with(Attr::Data(data.clone()));
            self.send_to_object(listener, event);
        }
    }

    fn handle(&mut self, client: u32, message: Message) {
        let of = |kind| Message::new(kind, message.sequence, 0);
        let mut answers = Vec::new();
        let status = match message.kind {
            Kind::AddObject => self.add_object(client, &message, &mut answers),
            Kind::Lookup => self.lookup(&message, &mut answers),
            Kind::Subscribe => {
                self.subscribers.push((message.object_id().unwrap(), message.target().unwrap()));
                Some(Status::Ok)
            }
            Kind::Invoke => self.invoke(client, &message, &mut answers),
            // An answer to a call that was passed on: the caller is in `peer`.
            Kind::Data | Kind::Status if message.peer != 0 => {
                let object = message.object_id().unwrap_or_default();
                let caller = message.peer;
                self.send(caller, &Message { peer: object, ..message });
                return;
            }
            _ => return,
        };
        for answer in answers {
            self.send(client, &answer);
        }
        if let Some(status) = status {
            self.send(client, &of(Kind::Status).with(status.into()));
        }
    }

    fn add_object(&mut self, client: u32, message: &Message, answers: &mut Vec<Message>) -> Option<Status> {
        let path = message.path().unwrap_or_default().to_owned();
        if !path.is_empty() && self.objects.values().any(|o| o.path == path) {
            return Some(Status::InvalidArgument);
        }
        let id = self.new_id();
        let methods = message.signature().cloned().unwrap_or_default();
        self.objects.insert(id, Object { path: path.clone(), client, methods });
        answers.push(Message::new(Kind::Data, message.sequence, 0).with(Attr::ObjectId(id)));
        if !path.is_empty() {
            self.event("ubus.object.add", &Table::new().with("id", id as i32).with("path", path.as_str()));
        }
        Some(Status::Ok)
    }

    fn lookup(&mut self, message: &Message, answers: &mut Vec<Message>) -> Option<Status> {
        let path = message.path()?;
        let own = self.objects.iter().find(|(_, o)| o.path == path).map(|(id, _)| *id);
        let netif = (path == "network.interface").then_some(NETIF);
        let Some(id) = own.or(netif) else { return Some(Status::NotFound) };
        let found = Message::new(Kind::Data, message.sequence, 0);
        answers.push(found.with(Attr::Path(path.to_owned())).with(Attr::ObjectId(id)));
        Some(Status::Ok)
    }

    fn invoke(&mut self, client: u32, message: &Message, answers: &mut Vec<Message>) -> Option<Status> {
        let object = message.object_id()?;
        match (object, message.method()?) {
            (EVENT_OBJECT, "register") => {
                let data = message.data()?;
                let listener = data.get("object").and_then(Value::as_i64)? as u32;
                self.patterns.push((listener, data.str("pattern")?.to_owned()));
                Some(Status::Ok)
            }
            (NETIF, "dump") => {
                self.dumps += 1;
                let data = Message::new(Kind::Data, message.sequence, 0).with(Attr::ObjectId(NETIF));
                answers.push(data.with(Attr::Data(self.dump.clone())));
                Some(Status::Ok)
            }
            _ if self.objects.contains_key(&object) => {
                self.send_to_object(object, Message { peer: client, ..message.clone() });
                None
            }
            _ => Some(Status::NotFound),
        }
    }
}

/// What `ubus call` does.
pub struct Client {
    socket: UnixStream,
    stream: Stream,
    sequence: u16,
}

impl Client {
    pub fn connect(path: &Path) -> Self {
        let socket = UnixStream::connect(path).unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        let mut client = Client { socket, stream: Stream::default(), sequence: 0 };
        assert_eq!(client.receive().kind, Kind::Hello);
        client
    }

    fn receive(&mut self) -> Message {
        let mut buffer = [0; 4096];
        loop {
            if let Some(message) = self.stream.next().unwrap() {
                return message;
            }
            let n = self.socket.read(&mut buffer).unwrap();
            assert!(n > 0, "ubusd is gone");
            self.stream.push(&buffer[..n]);
        }
    }

    /// Sends a request and returns its data and its outcome.
    fn request(&mut self, kind: Kind, attrs: Vec<Attr>) -> (Option<Message>, u32) {
        self.sequence += 1;
        let request = Message { kind, sequence: self.sequence, peer: 0, attrs };
        self.socket.write_all(&request.encode().unwrap()).unwrap();
        let mut data = None;
        loop {
            let message = self.receive();
            assert_eq!(message.sequence, self.sequence);
            match message.kind {
                Kind::Status => return (data, message.status().unwrap()),
                _ => data = Some(message),
            }
        }
    }

    /// Calls a method; the error is ubus's number.
    pub fn call(&mut self, path: &str, method: &str, arguments: Table) -> Result<Table, u32> {
        let (found, status) = self.request(Kind::Lookup, vec![Attr::Path(path.to_owned())]);
        if status != 0 {
            return Err(status);
        }
        let id = found.unwrap().object_id().unwrap();
        let attrs = vec![Attr::ObjectId(id), Attr::Method(method.to_owned()), Attr::Data(arguments)];
        match self.request(Kind::Invoke, attrs) {
            (Some(message), 0) => Ok(message.data().unwrap().clone()),
            (None, 0) => Ok(Table::new()),
            (_, status) => Err(status),
        }
    }
}

impl Bus {
    /// The methods of a published object.
    pub fn has_method(&self, path: &str, method: &str) -> bool {
        self.state().objects.values().any(|o| o.path == path && o.methods.has(method))
    }
}
