//! Texts as they may be handed to others: without secrets, names, and public addresses.
//!
//! Pure: no file, no clock, no randomness; the key is given. What has become a placeholder is the same placeholder in every text
//! of one [`Anonymiser`].

mod address;
mod json;
#[cfg(test)]
mod tests;

use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use address::Addresses;
use mwan_config::sort_short;

/// What stands in place of something without a number.
const HIDDEN: &str = "[hidden]";
/// Secrets that are looked for by their value; a configuration has a dozen.
const NEEDLES_MAX: usize = 4096;
/// Shorter values are only hidden where their key stands: they would be found in every word.
const VALUE_MIN: usize = 4;
/// Shorter values are only found as words of their own.
const WORD_MIN: usize = 6;
/// So much of the beginning of a secret is it: messages show only the beginning of long values.
const CUT_MIN: usize = 16;
/// Longest address of IPv6 in letters (with an address of IPv4 at its end).
const V6_CHARS_MAX: usize = 45;

/// Words in a key that say that its value is secret.
const SECRET_KEYS: [&str; 13] = [
    "password",
    "passwd",
    "passphrase",
    "secret",
    "token",
    "psk",
    "apikey",
    "api_key",
    "api-key",
    "private_key",
    "private-key",
    "credential",
    "authorization",
];

/// Takes out of texts what their owner would not publish.
#[derive(Debug)]
pub(super) struct Anonymiser {
    addresses: Addresses,
    needles: Vec<Needle>,
    /// Needles by their first byte, in lower case; the longest first.
    by_first: Vec<Vec<usize>>,
    secrets: Vec<String>,
    names: Vec<String>,
    mails: Vec<String>,
}

/// Something that is looked for.
#[derive(Debug)]
struct Needle {
    text: String,
    placeholder: String,
    is_name: bool,
}

impl Anonymiser {
    /// `key` is random and used for one archive.
    pub(super) fn new(key: [u64; 2]) -> Self {
        Anonymiser {
            addresses: Addresses::new(key),
            needles: Vec::new(),
            by_first: vec![Vec::new(); 256],
            secrets: Vec::new(),
            names: Vec::new(),
            mails: Vec::new(),
        }
    }

    /// Learns a secret; what stands in its place.
    pub(super) fn secret(&mut self, value: &str) -> String {
        let value = value.trim();
        if value.is_empty() {
            return String::new();
        }
        let number = number(&mut self.secrets, value);
        let placeholder = format!("[secret-{number}]");
        // One of several lines is also each of them.
        for line in std::iter::once(value).chain(value.lines().map(str::trim)) {
            for form in forms(line) {
                self.learn(form, &placeholder, false);
            }
        }
        placeholder
    }

    /// The same of what may be a secret: it is learnt if it looks like one, and hidden here in any case.
    pub(super) fn doubtful(&mut self, value: &str) -> String {
        let word = value.bytes().all(|b| b.is_ascii_lowercase() || b"-_".contains(&b));
        let mixed =
            value.bytes().any(|b| b.is_ascii_alphabetic()) && value.bytes().any(|b| b.is_ascii_digit());
        let long = value.len() >= 2 * WORD_MIN && !word;
        if long || (mixed && value.len() >= WORD_MIN) { self.secret(value) } else { HIDDEN.to_owned() }
    }

    /// Learns the name of a host or a domain; what stands in its place. An address is none.
    pub(super) fn name(&mut self, value: &str) -> String {
        let name = value.trim().trim_matches('.').to_ascii_lowercase();
        if name.is_empty() || name == "localhost" || name.parse::<IpAddr>().is_ok() {
            return self.text(value);
        }
        let placeholder = format!("name-{}.example", number(&mut self.names, &name));
        self.learn(name, &placeholder, true);
        placeholder
    }

    /// Secrets, names, mail addresses, and blocks of addresses of either family and of devices that have a placeholder.
    pub(super) fn counts(&self) -> [usize; 6] {
        let [v4, v6, macs] = self.addresses.counts();
        [self.secrets.len(), self.names.len(), self.mails.len(), v4, v6, macs]
    }

