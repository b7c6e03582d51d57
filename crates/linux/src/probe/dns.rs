//! DNS questions and answers (RFC 1035 section 4), as far as a probe needs them. Pure.

use mwan_config::DnsProbe;

/// Bytes of a header.
const HEADER: usize = 12;
const CLASS_IN: u16 = 1;
const FLAG_RESPONSE: u8 = 0x80;
const FLAG_TRUNCATED: u8 = 0x02;
const FLAG_RECURSION_DESIRED: u8 = 0x01;

/// A question, whose header has this id. Names are checked when the configuration is read.
pub(crate) fn build(probe: &DnsProbe, id: u16) -> Vec<u8> {
    let mut packet = Vec::with_capacity(HEADER + probe.name.len() + 6);
    packet.extend_from_slice(&id.to_be_bytes());
    packet.extend_from_slice(&[FLAG_RECURSION_DESIRED, 0, 0, 1, 0, 0, 0, 0, 0, 0]);
    for label in probe.name.split('.').filter(|l| !l.is_empty()) {
        let label = &label.as_bytes()[..label.len().min(63)];
        packet.push(label.len() as u8);
        packet.extend_from_slice(label);
    }
    packet.push(0);
    packet.extend_from_slice(&probe.kind.number().to_be_bytes());
    packet.extend_from_slice(&CLASS_IN.to_be_bytes());
    packet
}

/// What a datagram is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Answer {
    /// No answer to this question: another id or question. It is not worth a word.
    NotOurs,
    /// Without error, and with a record (or with more than fits into a datagram).
    Good,
    /// An answer, but not one that proves that names are resolved.
    Bad(String),
}

/// Judges a datagram from the server that was asked `question`.
pub(crate) fn judge(question: &[u8], packet: &[u8]) -> Answer {
    let Some((header, rest)) = packet.split_at_checked(HEADER) else { return Answer::NotOurs };
    if header[..2] != question[..2] || header[2] & FLAG_RESPONSE == 0 {
        return Answer::NotOurs;
    }
    let count = |at: usize| u16::from_be_bytes([header[at], header[at + 1]]);
    let (questions, records, code) = (count(4), count(6), header[3] & 15);
    let asked = &question[HEADER..];
    let same = rest.get(..asked.len()).is_some_and(|given| given.eq_ignore_ascii_case(asked));
    match (questions, same) {
        (1, true) => {}
        // Servers that do not understand a question need not repeat it.
        (0, _) if code != 0 => {}
        _ => return Answer::NotOurs,
    }
    if code != 0 {
        return Answer::Bad(format!("answered {}", code_name(code)));
    }
    if header[2] & FLAG_TRUNCATED != 0 {
        return Answer::Good;
    }
    if records == 0 {
        return Answer::Bad("answered without a record".to_owned());
    }
    match first_record(&rest[asked.len()..]) {
        Some(()) => Answer::Good,
        None => Answer::Bad("answered with a malformed record".to_owned()),
    }
}

/// Whether a whole record is there: name, type, class, time to live, length, data.
fn first_record(bytes: &[u8]) -> Option<()> {
    let mut rest = bytes;
    loop {
        let (length, tail) = rest.split_first()?;
        match length {
            0 => {
                rest = tail;
                break;
            }
            // A pointer ends a name; where it leads is of no interest.
            192.. => {
                rest = tail.get(1..)?;
                break;
            }
            1..=63 => rest = tail.get(usize::from(*length)..)?,
            // Reserved.
            _ => return None,
        }
    }
    let (fixed, data) = rest.split_at_checked(10)?;
    data.get(..usize::from(u16::from_be_bytes([fixed[8], fixed[9]]))).map(|_| ())
}

fn code_name(code: u8) -> String {
    match code {
        1 => "FORMERR".to_owned(),
        2 => "SERVFAIL".to_owned(),
        3 => "NXDOMAIN".to_owned(),
        4 => "NOTIMP".to_owned(),
        5 => "REFUSED".to_owned(),
        other => format!("error {other}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use mwan_config::DnsKind;
    use proptest::prelude::*;

    fn question() -> Vec<u8> {
        build(&DnsProbe { port: 53, name: "www.example.org".into(), kind: DnsKind::A }, 0xabcd)
    }

    /// An answer with these flags, code and records, the name of each a pointer to the question.
    fn answer(flags: u8, code: u8, records: u16) -> Vec<u8> {
        let mut packet = question();
        packet[2] |= FLAG_RESPONSE | flags;
        packet[3] = code;
        packet[6..8].copy_from_slice(&records.to_be_bytes());
        for _ in 0..records {
            packet.extend_from_slice(&[0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 192, 0, 2, 1]);
        }
        packet
    }

    #[test]
    fn a_question_is_as_rfc_1035_has_it() {
        let expected =
            b"\xab\xcd\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x03www\x07example\x03org\x00\x00\x01\x00\x01";
        assert_eq!(question(), expected);
        let root = build(&DnsProbe { port: 53, name: String::new(), kind: DnsKind::Ns }, 1);
        assert_eq!(root[HEADER..], [0, 0, 2, 0, 1]);
    }

    #[test]
    fn answers_are_judged() {
        let q = question();
        let bad = |text: &str| Answer::Bad(text.to_owned());
        assert_eq!(judge(&q, &answer(0, 0, 1)), Answer::Good);
        assert_eq!(judge(&q, &answer(0, 0, 1).to_ascii_uppercase()), Answer::Good, "names have no case");
        assert_eq!(judge(&q, &answer(FLAG_TRUNCATED, 0, 0)), Answer::Good);
        assert_eq!(judge(&q, &answer(0, 0, 0)), bad("answered without a record"));
        assert_eq!(judge(&q, &answer(0, 2, 0)), bad("answered SERVFAIL"));
        assert_eq!(judge(&q, &answer(0, 3, 0)), bad("answered NXDOMAIN"));
        assert_eq!(judge(&q, &answer(0, 11, 0)), bad("answered error 11"));
        assert_eq!(judge(&q, &q), Answer::NotOurs, "a question is no answer");
        let mut other = answer(0, 0, 1);
        other[1] ^= 1;
        assert_eq!(judge(&q, &other), Answer::NotOurs, "another id");
        let mut other = answer(0, 0, 1);
        other[HEADER + 1] = b'x';
        assert_eq!(judge(&q, &other), Answer::NotOurs, "another question");
        let mut cut = answer(0, 0, 1);
        cut.pop();
        assert_eq!(judge(&q, &cut), bad("answered with a malformed record"));
        let mut none = answer(0, 1, 0);
        none.truncate(HEADER);
        none[5] = 0;
        assert_eq!(judge(&q, &none), bad("answered FORMERR"));
    }

    proptest! {
        #[test]
        fn no_packet_makes_it_panic(
            mut packet in prop::collection::vec(any::<u8>(), 0..80),
            valid in any::<bool>(),
            edits in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..6),
            end in any::<prop::sample::Index>(),
        ) {
            if valid {
                packet = answer(0, 0, 2);
                for (at, byte) in edits {
                    let at = at.index(packet.len());
                    packet[at] = byte;
                }
                packet.truncate(end.index(packet.len() + 1));
            }
            let _ = judge(&question(), &packet);
        }
    }
}
