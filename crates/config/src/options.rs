//! The one table of options. The readers take their names from it, unknown options are found with it,
//! and `docs/configuration.md` is generated from it.

/// Kinds of sections, in both formats.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum SectionKind {
    /// `config globals`, `[global]`.
    Globals,
    /// `config interface`, `[wan.NAME]`.
    Interface,
    /// `config member`, mwan4: `config route`; not in `mwan.toml`.
    Member,
    /// `config policy`, mwan4: `config strategy`; `[policy.NAME]`.
    Policy,
    /// `config rule`, `[[rule]]`.
    Rule,
    /// `config ipset`; `[set.NAME]`.
    Ipset,
    /// `config web`; `[web]`.
    Web,
    /// `config alert`; `[alert.NAME]`.
    Alert,
    /// `config cloud`, written by `mwan cloud apply`; not in `mwan.toml`.
    Cloud,
}

impl SectionKind {
    /// In the order of the documentation.
    pub const ALL: [SectionKind; 9] = [
        SectionKind::Globals,
        SectionKind::Interface,
        SectionKind::Member,
        SectionKind::Policy,
        SectionKind::Rule,
        SectionKind::Ipset,
        SectionKind::Web,
        SectionKind::Alert,
        SectionKind::Cloud,
    ];

    /// Names of the section type in UCI: mwan3's, then mwan4's.
    pub fn uci(self) -> &'static [&'static str] {
        match self {
            SectionKind::Globals => &["globals"],
            SectionKind::Interface => &["interface"],
            SectionKind::Member => &["member", "route"],
            SectionKind::Policy => &["policy", "strategy"],
            SectionKind::Rule => &["rule"],
            SectionKind::Ipset => &["ipset"],
            SectionKind::Web => &["web"],
            SectionKind::Alert => &["alert"],
            SectionKind::Cloud => &["cloud"],
        }
    }

    /// Name of the table in `mwan.toml`.
    pub fn native(self) -> Option<&'static str> {
        match self {
            SectionKind::Globals => Some("global"),
            SectionKind::Interface => Some("wan"),
            SectionKind::Policy => Some("policy"),
            SectionKind::Rule => Some("rule"),
            SectionKind::Ipset => Some("set"),
            SectionKind::Web => Some("web"),
            SectionKind::Alert => Some("alert"),
            SectionKind::Member | SectionKind::Cloud => None,
        }
    }

    /// Whether all sections of this kind are one, whatever they are called.
    pub(crate) fn is_single(self) -> bool {
        matches!(self, SectionKind::Globals | SectionKind::Web)
    }

    /// The word in messages.
    pub(crate) fn noun(self) -> &'static str {
        self.uci()[0]
    }
}

/// Which names and defaults apply.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Dialect {
    /// `/etc/config/mwan3`, `mwan4`, `mwan`: mwan3's defaults.
    Uci,
    /// `mwan.toml`: our defaults.
    Native,
}

/// One option.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct OptionDoc {
    /// The section it belongs to.
    pub section: SectionKind,
    /// Its names in UCI, mwan3's first; empty if it is not in UCI.
    pub uci: &'static [&'static str],
    /// Its name in `mwan.toml`, if it is there.
    pub native: Option<&'static str>,
    /// What its value is.
    pub kind: &'static str,
    /// Whether it may have several values (`option` or `list` in UCI, an array in `mwan.toml`).
    pub list: bool,
    /// Default in UCI; empty = none.
    pub default: &'static str,
    /// Default in `mwan.toml` where it differs.
    pub native_default: Option<&'static str>,
    /// What it does.
    pub description: &'static str,
}

impl OptionDoc {
    /// The name by which the readers know it.
    pub fn key(&self) -> &'static str {
        self.uci.first().copied().or(self.native).unwrap_or_default()
    }

    /// Its names in `dialect`.
    pub fn names(&self, dialect: Dialect) -> impl Iterator<Item = &'static str> {
        let (uci, native) = match dialect {
            Dialect::Uci => (self.uci, None),
            Dialect::Native => (&[][..], self.native),
        };
        uci.iter().copied().chain(native)
    }
}

/// Every option of both formats, in the order of the documentation.
pub fn options() -> &'static [OptionDoc] {
    OPTIONS
}

/// The options of one kind of section.
pub(crate) fn options_of(section: SectionKind) -> impl Iterator<Item = &'static OptionDoc> {
    OPTIONS.iter().filter(move |o| o.section == section)
}

