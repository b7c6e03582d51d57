//! What programs say of a connection, read into words of ours.

use std::fmt;
use std::net::IpAddr;

use mwan_config::link::{Link, Method};

use crate::sim;

/// An established connection.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Established {
    /// The device packets leave by.
    pub device: String,
    /// Next hops; none on a point-to-point device.
    pub gateways: Vec<IpAddr>,
    /// The far end of a point-to-point device, which is no next hop.
    pub peer: Option<IpAddr>,
    /// Name servers the far end told.
    pub dns: Vec<IpAddr>,
}

/// Why there is no connection.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Failure {
    /// The device it is built on is not there.
    NoDevice(String),
    /// A fixed address is not on its device any more: it was taken away, or the device was pulled out.
    NoAddress(String),
    /// User name or password was refused.
    LoginRefused,
    /// The SIM refused the PIN: it is not tried again, three wrong ones lock the card.
    PinRefused,
    /// The SIM wants its PUK: it is not tried again by itself.
    SimLocked,
    /// There is no SIM.
    NoSim,
    /// Nobody answered within the time.
    NoAnswer,
    /// The line is taken by another program.
    Busy,
    /// The modem hung up or found no network.
    NoCarrier,
    /// The modem refused something else than a PIN.
    Modem {
        /// What that was.
        what: &'static str,
        /// QMI's number of the reason (QmiProtocolError); 0 if it told none.
        error: u16,
    },
    /// The far end stopped answering, or ended an established connection.
    Lost,
    /// The program is not installed.
    NoProgram(String),
    /// A program failed; its name, its status and the last line it said.
    Program {
        /// Which.
        name: String,
        /// Exit status, or the negated signal.
        status: i32,
        /// The last line, cut.
        said: String,
    },
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failure::NoDevice(device) => write!(f, "there is no device {device}"),
            Failure::NoAddress(device) => write!(f, "its address is not on {device} any more"),
            Failure::LoginRefused => f.write_str("user name or password was refused"),
            Failure::PinRefused => f.write_str("the SIM refused the PIN; it is not tried again"),
            Failure::SimLocked => f.write_str("the SIM is locked: it wants its PUK"),
            Failure::NoSim => f.write_str("there is no SIM"),
            Failure::NoAnswer => f.write_str("nobody answered"),
            Failure::Busy => f.write_str("another program uses the line"),
            Failure::NoCarrier => f.write_str("no carrier: the modem hung up or found no network"),
            Failure::Modem { what, error: 0 } => write!(f, "the modem refused {what}"),
            Failure::Modem { what, error } => write!(f, "the modem refused {what} (QMI error {error})"),
            Failure::Lost => f.write_str("the far end ended it or stopped answering"),
            Failure::NoProgram(name) => write!(f, "the program {name} is not installed"),
            Failure::Program { name, status, said } if said.is_empty() => {
                write!(f, "{name} ended with status {status}")
            }
            Failure::Program { name, status, said } => write!(f, "{name} ended with status {status}: {said}"),
        }
    }
}

/// Longest line of a program that is repeated.
const SAID_CHARS_MAX: usize = 120;

/// Why a program's end means that there is no connection. `report` is the content of [`crate::Plan::report`].
pub fn failure(link: &Link, program: &str, status: i32, output: &str, report: &str) -> Failure {
    let other = || Failure::Program { name: program.to_owned(), status, said: last_line(output) };
    match (program, &link.method) {
        ("pppd", Method::Modem { .. }) if status == 8 => sim::failure(report).unwrap_or_else(other),
        // The plugin's own words: which status pppd makes of them differs between versions.
        ("pppd", _)
            if [
                "Timeout waiting for PADO",
                "Unable to complete PPPoE",
                "Could not open control connection",
            ]
            .iter()
            .any(|w| output.contains(w)) =>
        {
            Failure::NoAnswer
        }
        // pppd(8), EXIT STATUS.
        ("pppd", _) => match status {
            6 | 7 if output.contains("No such file or directory") || output.contains("No such device") => {
                Failure::NoDevice(link.device.clone())
            }
            6 => Failure::Busy,
            // Some access concentrators hang up without a word of PAP or CHAP.
            11 | 19 => Failure::LoginRefused,
            10 if output.contains("authentication failed") || output.contains("Authentication failed") => {
                Failure::LoginRefused
            }
            10 => Failure::NoAnswer,
            0 | 15 => Failure::Lost,
            16 => {
                if matches!(link.method, Method::Modem { .. }) {
                    Failure::NoCarrier
                } else {
                    Failure::Lost
                }
            }
            _ if output.contains("No such device") => Failure::NoDevice(link.device.clone()),
            _ => other(),
        },
        ("ip", _) if output.contains("Cannot find device") => Failure::NoDevice(link.device.clone()),
        ("qmicli", _) => qmi(output).unwrap_or_else(other),
        _ => other(),
    }
}

/// What `qmicli` says (its messages carry the protocol's own names of errors).
fn qmi(output: &str) -> Option<Failure> {
    const WORDS: &[(&str, Failure)] = &[
        ("IncorrectPin", Failure::PinRefused),
        ("PinBlocked", Failure::SimLocked),
        ("UimUninitialized", Failure::NoSim),
        ("AuthenticationFailed", Failure::LoginRefused),
        ("CallFailed", Failure::NoCarrier),
        ("couldn't open the QmiDevice", Failure::Busy),
        // It had come so far, and told nothing worse since.
        (crate::drivers::QMI_STARTED, Failure::Lost),
    ];
    WORDS.iter().find(|(word, _)| output.contains(word)).map(|(_, failure)| failure.clone())
}

