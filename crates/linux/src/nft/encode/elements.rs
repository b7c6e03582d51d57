//! Elements of sets and maps, and the shape of their keys.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use mwan_compile::nft::{Selector, Value, Verdict};
use mwan_config::{AddressRange, Family};

use super::super::attr;
use super::{BIG_ENDIAN, DEVICE_BYTES, EncodeError, HOST_ENDIAN, KEY_BYTES_MAX};
use crate::netlink::Writer;

/// One element of an anonymous set: closed range of keys, and where it leads in a map.
pub(super) struct Element<'a> {
    pub(super) first: Vec<u8>,
    pub(super) last: Vec<u8>,
    pub(super) verdict: Option<&'a Verdict>,
}

/// What an anonymous set is made of.
pub(super) struct Shape {
    pub(super) key_type: u32,
    pub(super) key_len: usize,
    /// Field lengths of a concatenation, else empty.
    pub(super) fields: Vec<usize>,
    pub(super) byteorder: u32,
}

/// An element as nf_tables wants it.
pub(super) struct RawElement<'a> {
    pub(super) key: Vec<u8>,
    pub(super) key_end: Option<Vec<u8>>,
    pub(super) interval_end: bool,
    pub(super) verdict: Option<&'a Verdict>,
}

impl<'a> RawElement<'a> {
    pub(super) fn single(element: Element<'a>) -> Self {
        RawElement { key: element.first, key_end: None, interval_end: false, verdict: element.verdict }
    }

    pub(super) fn with_key_end(element: Element<'a>) -> Self {
        let key_end = Some(element.last);
        RawElement { key: element.first, key_end, interval_end: false, verdict: element.verdict }
    }

    /// [`Self::start_and_end`] for an anonymous set: no end where the next range begins, as in nft's
    /// `set_to_intervals`. There `nft_rbtree_lookup` of kernels up to 6.1 at least takes an end that equals the key for
    /// the answer "not in here" without looking for the start beside it: the first key of an adjacent range would
    /// never match.
    pub(super) fn starts(elements: Vec<Element<'a>>) -> Vec<Self> {
        let all = Self::start_and_end(elements);
        let next = all.iter().skip(1).map(|e| Some(e.key.clone())).chain([None]).collect::<Vec<_>>();
        let kept =
            all.into_iter().zip(next).filter(|(e, next)| !e.interval_end || next.as_ref() != Some(&e.key));
        kept.map(|(element, _)| element).collect()
    }

    /// nft_set_rbtree: a start, and an end one behind the last key unless that is the highest there is.
    /// Ascending, the end of one range before the start of an adjacent one.
    pub(super) fn start_and_end(mut elements: Vec<Element<'a>>) -> Vec<Self> {
        elements.sort_by(|a, b| a.first.cmp(&b.first));
        let mut all = Vec::with_capacity(elements.len() * 2);
        for mut element in elements {
            let end = increment(&mut element.last).then_some(element.last);
            all.push(RawElement {
                key: element.first,
                key_end: None,
                interval_end: false,
                verdict: element.verdict,
            });
            if let Some(key) = end {
                all.push(RawElement { key, key_end: None, interval_end: true, verdict: None });
            }
        }
        all
    }

    pub(super) fn write(&self, writer: &mut Writer) {
        writer.nest(attr::LIST_ELEM, |w| {
            if self.interval_end {
                w.put_be32(attr::ELEM_FLAGS, attr::ELEM_INTERVAL_END);
            }
            w.nest(attr::ELEM_KEY, |w| w.put(attr::DATA_VALUE, &self.key));
            if let Some(end) = &self.key_end {
                w.nest(attr::ELEM_KEY_END, |w| w.put(attr::DATA_VALUE, end));
            }
            if let Some(verdict) = self.verdict {
                w.nest(attr::ELEM_DATA, |w| write_verdict(w, verdict));
            }
        });
    }
}

