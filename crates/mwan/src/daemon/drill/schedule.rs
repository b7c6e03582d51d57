//! Which drills are due. Pure: the clock is an argument.

use std::collections::{BTreeMap, VecDeque};

use mwan_config::{Config, DayTime};

const MINUTE_S: i64 = 60;
const DAY_S: i64 = 86_400;
/// A time that was passed by more than this is past: the machine slept, or its clock was set.
const LATE_MINUTES_MAX: i64 = 5;
/// The same time of day of an interface does not count twice within this: the hour that comes twice when summer ends has each time of day twice.
const APART_S: u64 = 2 * 3600;
/// One that waits for another drill for longer is left out.
const WAITS_S_MAX: i64 = 3600;

/// What was due, and what waits.
#[derive(Debug, Default)]
pub(super) struct Calendar {
    /// Number of the last local minute that was looked at.
    minute: Option<i64>,
    /// When a time of day of an interface was due last, by UTC.
    last: BTreeMap<(String, u16), i64>,
    /// Until when each may begin.
    waiting: VecDeque<(String, i64)>,
    now_s: i64,
}

impl Calendar {
    /// Looks at the clock: seconds since 1970, UTC and local.
    pub(super) fn look(&mut self, unix_s: i64, local_s: i64, config: &Config) {
        self.now_s = unix_s;
        let minute = local_s.div_euclid(MINUTE_S);
        let before = self.minute.replace(minute).unwrap_or(minute);
        // Set back: the minutes come again.
        let first = if before > minute { minute } else { before + 1 };
        for minute in first.max(minute - LATE_MINUTES_MAX)..=minute {
            let (day, of_day) = ((minute * MINUTE_S).div_euclid(DAY_S), minute.rem_euclid(DAY_S / MINUTE_S));
            let time = DayTime { minute: u16::try_from(of_day).unwrap_or(0) };
            let enabled = config.interfaces.iter().filter(|i| i.enabled && config.globals.enabled);
            for interface in enabled.filter(|i| i.drill.is_some_and(|drill| drill.is_at(day, time))) {
                self.is_due((interface.name.clone(), time.minute), unix_s);
            }
        }
        self.last.retain(|_, at| is_near(*at, unix_s));
        self.waiting.retain(|(_, until)| unix_s <= *until);
    }

    fn is_due(&mut self, which: (String, u16), unix_s: i64) {
        if self.last.get(&which).is_none_or(|last| !is_near(*last, unix_s)) {
            self.waiting.push_back((which.0.clone(), unix_s + WAITS_S_MAX));
            self.last.insert(which, unix_s);
        }
    }

    /// The next that may begin.
    pub(super) fn due(&mut self) -> Option<String> {
        self.waiting.pop_front().map(|(name, _)| name)
    }
}

