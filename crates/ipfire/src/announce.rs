//! Several REDs: which of them `mwan.up` and `mwan.down` have been run for.

use std::collections::BTreeSet;
use std::time::Duration;

/// How long a RED that was up when the process before us ended may take to be seen again.
const START: Duration = Duration::from_secs(15);

/// Time before hooks that could not be told are told again.
const RETRY: Duration = Duration::from_secs(30);

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

/// Tells each change once, one at a time, whatever the processes before did.
#[derive(Clone, Debug)]
pub(crate) struct Announcer {
    /// Those that hooks know to be up.
    told: BTreeSet<String>,
    /// Those of which hooks may have heard anything.
    doubtful: BTreeSet<String>,
    /// Those that nobody has seen since we started, though they were up then, or may have been.
    unseen: BTreeSet<String>,
    /// Until then they may just not have been looked at.
    patience: Duration,
    /// Hooks are being told of it.
    telling: Option<Change>,
    /// They could not be told; when to try again.
    retry_at: Option<Duration>,
}

impl Announcer {
    /// `written`: what [`lines`] wrote last, in this boot.
    pub(crate) fn new(now: Duration, written: &str) -> Self {
        let names = |lines: &dyn Fn(&str) -> Option<String>| written.lines().filter_map(lines).collect();
        Announcer {
            told: names(&|line| (!line.ends_with(BEING_TOLD)).then(|| line.to_owned())),
            doubtful: BTreeSet::new(),
            unseen: names(&|line| Some(line.trim_end_matches(BEING_TOLD).to_owned())),
            patience: now + START,
            telling: None,
            retry_at: None,
        }
    }

    /// What hooks have to be told now, when these work; nothing while they are being told of something.
    pub(crate) fn next(&mut self, now: Duration, online: &BTreeSet<String>) -> Option<Change> {
        let seen = |name: &String| now >= self.patience || online.contains(name);
        let (known, unseen): (BTreeSet<String>, _) =
            std::mem::take(&mut self.unseen).into_iter().partition(seen);
        self.unseen = unseen;
        self.doubtful.extend(known.into_iter().filter(|name| !self.told.contains(name)));
        if self.telling.is_some() || self.retry_at.is_some_and(|at| now < at) {
            return None;
        }
        self.retry_at = None;
        let known = self.told.union(&self.doubtful).filter(|name| !self.unseen.contains(*name));
        let gone = known.filter(|name| !online.contains(*name)).min();
        let gone = gone.map(|name| Change { name: name.clone(), up: false });
        let come = || online.difference(&self.told).min().map(|name| Change { name: name.clone(), up: true });
        self.telling = gone.or_else(come);
        self.telling.clone()
    }

    /// Hooks have been told; or not, and nobody knows how far that went.
    pub(crate) fn done(&mut self, now: Duration, failed: bool) {
        let Some(Change { name, up }) = self.telling.take() else { return };
        self.told.remove(&name);
        self.doubtful.remove(&name);
        if failed {
            self.retry_at = Some(now + RETRY);
            self.doubtful.insert(name);
        } else if up {
            self.told.insert(name);
        }
    }

    /// What the process after us has to know while hooks are being told, and afterwards.
    pub(crate) fn lines(&self) -> [String; 2] {
        let mut after = self.clone();
        after.done(Duration::ZERO, false);
        [self.text(), after.text()]
    }

    fn text(&self) -> String {
        let telling = self.telling.as_ref().map(|change| &change.name);
        let told = self.told.iter().filter(|name| Some(*name) != telling);
        let doubtful = self.doubtful.iter().chain(&self.unseen).chain(telling);
        let doubtful: BTreeSet<&String> =
            doubtful.filter(|name| Some(*name) == telling || !self.told.contains(*name)).collect();
        let doubtful = doubtful.into_iter().map(|name| format!("{name}{BEING_TOLD}\n"));
        told.map(|name| format!("{name}\n")).chain(doubtful).collect()
    }

    /// When to look again though nothing happens.
    pub(crate) fn wake_at(&self) -> Option<Duration> {
        let patience = (!self.unseen.is_empty()).then_some(self.patience);
        patience.into_iter().chain(self.retry_at).min()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn what_was_being_told_is_told_again() {
        let mut before = Announcer::new(Duration::ZERO, "");
        told(&mut before, 0, &["red0", "red1", "red2"]);
        assert_eq!(before.next(Duration::from_secs(1), &names(&["red1", "red2"])).unwrap().name, "red0");
        let [written, after] = before.lines();
        assert_eq!((written.as_str(), after.as_str()), ("red1\nred2\nred0 ?\n", "red1\nred2\n"));
        let mut announcer = Announcer::new(Duration::ZERO, &written);
        assert_eq!(
            told(&mut announcer, 0, &["red0", "red1"]),
            ["+red0"],
            "they may have heard that it is gone"
        );
        let mut announcer = Announcer::new(Duration::ZERO, &written);
        assert_eq!(told(&mut announcer, 14, &["red1"]), [""; 0]);
        assert_eq!(announcer.lines()[0], written, "nobody knows more");
        assert_eq!(told(&mut announcer, 15, &["red1"]), ["-red0", "-red2"]);
        assert_eq!(told(&mut announcer, 16, &["red1"]), [""; 0]);
    }

    #[test]
    fn one_is_told_at_a_time_and_what_could_not_be_told_is_told_later() {
        let at = Duration::from_secs;
        let mut announcer = Announcer::new(at(0), "");
        let both = names(&["red0", "red1"]);
        assert!(announcer.next(at(1), &both).is_some());
        assert_eq!(announcer.next(at(2), &both), None, "hooks are being told");
        announcer.done(at(3), true);
        assert_eq!((announcer.next(at(4), &both), announcer.wake_at()), (None, Some(at(33))));
        assert_eq!(told(&mut announcer, 33, &["red0", "red1"]), ["+red0", "+red1"]);
        // Gone again before it could be told: they may have heard that it came.
        let mut announcer = Announcer::new(at(0), "");
        announcer.next(at(1), &both);
        announcer.done(at(2), true);
        assert_eq!(told(&mut announcer, 60, &[]), ["-red0"]);
        assert_eq!(told(&mut announcer, 61, &[]), [""; 0]);
    }

    fn names(names: &[&str]) -> BTreeSet<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    fn told(announcer: &mut Announcer, at: u64, online: &[&str]) -> Vec<String> {
        let (now, mut told) = (Duration::from_secs(at), Vec::new());
        while let Some(change) = announcer.next(now, &names(online)) {
            told.push(format!("{}{}", if change.up { '+' } else { '-' }, change.name));
            announcer.done(now, false);
        }
        told
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
