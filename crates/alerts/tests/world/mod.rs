//! An engine, a clock that is a number, and a server that takes messages or does not.
#![allow(dead_code, clippy::unwrap_used)]

use mwan_alerts::*;
use mwan_api::{Event, EventKind, Severity as Weight};

/// Noon of a Thursday, ms since 1970.
pub(crate) const NOON: u64 = 1_795_694_400_000;

pub(crate) fn email() -> How {
    How::Email(Email {
        to: vec!["ops@example.com".into()],
        from: "mwan@example.com".into(),
        server: "mail.example.com".into(),
        port: 587,
        security: Security::Starttls,
        username: None,
        password: None,
        sendmail: None,
    })
}

pub(crate) fn channel(name: &str) -> Channel {
    Channel {
        name: name.into(),
        severity: Threshold::From(Severity::Warning),
        min_duration_ms: 30_000,
        quiet: Vec::new(),
        digest: None,
        rate_per_hour: 20,
        problem: None,
        secret_file: None,
        secret_stamp: None,
        ca_file: None,
        how: email(),
    }
}

pub(crate) fn event(kind: EventKind, severity: Weight, text: &str) -> Event {
    Event {
        id: 0,
        time_ms: 0,
        kind,
        severity,
        interface: None,
        family: None,
        policy: None,
        from: None,
        to: None,
        code: None,
        text: text.into(),
    }
}

pub(crate) fn path(interface: &str, family: &str, to: &str, code: &str) -> Event {
    Event {
        interface: Some(interface.into()),
        family: Some(family.into()),
        to: Some(to.into()),
        code: Some(code.into()),
        ..event(
            EventKind::Path,
            Weight::Warning,
            &format!("{interface} {family} (eth1): x -> {to}: because of {code}"),
        )
    }
}

pub(crate) fn switch(policy: &str, from: &str, to: &str) -> Event {
    Event {
        policy: Some(policy.into()),
        family: Some("ipv4".into()),
        from: Some(from.into()),
        to: Some(to.into()),
        ..event(EventKind::Switch, Weight::Info, "")
    }
}

/// A message that was sent.
#[derive(Clone, Debug)]
pub(crate) struct Sent {
    /// Seconds since noon.
    pub(crate) at_s: u64,
    pub(crate) message: Outgoing,
    pub(crate) words: Words,
}

impl Sent {
    pub(crate) fn short(&self) -> String {
        format!("{} {}: {}", self.at_s, self.message.channel, self.words.title)
    }
}

/// What becomes of a message at a time, ms.
pub(crate) type Server = dyn FnMut(u64, &Outgoing) -> Result<(), Fault>;

pub(crate) struct World {
    pub(crate) engine: Engine,
    pub(crate) settings: Settings,
    pub(crate) now_ms: u64,
    pub(crate) offset_s: i32,
    pub(crate) next_event: u64,
    pub(crate) sent: Vec<Sent>,
    /// Attempts, with their times.
    pub(crate) tries: Vec<(u64, String)>,
    /// What the server says.
    pub(crate) server: Box<Server>,
}

impl World {
    pub(crate) fn new(channels: Vec<Channel>) -> Self {
        let settings = Settings { site: "router".into(), channels };
        let now = Now { ms: NOON, utc_offset_s: 0 };
        let (engine, bad) = Engine::new(settings.clone(), "", now);
        assert_eq!(bad, 0);
        World {
            engine,
            settings,
            now_ms: NOON,
            offset_s: 0,
            next_event: 1,
            sent: Vec::new(),
            tries: Vec::new(),
            server: Box::new(|_, _| Ok(())),
        }
    }

    pub(crate) fn now(&self) -> Now {
        Now { ms: self.now_ms, utc_offset_s: self.offset_s }
    }

    /// Sends what is due, as often as something is.
    pub(crate) fn deliver(&mut self) {
        for _ in 0..1000 {
            let due = self.engine.due(self.now());
            if due.is_empty() {
                return;
            }
            for message in due {
                let at_s = (self.now_ms - NOON) / 1000;
                self.tries.push((at_s, message.channel.clone()));
                let result = (self.server)(self.now_ms, &message);
                if result.is_ok() {
                    let words = words(&message, &self.settings.site);
                    self.sent.push(Sent { at_s, message: message.clone(), words });
                }
                self.engine.sent(self.now(), &message.channel, result);
            }
        }
        panic!("it never ends: {:#?}", self.sent.iter().map(Sent::short).collect::<Vec<_>>());
    }

    /// Lets time pass until `s` seconds after noon, waking when the engine wants to be woken.
    pub(crate) fn until(&mut self, s: u64) {
        let end = NOON + s * 1000;
        for _ in 0..100_000 {
            self.deliver();
            match self.engine.wake_at(self.now()) {
                Some(at) if at <= self.now_ms => {
                    panic!("asked to be woken in the past: {at} {}", self.now_ms)
                }
                Some(at) if at < end => self.now_ms = at,
                _ => {
                    self.now_ms = end.max(self.now_ms);
                    self.deliver();
                    return;
                }
            }
        }
        panic!("it wakes for ever");
    }

    pub(crate) fn at(&mut self, s: u64, mut event: Event) -> &mut Self {
        self.until(s);
        event.id = self.next_event;
        event.time_ms = self.now_ms;
        self.next_event += 1;
        self.engine.event(self.now(), &event);
        self.deliver();
        self
    }

    pub(crate) fn down(&mut self, s: u64, interface: &str) -> &mut Self {
        self.at(s, path(interface, "ipv4", "offline", "probes_lost"))
    }

    pub(crate) fn up(&mut self, s: u64, interface: &str) -> &mut Self {
        self.at(s, path(interface, "ipv4", "online", "answering"))
    }

    /// Dies and begins anew with what was kept.
    pub(crate) fn restart(&mut self) {
        let kept = self.engine.save();
        let (engine, bad) = Engine::new(self.settings.clone(), &kept, self.now());
        assert_eq!(bad, 0);
        self.engine = engine;
        assert_eq!(self.engine.save(), kept, "what is read is what was written");
    }

    pub(crate) fn titles(&self) -> Vec<String> {
        self.sent.iter().map(Sent::short).collect()
    }
}

pub(crate) fn unreachable() -> Fault {
    Fault { kind: FaultKind::Unreachable, text: "connection refused".into() }
}

pub(crate) fn refused() -> Fault {
    Fault { kind: FaultKind::Refused, text: "535 wrong password".into() }
}