/// Where a range of addresses begins, or one behind its last.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Border {
    key: IpAddr,
    end: bool,
    /// What a map has for it.
    mark: Option<u32>,
}

/// [`RawElement::start_and_end`] for addresses: a hundred thousand of them are made one at a time.
pub(super) fn borders(ranges: &[AddressRange]) -> impl Iterator<Item = Border> {
    let sorted = if ranges.is_sorted() {
        Cow::Borrowed(ranges)
    } else {
        Cow::Owned(BTreeSet::from_iter(ranges).into_iter().copied().collect())
    };
    let ranges = (0..sorted.len()).map(move |at| sorted[at]);
    ranges.flat_map(|range| {
        let start = Border::start(range.first);
        let end = next(range.last).map(|key| Border { key, end: true, mark: None });
        std::iter::once(start).chain(end)
    })
}

/// None behind the highest there is.
fn next(ip: IpAddr) -> Option<IpAddr> {
    match ip {
        IpAddr::V4(ip) => Some(Ipv4Addr::from(u32::from(ip).checked_add(1)?).into()),
        IpAddr::V6(ip) => Some(Ipv6Addr::from(u128::from(ip).checked_add(1)?).into()),
    }
}

impl Border {
    pub(super) fn start(key: IpAddr) -> Self {
        Border { key, end: false, mark: None }
    }

    pub(super) fn mapped(key: IpAddr, mark: u32) -> Self {
        Border { key, end: false, mark: Some(mark) }
    }

    fn write(&self, writer: &mut Writer) {
        let zeroes = [0; 16];
        let key = if self.key.is_ipv6() { &zeroes[..] } else { &zeroes[..4] };
        writer.nest(attr::LIST_ELEM, |w| {
            if self.end {
                w.put_be32(attr::ELEM_FLAGS, attr::ELEM_INTERVAL_END);
            }
            w.nest(attr::ELEM_KEY, |w| w.put(attr::DATA_VALUE, key));
            if self.mark.is_some() {
                w.nest(attr::ELEM_DATA, |w| w.put(attr::DATA_VALUE, &[0; 4]));
            }
        });
    }
}

/// The bytes of borders, which differ in nothing but key and mark: the rest is made once for each form there is.
#[derive(Default)]
pub(super) struct Mould {
    forms: Vec<(Form, Vec<u8>)>,
}

/// What decides about the form: IPv6, an end, in a map.
type Form = (bool, bool, bool);

impl Mould {
    pub(super) fn write(&mut self, border: Border, writer: &mut Writer) {
        let form = (border.key.is_ipv6(), border.end, border.mark.is_some());
        let at = self.forms.iter().position(|(known, _)| *known == form).unwrap_or_else(|| {
            let mut made = Writer::default();
            border.write(&mut made);
            self.forms.push((form, made.attributes()));
            self.forms.len() - 1
        });
        let bytes = &mut self.forms[at].1;
        // Behind the headers of element, key and value, and perhaps the flags with theirs.
        let key = &mut bytes[if border.end { 20 } else { 12 }..];
        match border.key {
            IpAddr::V4(ip) => key[..4].copy_from_slice(&ip.octets()),
            IpAddr::V6(ip) => key[..16].copy_from_slice(&ip.octets()),
        }
        if let (Some(mark), Some(last)) = (border.mark, bytes.last_chunk_mut()) {
            *last = mark.to_ne_bytes();
        }
        writer.append(bytes);
    }
}

/// Adds one to a big-endian number; false if it was the highest.
fn increment(bytes: &mut [u8]) -> bool {
    for byte in bytes.iter_mut().rev() {
        *byte = byte.wrapping_add(1);
        if *byte != 0 {
            return true;
        }
    }
    false
}

/// Whether a random map needs an interval set: a hash of single numbers is found several times faster.
pub(super) fn has_spans(elements: &[(u32, u32, Verdict)]) -> bool {
    elements.iter().any(|(first, last, _)| first != last)
}