const fn row(
    section: SectionKind,
    uci: &'static [&'static str],
    native: &'static str,
    kind: &'static str,
    default: &'static str,
    description: &'static str,
) -> OptionDoc {
    let native = if native.is_empty() { None } else { Some(native) };
    OptionDoc { section, uci, native, kind, list: false, default, native_default: None, description }
}

const fn list(row: OptionDoc) -> OptionDoc {
    OptionDoc { list: true, ..row }
}

const fn ours(row: OptionDoc, default: &'static str) -> OptionDoc {
    OptionDoc { native_default: Some(default), ..row }
}

#[rustfmt::skip]
const OPTIONS: &[OptionDoc] = {
    use SectionKind::*;
    &[
        row(Globals, &["enabled"], "enabled", "boolean", "1", "0: mwan does nothing at all."),
        row(Globals, &["mmx_mask"], "mask", "number", "0x3F00", "The bits of packet and connection marks that are ours; at least 3 bits. With b bits there is room for 2^b − 4 interfaces, at most 250."),
        list(row(Globals, &["rt_table_lookup"], "tables", "table numbers, main, local, default, or names of /etc/iproute2/rt_tables", "", "Further routing tables whose destinations are never policy-routed.")),
        row(Globals, &["masquerade"], "masquerade", "auto, 1 or 0", "auto", "Whether mwan translates the source of what leaves by a WAN. auto: where the platform has no firewall of its own that does.")
        ,
        row(Globals, &["logging"], "logging", "boolean", "0", "Global switch of rule logging. At most 6000 lines a minute are written, shared evenly by the rules that log, and for each rule and family at most 600 and at least 1."),
        row(Globals, &["dnsmasq_file"], "dnsmasq_file", "path", "", "File that is written for dnsmasq: which domains fill which set (`nftset=` lines). dnsmasq has to read it (`conf-file`, `conf-dir`). It is kept as it has to be, and removed by `stop` or when the option is."),
        list(row(Globals, &["dnsmasq_command"], "dnsmasq_command", "program and its arguments, one value each", "", "What is run, without a shell, after dnsmasq_file has changed: dnsmasq reads it only when it starts. It has 30 s.")),
        row(Globals, &["loglevel"], "loglevel", "emerg, alert, crit, error, warning, notice, info, debug", "notice", "Level of rule logging in the kernel log."),
        row(Globals, &["local_source"], "local_source", "interface name, or none", "none", "Interface (as lan) by whose address rules judge the router's own traffic: one with `src_ip` of the LAN then matches it, too. It leaves with the address of the WAN it takes."),
        row(Globals, &["source_routing"], "source_routing", "boolean", "0", "Traffic that already has a WAN's source address leaves by that WAN while it is usable, before any rule: sockets bound to the address, and networks of its `routed_network`. A socket that is not bound has the address of the main table's best default route; with local_source that one WAN's address does not count as chosen."),
        row(Globals, &["mode"], "", "LOAD_BALANCE or FAIL_OVER", "", "What the rules do, in a word, as cloud configurations write it: `LOAD_BALANCE` or `FAIL_OVER`. The rules decide; if they say otherwise it is said (W0302)."),
        list(row(Globals, &["notification_email"], "notification_email", "mail addresses", "", "Who is told of incidents; what a cloud's document calls notificationEmails (docs/cloud.md).")),
        row(Globals, &["cloud_document"], "", "absolute path", "", "A cloud's document (`multiWanV2`, docs/cloud.md): whenever this file changes it is applied to the configuration. One with an error is told of, and changes nothing."),
        row(Globals, &["rtmon_interval"], "", "seconds", "", "Without effect since mwan3 2.9: routes are followed as they change."),
        row(Globals, &["rule_base_connected"], "rule_base_connected", "number", "990", "Priority of the ip rule `lookup main suppress_prefixlength 0`."),
        row(Globals, &["rule_base_iif"], "rule_base_iif", "number", "1000", "Base of the `iif` rules; an interface's rule is at base + id."),
        row(Globals, &["rule_base_fwmark"], "rule_base_fwmark", "number", "2000", "Base of the `fwmark` rules."),
        row(Globals, &["rule_base_oif"], "rule_base_oif", "number", "2500", "Base of the `oif` rules."),
        row(Globals, &["rule_base_unreachable"], "rule_base_unreachable", "number", "3000", "Base of the `fwmark … unreachable` rules."),
        row(Globals, &["user_script"], "user_script", "absolute path", "", "Shell script run on transitions with ACTION, INTERFACE and DEVICE. Without it /etc/mwan3.user or /etc/mwan4.user, by the name of the configuration file; docs/hooks.md."),
        row(Globals, &["hooks_dir"], "hooks_dir", "absolute path", "/etc/mwan/hooks.d", "Directory of programs run on transitions with a JSON document on standard input."),
        row(Globals, &["hook_timeout"], "hook_timeout", "number, 1 to 3600", "30", "Seconds after which a script is killed with everything it started."),
        row(Globals, &["history"], "history", "boolean", "1", "Record availability, latency, loss, jitter and bytes of every WAN, and its outages: at most 2 MiB per interface, in memory, and once an hour and at the end on disk (docs/history.md)."),
        row(Globals, &["record_size"], "record_size", "KiB, 0 or 64 to 16384", "512", "How much memory the last events of the decision core may take: `mwan record` writes them to a file, `mwan replay` decides by them again (docs/record.md). 0: nothing is recorded."),
        row(Globals, &["record_incidents"], "record_incidents", "boolean", "1", "Write a recording by itself when a policy has lost its last WAN: the last 5, in the state directory, at most one in ten minutes."),
        row(Globals, &["iif_rules"], "iif_rules", "boolean", "0", "Install mwan3's `iif` rules, too. They are superfluous and cost every packet."),

        ours(row(Interface, &["enabled"], "enabled", "boolean", "0", "Whether the interface takes part."), "true"),
        row(Interface, &["device"], "device", "device name", "", "Kernel device. Without it the platform tells (on OpenWrt from the network configuration), else the interface's name is the device."),
        ours(list(row(Interface, &["family"], "families", "ipv4, ipv6, any, all or both", "ipv4", "Families it carries. Each family has its own health.")), "those of its targets and gateways, else ipv4"),
        list(row(Interface, &["gateway"], "gateway", "address, one per family", "", "Overrides the gateway that is found by itself.")),
        list(row(Interface, &["routed_network"], "routed_networks", "addresses", "", "Public networks that are routed to this machine by this interface, as prefixes or ranges: never translated when they leave by it, and with source_routing they do. Prefixes that OpenWrt was delegated by it are known without.")),
        list(row(Interface, &["track_ip"], "targets", "addresses or target URLs", "", "Targets that are probed: addresses, by `track_method`, or URLs as below, each with a method of its own. Without one of a family the interface always counts as up for it. Names are not accepted: DNS may need the link that is tested.")),
        row(Interface, &["track_method"], "track_method", "ping, arping, httping, nping-tcp, nping-udp, nping-icmp, nping-arp, nslookup", "ping", "How plain addresses are probed, and the gateway."),
        row(Interface, &["httping_ssl"], "httping_ssl", "boolean", "0", "With httping: by TLS, port 443. Certificates are not checked, as httping does not."),
        row(Interface, &["track_gateway"], "track_gateway", "boolean", "0", "The gateway is a target, too, whichever it is at the time; probed by `track_method`."),
        row(Interface, &["reliability"], "reliability", "number, 1 to 255", "1", "Targets of a family that must answer for a good round."),
        row(Interface, &["count"], "count", "number, 1 to 100", "1", "Probes per target and round."),
        ours(row(Interface, &["timeout"], "timeout", "time", "4", "How long an answer may take."), "1"),
        ours(row(Interface, &["interval"], "interval", "time", "10", "Time between two rounds."), "1"),
        row(Interface, &["failure_interval"], "failure_interval", "time", "interval", "The same while failing."),
        row(Interface, &["recovery_interval"], "recovery_interval", "time", "interval", "The same while recovering."),
        row(Interface, &["keep_failure_interval"], "keep_failure_interval", "boolean", "0", "Use failure_interval also when it is offline."),
        ours(row(Interface, &["up"], "up", "number, 1 to 1000", "5", "Good rounds until online."), "10"),
        ours(row(Interface, &["down"], "down", "number, 1 to 1000", "5", "Bad rounds until offline."), "2"),
        row(Interface, &["size"], "size", "bytes, 0 to 65000", "56", "Payload of a ping."),
        row(Interface, &["max_ttl"], "max_ttl", "number, 1 to 255", "60", "Time to live (hop limit) of a ping."),
        row(Interface, &["check_quality"], "check_quality", "boolean", "0", "Judge targets by latency and loss, too: one that is too slow or loses too much does not count as answering."),
        ours(row(Interface, &["quality_window"], "quality_window", "0, or a number from 5 to 1000", "0", "With check_quality: how many of the last probes of a target are judged together. What is down stays down until it is as good as the recovery thresholds. 0: each round is judged on its own, as mwan3 does."), "20"),
        row(Interface, &["failure_latency"], "failure_latency", "ms, 1 to 60000", "1000", "With check_quality: a target this slow is down."),
        row(Interface, &["recovery_latency"], "recovery_latency", "ms, 1 to 60000", "500", "With check_quality: a target this fast is up."),
        row(Interface, &["failure_loss"], "failure_loss", "percent, 1 to 100", "40", "With check_quality: a target that loses this much is down."),
        row(Interface, &["recovery_loss"], "recovery_loss", "percent, 0 to 100", "10", "With check_quality: a target that loses at most this much is up."),
        row(Interface, &["initial_state"], "initial_state", "online or offline", "online", "State before the first verdict."),
        row(Interface, &["failback"], "failback", "keep, drain [TIME], move-now", "keep", "What happens to the flows on this interface when a better one is back: they end where they are, have that long to end, or move at once. A metered backup says move-now."),
        row(Interface, &["failback_drain"], "failback_drain", "time", "300", "Time for `failback drain` if it names none."),
        list(row(Interface, &["flush_conntrack"], "flush_conntrack", "ifup, ifdown, connected, disconnected; always, never", "never", "Events at which the connection entries of this interface, and of no other, are deleted: at ifup and connected all of them, at ifdown and disconnected those that have somewhere else to go. always = ifup and ifdown. Flows of an interface that is down move with `never` too.")),
        row(Interface, &["drill"], "drill", "days and time of day", "", "When the interface is drilled: it is made to look dead to mwan for a while, and what comes of it is measured and kept (docs/drill.md). Days are mon to sun, several with commas, or daily; local time: `sun 03:30`."),
        row(Interface, &["drill_for"], "drill_for", "seconds, 2 to 3600", "60", "How long a drill by schedule takes."),
        list(row(Interface, &["comment"], "comment", "text", "", "For people.")),

        row(Member, &["interface"], "", "interface name", "", "The interface. Required."),
        row(Member, &["metric"], "", "number, 1 to 65535", "1", "The lowest metric among the usable members of a policy carries."),
        row(Member, &["weight"], "", "number, 1 to 1000", "1", "Share among members of the same metric."),
        list(row(Member, &["comment"], "", "text", "", "For people.")),

        list(row(Policy, &["use_member", "use_route"], "", "member names", "", "Its members. Required.")),
        list(row(Policy, &[], "prefer", "array of interface names; an element may be an array or a table name = weight", "", "Interfaces by preference: the first usable element carries. Several interfaces in one element share.")),
        list(row(Policy, &[], "balance", "table interface name = weight, or array of interface names", "", "Interfaces that share the traffic.")),
        row(Policy, &["last_resort"], "last_resort", "unreachable, blackhole, default", "unreachable", "What happens when no member is usable: ICMP error, silence, or the main routing table."),
        list(row(Policy, &["comment"], "comment", "text", "", "For people.")),

        row(Rule, &[], "name", "name", "", "Name of the rule in status and diagnostics."),
        list(row(Rule, &["family"], "family", "ipv4, ipv6, any, all or both", "any", "Families the rule applies to.")),
        list(row(Rule, &["proto"], "proto", "names or numbers", "all", "Protocols.")),
        list(row(Rule, &["src_ip"], "from", "addresses", "", "Source addresses, prefixes, ranges; a leading ! negates.")),
        list(row(Rule, &["src_port"], "sport", "ports", "", "Source ports and ranges; tcp and udp only.")),
        list(row(Rule, &["dest_ip"], "to", "addresses", "", "Destination addresses, prefixes, ranges; a leading ! negates.")),
        list(row(Rule, &["dest_port"], "dport", "ports", "", "Destination ports and ranges; tcp and udp only.")),
        row(Rule, &["src_iface"], "in", "interface name", "", "Logical name of the interface the packet came in by (also one that is no WAN, as lan).")
        ,
        row(Rule, &["ipset"], "set", "set name", "", "The destination must be in this set. One that no section defines is made, empty, for others to fill (W0711)."),
        row(Rule, &["ipset_src"], "source_set", "set name", "", "The source must be in this set, likewise."),
        row(Rule, &["sticky"], "sticky", "boolean", "0", "A source keeps its WAN for `timeout` after its last new connection."),
        row(Rule, &["timeout"], "sticky_timeout", "time", "600", "Time of sticky."),
        row(Rule, &["sticky_key"], "sticky_key", "source or source+destination", "source", "What keeps its WAN with sticky: a source, or a source for each destination on its own."),
        row(Rule, &["logging"], "logging", "boolean", "0", "Log the first packet of each connection with `MWAN3(RULE)` to the kernel log (needs the global switch, too); `mwan rules` counts the lines."),
        row(Rule, &["use_policy", "use_strategy"], "policy", "policy name, or default, unreachable, blackhole", "", "Where matching traffic goes. Required."),
        row(Rule, &["equalize"], "", "boolean", "", "Of early versions of mwan3; without effect."),
        list(row(Rule, &["comment"], "comment", "text", "", "For people.")),

        row(Ipset, &["name"], "", "set name", "", "Its name; without it that of the section."),
        row(Ipset, &["enabled"], "enabled", "boolean", "1", "Whether the set is there."),
        list(row(Ipset, &["family"], "family", "ipv4, ipv6, any, all or both", "any", "Families it has addresses of.")),
        list(row(Ipset, &["match"], "", "ip, net, src_ip, dest_ip, src_net, dest_net", "", "What it holds: addresses and prefixes alike; in rules `ipset` and `ipset_src` say of which end.")),
        list(row(Ipset, &["entry"], "entries", "addresses", "", "Addresses, prefixes, ranges. Few are in the nftables set `set.NAME.4` (or 6), 1,024 and more in one per prefix length, `set.NAME.4.LENGTH`.")),
        row(Ipset, &["loadfile"], "file", "path", "", "File with more of them, one per line, at most 262144; # and ; begin comments. Read again when it changes.")
        ,
        list(row(Ipset, &["domain"], "domains", "domain names", "", "dnsmasq enters their addresses and those of their subdomains, see dnsmasq_file.")),
        row(Ipset, &["timeout"], "timeout", "time", "", "How long an address that dnsmasq entered stays; without it for ever. Whole seconds.")
        ,
        row(Ipset, &["counters"], "counters", "boolean", "0", "Count per element (`nft list set inet mwan set.NAME.4`); a long list is then searched more slowly."),
        row(Ipset, &["maxelem"], "", "number", "", "Of ipset; without effect."),
        row(Ipset, &["hashsize"], "", "number", "", "Of ipset; without effect."),
        row(Ipset, &["storage"], "", "string", "", "Of ipset; without effect."),
        list(row(Ipset, &["comment"], "comment", "text", "", "For people.")),

        row(Web, &["enabled"], "enabled", "boolean", "0", "Whether the web server runs: control API, dashboard, metrics (docs/api.md). Only in builds with the feature `web`."),
        list(row(Web, &["listen"], "listen", "ADDRESS:PORT", "127.0.0.1:8480 [::1]:8480", "Where it listens. What is no loopback address can be reached by other machines, and speaks TLS. An address that is not there yet is good.")),
        row(Web, &["tls"], "tls", "auto, on or off", "auto", "auto: TLS everywhere but on loopback addresses. off: nowhere, and then no other address is listened at (E1002)."),
        row(Web, &["certificate"], "certificate", "absolute path", "", "Certificate and its chain, PEM. Without it one is made on first use and kept; `mwan web init` prints its fingerprint. Read when the web server starts."),
        row(Web, &["key"], "key", "absolute path", "", "Its private key, PEM; only root has to be able to read it."),
        row(Web, &["session_timeout"], "session_timeout", "time", "1800", "A session nobody uses for so long ends; each ends after 12 hours."),
        row(Web, &["group"], "group", "group name", "", "Members of this group of the machine may use `api.sock` in the run directory as operators. Without it root alone can."),
        list(row(Web, &["hostname"], "hostnames", "host names", "", "Names by which it is asked for, beside its addresses, `localhost` and the machine's own name. Others are refused: pages of other sites could else be made to pass for ours (DNS rebinding).")),
        list(row(Web, &["comment"], "comment", "text", "", "For people.")),

        row(Alert, &["enabled"], "enabled", "boolean", "1", "Whether it is used."),
        row(Alert, &["type"], "type", "email, webhook, command", "", "How somebody is told. Required."),
        row(Alert, &["severity"], "severity", "info, warning, error, critical, never", "warning", "What is told of: this and worse. info: repairs, commands and starts, too; warning: a WAN is lost, others carry; error: mwan cannot do what is wanted; critical: a policy has no WAN left; never: only the digest."),
        row(Alert, &["min_duration"], "min_duration", "time", "30", "How long something has to be wrong before it is told of. What comes and goes is told of at its third loss, however short they are."),
        list(row(Alert, &["quiet_hours"], "quiet_hours", "times of day, HH:MM-HH:MM", "", "Hours, in local time, in which only critical incidents are told of; the others wait for their end.")),
        row(Alert, &["digest"], "digest", "time of day, HH:MM", "", "When, in local time, a digest of the day is sent: every incident, also what was too short or not severe enough to be told of."),
        row(Alert, &["rate"], "rate", "number, 1 to 1000", "20", "Messages an hour at most. What is beyond waits, and comes as one message where people read it."),
        list(row(Alert, &["to"], "to", "mail addresses; a Telegram chat or Matrix room", "notification_email", "Who is told. E-mails without it go to the globals' notification_email.")),
        row(Alert, &["from"], "from", "mail address", "mwan@ and the name of the machine", "email: the sender."),
        row(Alert, &["server"], "server", "name or address of a server", "", "email: the SMTP server. This or sendmail is required."),
        row(Alert, &["port"], "port", "number, 1 to 65535", "587, 465 or 25", "email: its port, by security."),
        row(Alert, &["security"], "security", "starttls, tls, none", "starttls", "email: STARTTLS (required, never optional), TLS from the first byte, or no encryption: then no password is sent, except to this machine."),
        row(Alert, &["username"], "username", "string", "", "email: who logs in."),
        row(Alert, &["password_file"], "password_file", "absolute path", "", "email: the file that holds the password, readable by root alone."),
        row(Alert, &["sendmail"], "sendmail", "absolute path", "", "email: a program in sendmail's manner, run with `-t -i` and the message on standard input, as an unprivileged user: one that needs set-user-id (Postfix, Exim) cannot do it, use its server on 127.0.0.1."),
        row(Alert, &["url"], "url", "URL", "", "webhook: where the request goes. Telegram and PagerDuty have one of their own; for json and slack the whole URL may be in secret_file."),
        row(Alert, &["shape"], "shape", "json, ntfy, telegram, slack, matrix, pagerduty", "json", "webhook: what is sent; json: the document mwan.alert.v1 (docs/alerts.md)."),
        row(Alert, &["template"], "template", "JSON with {{placeholders}}", "", "webhook: sent in place of it; {{title}}, {{text}}, {{severity}}, {{stage}}, {{id}}, {{site}}, {{begin}}, {{end}}, {{duration_s}} and {{interfaces}} are replaced by values escaped as JSON."),
        row(Alert, &["secret_file"], "secret_file", "absolute path", "", "webhook: the file that holds the token or routing key; with json and template the key of the signature (`X-Mwan-Signature`), or the whole URL if there is no url."),
        row(Alert, &["ca_file"], "ca_file", "absolute path", "", "email, webhook: certificates (PEM) that are trusted instead of the system's."),
        list(row(Alert, &["command"], "command", "program and its arguments, one value each", "", "command: what is run, without a shell, as an unprivileged user, with the document mwan.alert.v1 on standard input.")),
        row(Alert, &["timeout"], "timeout", "time", "30", "command: after this time it is killed with everything it started."),
        list(row(Alert, &["comment"], "comment", "text", "", "For people.")),

        row(Cloud, &["document"], "", "JSON object", "", "The document that was applied last, without its interfaces."),
        list(row(Cloud, &["wan"], "", "JSON object", "", "An interface of it, as it came.")),
    ]
};

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn names_are_unique_per_section_and_dialect() {
        for dialect in [Dialect::Uci, Dialect::Native] {
            for section in SectionKind::ALL {
                let names: Vec<&str> = options_of(section).flat_map(|o| o.names(dialect)).collect();
                let unique: BTreeSet<&str> = names.iter().copied().collect();
                assert_eq!(names.len(), unique.len(), "{dialect:?} {section:?}");
            }
        }
    }
}
