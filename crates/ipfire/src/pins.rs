//! PINs that a SIM refused: three wrong ones lock it, so none of them is told again, whatever else changes around it.

use std::collections::BTreeSet;

use mwan_config::ipfire::fnv1a;
use mwan_config::link::{Link, Method};

/// Refused PINs, by what tells one from another without holding it.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Refusals(BTreeSet<Told>);

/// A PIN that was told to a SIM.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct Told {
    link: String,
    device: String,
    pin: String,
}

impl Told {
    /// The PIN of a link, if it has one.
    pub(crate) fn of(link: &Link) -> Option<Self> {
        let (Method::Modem { pin, .. } | Method::Qmi { pin, .. }) = &link.method else { return None };
        let pin = format!("{:016x}", fnv1a(pin.as_ref()?.reveal().as_bytes()));
        Some(Told { link: link.name.clone(), device: link.device.clone(), pin })
    }

    /// Whether it may well be the same SIM: a profile may be given another name, and a modem another device.
    fn is_same(&self, other: &Told) -> bool {
        self.pin == other.pin && (self.link == other.link || self.device == other.device)
    }
}

impl Refusals {
    /// From [`Refusals::lines`]; what is no line of it is left out.
    pub fn read(text: &str) -> Self {
        let told = |line: &str| match line.split(' ').collect::<Vec<_>>()[..] {
            [link, device, pin] => {
                Some(Told { link: link.to_owned(), device: device.to_owned(), pin: pin.to_owned() })
            }
            _ => None,
        };
        Refusals(text.lines().filter_map(told).collect())
    }

    /// To be kept where only root reads: there are but ten thousand PINs of four digits.
    pub fn lines(&self) -> String {
        self.0.iter().map(|told| format!("{} {} {}\n", told.link, told.device, told.pin)).collect()
    }

    /// The PIN of a link and no other; `None` if it has none.
    pub fn of(link: &Link) -> Option<Self> {
        Some(Refusals([Told::of(link)?].into()))
    }

    /// Whether all of these are among those.
    pub fn are_in(&self, others: &Refusals) -> bool {
        self.0.is_subset(&others.0)
    }

    /// Both.
    #[must_use]
    pub fn with(mut self, others: Refusals) -> Self {
        self.0.extend(others.0);
        self
    }

    /// All but the PIN of a link.
    #[must_use]
    pub fn without(mut self, link: &Link) -> Self {
        if let Some(told) = Told::of(link) {
            self.0.remove(&told);
        }
        self
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether the PIN of a link was refused.
    pub fn knows(&self, link: &Link) -> bool {
        Told::of(link).is_some_and(|told| self.0.iter().any(|refused| refused.is_same(&told)))
    }

    pub(crate) fn add(&mut self, told: Told) {
        self.0.insert(told);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use mwan_config::link::Secret;

    fn modem(qmi: bool, name: &str, device: &str, pin: Option<&str>) -> Link {
        let pin = pin.map(Secret::new);
        let method = if qmi {
            Method::Qmi { control: None, apn: "i".into(), pin, login: None }
        } else {
            Method::Modem { speed: 115_200, apn: "i".into(), number: "*99#".into(), pin, login: None }
        };
        Link {
            name: name.into(),
            device: device.into(),
            lower: None,
            method,
            session_device: "wwan0".into(),
            on_demand: true,
            mtu: None,
            mac: None,
        }
    }

    #[test]
    fn a_pin_is_known_again_by_its_profile_or_its_device_and_never_shown() {
        for qmi in [false, true] {
            let mut refusals = Refusals::default();
            refusals.add(Told::of(&modem(qmi, "lte", "wwan0", Some("4711"))).unwrap());
            assert!(!refusals.lines().contains("4711"));
            let kept = Refusals::read(&refusals.lines());
            assert_eq!(kept, refusals);
            let knows = |name, device, pin| kept.knows(&modem(qmi, name, device, pin));
            assert!(knows("lte", "wwan0", Some("4711")));
            assert!(knows("lte", "wwan1", Some("4711")), "it was plugged in elsewhere");
            assert!(knows("backup", "wwan0", Some("4711")), "it was given another name");
            assert!(!knows("lte", "wwan0", Some("1111")));
            assert!(!knows("lte", "wwan0", None));
            assert!(!knows("other", "wwan1", Some("4711")), "another SIM");
        }
    }

    #[test]
    fn a_damaged_file_is_read_as_far_as_it_goes() {
        assert_eq!(Refusals::read("\n\0\nlte\nlte wwan0 0 0\n"), Refusals::default());
    }
}