pub(super) fn address_bytes(ip: IpAddr) -> Vec<u8> {
    match ip {
        IpAddr::V4(ip) => ip.octets().to_vec(),
        IpAddr::V6(ip) => ip.octets().to_vec(),
    }
}

/// nft's user data of a set: how to print keys, and in a map data.
pub(super) fn byteorders(key: u32, data: Option<u32>) -> Vec<u8> {
    let mut bytes = vec![attr::UDATA_KEY_BYTEORDER, 4];
    bytes.extend_from_slice(&key.to_ne_bytes());
    if let Some(data) = data {
        bytes.extend_from_slice(&[attr::UDATA_DATA_BYTEORDER, 4]);
        bytes.extend_from_slice(&data.to_ne_bytes());
    }
    bytes
}

/// The number nft gives a selector's data type.
pub(super) fn data_type(selector: Selector) -> u32 {
    match selector {
        Selector::InputDevice | Selector::OutputDevice => 41,
        Selector::NetworkProtocol => 2,
        Selector::TransportProtocol => 12,
        Selector::Source(Family::V4) | Selector::Destination(Family::V4) => 7,
        Selector::Source(Family::V6) | Selector::Destination(Family::V6) => 8,
        Selector::SourcePort | Selector::DestinationPort => 13,
        Selector::Icmpv6Type => 29,
    }
}

/// Bytes of a selector's value.
pub(super) fn width(selector: Selector) -> usize {
    match selector {
        Selector::InputDevice | Selector::OutputDevice => DEVICE_BYTES,
        Selector::NetworkProtocol | Selector::TransportProtocol | Selector::Icmpv6Type => 1,
        Selector::Source(family) | Selector::Destination(family) => usize::from(family.bits() / 8),
        Selector::SourcePort | Selector::DestinationPort => 2,
    }
}

/// Bytes a selector takes in a concatenation: whole 32-bit registers.
pub(super) fn padded(selector: Selector) -> usize {
    width(selector).next_multiple_of(4)
}

pub(super) fn shape(key: &[Selector]) -> Result<Shape, EncodeError> {
    match key {
        [] => Err(EncodeError::Empty),
        [one] => Ok(Shape {
            key_type: data_type(*one),
            key_len: width(*one),
            fields: Vec::new(),
            byteorder: match one {
                Selector::InputDevice | Selector::OutputDevice | Selector::NetworkProtocol => HOST_ENDIAN,
                _ => BIG_ENDIAN,
            },
        }),
        many => {
            let key_len = many.iter().map(|s| padded(*s)).sum();
            if key_len > KEY_BYTES_MAX {
                return Err(EncodeError::KeyTooLong(key_len));
            }
            Ok(Shape {
                // Six bits per data type, first selector highest (nftables, concat_subtype_add).
                key_type: many.iter().fold(0, |sum, s| sum << 6 | data_type(*s)),
                key_len,
                fields: many.iter().map(|s| width(*s)).collect(),
                byteorder: 0,
            })
        }
    }
}

pub(super) fn element<'a>(
    key: &[Selector],
    values: &[Value],
    verdict: Option<&'a Verdict>,
) -> Result<Element<'a>, EncodeError> {
    if key.len() != values.len() {
        return Err(EncodeError::KeyLength { found: values.len(), expected: key.len() });
    }
    let mut element = Element { first: Vec::new(), last: Vec::new(), verdict };
    for (selector, value) in key.iter().zip(values) {
        push_value(*selector, value, &mut element.first, &mut element.last)?;
        if key.len() > 1 {
            let length = element.first.len().next_multiple_of(4);
            element.first.resize(length, 0);
            element.last.resize(length, 0);
        }
    }
    Ok(element)
}

