//! What the core asks of the prober and what it hears back.

use std::net::IpAddr;
use std::time::Duration;

use mwan_config::{Family, ProbeTarget};

/// A path: one family of one interface, by the interface's stable id.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[cfg_attr(feature = "record", derive(serde::Serialize, serde::Deserialize))]
pub struct PathKey {
    /// Id of the interface.
    pub id: u32,
    /// Family.
    pub family: Family,
}

/// One round of probes: all targets at once.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ProbeRequest {
    /// The path tested.
    pub path: PathKey,
    /// Number of the round; reports carry it, and reports of older rounds are ignored by the core.
    pub round: u64,
    /// Targets, all of the path's family.
    pub targets: Vec<ProbeTarget>,
    /// Probes per target, ≥ 1.
    pub count: u32,
    /// Time between the probes of one target.
    pub spacing: Duration,
    /// Replies later than this after their probe was sent are not reported.
    pub timeout: Duration,
    /// Device the probes are bound to.
    pub device: String,
    /// Source address; `None`: the kernel's choice.
    pub source: Option<IpAddr>,
    /// Packet mark.
    pub mark: u32,
    /// Payload of a ping, bytes.
    pub size: u16,
    /// TTL or hop limit of a ping.
    pub ttl: u8,
}

/// What became of a probe. Silence is not reported: the core has the clock.
#[derive(Clone, PartialEq, Eq, Debug)]
#[cfg_attr(feature = "record", derive(serde::Serialize, serde::Deserialize))]
pub enum ProbeReport {
    /// An authentic reply.
    Reply {
        /// From the request.
        path: PathKey,
        /// From the request.
        round: u64,
        /// Index into the request's targets.
        target: usize,
        /// Which of the target's probes, from 0.
        sequence: u32,
        /// Time between sending and receiving.
        rtt: Duration,
    },
    /// The probe could not be sent, or a router answered that it cannot be delivered.
    Failed {
        /// From the request.
        path: PathKey,
        /// From the request.
        round: u64,
        /// Index into the request's targets.
        target: usize,
        /// Which of the target's probes, from 0.
        sequence: u32,
        /// `errno` of the send, or the ICMP error in words.
        error: String,
    },
}
