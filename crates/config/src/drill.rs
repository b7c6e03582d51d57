//! When an interface is drilled: days, a time of day, and how long.

use std::time::Duration;

use crate::alert::day_time;
use crate::codes;
use crate::fields::Fields;
use crate::model::{DrillSchedule, Tracking, WEEKDAYS};
use crate::report::{Problem, show};
use crate::values;

/// If nothing is said.
const LENGTH_S: u32 = 60;
/// Shortest and longest drill.
const LENGTH_S_MIN: u32 = 2;
const LENGTH_S_MAX: u32 = 3600;

/// `drill` and `drill_for`. What is not understood is left out: no drill is better than one at another time.
pub(crate) fn read_drill(fields: &mut Fields<'_>, tracking: &Tracking) -> Option<DrillSchedule> {
    let length = Duration::from_secs(fields.number("drill_for", LENGTH_S_MIN, LENGTH_S_MAX, LENGTH_S).into());
    let item = fields.one("drill")?;
    let schedule = match schedule(&item.text, length) {
        Ok(schedule) => schedule,
        Err(problem) => {
            fields.add("drill", item.line, problem);
            return None;
        }
    };
    let worst_case = tracking.interval.max(tracking.round_length()) + tracking.verdict_after_notice();
    let why = if tracking.targets.is_empty() && !tracking.track_gateway {
        "nothing is probed: a silent fault would never be noticed".to_owned()
    } else if worst_case >= length {
        format!("its failure may take {:.1} s to be seen", worst_case.as_secs_f64())
    } else {
        return Some(schedule);
    };
    let problem =
        Problem::new(codes::DRILL_NEVER, format!("a drill of {} s is refused: {why}", length.as_secs()));
    fields.add("drill", item.line, problem);
    Some(schedule)
}

/// `sun 03:30`, `mon,thu 03:30`, `daily 03:30`.
fn schedule(text: &str, length: Duration) -> Result<DrillSchedule, Problem> {
    let bad = || {
        Problem::new(
            codes::DRILL_TIME,
            format!("{} is not days and a time of day; there is no drill", show(text)),
        )
        .hint("as in sun 03:30, mon,thu 03:30 or daily 03:30")
    };
    let mut words: Vec<&str> = values::pieces(text).collect();
    let at = words.pop().and_then(|word| day_time(word).ok()).ok_or_else(bad)?;
    let mut days = 0;
    for word in &words {
        let day = WEEKDAYS.iter().position(|day| day.eq_ignore_ascii_case(word));
        days |= match day {
            Some(day) => 1 << day,
            None if word.eq_ignore_ascii_case("daily") => DrillSchedule::DAILY,
            None => return Err(bad()),
        };
    }
    if days == 0 { Err(bad()) } else { Ok(DrillSchedule { days, at, length }) }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::model::DayTime;

    /// A schedule of drills that are all refused is said when it is read, not every Sunday.
    #[test]
    fn a_drill_that_shows_nothing_is_told() {
        let told = |options: &str| {
            let text = format!("[wan.a]\ndrill = \"sun 03:30\"\n{options}\n[policy.p]\nprefer = [\"a\"]\n");
            let loaded = crate::parse("t.toml", text.as_bytes());
            assert!(loaded.config.interfaces[0].drill.is_some());
            let found = loaded.diagnostics.iter().find(|d| d.code == codes::DRILL_NEVER);
            found.map(ToString::to_string).unwrap_or_default()
        };
        assert_eq!(told("targets = [\"192.0.2.1\"]"), "");
        let slow = told("targets = [\"192.0.2.1\"]\ninterval = 20\ndown = 3");
        assert!(
            slow.contains("a drill of 60 s is refused: its failure may take 61.0 s to be seen"),
            "{slow}"
        );
        assert!(told("").contains("nothing is probed"));
        assert_eq!(told("targets = [\"192.0.2.1\"]\ninterval = 20\ndown = 3\ndrill_for = 62"), "");
    }

    #[test]
    fn days_and_a_time_are_a_schedule_and_nothing_else_is() {
        let length = Duration::from_secs(60);
        let read = |text: &str| schedule(text, length).map(|s| (s.days, s.at.minute)).ok();
        assert_eq!(read("sun 03:30"), Some((0b100_0000, 210)));
        assert_eq!(read("mon,thu 23:59"), Some((0b1001, 1439)));
        assert_eq!(read("Mon Tue 0:00"), Some((0b11, 0)));
        assert_eq!(read("daily 03:30"), Some((0x7F, 210)));
        for wrong in
            ["", "03:30", "sun", "sunday 03:30", "sun 24:00", "sun 3:5", "03:30 sun", "sun 03:30 04:30"]
        {
            assert_eq!(read(wrong), None, "{wrong}");
        }
        for text in ["sun 03:30", "mon,thu 23:59", "daily 00:05"] {
            assert_eq!(schedule(text, length).unwrap().to_string(), text);
        }
        let sunday = schedule("sun 03:30", length).unwrap();
        // 2026-11-29 is a Sunday; days count from 1970-01-01, a Thursday.
        assert!(
            sunday.is_at(20_786, DayTime { minute: 210 }) && !sunday.is_at(20_785, DayTime { minute: 210 })
        );
        assert!(!sunday.is_at(20_786, DayTime { minute: 211 }));
    }
}
