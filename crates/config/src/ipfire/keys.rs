//! The one table of what may stand in which of IPFire's files; reader, messages and documentation come from it.

/// A kind of file.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum FileKind {
    /// `mwan/settings`.
    Settings,
    /// `mwan/profiles/NAME`: a backup.
    Profile,
    /// `mwan/interfaces/redN`: one of several REDs.
    Interface,
    /// `mwan/policies/NAME`.
    Policy,
}

impl FileKind {
    /// Every kind.
    pub const ALL: [FileKind; 4] =
        [FileKind::Settings, FileKind::Profile, FileKind::Interface, FileKind::Policy];

    /// Its name below `/var/ipfire`.
    pub fn path(self) -> &'static str {
        match self {
            FileKind::Settings => "mwan/settings",
            FileKind::Profile => "mwan/profiles/NAME",
            FileKind::Interface => "mwan/interfaces/redN",
            FileKind::Policy => "mwan/policies/NAME",
        }
    }

    /// What the documents write before a key; without it the key means the same.
    pub(super) fn prefix(self) -> &'static str {
        match self {
            FileKind::Settings | FileKind::Policy => "",
            FileKind::Profile => "BACKUP_",
            FileKind::Interface => "INTERFACE_",
        }
    }
}

/// A key of one or several kinds of file.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct KeyDoc {
    /// Where it may stand.
    pub files: &'static [FileKind],
    /// Its name, without the prefix of the file.
    pub key: &'static str,
    /// Other names for it, in IPFire's own files.
    pub also: &'static [&'static str],
    /// What it may be.
    pub kind: &'static str,
    /// What counts where it is not given.
    pub default: &'static str,
    /// What it does.
    pub description: &'static str,
}

/// Every key, in the order of the documentation.
pub fn keys() -> &'static [KeyDoc] {
    KEYS
}

pub(crate) fn find(kind: FileKind, written: &str) -> Option<&'static KeyDoc> {
    named(kind, written.strip_prefix(kind.prefix()).unwrap_or(written))
}

/// Without the prefix of our own files.
pub(super) fn named(kind: FileKind, name: &str) -> Option<&'static KeyDoc> {
    of(kind).find(|k| k.key == name || k.also.contains(&name))
}

pub(super) fn of(kind: FileKind) -> impl Iterator<Item = &'static KeyDoc> {
    KEYS.iter().filter(move |k| k.files.contains(&kind))
}

const SETTINGS: &[FileKind] = &[FileKind::Settings];
const LINK: &[FileKind] = &[FileKind::Profile, FileKind::Interface];
const POLICY: &[FileKind] = &[FileKind::Policy];

const fn row(
    files: &'static [FileKind],
    key: &'static str,
    also: &'static [&'static str],
    kind: &'static str,
    default: &'static str,
    description: &'static str,
) -> KeyDoc {
    KeyDoc { files, key, also, kind, default, description }
}