/// Also if the clock was set back in between.
fn is_near(a: i64, b: i64) -> bool {
    a.abs_diff(b) < APART_S
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(text: &str) -> Config {
        let all = format!("{text}\n[policy.p]\nprefer = [\"a\", \"b\"]\n");
        mwan_config::parse("t.toml", all.as_bytes()).config
    }

    fn two(a: &str, b: &str) -> Config {
        config(&format!(
            "[wan.a]\ntargets = [\"192.0.2.1\"]\ndrill = \"{a}\"\n[wan.b]\ntargets = [\"192.0.2.1\"]\ndrill = \"{b}\"\n"
        ))
    }

    /// 2026-11-29, a Sunday, 03:00 UTC.
    const SUNDAY_3: i64 = 20_786 * DAY_S + 3 * 3600;

    /// Everything that is due within so many minutes from then on, with the second.
    fn run(
        calendar: &mut Calendar,
        config: &Config,
        from: i64,
        minutes: i64,
        offset: i64,
    ) -> Vec<(i64, String)> {
        let mut due = Vec::new();
        for s in from..from + minutes * MINUTE_S {
            calendar.look(s, s + offset, config);
            while let Some(name) = calendar.due() {
                due.push((s - from, name));
            }
        }
        due
    }

    #[test]
    fn each_is_due_once_at_its_local_time() {
        let config = two("sun 03:30", "sun 04:30");
        let due = run(&mut Calendar::default(), &config, SUNDAY_3, 120, 0);
        assert_eq!(due, [(1800, "a".to_owned()), (5400, "b".to_owned())]);
        let due = run(&mut Calendar::default(), &config, SUNDAY_3, 120, -3600);
        assert_eq!(due, [(5400, "a".to_owned())], "an hour west of Greenwich");
        assert_eq!(run(&mut Calendar::default(), &config, SUNDAY_3 + DAY_S, 120, 0), [], "Monday");
        assert_eq!(
            run(&mut Calendar::default(), &config, SUNDAY_3 + 1801, 20, 0),
            [],
            "a start is no reason"
        );
    }

    #[test]
    fn the_hour_that_comes_twice_has_one_drill() {
        let config = two("sun 03:30", "mon 00:00");
        let mut calendar = Calendar::default();
        let first = run(&mut calendar, &config, SUNDAY_3, 59, 0);
        let again = run(&mut calendar, &config, SUNDAY_3 + 3600, 59, -3600);
        assert_eq!((first.len(), again.len()), (1, 0));
    }

    /// Spring: 02:00 is 03:00. What was at 02:30 is not made up for; the minutes right before are as if they had been missed.
    #[test]
    fn the_hour_that_does_not_come_has_none() {
        let config = two("sun 02:30", "sun 02:58");
        let mut calendar = Calendar::default();
        let before = run(&mut calendar, &config, SUNDAY_3 - 120, 2, -3600);
        let after = run(&mut calendar, &config, SUNDAY_3, 60, 0);
        assert_eq!((before, after), (vec![], vec![(0, "b".to_owned())]));
    }

    /// A process that begins in that very minute does not know whether there was one: there is none twice.
    #[test]
    fn a_restart_has_it_once_or_not_at_all() {
        let config = two("sun 03:30", "mon 00:00");
        assert_eq!(run(&mut Calendar::default(), &config, SUNDAY_3 + 1700, 2, 0).len(), 1);
        assert_eq!(run(&mut Calendar::default(), &config, SUNDAY_3 + 1805, 60, 0), []);
        let mut calendar = Calendar::default();
        assert_eq!(run(&mut calendar, &config, SUNDAY_3, 31, 0).len(), 1);
        assert_eq!(run(&mut calendar, &config, SUNDAY_3, 31, 0), [], "the clock was set back");
    }

    #[test]
    fn a_minute_that_was_missed_is_made_up_for_and_an_hour_is_not() {
        let config = two("sun 03:30", "sun 03:31");
        let mut calendar = Calendar::default();
        calendar.look(SUNDAY_3 + 1790, SUNDAY_3 + 1790, &config);
        calendar.look(SUNDAY_3 + 1870, SUNDAY_3 + 1870, &config);
        assert_eq!(
            [calendar.due(), calendar.due(), calendar.due()],
            [Some("a".into()), Some("b".into()), None]
        );
        let mut calendar = Calendar::default();
        calendar.look(SUNDAY_3, SUNDAY_3, &config);
        calendar.look(SUNDAY_3 + 3600, SUNDAY_3 + 3600, &config);
        assert_eq!(calendar.due(), None);
    }

    #[test]
    fn one_waits_for_another_for_an_hour_at_most() {
        let config = two("sun 03:30", "sun 03:30");
        let mut calendar = Calendar::default();
        for s in SUNDAY_3..SUNDAY_3 + 1810 {
            calendar.look(s, s, &config);
        }
        assert_eq!(calendar.due(), Some("a".into()));
        calendar.look(SUNDAY_3 + 1800 + 3599, SUNDAY_3 + 1800 + 3599, &config);
        assert_eq!(calendar.waiting.len(), 1);
        calendar.look(SUNDAY_3 + 1800 + 3601, SUNDAY_3 + 1800 + 3601, &config);
        assert_eq!(calendar.due(), None);
    }
}