    /// Whether addresses have been given a placeholder that is not theirs alone: there are more than there is room for.
    pub(super) fn is_full(&self) -> bool {
        self.addresses.is_full
    }

    /// What is known to everybody, by its placeholder.
    pub(super) fn well_known(&mut self) -> Vec<(String, &'static str)> {
        address::WELL_KNOWN.iter().map(|(address, what)| (self.text(address), *what)).collect()
    }

    fn learn(&mut self, text: String, placeholder: &str, is_name: bool) {
        let Some(first) = text.bytes().next().map(|b| usize::from(b.to_ascii_lowercase())) else { return };
        let known = self.needles.iter().any(|needle| needle.text == text);
        if text.len() < VALUE_MIN || known || self.needles.len() >= NEEDLES_MAX {
            return;
        }
        self.needles.push(Needle { text, placeholder: placeholder.to_owned(), is_name });
        let needles = &self.needles;
        self.by_first[first].push(needles.len() - 1);
        // The list is sorted but for its last.
        sort_short(&mut self.by_first[first], |index| std::cmp::Reverse(needles[*index].text.len()));
    }

    /// A text without all of that.
    pub(super) fn text(&mut self, text: &str) -> String {
        let text = without_keys(&self.without_values(text));
        let mut out = String::with_capacity(text.len());
        for line in text.split_inclusive('\n') {
            let line = without_credentials(&without_urls(&without_named_values(line)));
            let line = self.without_mails(&line);
            self.without_addresses(&line, &mut out);
        }
        out
    }

    /// The same of JSON, one document or several.
    pub(super) fn json(&mut self, text: &str) -> String {
        json::rewrite(text, HIDDEN, &is_secret_key, &mut |word| self.text(word))
    }

    /// What was learnt, wherever it stands.
    fn without_values(&self, text: &str) -> String {
        let mut out = String::with_capacity(text.len());
        let mut at = 0;
        while let Some(c) = text[at..].chars().next() {
            let first = usize::from(text.as_bytes()[at].to_ascii_lowercase());
            let found = self.by_first[first].iter().find_map(|index| {
                let needle = &self.needles[*index];
                needle.length_at(text, at).map(|length| (length, &needle.placeholder))
            });
            match found {
                Some((length, placeholder)) => {
                    out.push_str(placeholder);
                    at += length;
                }
                None => {
                    out.push(c);
                    at += c.len_utf8();
                }
            }
        }
        out
    }

    /// `somebody@example.com`.
    fn without_mails(&mut self, line: &str) -> String {
        let local = |c: char| c.is_alphanumeric() || "._%+-".contains(c);
        let domain = |c: char| c.is_alphanumeric() || ".-".contains(c);
        let (mut out, mut rest) = (String::with_capacity(line.len()), line);
        while let Some(at) = rest.find('@') {
            let begin = rest[..at].rfind(|c| !local(c)).map_or(0, |i| i + char_at(rest, i));
            let end = rest[at + 1..].find(|c| !domain(c)).map_or(rest.len(), |i| at + 1 + i);
            let host = rest[at + 1..end].trim_end_matches(['.', '-']);
            let last = host.rsplit_once('.').map(|(_, last)| last);
            // `wan0@if3` is a device.
            if begin == at
                || !last.is_some_and(|last| last.len() > 1 && !last.starts_with(|c: char| c.is_ascii_digit()))
            {
                out.push_str(&rest[..=at]);
                rest = &rest[at + 1..];
                continue;
            }
            let end = at + 1 + host.len();
            let mail = rest[begin..end].to_ascii_lowercase();
            let _ = write!(out, "{}mail-{}@name.example", &rest[..begin], number(&mut self.mails, &mail));
            rest = &rest[end..];
        }
        out + rest
    }

    fn without_addresses(&mut self, line: &str, out: &mut String) {
        let bytes = line.as_bytes();
        let mut at = 0;
        let mut copied = 0;
        while at < bytes.len() {
            let Some((end, shown)) = self.address_at(line, at) else {
                at += 1;
                continue;
            };
            out.push_str(&line[copied..at]);
            out.push_str(&shown);
            (at, copied) = (end, end);
        }
        out.push_str(&line[copied..]);
    }

