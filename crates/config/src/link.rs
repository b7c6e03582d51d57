//! Connections that have to be brought up before packets can use them, as their owner configured them.

use std::fmt;
use std::net::IpAddr;

use ipnet::IpNet;

/// The device of the session IPFire dials itself.
pub const OWN_SESSION: &str = "ppp0";

/// A connection that has to be brought up.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Link {
    /// Name of the interface it serves; `[A-Za-z0-9_.-]`, at most 32 characters, so that it can be part of a file's name.
    pub name: String,
    /// What it is built on: a network device (`red0`, `eth1`, `wwan0`) or a modem's character device (`/dev/ttyUSB0`).
    pub device: String,
    /// What lies between the device and the connection.
    pub lower: Option<Lower>,
    /// How the connection is made.
    pub method: Method,
    /// The device packets leave by once it is up; where the method makes none, the one it is built on.
    pub session_device: String,
    /// Brought up only while it is needed: it costs money, or it is built on a device another link uses too.
    pub on_demand: bool,
    /// Maximum transmission unit, bytes; `None` leaves it as it is.
    pub mtu: Option<u32>,
    /// Hardware address the device gets first.
    pub mac: Option<String>,
}

/// What lies between a device and the connection over it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Lower {
    /// IEEE 802.1Q with this id, 1 to 4094 (VDSL: 7 in Germany).
    Vlan(u16),
    /// RFC 2684 bridged Ethernet over ATM.
    AtmBridge(AtmBridge),
}

/// A bridged virtual circuit.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct AtmBridge {
    /// ATM interface, from 0.
    pub interface: u8,
    /// Virtual path.
    pub vpi: u8,
    /// Virtual circuit.
    pub vci: u16,
    /// How frames are wrapped.
    pub encapsulation: Encapsulation,
}

/// RFC 2684, sections 5 and 6.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Encapsulation {
    /// LLC/SNAP.
    Llc,
    /// One circuit a protocol.
    VcMux,
}

/// How a connection is made.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Method {
    /// Fixed addresses.
    Static {
        /// Addresses with their prefix lengths, at least one.
        addresses: Vec<IpNet>,
        /// Next hops, at most one a family.
        gateways: Vec<IpAddr>,
        /// Name servers.
        dns: Vec<IpAddr>,
    },
    /// A lease (RFC 2131).
    Dhcp {
        /// Option 12.
        hostname: Option<String>,
    },
    /// RFC 2516.
    Pppoe {
        /// Service-Name.
        service: Option<String>,
        /// AC-Name.
        concentrator: Option<String>,
        /// Who.
        login: Login,
    },
    /// RFC 2637.
    Pptp {
        /// The server.
        server: IpAddr,
        /// Address of our own towards it; `None`: the device gets one by DHCP.
        address: Option<IpNet>,
        /// Next hop towards the server where it is not on the device's own network.
        via: Option<IpAddr>,
        /// Who.
        login: Login,
    },
    /// A modem dialled by `pppd` and `chat` over a serial line.
    Modem {
        /// Line speed, bits per second.
        speed: u32,
        /// Access point name.
        apn: String,
        /// What is dialled (`*99#`).
        number: String,
        /// Of the SIM.
        pin: Option<Secret>,
        /// Who, if the network asks.
        login: Option<Login>,
    },
    /// A modem spoken to by `qmicli`; packets are raw IP.
    Qmi {
        /// Its control device (`/dev/cdc-wdm0`); `None`: found below the network device in sysfs.
        control: Option<String>,
        /// Access point name.
        apn: String,
        /// Of the SIM.
        pin: Option<Secret>,
        /// Who, if the network asks.
        login: Option<Login>,
    },
}

impl Method {
    /// Whether an established connection is a device of its own (`ppp0`) beside the one it is built on.
    pub fn makes_a_device(&self) -> bool {
        matches!(self, Method::Pppoe { .. } | Method::Pptp { .. } | Method::Modem { .. })
    }

    /// Whether there is somebody to be called or logged in to: a connection on trial is another one than that which carries.
    /// An address or a lease is the same.
    pub fn is_dialled(&self) -> bool {
        self.makes_a_device() || matches!(self, Method::Qmi { .. })
    }

    /// The word of configurations and messages.
    pub fn word(&self) -> &'static str {
        match self {
            Method::Static { .. } => "STATIC",
            Method::Dhcp { .. } => "DHCP",
            Method::Pppoe { .. } => "PPPOE",
            Method::Pptp { .. } => "PPTP",
            Method::Modem { .. } => "GSM",
            Method::Qmi { .. } => "QMI",
        }
    }
}

/// Who is calling.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Login {
    /// Name.
    pub user: String,
    /// Password.
    pub password: Secret,
    /// How it may be proven.
    pub auth: Auth,
}

/// How a peer may ask for a password.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Auth {
    /// As it likes.
    #[default]
    Any,
    /// PAP only (RFC 1334).
    Pap,
    /// CHAP only (RFC 1994).
    Chap,
}

/// What must not be seen: not in an argument, a log, a status or a plan. Nothing prints it.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Wraps it.
    pub fn new(text: impl Into<String>) -> Self {
        Secret(text.into())
    }

    /// For the file that only its reader may open, and for nothing else.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("\"…\"")
    }
}
