//! The program as `nft -f` text: what `plan` prints, goldens hold and people read.

use std::fmt::{self, Display, Write};

use mwan_config::{AddressRange, BlockLevel, Family, PortRange};

use crate::blocks::{addresses, mask};
use crate::near;
use crate::nft::*;

/// The whole table as text `nft -f` accepts.
pub fn table(table: &Table) -> String {
    if table.is_empty() {
        return String::new();
    }
    let mut out = format!("table inet {TABLE} {{\n");
    for (name, set) in &table.sets {
        render_set(&mut out, name, set);
    }
    for name in table.sections.iter().flat_map(|s| &s.counters) {
        let _ = writeln!(out, "\tcounter {name} {{\n\t}}\n");
    }
    for (name, chain) in table.sections.iter().flat_map(|s| &s.chains) {
        let _ = writeln!(out, "\tchain {name} {{");
        if let Some(hook) = chain.hook {
            let _ = writeln!(out, "\t\t{hook}");
        }
        for rule in &chain.rules {
            let _ = writeln!(out, "\t\t{rule}");
        }
        out.push_str("\t}\n\n");
    }
    if out.ends_with("\n\n") {
        out.pop();
    }
    out.push_str("}\n");
    out
}

fn render_set(out: &mut String, name: &str, set: &Set) {
    let word = set_word(name);
    let _ = writeln!(out, "\t{word} {name} {{\n\t\ttype {}", set_type(set.kind));
    for property in set_properties(set.kind) {
        let _ = writeln!(out, "\t\t{property}");
    }
    if let Some(elements) = set.elements.as_ref().filter(|e| !e.is_empty()) {
        out.push_str("\t\telements = { ");
        let _ = write_elements(out, set.kind, &mut elements.iter());
        out.push_str(" }\n");
    }
    out.push_str("\t}\n\n");
}

/// Changes as text `nft -f` accepts, one line each: exactly what is sent to the kernel.
pub fn ops(ops: &[NftOp]) -> String {
    ops.iter().map(|op| format!("{op}\n")).collect()
}

impl Display for NftOp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            NftOp::AddTable => write!(f, "add table inet {TABLE}"),
            NftOp::DeleteTable => write!(f, "delete table inet {TABLE}"),
            NftOp::AddSet { name, kind } => {
                write!(f, "add {} inet {TABLE} {name} {{ type {};", set_word(name), set_type(*kind))?;
                set_properties(*kind).iter().try_for_each(|property| write!(f, " {property};"))?;
                f.write_str(" }")
            }
            NftOp::DeleteSet(name) => write!(f, "delete {} inet {TABLE} {name}", set_word(name)),
            NftOp::AddElements { set, kind, elements } => {
                write!(f, "add element inet {TABLE} {set} {{ ")?;
                write_elements(f, *kind, &mut elements.iter())?;
                f.write_str(" }")
            }
            NftOp::DeleteElements { set, kind, elements } => {
                write!(f, "delete element inet {TABLE} {set} {{ ")?;
                write_elements(f, *kind, &mut elements.iter())?;
                f.write_str(" }")
            }
            NftOp::FlushSet(name) => write!(f, "flush {} inet {TABLE} {name}", set_word(name)),
            NftOp::AddCounter(name) => write!(f, "add counter inet {TABLE} {name}"),
            NftOp::DeleteCounter(name) => write!(f, "delete counter inet {TABLE} {name}"),
            NftOp::AddChain { name, hook: None } => write!(f, "add chain inet {TABLE} {name}"),
            NftOp::AddChain { name, hook: Some(hook) } => {
                write!(f, "add chain inet {TABLE} {name} {{ {hook} }}")
            }
            NftOp::FlushChain(name) => write!(f, "flush chain inet {TABLE} {name}"),
            NftOp::DeleteChain(name) => write!(f, "delete chain inet {TABLE} {name}"),
            NftOp::AddRule { chain, rule } => write!(f, "add rule inet {TABLE} {chain} {rule}"),
        }
    }
}

impl Display for Hook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.kind {
            HookKind::Filter => "filter",
            HookKind::Route => "route",
            HookKind::Nat => "nat",
        };
        let point = match self.point {
            HookPoint::Prerouting => "prerouting",
            HookPoint::Output => "output",
            HookPoint::Postrouting => "postrouting",
        };
        write!(f, "type {kind} hook {point} priority {}; policy accept;", self.priority)
    }
}

impl Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for statement in &self.statements {
            write!(f, "{statement} ")?;
        }
        write!(f, "comment \"{}\"", self.tag)
    }
}

