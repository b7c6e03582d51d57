//! What of a configuration its owner may not want to hand to others, by the option tables, and a text of it without that.
//!
//! What is not known is private: an option of a kind that nobody has judged here, an option or section that nobody knows (it may be
//! a misspelt password), a line that cannot be read. So a new option for a secret cannot be forgotten.

use std::ops::Range;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::ipfire::keys::{self, FileKind, KeyDoc};
use crate::ipfire::readhash;
use crate::native::in_order;
use crate::options::{Dialect, OptionDoc, SectionKind, options_of};
use crate::{sort_short, uci};

/// Who may see a value.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Privacy {
    /// Everybody.
    Open,
    /// Everybody; it is the name of a file, whose content is another question.
    Path,
    /// The name of a host or domain.
    Name,
    /// Something for people: nobody can know what is in it.
    Remark,
    /// Nobody: it may be a secret. What a program is given, and options that nobody knows.
    Doubtful,
    /// Nobody: it is written in several lines, as none of its kind is, and may have swallowed the quote of its neighbour.
    Lines,
    /// Nobody.
    Secret,
}

/// Kinds of values of which everybody may see each. Names here are those of interfaces, policies and sets.
const OPEN: [&str; 70] = [
    "boolean",
    "number",
    "number, 1 to 100",
    "number, 1 to 255",
    "number, 1 to 1000",
    "number, 1 to 3600",
    "number, 1 to 65535",
    "0, or a number from 5 to 1000",
    "bytes, 0 to 65000",
    "bytes",
    "KiB, 0 or 64 to 16384",
    "ms, 1 to 60000",
    "percent, 0 to 100",
    "percent, 1 to 100",
    "bits per second",
    "0 to 255",
    "32 to 65535",
    "1 to 4094",
    "seconds",
    "seconds, 2 to 3600",
    "days and time of day",
    "time",
    "time of day, HH:MM",
    "times of day, HH:MM-HH:MM",
    "auto, 1 or 0",
    "auto, on or off",
    "on or off",
    "address",
    "addresses",
    "address, one per family",
    "address, or address/length",
    "addresses or target URLs",
    "ADDRESS:PORT",
    "hardware address",
    "mask or length",
    "ports",
    "table numbers, main, local, default, or names of /etc/iproute2/rt_tables",
    "emerg, alert, crit, error, warning, notice, info, debug",
    "info, warning, error, critical, never",
    "email, webhook, command",
    "json, ntfy, telegram, slack, matrix, pagerduty",
    "starttls, tls, none",
    "LOAD_BALANCE or FAIL_OVER",
    "ipv4, ipv6, any, all or both",
    "ping, arping, httping, nping-tcp, nping-udp, nping-icmp, nping-arp, nslookup",
    "online or offline",
    "keep, drain [TIME], move-now",
    "ifup, ifdown, connected, disconnected; always, never",
    "unreachable, blackhole, default",
    "unreachable, blackhole or default",
    "weight or failover",
    "weight, failover or none",
    "source or source+destination",
    "ip, net, src_ip, dest_ip, src_net, dest_net",
    "pap, chap or pap-or-chap",
    "0 (LLC) or 1 (VC-Mux)",
    "STATIC, DHCP, PPPOE, PPTP, VDSL, ATM, PPPOEATM, PPTPATM, GSM or QMI",
    "device name",
    "device, or /dev/… of a modem",
    "/dev/…",
    "interface name",
    "interface name, or none",
    "interfaces",
    "member names",
    "policy name, or default, unreachable, blackhole",
    "set name",
    "group name",
    "name",
    "name of a profile",
    "names or numbers",
];

/// Of mwan.toml alone: names of interfaces and weights.
const OPEN_LISTS: [&str; 2] = [
    "array of interface names; an element may be an array or a table name = weight",
    "table interface name = weight, or array of interface names",
];

/// A program's own name is a path; what it is given may be anything.
const PROGRAM: &str = "program and its arguments, one value each";