    /// The address that begins at a byte: where it ends, and what stands in its place.
    fn address_at(&mut self, line: &str, at: usize) -> Option<(usize, String)> {
        let bytes = line.as_bytes();
        let before = at.checked_sub(1).and_then(|before| bytes.get(before).copied()).unwrap_or(b' ');
        let first = bytes[at];
        if !first.is_ascii_hexdigit() && first != b':' {
            return None;
        }
        let in_address = before.is_ascii_hexdigit() || before == b':';
        if !in_address && let Some(mac) = mac_at(bytes, at) {
            let shown = self.addresses.mac(mac).map(|byte| format!("{byte:02x}")).join(":");
            return Some((at + MAC_CHARS, shown));
        }
        if let Some((end, ip)) = v6_at(line, at, before) {
            let length = length_at(bytes, end);
            let shown = self.addresses.v6(ip, length);
            let written = &line[at..end];
            let shown = if shown == ip { written.to_owned() } else { notation(written, shown) };
            return is_worth(ip).then_some((end, shown));
        }
        let inside = before.is_ascii_digit();
        let (end, ip) = v4_at(bytes, at).filter(|_| !inside)?;
        let length = length_at(bytes, end);
        let shown = self.addresses.v4(ip, length);
        // As it was written, with its zeros.
        let shown = if shown == ip { line[at..end].to_owned() } else { shown.to_string() };
        Some((end, shown))
    }
}

/// An address as another one was written: with its last 32 bits as an IPv4 address (RFC 4291, 2.2), or not. What comes behind it in a text
/// then belongs to it as little as before.
fn notation(written: &str, ip: Ipv6Addr) -> String {
    if !written.contains('.') || ip.to_ipv4_mapped().is_some() {
        return ip.to_string();
    }
    let v4 = Ipv4Addr::from_bits(u32::try_from(ip.to_bits() & 0xFFFF_FFFF).unwrap_or_default());
    let front = Ipv6Addr::from_bits(ip.to_bits() >> 32 << 32 | 0x1_0001).to_string();
    front.strip_suffix("1:1").unwrap_or(&front).to_owned() + &v4.to_string()
}

impl Needle {
    /// How much of it is at a place, if it is there.
    fn length_at(&self, text: &str, at: usize) -> Option<usize> {
        let (needle, there) = (self.text.as_bytes(), &text.as_bytes()[at..]);
        if self.is_name {
            let same = there.get(..needle.len())?.eq_ignore_ascii_case(needle);
            let word = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
            return (same && is_alone(text, at, needle.len(), word)).then_some(needle.len());
        }
        let same = needle.iter().zip(there).take_while(|(a, b)| a == b).count();
        if same == needle.len() {
            // Digits are in every number.
            let short = same < WORD_MIN || (same < 2 * WORD_MIN && needle.iter().all(u8::is_ascii_digit));
            return (!short || is_alone(text, at, same, |b| b.is_ascii_alphanumeric())).then_some(same);
        }
        let end = (0..=same).rev().find(|end| self.text.is_char_boundary(*end))?;
        (end >= CUT_MIN).then_some(end)
    }
}

fn is_alone(text: &str, at: usize, length: usize, word: impl Fn(u8) -> bool) -> bool {
    let bytes = text.as_bytes();
    let before = at.checked_sub(1).and_then(|i| bytes.get(i));
    !before.copied().is_some_and(&word) && !bytes.get(at + length).copied().is_some_and(word)
}

/// The place of a word in a list, counted from 1.
fn number(list: &mut Vec<String>, word: &str) -> usize {
    match list.iter().position(|known| known == word) {
        Some(index) => index + 1,
        None => {
            list.push(word.to_owned());
            list.len()
        }
    }
}