impl Display for Statement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let operator = |equal: bool| if equal { "" } else { "!= " };
        match self {
            Statement::MarkMatch { mark, mask, equal, value } => {
                write!(f, "{mark} & {mask:#010x} {} {value:#010x}", if *equal { "==" } else { "!=" })
            }
            Statement::Restore { mask } => {
                write!(f, "meta mark 0x00000000 meta mark set ct mark & {mask:#010x}")
            }
            Statement::MarkVmap { mark, mask, elements } => {
                let rows = list(elements.iter().map(|(value, verdict)| Row(Hex(*value), verdict)));
                write!(f, "{mark} & {mask:#010x} vmap {{ {rows} }}")
            }
            Statement::NotNew => f.write_str("ct state != new"),
            Statement::Invalid => f.write_str("ct state == invalid"),
            Statement::Match { selector, equal, values } => match values.as_slice() {
                [one] => write!(f, "{selector} {}{one}", operator(*equal)),
                many => write!(f, "{selector} {}{{ {} }}", operator(*equal), list(many.iter())),
            },
            Statement::InSet { selector, bits, equal, set } => {
                write!(f, "{}{}@{set}", Cut(*selector, *bits), operator(*equal))
            }
            Statement::Near { selector, bits, map } => {
                write!(f, "meta mark 0x00000000 meta mark set {}map @{map}", Cut(*selector, *bits))
            }
            Statement::Known { key, set } => write!(f, "{} @{set}", concat(key)),
            Statement::Remember { key, set, timeout } => {
                write!(f, "update @{set} {{ {} timeout {} }}", concat(key), Period(*timeout))
            }
            Statement::HashVmap { key, modulus, elements } => {
                let rows = elements.iter().map(|(first, last, verdict)| Row(Span(*first, *last), verdict));
                let (key, rows) = (concat(key), list(rows));
                write!(f, "jhash {key} mod {modulus} seed {HASH_SEED:#x} vmap {{ {rows} }}")
            }
            Statement::Vmap { key, elements } => {
                let rows = list(elements.iter().map(|(values, verdict)| Row(concat(values), verdict)));
                write!(f, "{} vmap {{ {rows} }}", concat(key))
            }
            Statement::RandomVmap { modulus, elements } => {
                let rows = elements.iter().map(|(first, last, verdict)| Row(Span(*first, *last), verdict));
                write!(f, "numgen random mod {modulus} vmap {{ {} }}", list(rows))
            }
            Statement::SetMark { mark, mask, value } => {
                write!(f, "{mark} set {mark} & {:#010x} | {value:#010x}", !mask)
            }
            Statement::Counter(name) => write!(f, "counter name \"{name}\""),
            Statement::Limit { per_minute, burst } => {
                write!(f, "limit rate {per_minute}/minute burst {burst} packets")
            }
            Statement::Log { prefix, level } => {
                write!(f, "log prefix \"{prefix}\" level {}", level_word(*level))
            }
            Statement::Masquerade => f.write_str("masquerade"),
            Statement::Verdict(verdict) => write!(f, "{verdict}"),
        }
    }
}

impl Display for MarkKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            MarkKind::Packet => "meta mark",
            MarkKind::Connection => "ct mark",
        })
    }
}

impl Display for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Selector::InputDevice => "iifname",
            Selector::OutputDevice => "oifname",
            Selector::NetworkProtocol => "meta nfproto",
            Selector::TransportProtocol => "meta l4proto",
            Selector::Source(Family::V4) => "ip saddr",
            Selector::Source(Family::V6) => "ip6 saddr",
            Selector::Destination(Family::V4) => "ip daddr",
            Selector::Destination(Family::V6) => "ip6 daddr",
            Selector::SourcePort => "th sport",
            Selector::DestinationPort => "th dport",
            Selector::Icmpv6Type => "icmpv6 type",
        })
    }
}

impl Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Value::Device(name) => write!(f, "\"{name}\""),
            Value::Family(family) => f.write_str(family.name()),
            Value::Byte(first, last) => write!(f, "{}", Span(first, last)),
            Value::Address(range) => write!(f, "{}", Range(*range)),
            Value::Port(PortRange { first, last }) => write!(f, "{}", Span(first, last)),
        }
    }
}

impl Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Verdict::Accept => f.write_str("accept"),
            Verdict::Return => f.write_str("return"),
            Verdict::Goto(chain) => write!(f, "goto {chain}"),
            Verdict::Jump(chain) => write!(f, "jump {chain}"),
        }
    }
}

/// An address range as nft writes it: address, prefix if it is one, or `first-last`.
pub struct Range(
    /// The range.
    pub AddressRange,
);

impl Display for Range {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let AddressRange { first, last } = self.0;
        match crate::ranges::prefix_len(self.0) {
            Some(len) if len == Family::of(first).bits() => write!(f, "{first}"),
            Some(len) => write!(f, "{first}/{len}"),
            None => write!(f, "{first}-{last}"),
        }
    }
}

/// So many bits of an address.
struct Cut(Selector, u8);

