//! What is done to IPFire's files and services, in order.

use std::net::IpAddr;

use mwan_config::link::OWN_SESSION;

use crate::manager::CHOSEN;

/// Our folder of what must survive a crash, below `/var/ipfire`.
pub const STATE: &str = "mwan/state";
/// What IPFire knows of its RED, below `/var/ipfire`.
pub const RED_FILES: [&str; 7] = [
    "red/active",
    "red/device",
    "red/iface",
    "red/local-ipaddress",
    "red/remote-ipaddress",
    "red/dns1",
    "red/dns2",
];
/// Behind the word in the journal: RED is given back to a connection of ours.
pub(crate) const OURS: &str = "ours";
/// What is kept of the primary: all that says how it is made, and what RED was.
const KEPT: [&str; 6] =
    ["ethernet/settings", "ppp/settings", "ppp/secrets", "dns/settings", "dns/servers", "mac/settings"];

/// A whole, to be carried out in order; the first step that fails ends it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Batch {
    /// What for.
    pub kind: Kind,
    /// In this order.
    pub steps: Vec<Step>,
}

/// What a batch is for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Kind {
    /// RED becomes this backup's.
    TakeOver(String),
    /// RED is the primary's again.
    GiveBack,
    /// RED's files say what its connection is now.
    Refresh,
    /// What a batch or a take-over before the last boot left.
    Tidy,
    /// A take-over that touched nothing is forgotten.
    Abandon,
    /// IPFire's own script brings RED up.
    BringUp,
    /// One of several REDs works, or does so no longer.
    Announce(String),
}

impl std::fmt::Display for Kind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Kind::TakeOver(name) => write!(f, "take-over by {name}"),
            Kind::GiveBack => f.write_str("giving back"),
            Kind::Refresh => f.write_str("writing its files anew"),
            Kind::Tidy => f.write_str("tidying up after a boot"),
            Kind::Abandon => f.write_str("forgetting a take-over"),
            Kind::BringUp => f.write_str("bringing it up"),
            Kind::Announce(name) => write!(f, "telling of {name}"),
        }
    }
}

/// One step. Repeating it does no harm.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Step {
    /// Copies files, byte for byte with their modes and owners, into a folder that appears complete or not at all. Files that
    /// are not there are remembered as that. Does nothing where the folder is.
    Keep {
        /// Below `/var/ipfire`.
        files: Vec<&'static str>,
        /// Below `/var/ipfire`.
        folder: String,
    },
    /// Compares what [`Step::Keep`] took with what it was then. Nothing follows where it is another, which is an error.
    Verify {
        /// Those that will be put back.
        files: Vec<&'static str>,
        /// Below `/var/ipfire`.
        folder: String,
    },
    /// Puts back what [`Step::Keep`] took, byte for byte; what was not there is removed. Does nothing without the folder, and
    /// nothing where the folder is damaged, which is an error.
    Restore {
        /// Only these of what was kept.
        files: Vec<&'static str>,
        /// Below `/var/ipfire`.
        folder: String,
    },
    /// Puts back those of what was kept that are gone or empty since. What somebody changed meanwhile stays: it is not ours.
    Mend {
        /// Only these of what was kept.
        files: Vec<&'static str>,
        /// Below `/var/ipfire`.
        folder: String,
    },
    /// Removes a folder and what is in it.
    Forget {
        /// Below `/var/ipfire`.
        folder: String,
    },
    /// Writes a file: a new one beside it, then a rename.
    Write {
        /// Below `/var/ipfire`.
        path: String,
        /// All of it.
        content: String,
    },
    /// Writes the present time, in seconds since 1970.
    Stamp {
        /// Below `/var/ipfire`.
        path: String,
    },
    /// Removes a file that may not be there.
    Remove {
        /// Below `/var/ipfire`.
        path: String,
    },
    /// Ends IPFire's connection daemon, if it runs: it would bring RED up or down under us.
    StopConnectd,
    /// Ends the `pppd` of this session, if it runs: by the process its pid file names.
    StopSession {
        /// Its device.
        device: &'static str,
    },
    /// Has IPFire's own script bring RED up, unless this device has an address.
    BringUp {
        /// The primary's.
        device: String,
    },
    /// Runs what is in a folder of hooks. One that fails or hangs is said, and the next is run.
    Hooks {
        /// `red.up`, `red.down`, `mwan.up`, `mwan.down`.
        folder: &'static str,
        /// What they are told of.
        about: About,
    },
}

/// What hooks are told of, in their environment: `INTERFACE` and `DEVICE`, as mwan3's are.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct About {
    /// Name of the primary, the profile or the RED.
    pub interface: String,
    /// The device packets leave by; empty if nobody knows it.
    pub device: String,
}

/// What is written into RED's files, or stands in them.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct RedFiles {
    /// `iface`.
    pub device: String,
    /// `local-ipaddress`.
    pub local: Option<IpAddr>,
    /// `remote-ipaddress`.
    pub remote: Option<IpAddr>,
    /// `dns1` and `dns2`.
    pub dns: Vec<IpAddr>,
}