/// How a value is written in shells and UCI, in JSON, in messages, in URLs.
fn forms(value: &str) -> Vec<String> {
    let json = serde_json::Value::String(value.to_owned()).to_string();
    let percent = |all: bool| -> String {
        let kept =
            |b: u8| b.is_ascii_alphanumeric() || b"-._~".contains(&b) || (!all && b"/:@?&=+".contains(&b));
        value.bytes().map(|b| if kept(b) { char::from(b).to_string() } else { format!("%{b:02X}") }).collect()
    };
    let mut forms = vec![
        value.to_owned(),
        value.replace('\'', r"'\''"),
        value.escape_debug().to_string(),
        value.escape_debug().to_string().replace("\\'", "'").replace("\\\"", "\""),
        json[1..json.len() - 1].to_owned(),
        percent(true),
        percent(false),
    ];
    forms.dedup();
    forms
}

/// Keys of certificates and of ssh, whole.
fn without_keys(text: &str) -> String {
    const BEGIN: &str = "-----BEGIN ";
    const END: &str = "-----END ";
    let (mut out, mut rest) = (String::with_capacity(text.len()), text);
    while let Some(at) = rest.find(BEGIN) {
        out.push_str(&rest[..at]);
        out.push_str("[key or certificate]");
        let behind = &rest[at + BEGIN.len()..];
        // Without an end it goes to the end.
        let end = behind.find(END).map_or("", |end| &behind[end + END.len()..]);
        rest = end.find("-----").map_or("", |dashes| &end[dashes + 5..]);
    }
    out + rest
}

/// Whether a key says that its value is secret; what names a file does not.
pub(super) fn is_secret_key(key: &str) -> bool {
    let key = key.to_ascii_lowercase();
    !key.ends_with("file") && SECRET_KEYS.iter().any(|word| key.contains(word))
}

/// `password=…`, `token: …`, `option psk '…'`, `--secret …`: all that is behind it in its line.
fn without_named_values(line: &str) -> String {
    let word = |c: char| c.is_alphanumeric() || "_-".contains(c);
    let mut at = 0;
    while let Some(begin) = line[at..].find(word).map(|i| at + i) {
        let end = line[begin..].find(|c| !word(c)).map_or(line.len(), |i| begin + i);
        at = end;
        let key = &line[begin..end];
        if !is_secret_key(key) {
            continue;
        }
        let behind = line[end..].trim_start_matches(['\'', '"']);
        let value = behind.trim_start_matches([' ', '\t']);
        let blank = value.len() < behind.len();
        let named = value.starts_with(['=', ':']);
        let given = blank && (value.starts_with(['\'', '"']) || key.starts_with("--"));
        let value = value.trim_start_matches(['=', ':', ' ', '\t']);
        // What was found by its value has been replaced already.
        if (named || given)
            && !value.trim().is_empty()
            && !value.trim_start_matches(['\'', '"']).starts_with("[secret-")
        {
            let end = if line.ends_with('\n') { "\n" } else { "" };
            return format!("{}{HIDDEN}{end}", &line[..line.len() - value.len()]);
        }
    }
    line.to_owned()
}

/// `Bearer …`, `Basic …` (RFC 9110, 11.6.2).
fn without_credentials(line: &str) -> String {
    let (mut out, mut rest) = (String::with_capacity(line.len()), line);
    while let Some((at, scheme)) =
        ["Bearer ", "Basic "].iter().filter_map(|s| Some((rest.find(s)?, *s))).min_by_key(|found| found.0)
    {
        let begin = at + scheme.len();
        let end = rest[begin..].find(|c: char| c.is_whitespace() || "\"',".contains(c));
        let end = end.map_or(rest.len(), |i| begin + i);
        // Words of a sentence are none: credentials are base64 or longer.
        let credentials = end - begin >= 8;
        out.push_str(&rest[..begin]);
        out.push_str(if credentials { HIDDEN } else { &rest[begin..end] });
        rest = &rest[end..];
    }
    out + rest
}