fn of_kind(kind: &str) -> Privacy {
    match kind {
        "path" | "absolute path" => Privacy::Path,
        PROGRAM => Privacy::Doubtful,
        "domain names" | "host names" | "host name" | "name or address of a server" => Privacy::Name,
        _ if OPEN.contains(&kind) || OPEN_LISTS.contains(&kind) => Privacy::Open,
        _ => Privacy::Secret,
    }
}

impl OptionDoc {
    /// Who may see its value; of a program and its arguments the program is a path.
    pub fn privacy(&self) -> Privacy {
        if self.key() == "comment" { Privacy::Remark } else { of_kind(self.kind) }
    }

    /// Who may see one of its values; `first`: it is the first of the list.
    fn privacy_of(&self, value: &str, first: bool) -> Privacy {
        match self.privacy() {
            // With its arguments in one value it is none.
            Privacy::Doubtful if first && value.starts_with('/') && !value.contains(char::is_whitespace) => {
                Privacy::Path
            }
            Privacy::Open | Privacy::Path | Privacy::Name if value.contains('\n') => Privacy::Lines,
            other => other,
        }
    }
}

impl KeyDoc {
    /// Who may see its value.
    pub fn privacy(&self) -> Privacy {
        of_kind(self.kind)
    }
}

/// What to write in place of a value that is not open: its privacy, its option, the value.
pub type Hide<'h> = &'h mut dyn FnMut(Privacy, &str, &str) -> String;

/// A configuration as it may be shown: what the reader made of it, each thing in the line where it stands in the file. Comments
/// are left out, and what cannot be read is not repeated; both are marked by a `#`.
pub fn shown(file_name: &str, bytes: &[u8], hide: Hide<'_>) -> String {
    match crate::dialect_of(file_name) {
        Dialect::Uci => shown_uci(bytes, hide),
        Dialect::Native => shown_toml(bytes, hide),
    }
}

/// Most lines that cannot be read whose words are looked at.
const UNREAD_MAX: usize = 100;
/// In UCI a line that cannot be read, which says nothing.
const UNREADABLE: &str = "option";

/// A configuration as another machine may read it: the same sections with the same options at the same lines, as far as they are not
/// private, without comments. `None`: a `mwan.toml` that is not TOML as a whole.
pub fn readable(file_name: &str, text: &str, hide: Hide<'_>) -> Option<String> {
    match crate::dialect_of(file_name) {
        Dialect::Uci => Some(shown_uci(text.as_bytes(), hide)),
        Dialect::Native => readable_toml(text, hide),
    }
}

/// What of one section or table is private.
struct Words {
    kind: Option<SectionKind>,
    dialect: Dialect,
}

impl Words {
    fn privacy(&self, option: &str, value: &str, first: bool) -> Privacy {
        let mut known = self.kind.into_iter().flat_map(options_of);
        known
            .find(|doc| doc.names(self.dialect).any(|name| name == option))
            .map_or(Privacy::Doubtful, |doc| doc.privacy_of(value, first))
    }

    fn value(&self, option: &str, value: &str, first: bool, hide: Hide<'_>) -> String {
        match self.privacy(option, value, first) {
            Privacy::Open => value.to_owned(),
            privacy => hide(privacy, option, value),
        }
    }
}

