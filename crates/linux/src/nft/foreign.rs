//! What tables of others do to marks and sources: read for `mwan check`, never compared or changed.

use mwan_compile::nft::TABLE;
use mwan_config::lint::{Flowtable, ForeignMark, Translation};

use super::socket::ObserveError;
use super::{INET, NftSocket, attr, header, message};
use crate::netlink::{Attributes, Message, Writer, text, u16_ne, u32_be, u32_ne};

const IPV4: u8 = libc::AF_INET as u8;
const IPV6: u8 = libc::AF_INET6 as u8;
/// More places would tell nobody more.
const PLACES_MAX: usize = 64;

/// What tables other than ours do.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct ForeignNetfilter {
    /// The bits of marks that rules write, by place.
    pub marks: Vec<ForeignMark>,
    /// Rules that translate sources.
    pub translations: Vec<Translation>,
    /// Flowtables.
    pub flowtables: Vec<Flowtable>,
    /// Places of rules that exempt packets from connection tracking.
    pub untracked: Vec<String>,
}

/// A chain: family, table, name.
type Chain = (u8, String, String);

/// What is found while rules are dumped.
#[derive(Default)]
struct Found {
    marks: Vec<(Chain, u32)>,
    translations: Vec<(u8, Option<String>)>,
    untracked: Vec<Chain>,
}

impl NftSocket {
    /// Looks at the rules and flowtables of all tables of IPv4, IPv6 and both that are not ours.
    pub fn foreign(&mut self) -> Result<ForeignNetfilter, ObserveError> {
        let all = |kind| move || Writer::message(kind, 0, &header(0, 0));
        let hooks: Vec<(Chain, u32)> =
            self.dump("the chains of others", all(message::GET_CHAIN), Vec::new, |hooks, m| {
                hooks.extend(base_chain(m));
            })?;
        let found =
            self.dump("the rules of others", all(message::GET_RULE), Found::default, |found, m| {
                note_rule(found, m, &hooks);
            })?;
        // Kernels before 4.16 have none and refuse the question.
        let flowtables: Vec<Flowtable> = self
            .dump("the flowtables", all(message::GET_FLOWTABLE), Vec::new, |found, m| {
                found.extend(flowtable(m))
            })
            .unwrap_or_default();
        let marks = found.marks.into_iter().map(|(chain, bits)| ForeignMark { place: place(&chain), bits });
        let translation =
            |(family, device)| Translation { families: [family != IPV6, family != IPV4], device };
        Ok(ForeignNetfilter {
            marks: marks.collect(),
            translations: found.translations.into_iter().map(translation).collect(),
            flowtables,
            untracked: found.untracked.iter().map(place).collect(),
        })
    }
}

fn family_name(family: u8) -> &'static str {
    match family {
        IPV4 => "ip",
        IPV6 => "ip6",
        _ => "inet",
    }
}

fn place((family, table, chain): &Chain) -> String {
    format!("{} {table}, chain {chain}", family_name(*family))
}

/// Family, table and name of an object of others.
fn owner(m: &Message<'_>, kind: u16, name: u16) -> Option<Chain> {
    let family = m.byte(0);
    let attributes = m.attributes(4);
    let table = attributes.find(attr::TABLE_NAME).map(text)?;
    let wanted =
        m.kind == kind && [INET, IPV4, IPV6].contains(&family) && (family, table.as_str()) != (INET, TABLE);
    wanted.then_some((family, table, attributes.find(name).map(text)?))
}

/// A chain that hangs on a hook, and the hook's number.
fn base_chain(m: &Message<'_>) -> Option<(Chain, u32)> {
    let chain = owner(m, message::NEW_CHAIN, attr::CHAIN_NAME)?;
    let hook = m.attributes(4).nested(attr::CHAIN_HOOK).find(attr::HOOK_NUMBER).and_then(u32_be)?;
    Some((chain, hook))
}

fn flowtable(m: &Message<'_>) -> Option<Flowtable> {
    let (family, table, name) = owner(m, message::NEW_FLOWTABLE, attr::FLOWTABLE_NAME)?;
    let devices = m.attributes(4).nested(attr::FLOWTABLE_HOOK).nested(attr::FLOWTABLE_HOOK_DEVICES);
    let place = format!("{} {table} {name}", family_name(family));
    Some(Flowtable { place, devices: devices.map(|(_, name)| text(name)).collect() })
}