/// Of a URL the scheme, the host and the port stay: names and passwords, paths and queries may be or hold what opens doors.
fn without_urls(line: &str) -> String {
    const SEPARATOR: &str = "://";
    let (mut out, mut rest) = (String::with_capacity(line.len()), line);
    while let Some(at) = rest.find(SEPARATOR) {
        let begin = at + SEPARATOR.len();
        out.push_str(&rest[..begin]);
        let end = rest[begin..].find(|c: char| c.is_whitespace() || c.is_control() || "\"'<>`".contains(c));
        let url = &rest[begin..end.map_or(rest.len(), |i| begin + i)];
        rest = &rest[begin + url.len()..];
        // Behind the last one: a password may hold any of them.
        let url = match url.rsplit_once('@') {
            Some((_, host)) => {
                out.push_str(HIDDEN);
                out.push('@');
                host
            }
            None => url,
        };
        let authority = url.find(['/', '?', '#']).unwrap_or(url.len());
        out.push_str(&url[..authority]);
        let path = &url[authority..];
        out.push_str(if path.len() > 1 { "/hidden" } else { path });
    }
    out + rest
}

fn char_at(text: &str, at: usize) -> usize {
    text[at..].chars().next().map_or(0, char::len_utf8)
}

/// Six pairs of digits with colons between them.
const MAC_CHARS: usize = 17;

fn mac_at(bytes: &[u8], at: usize) -> Option<[u8; 6]> {
    let text = bytes.get(at..at + MAC_CHARS)?;
    let more = bytes.get(at + MAC_CHARS).is_some_and(|b| b.is_ascii_alphanumeric());
    let pairs = bytes.get(at + MAC_CHARS..at + MAC_CHARS + 2);
    // Seven pairs are something else: a fingerprint.
    if more || pairs.is_some_and(|p| p[0] == b':' && p[1].is_ascii_hexdigit()) {
        return None;
    }
    let mut mac = [0; 6];
    for (index, byte) in mac.iter_mut().enumerate() {
        let pair = text.get(3 * index..3 * index + 2)?;
        let dash = text.get(3 * index + 2).copied().unwrap_or(b':');
        let digit = |b: u8| char::from(b).to_digit(16).and_then(|d| u8::try_from(d).ok());
        if dash != b':' {
            return None;
        }
        *byte = digit(pair[0])? << 4 | digit(pair[1])?;
    }
    Some(mac)
}

/// The longest address of IPv6 at a place, which is where one may begin.
fn v6_at(line: &str, at: usize, before: u8) -> Option<(usize, Ipv6Addr)> {
    let bytes = line.as_bytes();
    let most = bytes.len().min(at + V6_CHARS_MAX);
    let letters = bytes[at..most].iter().take_while(|b| b.is_ascii_hexdigit() || matches!(b, b':' | b'.'));
    let end = at + letters.count();
    if !line[at..end].contains(':') {
        return None;
    }
    let (end, ip) =
        (at + 2..=end).rev().find_map(|end| Some((end, line[at..end].parse::<Ipv6Addr>().ok()?)))?;
    // `crate::deed` is none; an address of the Internet is one wherever it stands.
    let word = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
    let glued = word(before) || bytes.get(end).is_some_and(|b| word(*b));
    (!glued || ip.segments()[0] >> 13 == 1).then_some((end, ip))
}

/// `::` alone and the like have nothing to hide, and are left as they are written.
fn is_worth(ip: Ipv6Addr) -> bool {
    ip.to_bits() > 1
}

/// Four numbers with dots between them.
fn v4_at(bytes: &[u8], at: usize) -> Option<(usize, Ipv4Addr)> {
    let mut octets = [0u8; 4];
    let mut end = at;
    for (index, octet) in octets.iter_mut().enumerate() {
        if index > 0 {
            if bytes.get(end) != Some(&b'.') {
                return None;
            }
            end += 1;
        }
        let digits = bytes[end..].iter().take(4).take_while(|b| b.is_ascii_digit()).count();
        let text = std::str::from_utf8(bytes.get(end..end + digits)?).ok()?;
        *octet = text.parse().ok().filter(|_| (1..=3).contains(&digits))?;
        end += digits;
    }
    Some((end, Ipv4Addr::from(octets)))
}

/// `/24`.
fn length_at(bytes: &[u8], at: usize) -> Option<u8> {
    let rest = bytes.get(at..)?.strip_prefix(b"/")?;
    let digits = rest.iter().take(4).take_while(|b| b.is_ascii_digit()).count();
    std::str::from_utf8(&rest[..digits]).ok()?.parse().ok()
}