fn shown_uci(bytes: &[u8], hide: Hide<'_>) -> String {
    let (sections, unread) = uci::parse("", bytes);
    let mut page = Page::new(bytes);
    // Messages repeat words of what cannot be read.
    let is_read = |word: &str| {
        let mut values = sections.iter().flat_map(|s| s.entries.iter().map(|e| &e.value).chain(&s.name));
        values.any(|value| value == word)
    };
    let is_unread = |number: u32| unread.iter().take(UNREAD_MAX).any(|d| d.location.line == number);
    for (_, line) in (1..).zip(bytes.split(|b| *b == b'\n')).filter(|(number, _)| is_unread(*number)) {
        let line = String::from_utf8_lossy(line);
        let words = line.split(|c: char| c.is_whitespace() || "'\";".contains(c));
        let words = words.filter(|word| !word.is_empty() && !is_read(word));
        words.for_each(|word| drop(hide(Privacy::Doubtful, "", word)));
    }
    for section in &sections {
        let kind = SectionKind::ALL.into_iter().find(|k| k.uci().contains(&section.kind.as_str()));
        let words = Words { kind, dialect: Dialect::Uci };
        let name = section.name.as_deref().map_or(String::new(), |name| format!(" {}", uci::quote(name)));
        page.put(section.line, &format!("config {}{name}", section.kind));
        let mut before: Option<&str> = None;
        for entry in &section.entries {
            let first = before != Some(&entry.name);
            before = Some(&entry.name);
            let value = words.value(&entry.name, &entry.value, first, hide);
            let word = if entry.list { "list" } else { "option" };
            page.put(entry.line, &format!("\t{word} {} {}", entry.name, uci::quote(&value)));
        }
        // A section with such a line means something else than without.
        if let Some(line) = section.damaged {
            page.put(line, UNREADABLE);
        }
    }
    page.finish("; ")
}

fn shown_toml(bytes: &[u8], hide: Hide<'_>) -> String {
    let text = String::from_utf8_lossy(bytes);
    let text = text.strip_prefix('\u{feff}').unwrap_or(&text);
    let mut page = Page::new(text.as_bytes());
    let (root, _) = DeTable::parse_recoverable(text);
    for (group, span, value) in in_order(root.get_ref()) {
        let kind = SectionKind::ALL.into_iter().find(|kind| kind.native() == Some(group));
        let words = Words { kind, dialect: Dialect::Native };
        match (kind, value.get_ref()) {
            (Some(kind), DeValue::Table(table)) if kind.is_single() => {
                page.put_at(span.start, &format!("[{}]", key(group)));
                table_of(&mut page, &words, table, hide);
            }
            (Some(_), DeValue::Table(table)) => {
                for (name, span, value) in in_order(table) {
                    page.put_at(span.start, &format!("[{}.{}]", key(group), key(name)));
                    if let DeValue::Table(table) = value.get_ref() {
                        table_of(&mut page, &words, table, hide);
                    }
                }
            }
            (Some(_), DeValue::Array(tables)) => {
                for value in tables.iter() {
                    page.put_at(value.span().start, &format!("[[{}]]", key(group)));
                    if let DeValue::Table(table) = value.get_ref() {
                        table_of(&mut page, &words, table, hide);
                    }
                }
            }
            _ => {
                let value = toml_value(&words, group, value.get_ref(), true, hide);
                page.put_at(span.start, &format!("{} = {value}", key(group)));
            }
        }
    }
    page.finish(" ")
}

fn table_of(page: &mut Page, words: &Words, table: &DeTable<'_>, hide: Hide<'_>) {
    for (name, span, value) in in_order(table) {
        let value = toml_value(words, name, value.get_ref(), true, hide);
        page.put_at(span.start, &format!("{} = {value}", key(name)));
    }
}

fn toml_value(words: &Words, option: &str, value: &DeValue<'_>, first: bool, hide: Hide<'_>) -> String {
    match value {
        DeValue::Array(items) => {
            let items = items.iter().enumerate();
            let items = items.map(|(at, item)| toml_value(words, option, item.get_ref(), at == 0, hide));
            format!("[{}]", items.collect::<Vec<_>>().join(", "))
        }
        DeValue::Table(table) => {
            let entries = in_order(table).into_iter();
            let entries = entries.map(|(name, _, value)| {
                format!("{} = {}", key(name), toml_value(words, option, value.get_ref(), true, hide))
            });
            format!("{{ {} }}", entries.collect::<Vec<_>>().join(", "))
        }
        _ => {
            let (bare, text) = single(value);
            let shown = words.value(option, &text, first, hide);
            if bare && shown == text { text } else { quoted(&shown) }
        }
    }
}