fn note_rule(found: &mut Found, m: &Message<'_>, hooks: &[(Chain, u32)]) {
    let Some(chain) = owner(m, message::NEW_RULE, attr::RULE_CHAIN) else { return };
    let effects = effects(m.attributes(4).nested(attr::RULE_EXPRESSIONS));
    // NF_INET_LOCAL_IN, _FORWARD, _POST_ROUTING: the way of the packet is chosen by then, its mark leads nowhere.
    let late = hooks.iter().any(|(other, hook)| [1, 2, 4].contains(hook) && *other == chain);
    let bits = effects.connection_bits | if late { 0 } else { effects.packet_bits };
    let translation = (chain.0, effects.device);
    if effects.translates && !found.translations.contains(&translation) {
        found.translations.push(translation);
    }
    if effects.untracked && found.untracked.len() < PLACES_MAX && !found.untracked.contains(&chain) {
        found.untracked.push(chain.clone());
    }
    match found.marks.iter().position(|(other, _)| *other == chain) {
        Some(at) => found.marks[at].1 |= bits,
        None if bits != 0 && found.marks.len() < PLACES_MAX => found.marks.push((chain, bits)),
        None => {}
    }
}

/// What the expressions of a rule do.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
struct Effects {
    packet_bits: u32,
    connection_bits: u32,
    translates: bool,
    untracked: bool,
    /// The device packets leave by, if the rule asks for one and no more than that.
    device: Option<String>,
}

/// What a register holds.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Register {
    /// The packet's mark with these bits changed.
    PacketMark(u32),
    /// The connection's mark with these bits changed.
    ConnectionMark(u32),
    OutputDevice,
    Other,
}

/// `NFT_META_MARK`, `NFT_META_OIFNAME`, `NFT_CT_MARK` of linux/netfilter/nf_tables.h.
const META_MARK: u32 = 3;
const META_OUTPUT_NAME: u32 = 7;
const CT_MARK: u32 = 3;

fn effects(expressions: Attributes<'_>) -> Effects {
    let mut effects = Effects::default();
    // The latest value of a register counts.
    let mut registers: Vec<(u32, Register)> = Vec::new();
    for (_, expression) in expressions {
        let expression = Attributes(expression);
        let data = expression.nested(attr::EXPR_DATA);
        let number = |kind| data.find(kind).and_then(u32_be);
        let register = |kind| {
            number(kind).and_then(|n| registers.iter().rev().find(|(r, _)| *r == n).map(|(_, value)| *value))
        };
        match expression.find(attr::EXPR_NAME).map(text).unwrap_or_default().as_str() {
            // DREG 1, KEY 2, SREG 3.
            "meta" => match (number(2), number(1), register(3)) {
                (Some(key), Some(into), _) => {
                    let value = match key {
                        META_MARK => Register::PacketMark(0),
                        META_OUTPUT_NAME => Register::OutputDevice,
                        _ => Register::Other,
                    };
                    registers.push((into, value));
                }
                (Some(META_MARK), None, Some(Register::PacketMark(bits))) => effects.packet_bits |= bits,
                (Some(META_MARK), None, _) => effects.packet_bits = u32::MAX,
                _ => {}
            },
            // DREG 1, KEY 2, DIRECTION 3, SREG 4.
            "ct" => match (number(2), number(1), register(4)) {
                (Some(key), Some(into), _) => {
                    let mark = key == CT_MARK;
                    registers.push((into, if mark { Register::ConnectionMark(0) } else { Register::Other }));
                }
                (Some(CT_MARK), None, Some(Register::ConnectionMark(bits))) => {
                    effects.connection_bits |= bits
                }
                (Some(CT_MARK), None, _) => effects.connection_bits = u32::MAX,
                _ => {}
            },
            // SREG 1, DREG 2, LEN 3, MASK 4, XOR 5, OP 6 (0: `& mask ^ xor`).
            "bitwise" => {
                let value = |kind| data.nested(kind).find(attr::DATA_VALUE).and_then(u32_ne);
                let changed = match (value(4), value(5), number(6).unwrap_or(0)) {
                    (Some(mask), Some(xor), 0) => !mask | xor,
                    _ => u32::MAX,
                };
                let result = match register(1) {
                    Some(Register::PacketMark(bits)) => Register::PacketMark(bits | changed),
                    Some(Register::ConnectionMark(bits)) => Register::ConnectionMark(bits | changed),
                    _ => Register::Other,
                };
                registers.extend(number(2).map(|into| (into, result)));
            }
            // SREG 1, OP 2 (0: equal), DATA 3.
            "cmp" if register(1) == Some(Register::OutputDevice) && number(2) == Some(0) => {
                effects.device = data.nested(3).find(attr::DATA_VALUE).map(device);
            }
            // DREG 1.
            "immediate" | "payload" | "lookup" | "numgen" | "hash" | "fib" | "rt" | "socket" => {
                registers.extend(number(1).map(|into| (into, Register::Other)));
            }
            "masq" => effects.translates = true,
            // TYPE 1: 0 is that of sources.
            "nat" => effects.translates |= number(1) == Some(0),
            "notrack" => effects.untracked = true,
            // NAME 1, REV 2, INFO 3 of linux/netfilter/nf_tables_compat.h.
            "target" => {
                target(&mut effects, &data.find(1).map(text).unwrap_or_default(), number(2), data.find(3))
            }
            _ => {}
        }
    }
    effects
}