impl RedFiles {
    /// As they can be read again: there are two names of servers, and IPFire writes the word for a device without a next
    /// hop, too: its own address would do as well.
    pub(crate) fn written(mut self) -> Self {
        self.remote = self.remote.or(self.local);
        self.dns.truncate(2);
        self
    }
}

fn state(name: &str) -> String {
    format!("{STATE}/{name}")
}

fn write(path: impl Into<String>, content: impl Into<String>) -> Step {
    Step::Write { path: path.into(), content: content.into() }
}

/// Where the primary is kept, below `/var/ipfire`.
pub fn kept() -> String {
    state("primary-backup")
}

/// What is kept of the primary, below `/var/ipfire`.
pub fn kept_files() -> Vec<&'static str> {
    KEPT.into_iter().chain(RED_FILES).collect()
}

fn verify() -> Step {
    Step::Verify { files: kept_files(), folder: kept() }
}

/// Steps of [`take_over`] before the first that touches something of IPFire's.
const TOUCHING: usize = 3;

/// RED becomes that of the backup `name`. `ppp`: the primary is a session of IPFire's own.
pub fn take_over(name: &str, ppp: bool, red: &RedFiles) -> Batch {
    let mut steps = vec![
        write(state("journal"), format!("take-over {name}\n")),
        // Nothing of IPFire's is touched before this is complete: a full disk ends the batch here.
        Step::Keep { files: kept_files(), folder: kept() },
        write(state("interference"), "connectd stopped, RED taken over by mwan\n"),
        Step::StopConnectd,
    ];
    if ppp {
        steps.push(Step::StopSession { device: OWN_SESSION });
    }
    steps.push(hooks("red.down", name, &red.device));
    steps.extend(red_files(red));
    steps.push(hooks("red.up", name, &red.device));
    steps.push(hooks("mwan.up", name, &red.device));
    steps.push(write(state("current-profile"), format!("{name}\n")));
    steps.push(Step::Stamp { path: state("failover-timestamp") });
    steps.push(Step::Remove { path: state("journal") });
    Batch { kind: Kind::TakeOver(name.to_owned()), steps }
}

fn hooks(folder: &'static str, interface: &str, device: &str) -> Step {
    Step::Hooks { folder, about: About { interface: interface.to_owned(), device: device.to_owned() } }
}

/// RED is that of `primary` again. `red`: what its new connection is; `None` if it is the one that was kept.
pub fn give_back(primary: &str, red: Option<&RedFiles>) -> Batch {
    let device = red.map_or("", |red| &red.device);
    let mut steps = vec![
        // Nothing is changed, nobody is told, before it is known that all can be put back.
        verify(),
        write(
            state("journal"),
            if red.is_some() { format!("give-back {OURS}\n") } else { "give-back\n".into() },
        ),
        hooks("mwan.down", primary, device),
        hooks("red.down", primary, device),
        Step::Mend { files: KEPT.into(), folder: kept() },
    ];
    match red {
        Some(red) => steps.extend(red_files(red)),
        None => steps.push(Step::Restore { files: RED_FILES.into(), folder: kept() }),
    }
    steps.extend([
        hooks("red.up", primary, device),
        write(state("current-profile"), "primary\n"),
        Step::Stamp { path: state("failback-timestamp") },
        Step::Forget { folder: kept() },
        Step::Remove { path: state("interference") },
        Step::Remove { path: state("journal") },
    ]);
    Batch { kind: Kind::GiveBack, steps }
}

/// RED is IPFire's, and none of ours dials it: mwan is switched off, or ends for good.
pub fn release(primary: &str, device: &str) -> Batch {
    let mut steps = give_back(primary, None).steps;
    steps.push(Step::Remove { path: state(CHOSEN) });
    steps.push(Step::BringUp { device: device.to_owned() });
    Batch { kind: Kind::GiveBack, steps }
}

/// IPFire brings RED up, if it is down.
pub fn bring_up(device: &str) -> Batch {
    Batch { kind: Kind::BringUp, steps: vec![Step::BringUp { device: device.to_owned() }] }
}

/// A take-over ended before anything of IPFire's was touched.
pub(crate) fn abandon() -> Batch {
    let steps = vec![
        Step::Forget { folder: kept() },
        Step::Remove { path: state("interference") },
        Step::Remove { path: state("journal") },
    ];
    Batch { kind: Kind::Abandon, steps }
}

/// Whether that many steps of a take-over touched anything of IPFire's.
pub(crate) fn touched(done: usize) -> bool {
    done > TOUCHING
}