/// A value that is no list and no table, and whether it stands without quotes.
fn single(value: &DeValue<'_>) -> (bool, String) {
    match value {
        DeValue::String(text) => (false, text.to_string()),
        DeValue::Integer(number) => (true, number.to_string()),
        DeValue::Float(number) => (true, number.to_string()),
        DeValue::Boolean(value) => (true, value.to_string()),
        DeValue::Datetime(time) => (true, time.to_string()),
        DeValue::Array(_) | DeValue::Table(_) => (true, String::new()),
    }
}

/// The text itself with other values in place of private ones, and without comments; `None` if not all of it is TOML.
fn readable_toml(text: &str, hide: Hide<'_>) -> Option<String> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let (root, errors) = DeTable::parse_recoverable(text);
    if !errors.is_empty() {
        return None;
    }
    let mut singles = Vec::new();
    for (group, _, value) in in_order(root.get_ref()) {
        let kind = SectionKind::ALL.into_iter().find(|kind| kind.native() == Some(group));
        let words = Words { kind, dialect: Dialect::Native };
        let named = matches!(value.get_ref(), DeValue::Table(_)) && !kind.is_some_and(SectionKind::is_single);
        singles_of(&words, group, (value, true), if named { 2 } else { 1 }, hide, &mut singles);
    }
    sort_short(&mut singles, |(span, _)| span.start);
    let (mut out, mut at) = (String::with_capacity(text.len()), 0);
    for (span, other) in singles {
        without_comments(text.get(at..span.start)?, &mut out);
        let value = text.get(span.clone())?;
        match other {
            None => out.push_str(value),
            Some(other) => match value.matches('\n').count() {
                0 => out.push_str(&quoted(&other)),
                // As many lines.
                lines => {
                    out.push_str(&format!("\"\"\"{}{}\"\"", "\n".repeat(lines), &quoted(&other)[1..]));
                }
            },
        }
        at = span.end;
    }
    without_comments(text.get(at..)?, &mut out);
    Some(out)
}