fn last_line(output: &str) -> String {
    let line = output.lines().rev().find(|l| !l.trim().is_empty()).unwrap_or_default();
    line.trim().chars().filter(|c| !c.is_control()).take(SAID_CHARS_MAX).collect()
}

/// What `pppd` said of an established session, one line for each, or `dhcpcd -U` of a lease (`name='value'`).
pub fn established(device: &str, output: &str) -> Established {
    let dns = output.lines().flat_map(|line| {
        let session = line.split_once("DNS address").map(|(_, rest)| rest);
        let lease = line.strip_prefix("domain_name_servers=").map(|rest| rest.trim_matches('\''));
        session.or(lease).unwrap_or_default().split_whitespace().filter_map(|word| word.parse().ok())
    });
    let mut servers: Vec<IpAddr> = Vec::new();
    for server in dns {
        if !servers.contains(&server) {
            servers.push(server);
        }
    }
    servers.truncate(4);
    let peer =
        output.lines().rev().find_map(|line| line.strip_prefix("remote IP address")?.trim().parse().ok());
    Established { device: device.to_owned(), gateways: Vec::new(), peer, dns: servers }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use mwan_config::link::{Auth, Login, Secret};

    fn link(method: Method) -> Link {
        Link {
            name: "x".into(),
            device: "eth1".into(),
            lower: None,
            method,
            session_device: "ppp10".into(),
            on_demand: true,
            mtu: None,
            mac: None,
        }
    }

    fn pppoe() -> Link {
        let login = Login { user: "u".into(), password: Secret::new("p"), auth: Auth::Any };
        link(Method::Pppoe { service: None, concentrator: None, login })
    }

    fn modem() -> Link {
        link(Method::Modem { speed: 115_200, apn: "i".into(), number: "*99#".into(), pin: None, login: None })
    }

    #[test]
    fn the_status_of_pppd_is_read_as_its_manual_says() {
        let of = |status, output| failure(&pppoe(), "pppd", status, output, "");
        assert_eq!(of(19, ""), Failure::LoginRefused);
        assert_eq!(
            of(10, "Timeout waiting for PADO packets\nUnable to complete PPPoE Discovery"),
            Failure::NoAnswer
        );
        assert_eq!(of(8, "Unable to complete PPPoE Discovery"), Failure::NoAnswer);
        let pptp = "anon fatal[callmgr_main:pptp_callmgr.c:134]: Could not open control connection to 10.0.0.138\nModem hangup";
        assert_eq!(of(16, pptp), Failure::NoAnswer);
        assert_eq!(of(10, "PAP authentication failed"), Failure::LoginRefused);
        assert_eq!(of(15, ""), Failure::Lost);
        assert_eq!(of(1, "Interface eth1: No such device"), Failure::NoDevice("eth1".into()));
        let other = of(2, "In file /run/x: unrecognized option 'foo'\n");
        assert_eq!(other.to_string(), "pppd ended with status 2: In file /run/x: unrecognized option 'foo'");
        assert_eq!(failure(&modem(), "pppd", 16, "", ""), Failure::NoCarrier);
        assert_eq!(
            failure(&modem(), "pppd", 7, "Failed to open /dev/ttyUSB0: No such file or directory", ""),
            Failure::NoDevice("eth1".into())
        );
    }

    #[test]
    fn what_a_modem_says_is_told_apart() {
        let of = |report| failure(&modem(), "pppd", 8, "Connect script failed", report);
        assert_eq!(of("chat:  Nov 25 12:00:00 +CME ERROR: 16\n"), Failure::PinRefused);
        assert_eq!(of("+CPIN: SIM PUK"), Failure::SimLocked);
        assert_eq!(of("NO CARRIER"), Failure::NoCarrier);
        assert!(matches!(of(""), Failure::Program { status: 8, .. }));
    }

    #[test]
    fn name_servers_are_those_the_peer_told() {
        let log = "local  IP address 10.1.1.2\nremote IP address 10.1.1.1\nprimary   DNS address 9.9.9.9\nsecondary DNS address 149.112.112.112\nprimary   DNS address 9.9.9.9\n";
        let found = established("ppp10", log);
        assert_eq!(found.dns, ["9.9.9.9", "149.112.112.112"].map(|a| a.parse::<IpAddr>().unwrap()));
    }

    #[test]
    fn the_far_end_of_a_session_is_told() {
        let log = "local  IP address 10.67.0.102\nremote IP address 10.67.0.1\n";
        assert_eq!(established("ppp0", log).peer, Some("10.67.0.1".parse().unwrap()));
        assert_eq!(established("ppp0", "Using interface ppp0\n").peer, None);
    }

    #[test]
    fn name_servers_of_a_lease_are_found() {
        let log = "reason=BOUND\ndomain_name_servers='149.112.112.112 9.9.9.9'\nrouters='198.51.100.1'\n";
        let found = established("eth1", log);
        assert_eq!(found.dns, ["149.112.112.112", "9.9.9.9"].map(|a| a.parse::<IpAddr>().unwrap()));
    }

    proptest::proptest! {
        #[test]
        fn nothing_panics(output in ".{0,200}", status in -64i32..300) {
            for name in ["pppd", "ip", "qmicli", "dhcpcd"] {
                failure(&modem(), name, status, &output, &output).to_string();
            }
            established("ppp0", &output);
        }
    }
}
