//! What a slot holds.

use crate::codec::{Bits, decode, encode};

/// One of the two widths in which a record is written: hours have more room.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Width {
    /// Up to a minute.
    Fine,
    /// An hour.
    Hour,
}

/// The content of a slot: something about a span of time, which can be put together from that of its parts.
pub(crate) trait Record: Copy + Default + PartialEq {
    /// Bytes of a record of that width.
    fn size(width: Width) -> usize;
    fn write(&self, width: Width, out: &mut [u8]);
    fn read(width: Width, bytes: &[u8]) -> Self;
    /// Put together from the parts of a span.
    fn merge(parts: impl Iterator<Item = Self>) -> Self;
    /// How much is known; 0: nothing.
    fn weight(&self) -> u64;
}

/// How a path was over a span of time.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Health {
    /// Seconds of which anything is known.
    pub known_s: u32,
    /// Of these, seconds in which it was usable.
    pub usable_s: u32,
    /// Of these, seconds in which there was a round-trip time.
    pub answered_s: u32,
    /// Mean round-trip time, microseconds.
    pub rtt_us: u32,
    /// Longest round-trip time, microseconds.
    pub rtt_max_us: u32,
    /// Mean jitter, microseconds.
    pub jitter_us: u32,
    /// Mean loss, parts per million.
    pub loss_ppm: u32,
}

/// Parts in which loss is counted.
pub(crate) const MILLION: u32 = 1_000_000;

/// Bits of the fields of a [`Health`]: seconds, mean, longest, jitter, loss.
struct Widths {
    seconds: u32,
    rtt: u32,
    rtt_max: u32,
    jitter: u32,
    loss: u32,
}

/// Bits of the exponent of a time: enough for [`u32::MAX`] µs in each of the widths.
const EXPONENT: u32 = 5;

impl Health {
    const fn widths(width: Width) -> Widths {
        match width {
            // 64 bits.
            Width::Fine => Widths { seconds: 6, rtt: 12, rtt_max: 10, jitter: 10, loss: 14 },
            // 96 bits.
            Width::Hour => Widths { seconds: 12, rtt: 16, rtt_max: 14, jitter: 14, loss: 16 },
        }
    }

    /// Loss in percent; `None` if nothing was probed: neither answers nor losses.
    pub fn loss_percent(&self) -> Option<f64> {
        (self.answered_s > 0 || self.loss_ppm > 0).then(|| f64::from(self.loss_ppm) / 1e4)
    }
}

fn largest(width: u32) -> u64 {
    (1 << width) - 1
}

impl Record for Health {
    fn size(width: Width) -> usize {
        match width {
            Width::Fine => 8,
            Width::Hour => 12,
        }
    }

    fn write(&self, width: Width, out: &mut [u8]) {
        let w = Health::widths(width);
        let mut bits = Bits::default();
        for seconds in [self.known_s, self.usable_s, self.answered_s] {
            bits.put(seconds.into(), w.seconds);
        }
        for (us, width) in [(self.rtt_us, w.rtt), (self.rtt_max_us, w.rtt_max), (self.jitter_us, w.jitter)] {
            bits.put(encode(us.into(), width - EXPONENT), width);
        }
        let (loss, all) = (u64::from(self.loss_ppm.min(MILLION)), largest(w.loss));
        let million = u64::from(MILLION);
        // A little loss is not none.
        let code = ((loss * all + million / 2) / million).max(u64::from(loss > 0));
        bits.put(code, w.loss);
        bits.write(out);
    }

    fn read(width: Width, bytes: &[u8]) -> Self {
        let w = Health::widths(width);
        let mut bits = Bits::of(bytes);
        let small = |value: u64| u32::try_from(value).unwrap_or(u32::MAX);
        let mut seconds = || small(bits.take(w.seconds));
        let (known_s, usable_s, answered_s) = (seconds(), seconds(), seconds());
        let mut time = |width| small(decode(bits.take(width), width - EXPONENT));
        let (rtt_us, rtt_max_us, jitter_us) = (time(w.rtt), time(w.rtt_max), time(w.jitter));
        let all = largest(w.loss);
        let loss_ppm = small((bits.take(w.loss) * u64::from(MILLION) + all / 2) / all);
        Health { known_s, usable_s, answered_s, rtt_us, rtt_max_us, jitter_us, loss_ppm }
    }

    fn merge(parts: impl Iterator<Item = Self>) -> Self {
        let mut all = Health::default();
        let (mut rtt, mut jitter, mut loss) = (0, 0, 0);
        for part in parts {
            all.known_s += part.known_s;
            all.usable_s += part.usable_s;
            all.answered_s += part.answered_s;
            all.rtt_max_us = all.rtt_max_us.max(part.rtt_max_us);
            rtt += u64::from(part.rtt_us) * u64::from(part.answered_s);
            jitter += u64::from(part.jitter_us) * u64::from(part.answered_s);
            loss += u64::from(part.loss_ppm) * u64::from(part.known_s);
        }
        all.rtt_us = mean(rtt, all.answered_s);
        all.jitter_us = mean(jitter, all.answered_s);
        all.loss_ppm = mean(loss, all.known_s).max(u32::from(loss > 0));
        all
    }

    fn weight(&self) -> u64 {
        self.known_s.into()
    }
}

fn mean(sum: u64, count: u32) -> u32 {
    let count = u64::from(count);
    u32::try_from((sum + count / 2).checked_div(count).unwrap_or(0)).unwrap_or(u32::MAX)
}

/// What went through a device over a span of time.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Traffic {
    /// Bytes received; absent: not known.
    pub rx: Option<u64>,
    /// Bytes sent.
    pub tx: Option<u64>,
}

/// Bits of the exponent of a number of bytes.
const BYTES_EXPONENT: u32 = 6;

impl Traffic {
    const fn bits(width: Width) -> u32 {
        match width {
            Width::Fine => 20,
            Width::Hour => 32,
        }
    }
}

impl Record for Traffic {
    fn size(width: Width) -> usize {
        match width {
            Width::Fine => 5,
            Width::Hour => 8,
        }
    }

    fn write(&self, width: Width, out: &mut [u8]) {
        let mut bits = Bits::default();
        let all = Traffic::bits(width);
        for bytes in [self.rx, self.tx] {
            // 0 is "not known".
            bits.put(bytes.map_or(0, |b| encode(b, all - BYTES_EXPONENT) + 1), all);
        }
        bits.write(out);
    }

    fn read(width: Width, bytes: &[u8]) -> Self {
        let mut bits = Bits::of(bytes);
        let all = Traffic::bits(width);
        let mut take = || bits.take(all).checked_sub(1).map(|code| decode(code, all - BYTES_EXPONENT));
        Traffic { rx: take(), tx: take() }
    }

    fn merge(parts: impl Iterator<Item = Self>) -> Self {
        let sum = |a: Option<u64>, b: Option<u64>| match (a, b) {
            (Some(a), Some(b)) => Some(a.saturating_add(b)),
            (a, b) => a.or(b),
        };
        parts.fold(Traffic::default(), |all, part| Traffic {
            rx: sum(all.rx, part.rx),
            tx: sum(all.tx, part.tx),
        })
    }

    /// More bytes are more known: counters do not go back.
    fn weight(&self) -> u64 {
        let count = |bytes: Option<u64>| bytes.map_or(0, |b| b.saturating_add(1));
        count(self.rx).saturating_add(count(self.tx))
    }
}
