//! What only the kernel knows, asked for one address at a time.

use mwan_config::Gather;
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use mwan_compile::{entered_by_others, sticky_kind, sticky_placed, sticky_set};
use mwan_config::{Family, NamedSet, Rule, StickyKey};
use mwan_core::{Entered, Explainer, Facts, Packet, Share};
use mwan_linux::nft::{Found, NftSocket};

/// Questions to the kernel per explanation: a rule that names a set others fill costs one.
const QUESTIONS_MAX: usize = 256;

/// Sets of the configuration and of the kernel.
pub(super) struct Sets<'a> {
    named: BTreeMap<&'a str, &'a NamedSet>,
    /// `None`: there is no kernel to ask.
    kernel: Option<RefCell<NftSocket>>,
    asked: Cell<usize>,
    /// Why an answer is missing.
    missing: RefCell<Option<String>>,
    known: RefCell<BTreeMap<(String, IpAddr), bool>>,
}

impl<'a> Sets<'a> {
    /// Those of a configuration, and of the kernel if there is one.
    pub(super) fn new(explainer: &'a Explainer, kernel: Option<NftSocket>) -> Self {
        let named = explainer.desired.sets.iter().map(|set| (set.name.as_str(), set)).gather();
        let (asked, missing, known) = Default::default();
        Sets { named, kernel: kernel.map(RefCell::new), asked, missing, known }
    }

    /// What could not be found out.
    pub(super) fn missing(&self) -> Option<String> {
        self.missing.borrow().clone()
    }

    fn ask(&self, set: &str, key: &[IpAddr]) -> Option<Found> {
        let kernel = self.kernel.as_ref()?;
        self.asked.set(self.asked.get() + 1);
        if self.asked.get() > QUESTIONS_MAX {
            let text = format!(
                "more than {QUESTIONS_MAX} sets would have to be asked for; the others are taken for empty"
            );
            self.missing.borrow_mut().get_or_insert(text);
            return None;
        }
        kernel.borrow_mut().element(set, key).unwrap_or_else(|error| {
            let text = format!("the set {set} cannot be asked and is taken for empty: {error}");
            self.missing.borrow_mut().get_or_insert(text);
            None
        })
    }

    fn look(&self, name: &str, ip: IpAddr) -> bool {
        let Some(named) = self.named.get(name) else { return false };
        let family = Family::of(ip);
        if !named.families.contains(family) {
            return false;
        }
        let mut listed = named.entries.iter().filter(|range| Family::of(range.first) == family);
        listed.any(|range| range.first <= ip && ip <= range.last)
            || entered_by_others(named, family).is_some_and(|set| self.ask(&set, &[ip]).is_some())
    }
}

impl Entered for Sets<'_> {
    fn holds(&self, set: &str, ip: IpAddr) -> bool {
        let key = (set.to_owned(), ip);
        if let Some(known) = self.known.borrow().get(&key) {
            return *known;
        }
        let holds = self.look(set, ip);
        self.known.borrow_mut().insert(key, holds);
        holds
    }

    fn dynamic(&self, ip: IpAddr) -> bool {
        let set = if ip.is_ipv4() { "dynamic.4" } else { "dynamic.6" };
        self.ask(set, &[ip]).is_some()
    }
}

impl Facts for Sets<'_> {
    fn kept(&self, rule: &Rule, id: u32, packet: &Packet) -> Option<Duration> {
        let family = Family::of(packet.destination);
        sticky_kind(rule, family)?;
        let found = self.ask(&sticky_set(&rule.name, id, family), &sticky_key(rule, packet)?)?;
        Some(found.left.unwrap_or_default())
    }

    fn placed(&self, rule: &Rule, shares: &[Share], packet: &Packet) -> Option<u32> {
        sticky_placed(rule.sticky?.key, shares, packet)
    }
}

/// What a sticky rule keeps of a packet.
pub(super) fn sticky_key(rule: &Rule, packet: &Packet) -> Option<Vec<IpAddr>> {
    Some(match rule.sticky?.key {
        StickyKey::Source => vec![packet.source],
        StickyKey::SourceAndDestination => vec![packet.source, packet.destination],
    })
}