/// Where single values are, and what is to stand there if it is something else. `names`: how many keys there are to come down to
/// that of the option; what is further down is part of its value.
fn singles_of(
    words: &Words,
    option: &str,
    (value, first): (&Spanned<DeValue<'_>>, bool),
    names: u8,
    hide: Hide<'_>,
    out: &mut Vec<(Range<usize>, Option<String>)>,
) {
    match value.get_ref() {
        DeValue::Array(items) => {
            for (at, item) in items.iter().enumerate() {
                singles_of(words, option, (item, at == 0), names, hide, out);
            }
        }
        DeValue::Table(table) => {
            for (name, _, value) in in_order(table) {
                let option = if names > 0 { name } else { option };
                singles_of(words, option, (value, true), names.saturating_sub(1), hide, out);
            }
        }
        value_of => {
            let (_, text) = single(value_of);
            let shown = words.value(option, &text, first, hide);
            out.push((value.span(), (shown != text).then_some(shown)));
        }
    }
}

/// What is between values: keys, signs, and comments, which are left out.
fn without_comments(between: &str, out: &mut String) {
    for line in between.split_inclusive('\n') {
        // In quotes it is a part of a key.
        let is_open = |at: usize| ['"', '\''].iter().any(|q| line[..at].matches(*q).count() % 2 == 1);
        match line.match_indices('#').find(|(at, _)| !is_open(*at)) {
            Some((at, _)) => out.extend([&line[..at], if line.ends_with('\n') { "\n" } else { "" }]),
            None => out.push_str(line),
        }
    }
}

fn key(name: &str) -> String {
    let bare = !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-".contains(&b));
    if bare { name.to_owned() } else { quoted(name) }
}

/// A basic string of TOML.
fn quoted(text: &str) -> String {
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            c if c.is_control() => out.push_str(&format!("\\u{:04X}", u32::from(c))),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

/// One of IPFire's files as it may be shown, in the lines of the file; `name` is its own below the root (`mwan/rules/10-voip`).
pub fn shown_hash(name: &str, bytes: &[u8], hide: Hide<'_>) -> String {
    let rule = name.starts_with("mwan/rules/");
    let privacy = |written: &str, value: &str| match rule {
        // Files of rules hold mwan3's options in capitals.
        true => Words { kind: Some(SectionKind::Rule), dialect: Dialect::Uci }.privacy(
            &written.to_ascii_lowercase(),
            value,
            true,
        ),
        false => {
            let doc = FileKind::ALL.into_iter().find_map(|kind| keys::find(kind, written));
            doc.map_or(Privacy::Doubtful, KeyDoc::privacy)
        }
    };
    let mut page = Page::new(bytes);
    for (line, bytes) in (1..).zip(bytes.split(|b| *b == b'\n')) {
        let Ok(Some((written, value))) = readhash::read_line(bytes) else { continue };
        let shown = match privacy(&written, &value) {
            Privacy::Open => value,
            _ if value.is_empty() => value,
            privacy => hide(privacy, &written, &value),
        };
        page.put(line, &format!("{written}='{}'", shown.replace('\'', r"'\''")));
    }
    page.finish(" ")
}

/// Lines of a text that is written anew.
struct Page {
    /// What is in the lines of the old text; `false`: nothing.
    full: Vec<Line>,
    /// Where they begin.
    begins: Vec<usize>,
    lines: Vec<Vec<String>>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Line {
    Empty,
    Comment,
    Full,
}

impl Page {
    fn new(bytes: &[u8]) -> Self {
        let mut at = 0;
        let (mut full, mut begins) = (Vec::new(), Vec::new());
        for line in bytes.split_inclusive(|b| *b == b'\n') {
            begins.push(at);
            at += line.len();
            full.push(match line.trim_ascii().first() {
                None => Line::Empty,
                Some(b'#') => Line::Comment,
                Some(_) => Line::Full,
            });
        }
        let lines = vec![Vec::new(); full.len()];
        Page { full, begins, lines }
    }

    /// Puts something into a line, counted from 1.
    fn put(&mut self, line: u32, text: &str) {
        let index = usize::try_from(line).unwrap_or(usize::MAX).saturating_sub(1);
        if let Some(line) = self.lines.get_mut(index) {
            line.push(text.to_owned());
        }
    }

    /// The same where a byte of the old text is.
    fn put_at(&mut self, byte: usize, text: &str) {
        let line = self.begins.partition_point(|begin| *begin <= byte);
        self.put(u32::try_from(line).unwrap_or(u32::MAX), text);
    }

    fn finish(self, between: &str) -> String {
        let mut out = String::new();
        // How many lines the value above goes on for.
        let mut within = 0;
        for (full, line) in self.full.into_iter().zip(self.lines) {
            if within > 0 && line.is_empty() {
                within -= 1;
                continue;
            }
            within = line.iter().map(|text| text.matches('\n').count()).sum();
            match (full, line.is_empty()) {
                (_, false) => out.push_str(&line.join(between)),
                (Line::Empty, true) => {}
                (Line::Comment, true) => out.push('#'),
                (Line::Full, true) => out.push_str("# (not shown)"),
            }
            out.push('\n');
        }
        out
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::ipfire::keys::keys;
    use crate::options::options;

    fn mark(privacy: Privacy, _: &str, value: &str) -> String {
        match privacy {
            Privacy::Path => value.to_owned(),
            other => format!("<{other:?}>"),
        }
    }

    /// A new option of a kind that is not among the open ones is private without anybody's doing.
    #[test]
    fn what_is_private_is_this() {
        let of = |wanted: Privacy| {
            let all = options().iter().filter(move |o| o.privacy() == wanted);
            all.map(|o| format!("{}.{}", o.section.noun(), o.key())).collect::<Vec<_>>()
        };
        assert_eq!(
            of(Privacy::Secret),
            [
                "globals.notification_email",
                "ipset.storage",
                "alert.to",
                "alert.from",
                "alert.username",
                "alert.url",
                "alert.template",
                "cloud.document",
                "cloud.wan"
            ]
        );
        assert_eq!(of(Privacy::Doubtful), ["globals.dnsmasq_command", "alert.command"]);
        assert_eq!(of(Privacy::Name), ["ipset.domain", "web.hostname", "alert.server"]);
        let secret: Vec<&str> =
            keys().iter().filter(|k| k.privacy() == Privacy::Secret).map(|k| k.key).collect();
        assert_eq!(secret, ["USERNAME", "PASSWORD", "SERVICENAME", "CONCENTRATORNAME", "PIN", "NUMBER"]);
        assert_eq!(of_kind("something new"), Privacy::Secret);
        for kind in OPEN.iter().chain(&OPEN_LISTS) {
            let used = options().iter().map(|o| o.kind).chain(keys().iter().map(|k| k.kind));
            assert!(used.into_iter().any(|k| k == *kind), "nothing is of the kind {kind:?}");
        }
    }

    #[test]
    fn a_uci_text_is_shown_line_by_line() {
        let text = "# password: one\nconfig globals 'g'\n\toption enabled '1' # two\n\n\
            config alert 'a'\n\toption url \"https://three\nfour\"; option port 25\n\
            \tlist command '/bin/tell'\n\tlist command 'five'\n\toption comment 'six'\n\
            \toption psswrd 'seven'\n\toption server 'eight'\n\toption bad nine ten\n\
            config whatever\n\toption enabled 'eleven'\nconfig interface 'wan'\n\toption device 'eth1\ntwelve'\n";
        assert_eq!(
            shown("mwan", text.as_bytes(), &mut mark),
            "#\nconfig globals 'g'\n\toption enabled '1'\n\n\
             config alert 'a'\n\toption url '<Secret>'\n\toption port '25'\n\
             \tlist command '/bin/tell'\n\tlist command '<Doubtful>'\n\toption comment '<Remark>'\n\
             \toption psswrd '<Doubtful>'\n\toption server '<Name>'\noption\n\
             config whatever\n\toption enabled '<Doubtful>'\nconfig interface 'wan'\n\toption device '<Lines>'\n# (not shown)\n"
        );
        // A program with its arguments in one value is no path; words that messages may repeat are told.
        let mut doubtful = Vec::new();
        let text =
            "config alert a\n\toption command '/bin/tell me'\n\toption url x1 b2; c3\n\toption type x1\n";
        shown("mwan", text.as_bytes(), &mut |privacy, _, value| {
            doubtful.push((privacy, value.to_owned()));
            String::new()
        });
        let words: Vec<&str> =
            doubtful.iter().filter(|d| d.0 == Privacy::Doubtful).map(|d| d.1.as_str()).collect();
        assert_eq!(words, ["option", "url", "b2", "c3", "/bin/tell me"]);
    }

    #[test]
    fn a_toml_text_is_shown_line_by_line() {
        let text = "# one\n[global]\nmask = 0x3F00 # two\n[wan.a]\ntargets = ['1.1.1.1', \"9.9.9.9\"]\ncomment = 'three'\n\
            [policy.p]\nbalance = { a = 3, b = 2 }\n[[rule]]\nname = 'web'\n[alert.x]\nurl = '''four\nfive'''\n\
            command = ['/bin/tell', 'six']\nnew = ['seven', 8]\n[other]\nx = 'nine'\n[web]\nbroken = 'ten\nhostnames = ['eleven']\n";
        let shown = shown("mwan.toml", text.as_bytes(), &mut mark);
        for word in ["one", "two", "three", "four", "five", "six", "seven", "8", "nine", "ten", "eleven"] {
            assert!(!shown.contains(word), "{word}: {shown}");
        }
        for line in [
            "mask = 0x3F00",
            "targets = [\"1.1.1.1\", \"9.9.9.9\"]",
            "balance = { a = 3, b = 2 }",
            "[[rule]]",
            "name = \"web\"",
            "command = [\"/bin/tell\", \"<Doubtful>\"]",
            "url = \"<Secret>\"",
        ] {
            assert!(shown.lines().any(|l| l == line), "{line}: {shown}");
        }
        let at = |text: &str, begin: &str| text.lines().position(|l| l.starts_with(begin));
        for begin in ["[global]", "balance", "[[rule]]", "url", "[web]"] {
            assert_eq!(at(&shown, begin), at(text, begin), "{begin}");
        }
    }

    /// A reader makes the same of it.
    #[test]
    fn what_another_machine_reads_says_the_same_without_what_is_private() {
        let hide = &mut |privacy: Privacy, _: &str, value: &str| match privacy {
            Privacy::Path | Privacy::Lines => value.to_owned(),
            _ => "hidden".to_owned(),
        };
        let uci = "# one\nconfig interface 'wan' # two\n\toption enabled 1; option device 'eth#0'\n\tlist track_ip '192.0.2.1\n192.0.2.2'\n\
            \toption psswrd 'three'\n\toption comment 'four\nfive'\n\toption bad six seven\n\
            config rule 'r'\n\toption use_policy 'p'\n\toption eight\nconfig alert 'a'\n\toption url 'nine'\n\
            config my-alert 'x-y'\n\toption ten 'eleven'\nconfig policy 'p'\n\tlist use_member 'm'\n";
        let toml = "wan.b = { device = 'eth1', comment = 'one' } # two\nwan.c.device = \"eth#2\" # it's three\nwan.c.down = 4 # x\n\
            wan.c.targets = ['192.0.2.1', # four\n  '192.0.2.2']\nwan.c.up = 7\nwan.c.new = 'five'\n[global] # six\n\
            notification_email = ['seven@eight.example'] # nine\n[policy.p]\nbalance = { a = 3, b = 2 }\n\
            [[rule]]\nname = 'web'\ncomment = '''\nten\n'''\npolicy = 'p'\n[alert.\"x\"]\nurl = 'eleven'\nport = 25 # y";
        let words = ["one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven"];
        for (name, text) in [("mwan3", uci), ("mwan.toml", toml)] {
            let kept = readable(name, text, hide).unwrap();
            for word in words {
                assert!(!kept.contains(word), "{word}: {kept}");
            }
            assert_eq!(kept.lines().count(), text.lines().count(), "{kept}");
            let (before, after) =
                (crate::parse(name, text.as_bytes()).config, crate::parse(name, kept.as_bytes()).config);
            assert_eq!(
                (before.interfaces, before.policies, before.rules),
                (after.interfaces, after.policies, after.rules),
                "{kept}"
            );
        }
        assert_eq!(readable("mwan.toml", "[wan.a\nx = 1", hide), None);
    }

    #[test]
    fn ipfires_files_are_shown_by_their_keys() {
        let text = b"TYPE=GSM\n# one\nBACKUP_PIN=\"4711\"\nPASSWORD='x '\\''y'\nPASWORD=two\nAPN=net\nbroken three\nUSERNAME=\n";
        assert_eq!(
            shown_hash("mwan/profiles/a", text, &mut mark),
            "TYPE='GSM'\n#\nBACKUP_PIN='<Secret>'\nPASSWORD='<Secret>'\nPASWORD='<Doubtful>'\nAPN='net'\n# (not shown)\nUSERNAME=''\n"
        );
        assert_eq!(
            shown_hash("mwan/rules/10", b"PROTO=tcp\nPASSWORD=x\n", &mut mark),
            "PROTO='tcp'\nPASSWORD='<Doubtful>'\n"
        );
    }
}