/// A whole name ends in NUL; what does not is the beginning of one.
fn device(bytes: &[u8]) -> String {
    let name = text(bytes);
    if bytes.contains(&0) || name.len() >= 16 { name } else { format!("{name}*") }
}

/// Targets of iptables, which `iptables-nft` leaves in their own form.
fn target(effects: &mut Effects, name: &str, revision: Option<u32>, info: Option<&[u8]>) {
    let word = |at: usize| info.and_then(|i| i.get(at * 4..at * 4 + 4)).and_then(u32_ne).unwrap_or(u32::MAX);
    match name {
        "MASQUERADE" | "SNAT" => effects.translates = true,
        // struct xt_mark_tginfo2 of linux/netfilter/xt_mark.h.
        "MARK" if revision == Some(2) => effects.packet_bits |= word(0) | word(1),
        // struct xt_connmark_tginfo1, 2: value and mask in the connection, mask in the packet.
        "CONNMARK" if revision.is_some_and(|r| r > 0) => effects.connection_bits |= word(1) | word(2),
        "MARK" | "CONNMARK" => effects.packet_bits = u32::MAX,
        "CT" | "NOTRACK" => {
            // struct xt_ct_target_info of linux/netfilter/xt_CT.h: its first 16 bits are flags, 1 is XT_CT_NOTRACK.
            let flags = info.and_then(|i| i.get(..2)).and_then(u16_ne).unwrap_or(0);
            effects.untracked |= name == "NOTRACK" || flags & 1 == 1;
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    /// What a rule with this target of iptables does: the expression as `iptables-nft` makes it.
    fn of_target(name: &str, revision: u32, info: &[u8]) -> Effects {
        let mut writer = Writer::message(message::NEW_RULE, 0, &header(IPV4, 0));
        writer.nest(attr::RULE_EXPRESSIONS, |list| {
            list.nest(attr::LIST_ELEM, |expression| {
                expression.put_str(attr::EXPR_NAME, "target");
                expression.nest(attr::EXPR_DATA, |data| {
                    data.put_str(1, name);
                    data.put_be32(2, revision);
                    data.put(3, info);
                });
            });
        });
        let bytes = writer.finish().unwrap();
        let m = crate::netlink::Messages(&bytes).next().unwrap();
        effects(m.attributes(4).nested(attr::RULE_EXPRESSIONS))
    }

    #[test]
    fn targets_of_iptables_are_understood() {
        let words = |words: &[u32]| words.iter().flat_map(|w| w.to_ne_bytes()).collect::<Vec<u8>>();
        let nothing = Effects::default;
        for (name, revision, info, expected) in [
            // --set-xmark 0x40000/0xff0000
            ("MARK", 2, words(&[0x4_0000, 0xFF_0000]), Effects { packet_bits: 0xFF_0000, ..nothing() }),
            // --set-mark 1
            ("MARK", 2, words(&[1, u32::MAX]), Effects { packet_bits: u32::MAX, ..nothing() }),
            // --save-mark; --restore-mark --mask 0xff
            (
                "CONNMARK",
                1,
                words(&[0, u32::MAX, u32::MAX, 1]),
                Effects { connection_bits: u32::MAX, ..nothing() },
            ),
            ("CONNMARK", 2, words(&[0, 0xFF, 0xFF, 2]), Effects { connection_bits: 0xFF, ..nothing() }),
            // Of a revision that is not known; cut short.
            ("MARK", 9, words(&[1]), Effects { packet_bits: u32::MAX, ..nothing() }),
            ("MARK", 2, vec![1], Effects { packet_bits: u32::MAX, ..nothing() }),
            ("MASQUERADE", 0, words(&[1, 0, 0, 0, 0]), Effects { translates: true, ..nothing() }),
            ("CT", 1, [1u16.to_ne_bytes(), [0, 0]].concat(), Effects { untracked: true, ..nothing() }),
            ("CT", 1, [2u16.to_ne_bytes(), [0, 0]].concat(), nothing()),
            ("DROP", 0, vec![], nothing()),
        ] {
            assert_eq!(of_target(name, revision, &info), expected, "{name} {info:?}");
        }
    }

    #[test]
    fn names_of_devices_may_be_beginnings() {
        assert_eq!(
            ["eth1\0\0\0", "ppp", "a_long_device_12"].map(|n| device(n.as_bytes())),
            ["eth1", "ppp*", "a_long_device_12"]
        );
    }
}
