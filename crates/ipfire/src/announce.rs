//! Several REDs: which of them `mwan.up` and `mwan.down` have been run for.

use std::collections::BTreeSet;
use std::time::Duration;

/// How long a RED that was up when the process before us ended may take to be seen again.
const START: Duration = Duration::from_secs(15);

/// Behind a name: its hooks were begun. No interface has it in its name.
const BEING_TOLD: &str = " ?";

/// One RED came, or went.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Change {
    /// Name of its interface.
    pub(crate) name: String,
    /// It works now.
    pub(crate) up: bool,
}

/// Tells each change once, whatever the processes before did.
#[derive(Debug)]
pub(crate) struct Announcer {
    /// Those that hooks know to be up.
    told: BTreeSet<String>,
    /// Those that nobody has seen since we started, though they were up then, or may have been.
    unseen: BTreeSet<String>,
    /// Until then they may just not have been looked at.
    patience: Duration,
}

impl Announcer {
    /// `written`: what [`lines`] wrote last, in this boot.
    pub(crate) fn new(now: Duration, written: &str) -> Self {
        let unseen = written.lines().map(|line| line.trim_end_matches(BEING_TOLD).to_owned()).collect();
        let told = written.lines().filter(|line| !line.ends_with(BEING_TOLD)).map(str::to_owned).collect();
        Announcer { told, unseen, patience: now + START }
    }

    /// What hooks have to be told, when these work.
    pub(crate) fn changes(&mut self, now: Duration, online: &BTreeSet<String>) -> Vec<Change> {
        let seen = |name: &String| now >= self.patience || online.contains(name);
        let (given_up, unseen): (BTreeSet<String>, _) =
            std::mem::take(&mut self.unseen).into_iter().partition(seen);
        self.unseen = unseen;
        let known = self.told.iter().filter(|name| !self.unseen.contains(*name)).chain(&given_up);
        let gone: BTreeSet<&String> = known.filter(|name| !online.contains(*name)).collect();
        let gone = gone.into_iter().map(|name| Change { name: name.clone(), up: false });
        let come = online.difference(&self.told).map(|name| Change { name: name.clone(), up: true });
        let changes: Vec<Change> = gone.chain(come).collect();
        for change in &changes {
            if change.up {
                self.told.insert(change.name.clone());
            } else {
                self.told.remove(&change.name);
            }
        }
        changes
    }

    /// What the process after us has to know while hooks still have to be told of these: nobody knows how far they are.
    pub(crate) fn lines(&self, telling: &[Change]) -> String {
        let told = self.told.iter().filter(|name| telling.iter().all(|change| change.name != **name));
        let told = told.map(|name| format!("{name}\n"));
        told.chain(telling.iter().map(|change| format!("{}{BEING_TOLD}\n", change.name))).collect()
    }

    /// When to look again though nothing happens.
    pub(crate) fn wake_at(&self) -> Option<Duration> {
        (!self.unseen.is_empty()).then_some(self.patience)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_being_told_is_told_again() {
        let mut before = Announcer::new(Duration::ZERO, "");
        told(&mut before, 0, &["red0", "red1", "red2"]);
        told(&mut before, 1, &["red1", "red2"]);
        let written = before.lines(&[Change { name: "red0".into(), up: false }]);
        assert_eq!(written, "red1\nred2\nred0 ?\n");
        let mut announcer = Announcer::new(Duration::ZERO, &written);
        assert_eq!(
            told(&mut announcer, 0, &["red0", "red1"]),
            ["+red0"],
            "they may have heard that it is gone"
        );
        let mut announcer = Announcer::new(Duration::ZERO, &written);
        assert_eq!(told(&mut announcer, 14, &["red1"]), [""; 0]);
        assert_eq!(told(&mut announcer, 15, &["red1"]), ["-red0", "-red2"]);
        assert_eq!(told(&mut announcer, 16, &["red1"]), [""; 0]);
    }

    fn names(names: &[&str]) -> BTreeSet<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    fn told(announcer: &mut Announcer, at: u64, online: &[&str]) -> Vec<String> {
        let changes = announcer.changes(Duration::from_secs(at), &names(online));
        changes.into_iter().map(|c| format!("{}{}", if c.up { '+' } else { '-' }, c.name)).collect()
    }

    #[test]
    fn each_change_is_told_once() {
        let mut announcer = Announcer::new(Duration::ZERO, "");
        assert_eq!(told(&mut announcer, 0, &[]), [""; 0]);
        assert_eq!(told(&mut announcer, 1, &["red0"]), ["+red0"]);
        assert_eq!(told(&mut announcer, 2, &["red0"]), [""; 0]);
        assert_eq!(told(&mut announcer, 3, &["red1"]), ["-red0", "+red1"]);
    }

    #[test]
    fn a_restart_tells_only_what_changed_meanwhile() {
        let mut announcer = Announcer::new(Duration::ZERO, "red0\nred1\n");
        assert_eq!(told(&mut announcer, 0, &[]), [""; 0], "nobody has looked yet");
        assert_eq!(told(&mut announcer, 1, &["red0"]), [""; 0]);
        assert_eq!(announcer.wake_at(), Some(START));
        assert_eq!(told(&mut announcer, 2, &[]), ["-red0"], "seen, and gone");
        assert_eq!(told(&mut announcer, START.as_secs(), &[]), ["-red1"], "gone before we came");
        assert_eq!(announcer.wake_at(), None);
    }
}