/// RED's connection is another than its files say: a session was dialled anew, or one of IPFire's scripts wrote them.
pub(crate) fn refresh(name: &str, red: &RedFiles) -> Batch {
    let mut steps = vec![
        write(state("journal"), format!("refresh {name}\n")),
        Step::StopConnectd,
        hooks("red.down", name, &red.device),
    ];
    steps.extend(red_files(red));
    steps.extend([hooks("red.up", name, &red.device), Step::Remove { path: state("journal") }]);
    Batch { kind: Kind::Refresh, steps }
}

/// After a boot RED is IPFire's, whatever was before: its own scripts have brought it up. The settings are put back, what is
/// in `red/` is of this boot.
pub fn tidy_after_boot() -> Batch {
    let steps = vec![
        Step::Mend { files: KEPT.into(), folder: kept() },
        write(state("current-profile"), "primary\n"),
        Step::Forget { folder: kept() },
        Step::Remove { path: state("interference") },
        Step::Remove { path: state("journal") },
    ];
    Batch { kind: Kind::Tidy, steps }
}

/// One of several REDs came or went. `before` and `after`: what the process after this one has to know meanwhile and then.
pub(crate) fn announce(name: &str, device: &str, up: bool, [before, after]: [String; 2]) -> Batch {
    let folder = if up { "mwan.up" } else { "mwan.down" };
    let steps =
        vec![write(state("online"), before), hooks(folder, name, device), write(state("online"), after)];
    Batch { kind: Kind::Announce(name.to_owned()), steps }
}

/// RED's files, `active` first away and last back: whoever looks in between sees a RED that is down.
fn red_files(red: &RedFiles) -> Vec<Step> {
    let red = red.clone().written();
    let text = |ip: Option<&IpAddr>| ip.map_or_else(String::new, ToString::to_string);
    vec![
        Step::Remove { path: "red/active".into() },
        write("red/iface", red.device.clone()),
        write("red/device", red.device.clone()),
        write("red/local-ipaddress", text(red.local.as_ref())),
        write("red/remote-ipaddress", text(red.remote.as_ref())),
        write("red/dns1", text(red.dns.first())),
        write("red/dns2", text(red.dns.get(1))),
        write("red/active", ""),
    ]
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn red() -> RedFiles {
        RedFiles { device: "ppp10".into(), local: "10.1.1.2".parse().ok(), remote: None, dns: Vec::new() }
    }

    /// What is done first and last is what makes a crash harmless.
    #[test]
    fn a_batch_is_told_before_it_begins_and_forgotten_after_it_ended() {
        let batches = [
            take_over("gsm", true, &red()),
            give_back("red", None),
            give_back("red", Some(&red())),
            refresh("gsm", &red()),
        ];
        for batch in batches {
            // To look is not to touch.
            let first = batch.steps.iter().find(|s| !matches!(s, Step::Verify { .. })).unwrap();
            assert!(matches!(first, Step::Write { path, .. } if path == "mwan/state/journal"), "{first:?}");
            assert_eq!(batch.steps.last().unwrap(), &Step::Remove { path: "mwan/state/journal".into() });
        }
    }

    #[test]
    fn nothing_of_ipfires_is_touched_before_the_primary_is_kept() {
        let steps = take_over("gsm", true, &red()).steps;
        let own = |step: &Step| matches!(step, Step::Keep { .. } | Step::Write { .. });
        assert!(steps[..TOUCHING].iter().all(own) && !own(&steps[TOUCHING]) && !touched(TOUCHING));
        for step in &steps {
            match step {
                Step::Keep { files, .. } => {
                    assert!(
                        RED_FILES.iter().all(|f| files.contains(f)) && files.contains(&"ethernet/settings")
                    );
                    return;
                }
                Step::Write { path, .. } => assert!(path.starts_with(STATE), "{path} before the copy"),
                other => panic!("{other:?} before the copy"),
            }
        }
        panic!("never kept");
    }

    #[test]
    fn nothing_is_given_back_before_it_is_known_that_all_can_be() {
        for batch in [give_back("red", None), give_back("red", Some(&red())), release("red", "red0")] {
            let Some(Step::Verify { files, folder }) = batch.steps.first() else { panic!("{batch:?}") };
            for step in &batch.steps {
                if let Step::Restore { files: put_back, folder: from }
                | Step::Mend { files: put_back, folder: from } = step
                {
                    assert!(put_back.iter().all(|name| files.contains(name)) && from == folder);
                }
            }
        }
    }

    #[test]
    fn red_is_active_last_and_the_copy_is_forgotten_after_everything_is_back() {
        let steps = give_back("red", Some(&red())).steps;
        let at = |wanted: &dyn Fn(&Step) -> bool| steps.iter().position(wanted).unwrap();
        let active = at(&|s| matches!(s, Step::Write { path, .. } if path == "red/active"));
        let hooks = at(&|s| matches!(s, Step::Hooks { folder: "red.up", .. }));
        let forget = at(&|s| matches!(s, Step::Forget { .. }));
        assert!(active < hooks && hooks < forget);
        let restored = steps.iter().any(|s| matches!(s, Step::Restore { .. }));
        assert!(!restored, "a new session has another address");
    }
}