impl Display for Cut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Cut(selector, bits) = *self;
        write!(f, "{selector} ")?;
        match selector.family().filter(|family| bits < family.bits()) {
            Some(family) => write!(f, "& {} ", mask(bits, family)),
            None => Ok(()),
        }
    }
}

/// Writes the elements of a set: of blocks the first addresses.
fn write_elements(
    out: &mut dyn Write,
    kind: SetKind,
    ranges: &mut dyn Iterator<Item = &AddressRange>,
) -> fmt::Result {
    let mut separator = "";
    for range in ranges {
        match kind.elements {
            ElementKind::Blocks(level) => {
                for first in addresses(*range, level.length) {
                    write!(out, "{separator}{first}")?;
                    separator = ", ";
                }
            }
            ElementKind::Near(level, mask) => {
                let (blocks, mark) = near::blocks_of(*range, level.length, mask);
                for first in blocks {
                    write!(out, "{separator}{first} : {mark:#010x}")?;
                    separator = ", ";
                }
            }
            _ => write!(out, "{separator}{}", Range(*range))?,
        }
        separator = ", ";
    }
    Ok(())
}

/// What a set of blocks says of itself: it is also known by it when it is read.
pub fn blocks_comment(length: u8) -> String {
    format!("first addresses of blocks /{length}")
}

/// What a map says of itself, likewise.
pub fn near_comment(length: u8, mask: u32) -> String {
    format!("lengths in blocks /{length}, as marks of {mask:#010x}")
}

/// nft has two words for what is one thing to the kernel.
fn set_word(name: &str) -> &'static str {
    if name.ends_with(LENGTHS_SUFFIX) { "map" } else { "set" }
}

fn set_type(kind: SetKind) -> &'static str {
    match (kind.family, kind.elements) {
        (Family::V4, ElementKind::Near(..)) => "ipv4_addr : mark",
        (Family::V6, ElementKind::Near(..)) => "ipv6_addr : mark",
        (Family::V4, ElementKind::Pairs) => "ipv4_addr . ipv4_addr",
        (Family::V6, ElementKind::Pairs) => "ipv6_addr . ipv6_addr",
        (Family::V4, _) => "ipv4_addr",
        (Family::V6, _) => "ipv6_addr",
    }
}

fn set_properties(kind: SetKind) -> Vec<String> {
    let mut properties = match kind.elements {
        ElementKind::Ranges => vec!["flags interval".to_owned()],
        ElementKind::Blocks(BlockLevel { length, size }) => {
            vec![format!("size {size}"), format!("comment \"{}\"", blocks_comment(length))]
        }
        ElementKind::Near(BlockLevel { length, size }, mask) => {
            vec![format!("size {size}"), format!("comment \"{}\"", near_comment(length, mask))]
        }
        ElementKind::Learned(0) => vec![],
        ElementKind::Learned(seconds) => vec!["flags timeout".to_owned(), format!("timeout {seconds}s")],
        ElementKind::Sources | ElementKind::Pairs => vec!["flags dynamic,timeout".to_owned()],
    };
    properties.extend(kind.counter.then(|| "counter".to_owned()));
    properties
}

/// nft's words for the levels of syslog.
fn level_word(level: u8) -> &'static str {
    match level {
        0 => "emerg",
        1 => "alert",
        2 => "crit",
        3 => "err",
        4 => "warn",
        5 => "notice",
        6 => "info",
        _ => "debug",
    }
}

/// A time as nft reads it.
struct Period(std::time::Duration);

impl Display for Period {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.subsec_millis() {
            0 => write!(f, "{}s", self.0.as_secs()),
            _ => write!(f, "{}ms", self.0.as_millis()),
        }
    }
}

fn list<T: Display>(items: impl Iterator<Item = T> + Clone) -> impl Display {
    Joined(items, ", ")
}

fn concat<T: Display>(items: &[T]) -> impl Display {
    Joined(items.iter(), " . ")
}

/// Items with a separator between them, written without a detour through strings.
struct Joined<I>(I, &'static str);

impl<I: Iterator<Item: Display> + Clone> Display for Joined<I> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, item) in self.0.clone().enumerate() {
            if at > 0 {
                f.write_str(self.1)?;
            }
            write!(f, "{item}")?;
        }
        Ok(())
    }
}

/// A key of a map and what it leads to.
#[derive(Clone)]
struct Row<'a, K>(K, &'a Verdict);

impl<K: Display> Display for Row<'_, K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} : {}", self.0, self.1)
    }
}

struct Hex(u32);

impl Display for Hex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#010x}", self.0)
    }
}

/// A number, or two with a dash.
struct Span<T>(T, T);

impl<T: Display + PartialEq> Display for Span<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 == self.1 {
            true => write!(f, "{}", self.0),
            false => write!(f, "{}-{}", self.0, self.1),
        }
    }
}