pub(super) fn push_value(
    selector: Selector,
    value: &Value,
    first: &mut Vec<u8>,
    last: &mut Vec<u8>,
) -> Result<(), EncodeError> {
    match (selector, value) {
        (Selector::InputDevice | Selector::OutputDevice, Value::Device(name)) => {
            if name.is_empty() || name.len() >= DEVICE_BYTES {
                return Err(EncodeError::DeviceName(name.clone()));
            }
            let mut padded = [0; DEVICE_BYTES];
            padded[..name.len()].copy_from_slice(name.as_bytes());
            first.extend_from_slice(&padded);
            last.extend_from_slice(&padded);
        }
        (Selector::NetworkProtocol, Value::Family(family)) => {
            // NFPROTO_IPV4, NFPROTO_IPV6
            let number = if *family == Family::V4 { 2 } else { 10 };
            first.push(number);
            last.push(number);
        }
        (Selector::TransportProtocol | Selector::Icmpv6Type, Value::Byte(low, high)) => {
            first.push(*low);
            last.push(*high);
        }
        (Selector::Source(family) | Selector::Destination(family), Value::Address(range))
            if Family::of(range.first) == family && Family::of(range.last) == family =>
        {
            first.extend_from_slice(&address_bytes(range.first));
            last.extend_from_slice(&address_bytes(range.last));
        }
        (Selector::SourcePort | Selector::DestinationPort, Value::Port(range)) => {
            first.extend_from_slice(&range.first.to_be_bytes());
            last.extend_from_slice(&range.last.to_be_bytes());
        }
        _ => return Err(EncodeError::Kind { selector, value: value.clone() }),
    }
    Ok(())
}

pub(super) fn write_verdict(writer: &mut Writer, verdict: &Verdict) {
    // NFT_JUMP, NFT_GOTO, NFT_RETURN and NF_ACCEPT.
    let (code, chain) = match verdict {
        Verdict::Accept => (1, None),
        Verdict::Jump(chain) => (-3, Some(chain)),
        Verdict::Goto(chain) => (-4, Some(chain)),
        Verdict::Return => (-5, None),
    };
    writer.nest(attr::DATA_VERDICT, |w| {
        w.put_be32(attr::VERDICT_CODE, code as u32);
        if let Some(chain) = chain {
            w.put_str(attr::VERDICT_CHAIN, chain);
        }
    });
}

