//! The one table of diagnostic codes. The letter is the severity; a code never changes its meaning.

use crate::diagnostic::Severity;

/// What a diagnostic code means.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CodeDoc {
    /// The code, as in `E0102`.
    pub code: &'static str,
    /// What it is about, in a few words.
    pub title: &'static str,
    /// Why it is reported, what mwan does about it and what the owner can do.
    pub explanation: &'static str,
    /// What to do about it; empty where the explanation says so.
    pub fix: &'static str,
}

impl CodeDoc {
    /// How bad it is.
    pub fn severity(&self) -> Severity {
        severity(self.code)
    }
}

/// Severity of a code: its letter.
pub(crate) fn severity(code: &str) -> Severity {
    match code.as_bytes().first() {
        Some(b'E') => Severity::Error,
        Some(b'W') => Severity::Warning,
        _ => Severity::Note,
    }
}

/// Every code this crate reports, sorted by number.
pub fn codes() -> impl Iterator<Item = CodeDoc> {
    CODES.split_terminator('\0').map(|doc| {
        let mut parts = doc.split('\n');
        let mut part = || parts.next().unwrap_or_default();
        CodeDoc { code: part(), title: part(), explanation: part(), fix: part() }
    })
}

/// All in one text: a table of them would be half as large again by its pointers alone.
macro_rules! codes {
    ($($constant:ident = $code:literal, $title:literal, $explanation:literal $(, $fix:literal)?;)*) => {
        $(#[doc = $title] pub(crate) const $constant: &str = $code;)*
        const CODES: &str = concat!($($code, "\n", $title, "\n", $explanation, "\n", $($fix,)? "\0"),*);
    };
}

codes! {
    // 01: the text itself.
    BAD_LINE = "E0101", "line not understood",
        "The line begins with none of `config`, `option`, `list`, `package`. It is skipped; the rest of the file is read.";
    OPEN_QUOTE = "E0102", "quote never closed",
        "A quoted value is not closed before the end of the file. The line it begins on is skipped; reading goes on with the next one.";
    WORDS = "E0103", "missing or surplus word",
        "`config` takes a type and perhaps a name, `option` and `list` take a name and one value. A value with spaces needs quotes. The line is skipped.";
    OUTSIDE = "E0104", "option outside of a section",
        "An `option` or `list` stands before the first `config` line. It is skipped.";
    BYTES = "E0105", "not text",
        "The line holds a NUL byte or bytes that are not UTF-8 (in a comment they are harmless). It is skipped.";
    WORD_LONG = "E0106", "value too long",
        "One word or value is longer than 64 KiB. The line is skipped. Put long address lists into several rules.";
    FILE_LONG = "E0107", "file too large",
        "A UCI file is larger than 4 MiB, or a `mwan.toml` larger than 1 MiB: nothing of it is read. Long lists of addresses belong into the file of a set.";
    SECTIONS = "E0108", "too many sections",
        "The file has more than 20000 sections. The surplus is not read.";
    GIVE_UP = "E0109", "too many unreadable lines",
        "More than 1000 lines cannot be read, or nothing but such lines is found: this is not a configuration file. The rest of it is not read.";
    MANY = "E0110", "too many findings",
        "More than 1000 things are wrong. Only the first ones are shown.";
    NAME = "E0111", "invalid name",
        "A section type, section name or option name has a character that does not belong there, or is longer than 255. UCI names consist of A-Z, a-z, 0-9 and _; names in `mwan.toml` may also hold - and . . The section (or option) is left out.";
    TOML = "E0112", "TOML syntax error",
        "The text is not valid TOML at this place. The value is not read. A [wan] section stays with the default of that value; a rule or policy that holds such a line is left out.";
    TOML_TYPE = "E0113", "wrong kind of value",
        "A table stands where a value is expected, or a value where a table is expected. It is not read.";
    DAMAGED = "E0114", "section left out because a line of it cannot be read",
        "A rule, policy or member with an unreadable line would mean something else than was written, so it is left out. Interfaces and globals stay, with the default of that option.";

    // 02: sections and options.
    SECTION_TYPE = "W0201", "unknown kind of section",
        "The section is ignored. Known are globals, interface, member (route), policy (strategy), rule, ipset; in `mwan.toml` global, wan, policy, rule, set.";
    OPTION = "W0202", "unknown option",
        "The option is ignored. The nearest known name is given.";
    TWICE = "W0203", "option given twice",
        "The last one counts, as in UCI.";
    DUPLICATE = "W0204", "section given twice",
        "Two sections of one kind have the same name. They are merged into the first one, as UCI does; of an option given in both the last one counts.";
    UNNAMED = "W0205", "section without a name",
        "An interface, member or policy needs a name by which others refer to it. The section is left out. Rules and globals need none.";
    SAME_NAME = "W0206", "name used by sections of different kinds",
        "UCI knows a name only once per file: `uci` and mwan3 would mix these sections up. mwan keeps them apart; rename one before using other tools.";
    SEVERAL = "W0207", "several values where one is expected",
        "The last one counts.";
    OBSOLETE = "N0208", "option without effect",
        "The option belongs to older versions of mwan3 and has no effect any more, there and here. It can be removed.";

    // 03: options that disagree with others.
    MODE = "W0302", "mode and rules disagree",
        "Cloud configurations name in `mode` what their rules do: LOAD_BALANCE or FAIL_OVER. Here the rules say the other. The rules decide.";

    // 04: values.
    BOOLEAN = "E0401", "not a yes or no",
        "Booleans are 1, on, true, yes, enabled or 0, off, false, no, disabled. The default is used.";
    NUMBER = "E0402", "not a number in range",
        "The message says which numbers are accepted. On an interface the default is used and the interface stays; a member is left out.";
    TIME = "E0403", "not a time in range",
        "Times are seconds and may have a fraction (`0.2`) or a unit (`200ms`, `5s`, `2m`, `1h`, `1d`), from 0.05 seconds (below, a probe would compete with its own answer) to one day. The default is used.";
    WORD = "E0404", "not one of the known words",
        "The message lists the words. The default is used, except where a rule would match something else: then the rule is left out.";
    ADDRESS = "E0405", "malformed address",
        "Expected is an IPv4 or IPv6 address; in rules also a prefix (`10.0.0.0/8`), a netmask (`10.0.0.0/255.0.0.0`), a range (`10.0.0.1-10.0.0.9`), several of them separated by commas or spaces, a `!` before them to negate. A bad target or gateway is left out of its interface; a rule with a bad address is left out.";
    PORT = "E0406", "malformed port",
        "Expected are ports from 1 to 65535, ranges `1024:2048` or `1024-2048` with the lower port first, several separated by commas or spaces. The rule is left out.";
    PROTOCOL = "E0407", "unknown protocol",
        "Protocols are given by name (tcp, udp, icmp, icmpv6, esp, ah, gre, …; all) or by number from 0 to 255 (0 means all). The rule is left out.";
    MASK = "E0408", "mask not usable",
        "The mark mask is a 32-bit number such as `0x3F00` with at least 3 bits set (default, unreachable and blackhole take three values). The default 0x3F00 is used.";
    RULE_BASE = "E0409", "priorities of ip rules collide",
        "The bands of ip rules (`rule_base_…` plus the interface's id) overlap each other or reach 32766, where the main table is. The default bases are used.";
    DEVICE = "E0410", "not a device name",
        "Device names have 1 to 15 characters: letters, digits and . _ - + @ ~. The option is ignored; a rule is left out.";
    TABLE = "E0411", "not a routing table",
        "Expected is a table number from 1 to 4294967295, main, local, default, or a name of `/etc/iproute2/rt_tables` or `rt_tables.d/*.conf` (these also in `/usr/share/iproute2` and `/usr/lib/iproute2`). The entry is ignored; a name that is given there later is picked up.";
    MAIL_ADDRESS = "E0412", "not a mail address",
        "Expected is `user@domain`, of at most 254 bytes, without quotes or blanks; a document has at most 64. The address is left out.";
    PATH = "E0420", "not an absolute path",
        "A file or directory is given by its whole name, from `/` on. The default is used.";

    // 05: interfaces.
    NOT_ENABLED = "N0501", "interface not enabled",
        "mwan3's default for `enabled` is 0: an interface without the option takes no part. Write `option enabled '1'` to use it, '0' to silence this note.";
    RELIABILITY = "W0502", "reliability above the number of targets",
        "A round is good when `reliability` targets have answered. With fewer targets of a family than that, the interface is always down for this family. Families are counted separately.";
    HOST_NAME = "E0503", "host name as a target or address",
        "Names are not looked up: DNS may go through the very link that is down. Write the address. The target is left out; the interface stays with its other targets.";
    UNTRACKED = "N0504", "no target for a family",
        "Without a target of a family the interface is not tracked for it and counts as up as long as its device is up. So does an interface all of whose targets are mistaken: each of them is an error of its own, for which a running daemon keeps the configuration before; where there is none before, a typing error in a section must not take a WAN down that is most likely healthy. Its device, address and gateway are watched all the same.";
    OTHER_FAMILY = "W0505", "target or gateway of a family the interface does not carry",
        "It is not used. Add the family to the interface (`list family`).";
    DUPLICATE_TARGET = "W0506", "target given twice",
        "It is probed once and counts once.";
    TOO_MANY_INTERFACES = "E0507", "too many interfaces",
        "With b bits the mask has room for 2^b − 4 interfaces (0x3F00: 60), and there can be 250 in all: their numbers are routing tables, too. The interfaces beyond are left out. Disabled interfaces count.";
    THRESHOLDS = "W0508", "recovery threshold worse than failure threshold",
        "A target would be up and down at once. The failure threshold is used for both.";
    TOO_MANY_TARGETS = "E0509", "too many targets",
        "An interface has at most 64 targets: each of them is probed in every round. The surplus is left out.";
    SHARED_DEVICE = "W0510", "two interfaces on one device",
        "Both have this device in the same family. What a rule sends by either of them leaves by its own gateway, but what comes in from outside, and what a socket bound to the device sends, says nothing but the device: it counts as the interface that comes first by its id, and replies of the other one may leave by the wrong gateway. Give each its own device (a VLAN, a macvlan, a PPPoE session). One interface per family on a device (`wan` with IPv4, `wan6` with IPv6) is fine.";

    TARGET = "E0511", "malformed target",
        "A target is an address, or a URL with an address as its host: `ping://`, `arp://`, `tcp://ADDRESS:PORT`, `udp://ADDRESS:PORT`, `ttl://ADDRESS#hops=N`, `dns://ADDRESS/NAME`, `http://ADDRESS/PATH`, `https://ADDRESS/PATH`, with what is expected behind a `#` (configuration.md, Targets). The target is left out; the interface stays with its other targets.";

    INTERFACE_IDLE = "W0512", "interface that carries nothing",
        "The interface is enabled and tracked, but no rule leads to a policy that has it among its members. It answers what comes in by it, and `mwan use` finds it; new connections never do.",
        "Make it a member of a policy that a rule uses, or disable it.";
    TIMEOUT_LONG = "W0513", "timeout longer than the interval",
        "A round is lost when its timeout is over, and the next one begins then: with a longer timeout, `interval` and `failure_interval` do not say how soon an outage is seen.",
        "Lower `timeout`; two to four round-trip times are enough.";
    THRESHOLD_MOOT = "W0514", "threshold that cannot work",
        "The message says which value is never reached, or works against its purpose.",
        "Change one of the two values that the message names.";
    SLOW_DETECTION = "W0515", "outage noticed late",
        "From the first lost packet to the verdict it can take `interval` and `down` rounds, each as long as `failure_interval` or `timeout`: more than a minute here. Link, address and gateway loss are seen at once all the same.",
        "Lower `interval`, `failure_interval`, `timeout` or `down`.";
    TARGET_ELSEWHERE = "W0516", "target that another device has",
        "The target is in the network of another interface, or of this machine itself. Probes leave by this interface alone, so that it answers never, or says nothing about this WAN.",
        "Track an address in the Internet.";
    TARGET_NEAR = "N0517", "targets that do not prove the Internet",
        "The gateway, neighbours and private addresses answer although the provider has lost the Internet. As many of them as `reliability` asks for keep the interface up.",
        "Add targets in the Internet and raise `reliability` above the number of near ones.";
    DRILL_TIME = "E0518", "not a time for drills",
        "Expected are days (`mon` to `sun`, several with commas, or `daily`) and a time of day in the local time of the machine: `sun 03:30`. There is no drill.";
    DRILL_NEVER = "W0519", "drill that shows nothing",
        "A drill has to be longer than the time until a failure is seen, and something has to be probed. It is refused each time. Raise `drill_for`, lower `interval`, `failure_interval`, `timeout` or `down`, or add a `track_ip`.";

    // 06: members and policies.
    NO_INTERFACE = "E0601", "member without an interface",
        "A member needs `option interface`. It is left out.";
    UNKNOWN_INTERFACE = "E0602", "unknown interface",
        "The member (or policy) names an interface that is not in this file or was left out. The member is left out.";
    METRIC_ZERO = "W0603", "metric 0",
        "Metrics begin at 1. It is taken as written: 0 comes before 1.";
    METRIC = "E0604", "metric out of range",
        "Metrics go from 1 to 65535 (mwan3's limit of 256 does not exist here). The member is left out.";
    WEIGHT = "E0605", "weight not usable",
        "Weights go from 1 to 1000. A member with weight 0 would carry nothing; it is left out.";
    WEIGHT_LARGE = "W0606", "weight too large",
        "Weights are shares, not bandwidths: at most 1000. It is taken as 1000.";
    NO_MEMBERS = "E0607", "policy without members",
        "No (valid) member is left in this policy. It is left out, and with it the rules that use it.";
    UNKNOWN_MEMBER = "E0608", "unknown member",
        "The policy uses a member that is not in this file or was left out. The policy stays with its other members.";
    MEMBER_TWICE = "W0609", "member or interface twice in one policy",
        "The same member is used once. Two members of the same interface in one policy are kept, but the one with the higher metric never carries.";
    RESERVED = "E0610", "reserved policy name",
        "default, unreachable and blackhole have a meaning of their own where a policy is named. The policy is left out.";
    PREFER_OR_BALANCE = "E0611", "prefer or balance",
        "A policy of `mwan.toml` has exactly one of `prefer` and `balance`. The policy is left out.";

    MEMBER_UNUSED = "N0612", "member that no policy uses",
        "It has no effect.", "Remove it, or name it in a policy.";
    POLICY_UNUSED = "N0613", "policy that no rule uses",
        "It has no effect.", "Remove it, or name it in a rule.";
    ONE_INTERFACE = "W0614", "policy of one interface",
        "Several members, all of the same interface: there is nothing to balance, and nowhere to go when it is lost.",
        "Name another interface in one of the members.";
    WEIGHT_MOOT = "N0615", "weights without effect",
        "Weights are shares among members of equal metric. Here every metric has one member, so the policy fails over and never balances.",
        "To balance, give the members the same metric; else ignore this.";
    POLICY_DISABLED = "W0616", "policy of disabled interfaces",
        "Rules lead to a policy none of whose interfaces is enabled: their traffic always meets its last resort.",
        "Enable an interface, or use another policy.";
    FAMILY_MISSING = "W0617", "policy without a member of a family",
        "Rules without `family` and without addresses match IPv4 and IPv6. The policy has no member that carries one of them, so that this part of the traffic always meets its last resort, although another WAN has the family.",
        "Add a member that carries it, or write `family` into the rules.";

    // 07: rules.
    NO_POLICY = "W0701", "rule without a policy",
        "A rule without `use_policy` (mwan4: `use_strategy`) says nothing. It is ignored, as in mwan3.";
    UNKNOWN_POLICY = "E0702", "unknown policy",
        "The rule names a policy that is not in this file or was left out. The rule is left out.";
    FAMILY = "E0703", "addresses of the wrong family",
        "The rule is limited to a family by `family`, but an address list of it has only addresses of the other one. The rule could never match; it is left out.";
    PORTS_IGNORED = "W0704", "ports without tcp or udp",
        "Ports are matched only if every protocol of the rule is tcp or udp; else they are ignored, as in mwan3. Add `option proto 'tcp'`.";
    NEGATION = "E0705", "mixed negation",
        "In one list either all addresses are negated or none: `!a,b` and `!a,!b` both mean neither a nor b; `a,!b` means nothing. The rule is left out.";
    NO_FAMILY = "E0706", "source and destination of different families",
        "No packet has an IPv4 source and an IPv6 destination. The rule could never match; it is left out.";
    OTHER_ADDRESSES = "W0707", "addresses without effect",
        "The rule applies to one family; the addresses of the other family in its lists have no effect.";
    SET_NAME = "E0708", "not a set or interface name",
        "Names of sets have at most 31, of interfaces at most 255 characters: letters, digits and . _ - . The rule is left out.";
    NEVER = "W0709", "protocol of the other family",
        "icmp exists in IPv4 only and icmpv6 in IPv6 only; with this family the rule never matches.";
    RULE_KEY = "E0710", "unknown key in a rule",
        "In `mwan.toml` a rule with an unknown key is left out: if the key was meant to narrow it, it would match too much. In UCI files the option is ignored, as mwan3 does: W0202.";
    UNKNOWN_SET = "W0711", "unknown set",
        "The rule names a set (`ipset`, `ipset_src`) that no `config ipset` section (`[set.NAME]`) defines. It is made, empty, for others to fill, as mwan3 does: `set.NAME.4` and `set.NAME.6` in the nftables table `inet mwan`, as the message says. The rule matches nothing until something is in it. Sets of the old `ipset` program cannot be seen from nftables, so what filled that has to fill these: for dnsmasq the line `nftset=/DOMAIN/4#inet#mwan#set.NAME.4,6#inet#mwan#set.NAME.6` instead of `ipset=/DOMAIN/NAME`; or write the domains into a `config ipset` section.";
    SET_FILE = "E0712", "file of a set not usable",
        "The file named by `loadfile` cannot be read, is larger than 16 MiB or has more than 262144 lines. Nothing of it is in the set; inline entries and what dnsmasq enters are.";
    SET_LINE = "W0713", "bad line in the file of a set",
        "A line is no address, prefix or range. It is skipped; the other lines count. At most five are shown per file.";
    DOMAIN = "E0714", "not a domain name",
        "Domain names consist of letters, digits, - _ and . and have at most 253 characters; a set has at most 10000. It is left out; the set stays with the others.";
    NO_RESOLVER = "W0715", "domains that no resolver is told of",
        "A set has domains, but the globals name no `dnsmasq_file`: nothing enters their addresses unless you configure dnsmasq yourself (`nftset=/DOMAIN/4#inet#mwan#learned.NAME.4,6#inet#mwan#learned.NAME.6`).";
    SET_SECONDS = "W0716", "timeout of a set rounded up",
        "How long an address stays in a set is counted in whole seconds. The next larger number of them is used.";
    NOT_LOGGED = "N0719", "rule that is not logged",
        "The rule asks for `logging`, but the global switch of the same name is off. mwan3 and mwan log only if both are on.";

    SHADOWED = "W0720", "rule that never matches",
        "The first rule that matches decides, and rules before this one match everything it could match: by address, port, protocol, family, set and device. Only what is certain is reported.",
        "Move it before the rule that is named, or narrow that one.";
    SURPLUS = "N0721", "rule without effect",
        "Rules before it match everything it could match and send it the same way.",
        "Remove it.";
    MATCHES_NOTHING = "W0722", "rule that matches nothing",
        "What its lists exclude is everything, or the only address in them is that of nobody: `0.0.0.0` where `0.0.0.0/0` was meant.", "Correct the lists, or remove the rule.";
    FROM_WAN = "W0723", "rule for what comes in by a WAN",
        "Connections from outside are answered by the WAN they came in by; rules are not asked. They are for what comes from the LAN, or from this machine.",
        "Name an interface of the LAN in `src_iface`, or leave it out.";
    NO_RULES = "W0724", "no rule",
        "Without a rule nothing is policy-routed: WANs are watched, and all new connections go by the main routing table.",
        "Add a rule with a policy, such as `option dest_ip 0.0.0.0/0`.";
    SET_UNUSED = "N0725", "set that no rule uses",
        "It is made and filled, and has no effect on routing.", "Remove it, or name it in a rule.";

    // 08: IPFire's files.
    HASH_LINE = "E0801", "line not understood",
        "A line of one of IPFire's files is not `KEY=VALUE`, or a quote in it is not closed. It is skipped; what it says is not repeated, for it may hold a password.";
    HASH_COMMAND = "W0802", "a command in a value",
        "A value holds `$(…)` or a backquote. These files are data and are never given to a shell: the value is taken as it stands. IPFire's own scripts may do otherwise.";
    HASH_KEY = "W0803", "unknown key",
        "The key has no meaning in this file; it is ignored.";
    HASH_TWICE = "W0804", "key given twice",
        "The last one counts, as it does for a shell.";
    HASH_MISSING = "E0805", "something is missing",
        "A key, or a whole file, without which this cannot be used is not there. The file it belongs to is left out, the rest is used.";
    HASH_TYPE = "E0806", "unknown type of connection",
        "`TYPE` is none of the known words. The file is left out.";
    HASH_NAME = "E0807", "not a name",
        "The name of the file is the name of the interface or policy, and must be one. It is left out.";
    HASH_PROFILE = "W0808", "unknown profile",
        "`BACKUP_PROFILE` names a profile that is not there or was left out. The others are tried by their priority.";
    PRIMARY = "E0809", "RED not understood",
        "IPFire's own settings do not say what RED is. The primary is left out; backups are used if there are any.";
    HASH_SURPLUS = "W0810", "interface that is not counted",
        "`MWAN_INTERFACE_COUNT` says how many REDs there are; files of others are ignored.";
    HASH_MEMBER = "W0811", "unknown member",
        "A policy names an interface that is not there or was left out. It uses the others.";
    HASH_DIALECTS = "W0812", "two ways at once",
        "`ENABLED` is the switch of the universal daemon, which has one RED and backups for it; `MWAN_ENABLED` that of several REDs. Both are given; the second counts.";
    HASH_SECRET = "E0813", "not a PIN or password",
        "The value cannot be what it should be; it is not shown. The file is left out.";
    HASH_FILE = "E0814", "file not readable",
        "The file is there and cannot be read. A running daemon keeps the configuration it has.";
    HASH_UNUSED = "W0815", "key without a meaning for this kind of connection",
        "The key is one of another kind of connection, or of the other switch (`ENABLED`, `MWAN_ENABLED`); it is ignored.";
    HASH_UNREAD = "W0816", "folder that is not read",
        "`ENABLED` (one RED with backups) reads `mwan/profiles`; `MWAN_ENABLED` (several REDs) reads `mwan/interfaces`, `mwan/policies` and `mwan/rules`. What is in the others is ignored, mistakes and all.";

    // 09: the cloud's document.
    CLOUD_JSON = "E0901", "not JSON",
        "The document is not JSON (RFC 8259), or nested deeper than 32 levels. Nothing of it is used.";
    CLOUD_DOCUMENT = "E0902", "not a multi-WAN document",
        "There is no `multiWanV2` in the JSON and none of its fields, or it is larger than 1 MiB. Nothing of it is used. A single interface, or what is around the interfaces, with fields longer than 32 KiB is left out.";
    CLOUD_TYPE = "E0903", "wrong kind of value in a document",
        "For example a string where a number is expected. The message says what is used instead.";
    CLOUD_TWICE = "E0904", "given twice in a document",
        "A field is there twice in one object (the last one counts, as for most readers; but which was meant?), or two interfaces have one name (the second is left out).";
    CLOUD_NAME = "E0905", "interface name not usable",
        "The name is a section of the configuration: A-Z, a-z, 0-9 and _, not that of a policy, rule or last resort, and the same in `interfaceName` and as the field's name. The interface is left out.";
    CLOUD_EMPTY = "E0906", "document without interfaces",
        "`wanInterfacesConfig` is missing, empty, or has nothing usable, while multi-WAN is to be on: that is a document cut short. It is not applied.";
    CLOUD_FIELD = "W0907", "unknown field in a document",
        "The field is kept, is in what `mwan cloud export` prints, and has no effect. The nearest known name is given.";
    CLOUD_MISSING = "W0908", "field missing in a document",
        "The field, or its value, is not given. The message says what is used instead.";
    CLOUD_ABSENT = "W0909", "interface unknown to the network configuration",
        "The document switches an interface on that the network configuration does not have. It is written, and carries as soon as it is there.";
    CLOUD_SHADOWED = "W0910", "rule before those of the document",
        "A rule of the owner's takes all IPv4 traffic before DEFAULT_ANY: the document's mode has no effect.";
    CLOUD_IDLE = "W0911", "no interface enabled",
        "The document switches multi-WAN on and every interface off. Policies and rules are left out; traffic goes by the main routing table.";
    CLOUD_KEPT = "W0912", "kept document not readable",
        "The section `config cloud` does not hold what `mwan cloud apply` writes there. It is ignored: `mwan cloud export` gives what the other sections say, and the next document is applied as if it were the first.";
    CLOUD_UNUSED = "N0913", "interface that is not there is off",
        "The document has an interface that the network configuration does not have, switched off. It gets no section; it is kept for `mwan cloud export`.";

    // 10: the web server.
    WEB_LISTEN = "E1001", "not an address to listen at",
        "Expected is `ADDRESS:PORT`, an IPv6 address in brackets, port 1 to 65535; at most 16. It is left out; the others are listened at.";
    WEB_PLAIN = "E1002", "other machines without TLS",
        "With `tls off` only loopback addresses are listened at: passwords and sessions would be readable on the wire. The address is left out.";
    WEB_KEY = "E1003", "certificate without its key",
        "`certificate` and `key` are given together or not at all. The certificate that mwan makes for itself is used.";
    WEB_NAME = "E1004", "not a name",
        "Names of groups have at most 32 characters: letters, digits and . _ -; host names at most 253: letters, digits, . and -. It is left out.";

    // 11: alerts.
    ALERT_INCOMPLETE = "E1101", "alert that could tell nobody",
        "The message says what is missing or contradicts itself. The alert is left out; the others stay.";
    URL = "E1102", "not a URL",
        "Expected is `https://SERVER/PATH` or `http://…`, of at most 1000 bytes, without a name or password in it. The alert is left out.";
    SERVER = "E1103", "not a server",
        "Expected is the name or address of a server, without a port. A name is looked up when something is sent. The alert is left out.";
    DAY_TIME = "E1104", "not a time of day",
        "Times of day are `07:30`, hours `22:00-07:00` (past midnight is fine), in the local time of the machine. The value is ignored.";
    TEMPLATE = "E1105", "template not usable",
        "A template is JSON of at most 1500 bytes once its placeholders are filled in. The alert is left out.";
    CLEAR_PASSWORD = "E1106", "password in clear text",
        "Without encryption everybody on the way can read the password. The alert is left out. A server on this machine is exempt.";
    ALERT_OPTION = "W1107", "option of another type of alert",
        "It has no effect on an alert of this type.";
    ALERTS = "E1108", "too many alerts",
        "There can be 10. The surplus is left out.";

    // 12: the machine (`mwan check --system`).
    MARKS = "W1201", "marks of others in our mask",
        "Another program uses mark bits that are in `mmx_mask`: each would take the other's marks for its own, and send packets by the wrong WAN. A rule without a mask of its own compares all 32 bits.",
        "Choose a mask that nobody else uses (for example `option mmx_mask '0x3F00'` or `'0x3F000000'`), or give the other one a mask.";
    REVERSE_PATH = "W1202", "strict reverse path filter",
        "With `rp_filter` 1 the kernel drops what comes in by another device than the main routing table would answer by: no WAN but one can work.",
        "Set `net.ipv4.conf.all.rp_filter` and that of the device to 2 (loose) or 0.";
    OFFLOAD = "W1203", "flow offload",
        "A flowtable forwards packets of established connections past all rules: they keep their WAN and mark until the entry ends, are not counted, and learn of a failover only when mwan deletes their connections.",
        "Switch `flow_offloading` off, or take the WANs out of the flowtable, if failover or figures suffer.";
    FORWARDING = "W1204", "forwarding is off",
        "This machine has networks behind it, and the kernel forwards nothing: only its own connections use the WANs.",
        "Set `net.ipv4.ip_forward` or `net.ipv6.conf.all.forwarding` to 1.";
    ROUTER_ADVERTISEMENTS = "W1205", "router advertisements ignored",
        "A device that forwards takes router advertisements only with `accept_ra` 2. There is no IPv6 default route on it, and nothing will bring one.",
        "Set `accept_ra` of the device to 2, or configure `gateway`.";
    NO_TRANSLATION = "W1206", "no source translation",
        "mwan does not translate here (`masquerade`), and no rule of the firewall does for this device: answers to private addresses do not come back, unless the next router has a route to them.",
        "Set `masquerade` to 1, or let the firewall masquerade on this device.";
    CONNTRACK_OFF = "W1207", "connections that are not tracked",
        "A rule exempts packets from connection tracking (`notrack`): what it matches has no WAN to stay with, and each of its packets is decided anew.",
        "Limit that rule to traffic that does not use the WANs.";
    CONNTRACK_FULL = "W1208", "table of connections nearly full",
        "When it is full, new connections are dropped, whichever WAN they would use.",
        "Raise `net.netfilter.nf_conntrack_max`.";
    SAME_PORT = "N1209", "WANs on one physical device",
        "Their devices are made of the same one: a broken cable or port takes both.",
        "Use another port, if there is one.";
    NO_DEVICE = "N1210", "device that is not there",
        "As long as the device does not exist the interface is down, and a rule for what comes in by it waits. Devices of dialled connections come with them.",
        "Correct `device` or `src_iface`, if it is misspelt.";
    LEGACY = "N1211", "rules that cannot be seen",
        "There are rules of the old iptables (`iptables-legacy`), which netlink does not show: marks and translation in them have not been looked at.",
        "Compare `iptables-legacy-save` with `mmx_mask` yourself.";
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn codes_are_unique_sorted_and_well_formed() {
        let numbers: Vec<&str> = codes().map(|c| &c.code[1..]).collect();
        let mut sorted = numbers.clone();
        sorted.sort_unstable();
        sorted.dedup();
        assert_eq!(numbers, sorted, "numbers are unique and in order");
        for c in codes() {
            assert!(c.code.len() == 5 && "EWN".contains(&c.code[..1]), "{}", c.code);
            assert!(c.explanation.ends_with('.'), "{}", c.code);
        }
    }
}