#[rustfmt::skip]
const KEYS: &[KeyDoc] = &[
    row(SETTINGS, "ENABLED", &[], "on or off", "", "Universal daemon: one RED and backups for it. off: mwan does nothing at all."),
    row(SETTINGS, "PRIMARY_CHECK_INTERVAL", &[], "seconds", "30", "Time between two checks of a connection, also of a primary that is tried beside the backup. How soon one that cannot be brought up is tried again does not depend on it."),
    row(SETTINGS, "FAILOVER_THRESHOLD", &[], "number", "3", "Failed checks in a row until the primary is given up. A lost carrier or session counts at once."),
    row(SETTINGS, "FAILBACK_ATTEMPTS", &[], "number", "3", "Good checks in a row until it is used again."),
    row(SETTINGS, "BACKUP_PROFILE", &[], "name of a profile", "", "The profile that is tried first; the others follow by PRIORITY."),
    row(SETTINGS, "MONITOR_IP", &["PRIMARY_MONITOR_IP"], "addresses", "8.8.8.8, 1.1.1.1, 208.67.222.222", "What the primary is asked, where ENABLED is used; one answer is enough."),
    row(SETTINGS, "MWAN_ENABLED", &[], "on or off", "", "Several REDs at once. off: mwan does nothing at all."),
    row(SETTINGS, "MWAN_INTERFACE_COUNT", &[], "number", "1", "How many there are: red0, red1 and so on, each with a file in mwan/interfaces."),
    row(SETTINGS, "MWAN_LOAD_BALANCE_METHOD", &[], "weight, failover or none", "weight", "weight: connections are spread over all REDs by WEIGHT. failover or none: the usable one with the lowest PRIORITY carries."),
    row(SETTINGS, "MWAN_FAILOVER_ENABLED", &[], "on or off", "on", "off: REDs are not checked; only a lost carrier or address takes one out."),
    row(SETTINGS, "MWAN_MONITOR_INTERVAL", &[], "seconds", "30", "Time between two checks."),

    row(LINK, "TYPE", &[], "STATIC, DHCP, PPPOE, PPTP, VDSL, ATM, PPPOEATM, PPTPATM, GSM or QMI", "", "How the connection is made. Required."),
    row(LINK, "DEVICE", &["COMPORT"], "device, or /dev/… of a modem", "", "What it is built on. Required."),
    row(LINK, "PRIORITY", &[], "number", "100", "Lower is tried first."),
    row(&[FileKind::Interface], "WEIGHT", &[], "number", "1", "Share of the connections."),
    row(LINK, "MONITOR_IP", &[], "addresses", "8.8.8.8, 1.1.1.1, 208.67.222.222", "What is asked to see whether the connection works; one answer is enough."),
    row(LINK, "MTU", &[], "bytes", "", "Maximum transmission unit."),
    row(LINK, "MAC", &["MAC1"], "hardware address", "", "Given to the device first."),
    row(LINK, "VLAN", &["INET_VLAN"], "1 to 4094", "7 with VDSL", "VLAN on the device that the connection uses."),
    row(LINK, "VPI", &[], "0 to 255", "1", "Virtual path of an ATM bridge."),
    row(LINK, "VCI", &[], "32 to 65535", "32", "Virtual circuit of an ATM bridge."),
    row(LINK, "ENCAP", &[], "0 (LLC) or 1 (VC-Mux)", "0", "How frames are wrapped on an ATM bridge."),
    row(LINK, "ATM_DEV", &[], "number", "0", "ATM interface of the bridge."),
    row(LINK, "ADDRESS", &["PPTP_NICCFG"], "address, or address/length", "", "STATIC: our address. PPTP: ours towards the server, or dhcp."),
    row(LINK, "NETMASK", &[], "mask or length", "", "Of ADDRESS, where it says none."),
    row(LINK, "GATEWAY", &["PPTP_ROUTE"], "address", "", "STATIC: next hop. PPTP: next hop to the server."),
    row(LINK, "DNS1", &[], "address", "", "STATIC: name server."),
    row(LINK, "DNS2", &[], "address", "", "STATIC: second name server."),
    row(LINK, "HOSTNAME", &["RED_DHCP_HOSTNAME"], "host name", "", "DHCP: the name given to the server."),
    row(LINK, "USERNAME", &[], "text", "", "Who is calling. Required with PPPOE, VDSL, PPTP; with QMI it is kept in the modem's profile 1."),
    row(LINK, "PASSWORD", &[], "text", "", "Its password. Never in an argument, a log or a message."),
    row(LINK, "AUTH", &[], "pap, chap or pap-or-chap", "pap-or-chap", "How it may be proven."),
    row(LINK, "SERVICENAME", &[], "text", "", "PPPOE: Service-Name."),
    row(LINK, "CONCENTRATORNAME", &[], "text", "", "PPPOE: AC-Name."),
    row(LINK, "SERVER", &["PPTP_PEER"], "address", "", "PPTP: the server. Required there."),
    row(LINK, "APN", &[], "name", "", "GSM, QMI: access point name. Required there."),
    row(LINK, "PIN", &[], "4 to 8 digits", "", "GSM, QMI: of the SIM. A PIN that was refused is not tried again."),
    row(LINK, "NUMBER", &["TELEPHONE"], "text", "*99#", "GSM: what is dialled."),
    row(LINK, "SPEED", &["DTERATE"], "bits per second", "115200", "GSM: of the line to the modem."),
    row(LINK, "CONTROL", &[], "/dev/…", "", "QMI: control device; /dev/cdc-wdm0 if not given."),

    row(POLICY, "METHOD", &[], "weight or failover", "weight", "As MWAN_LOAD_BALANCE_METHOD, for this policy."),
    row(POLICY, "MEMBERS", &[], "interfaces", "all", "Those it may use."),
    row(POLICY, "LAST_RESORT", &[], "unreachable, blackhole or default", "unreachable", "What happens to traffic none of them can carry."),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_found_with_and_without_its_prefix_and_by_its_other_names() {
        let key = |kind, written| find(kind, written).map(|k| k.key);
        assert_eq!(key(FileKind::Profile, "BACKUP_TYPE"), Some("TYPE"));
        assert_eq!(key(FileKind::Profile, "TYPE"), Some("TYPE"));
        assert_eq!(key(FileKind::Interface, "INTERFACE_MONITOR_IP"), Some("MONITOR_IP"));
        assert_eq!(key(FileKind::Settings, "BACKUP_PROFILE"), Some("BACKUP_PROFILE"));
        assert_eq!(key(FileKind::Profile, "PPTP_PEER"), Some("SERVER"));
        assert_eq!(key(FileKind::Profile, "BACKUP_NOTHING"), None);
        assert_eq!(key(FileKind::Profile, "WEIGHT"), None);
    }
}