/// If the range is a prefix: its mask.
pub(super) fn prefix_mask(first: &[u8], last: &[u8]) -> Option<Vec<u8>> {
    let differing: Vec<u8> = first.iter().zip(last).map(|(a, b)| a ^ b).collect();
    let host_bits = |bytes: &[u8], byte: usize| bytes[byte] & differing[byte];
    let mut host = false;
    for (index, bits) in differing.iter().enumerate() {
        // All ones from the first differing bit to the end, zeros below it in `first`, ones in `last`.
        let whole =
            if host { *bits == 0xff } else { bits.wrapping_add(1).is_power_of_two() || *bits == 0xff };
        if !whole || host_bits(first, index) != 0 {
            return None;
        }
        host |= *bits != 0;
    }
    Some(differing.iter().map(|bits| !bits).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mask(first: &str, last: &str) -> Option<Vec<u8>> {
        let bytes = |text: &str| address_bytes(text.parse().expect("address"));
        prefix_mask(&bytes(first), &bytes(last))
    }

    #[test]
    fn prefixes_are_recognised() {
        assert_eq!(mask("10.0.0.0", "10.255.255.255"), Some(vec![255, 0, 0, 0]));
        assert_eq!(mask("10.16.0.0", "10.31.255.255"), Some(vec![255, 240, 0, 0]));
        assert_eq!(mask("0.0.0.0", "255.255.255.255"), Some(vec![0; 4]));
        assert_eq!(mask("10.0.0.0", "10.0.0.1"), Some(vec![255, 255, 255, 254]));
        assert_eq!(mask("10.0.0.1", "10.0.0.2"), None);
        assert_eq!(mask("10.0.0.0", "10.0.0.2"), None);
        assert_eq!(mask("10.0.1.0", "10.1.255.255"), None);
        assert_eq!(mask("10.0.0.0", "10.255.255.254"), None);
        assert_eq!(mask("10.0.0.0", "10.255.0.255"), None);
    }

    #[test]
    fn the_highest_key_has_no_successor() {
        let mut bytes = [0, 255];
        assert!(increment(&mut bytes));
        assert_eq!(bytes, [1, 0]);
        assert!(!increment(&mut [255, 255]));
    }

    /// The quick way to elements of addresses and the general one say the same.
    #[test]
    fn borders_are_starts_and_ends() {
        let range = |first: &str, last: &str| AddressRange {
            first: first.parse().expect("address"),
            last: last.parse().expect("address"),
        };
        for ranges in [
            vec![
                range("10.0.0.0", "10.0.0.255"),
                range("10.0.1.0", "10.0.1.7"),
                range("255.0.0.0", "255.255.255.255"),
            ],
            vec![range("10.0.9.0", "10.0.9.255"), range("10.0.1.0", "10.0.1.7")],
            vec![
                range("2001:db8::", "2001:db8::ffff"),
                range("ffff::", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"),
            ],
            vec![],
        ] {
            let of = |write: &dyn Fn(&mut Writer)| {
                let mut writer = Writer::message(0, 0, &[]);
                write(&mut writer);
                writer.finish().expect("short")
            };
            let quick = of(&|w| {
                let mut mould = Mould::default();
                borders(&ranges).for_each(|border| mould.write(border, w));
            });
            let elements = ranges.iter().map(|r| Element {
                first: address_bytes(r.first),
                last: address_bytes(r.last),
                verdict: None,
            });
            let general = of(&|w| {
                RawElement::start_and_end(elements.clone().collect()).iter().for_each(|e| e.write(w))
            });
            assert_eq!(quick, general, "{ranges:?}");
        }
    }

    /// One mould for all forms, in turn.
    #[test]
    fn elements_of_a_map_have_their_own_key_and_mark() {
        let all: [(&str, &[u8], Option<u32>); 5] = [
            ("10.1.2.0", &[10, 1, 2, 0], Some(0x0100)),
            ("10.1.3.0", &[10, 1, 3, 0], Some(0x0200)),
            ("2001:db8::", &[0x20, 1, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0], Some(0x0300)),
            ("10.1.4.0", &[10, 1, 4, 0], None),
            ("10.1.5.0", &[10, 1, 5, 0], Some(0x3f00)),
        ];
        let (mut made, mut expected, mut mould) = (Writer::default(), Writer::default(), Mould::default());
        for (address, key, mark) in all {
            let key_address: IpAddr = address.parse().expect("an address");
            let border = mark.map_or(Border::start(key_address), |mark| Border::mapped(key_address, mark));
            mould.write(border, &mut made);
            expected.nest(attr::LIST_ELEM, |w| {
                w.nest(attr::ELEM_KEY, |w| w.put(attr::DATA_VALUE, key));
                if let Some(mark) = mark {
                    w.nest(attr::ELEM_DATA, |w| w.put_u32(attr::DATA_VALUE, mark));
                }
            });
        }
        assert_eq!(made.attributes(), expected.attributes());
    }

    #[test]
    fn an_anonymous_set_has_no_end_where_the_next_range_begins() {
        let ranges = || {
            [(0u8, 2u8), (3, 4), (7, 255)].map(|(a, b)| Element {
                first: vec![a],
                last: vec![b],
                verdict: None,
            })
        };
        let keys = |all: Vec<RawElement<'_>>| -> Vec<(u8, bool)> {
            all.iter().map(|e| (e.key[0], e.interval_end)).collect()
        };
        let anonymous = keys(RawElement::starts(ranges().into()));
        assert_eq!(anonymous, [(0, false), (3, false), (5, true), (7, false)]);
        let named = keys(RawElement::start_and_end(ranges().into()));
        assert_eq!(named, [(0, false), (3, true), (3, false), (5, true), (7, false)]);
    }
}
