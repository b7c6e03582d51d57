//! What a SIM behind a modem that speaks AT says, as `chat` leaves it: words of ours in the log, the modem's own in the report.

use crate::outcome::Failure;

/// Said by who runs the script, before it.
pub const SIM_ASKS: &str = "mwan: the SIM asks for its PIN";
/// What the script says before the PIN goes out.
pub(crate) const TOLD: &str = "mwan: the SIM is told its PIN";
/// What it says when the SIM asks for none, or took it.
pub(crate) const READY: &str = "mwan: the SIM is ready";

/// What became of a PIN.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Pin {
    /// Nothing was said of it.
    Unknown,
    /// It was to be told, and was not.
    Untold,
    /// It was told, and nobody said whether it was right: the SIM has counted if it was not.
    Told,
    /// None is asked for, or it was right.
    Ready,
}

/// What the log of an attempt says of the PIN; the last word counts.
pub fn pin_of(log: &str) -> Pin {
    let last = [(SIM_ASKS, Pin::Untold), (TOLD, Pin::Told), (READY, Pin::Ready)]
        .into_iter()
        .filter_map(|(words, pin)| Some((log.rfind(words)?, pin)))
        .max_by_key(|(at, _)| *at);
    last.map_or(Pin::Unknown, |(_, pin)| pin)
}

/// Whether the report of an attempt says that the SIM asks for its PIN, and not for one of another service.
pub fn sim_asks(report: &str) -> bool {
    report.lines().any(|line| line.trim_end().ends_with("SIM PIN")) || cme(report) == Some(11)
}

/// The modem's number of an error (3GPP TS 27.007, section 9.2), if it told one.
fn cme(report: &str) -> Option<u16> {
    let number = report.split("+CME ERROR:").nth(1)?.trim_start();
    number.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
}

/// What `chat` reported: results of V.250 and of 3GPP TS 27.007, section 9.2, by number or in words.
pub(crate) fn failure(report: &str) -> Option<Failure> {
    const WORDS: &[(&str, Failure)] = &[
        ("incorrect password", Failure::PinRefused),
        ("SIM PUK", Failure::SimLocked),
        ("SIM not inserted", Failure::NoSim),
        ("NO CARRIER", Failure::NoCarrier),
        ("NO DIALTONE", Failure::NoCarrier),
        ("NO DIAL TONE", Failure::NoCarrier),
        ("NO ANSWER", Failure::NoCarrier),
        ("BUSY", Failure::NoCarrier),
    ];
    if sim_asks(report) {
        return Some(refused("the call: its SIM asks for a PIN"));
    }
    let word = || WORDS.iter().find(|(word, _)| report.contains(word)).map(|(_, failure)| failure.clone());
    cme(report).and_then(numbered).or_else(word)
}

/// Those that say more than that something failed.
fn numbered(error: u16) -> Option<Failure> {
    Some(match error {
        // SIM not inserted.
        10 => Failure::NoSim,
        // SIM PUK required.
        12 => Failure::SimLocked,
        16 => Failure::PinRefused,
        13 => refused("the call: its SIM fails (+CME ERROR 13)"),
        14 => refused("the call: its SIM is busy (+CME ERROR 14)"),
        15 => refused("the call: it is the wrong SIM (+CME ERROR 15)"),
        // No network service, network timeout, emergency calls only.
        30..=32 => Failure::NoCarrier,
        100 => refused("the call and did not say why (+CME ERROR 100)"),
        103 => refused("the call: the network does not know the SIM (+CME ERROR 103)"),
        106 => refused("the call: the network does not accept the modem (+CME ERROR 106)"),
        107 => refused("the call: packet service is not allowed (+CME ERROR 107)"),
        111 => refused("the call: this network is not allowed (+CME ERROR 111)"),
        112 => refused("the call: this area is not allowed (+CME ERROR 112)"),
        113 => refused("the call: roaming is not allowed here (+CME ERROR 113)"),
        132..=134 => refused("the call: the network does not offer it now (+CME ERROR 132 to 134)"),
        148 => refused("the call: the network did not say why (+CME ERROR 148)"),
        149 => Failure::LoginRefused,
        _ => return None,
    })
}

fn refused(what: &'static str) -> Failure {
    Failure::Modem { what, error: 0 }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_last_word_of_a_log_counts() {
        assert_eq!(pin_of(""), Pin::Unknown);
        assert_eq!(pin_of(&format!("Connect script failed\n{SIM_ASKS}\n")), Pin::Untold);
        assert_eq!(pin_of(&format!("{SIM_ASKS}\n{TOLD}\n")), Pin::Told);
        assert_eq!(pin_of(&format!("{READY}\n")), Pin::Ready);
        assert_eq!(pin_of(&format!("{TOLD}\nx\n{READY}\nConnect: ppp10\n")), Pin::Ready);
        assert_eq!(pin_of(&format!("{READY}\n{TOLD}\nConnect script failed\n")), Pin::Told);
    }

    #[test]
    fn numbers_of_errors_are_numbers() {
        let of = |number: u16| failure(&format!("chat:  Nov 25 12:00:00 +CME ERROR: {number}\n"));
        assert_eq!((of(10), of(12)), (Some(Failure::NoSim), Some(Failure::SimLocked)));
        assert_eq!(of(16), Some(Failure::PinRefused));
        // What begins like one of them is none of them.
        for other in [100, 103, 106, 107, 111, 112, 113, 132, 133, 134, 148] {
            let told = of(other).unwrap().to_string();
            assert!(
                told.starts_with("the modem refused the call") && told.contains("+CME ERROR 1"),
                "{told}"
            );
        }
        assert_eq!(of(149), Some(Failure::LoginRefused));
        assert_eq!(of(31), Some(Failure::NoCarrier));
        assert_eq!(of(160), None);
        assert_eq!(failure("+CME ERROR: SIM not inserted\n"), Some(Failure::NoSim));
    }

    #[test]
    fn a_sim_asks_for_its_own_pin_only() {
        assert!(sim_asks("chat:  Nov 25 12:00:00 SIM PIN\n") && sim_asks("+CME ERROR: 11\n"));
        assert!(!sim_asks("SIM PIN2\n") && !sim_asks("SIM PUK\n") && !sim_asks(""));
    }
}
