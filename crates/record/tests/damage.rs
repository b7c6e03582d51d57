//! Files that are no recordings (any more): an error or a bounded value, never a panic.

#![allow(clippy::unwrap_used)]

mod common;
#[allow(dead_code)]
#[path = "../../compile/tests/simulation/rng.rs"]
mod rng;
#[allow(dead_code)]
#[path = "../../compile/tests/simulation/setup.rs"]
mod setup;
#[allow(dead_code)]
#[path = "../../compile/tests/simulation/world.rs"]
mod world;

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use common::Sim;
use mwan_config::Config;
use mwan_record::*;
use proptest::prelude::*;

/// A recording with something of everything, and the configurations that it names.
fn sample() -> &'static (Vec<u8>, Vec<Arc<Config>>) {
    static SAMPLE: OnceLock<(Vec<u8>, Vec<Arc<Config>>)> = OnceLock::new();
    SAMPLE.get_or_init(|| {
        let mut sim = Sim::new(11, 60_000);
        sim.run(Duration::from_secs(40));
        (sim.file(), sim.configs.clone())
    })
}

/// Reads, replays and tries: all of it has to end.
fn use_it(file: &[u8]) -> Result<(), String> {
    let recording = Recording::read(file).map_err(|e| e.to_string())?;
    let configs = &sample().1;
    let mut config = |number: u32, in_force: InForce| {
        let index: usize = recording.configs.get(&number).and_then(|c| c.name.parse().ok()).unwrap_or(0);
        let mut config = Config::clone(configs.get(index).unwrap_or(&configs[0]));
        in_force.put(&mut config).map_err(|why| Trouble::Config(why.to_owned()))?;
        Ok(Arc::new(config))
    };
    let replayed = replay_with(&recording, &mut config).map_err(|e| e.to_string())?;
    compare(&replayed.decisions, &replayed.decisions, replayed.interval);
    replayed.decisions.iter().for_each(|d| drop(d.decision.to_string()));
    // By its text, too, which says nothing.
    let _ = replay(&recording).map(|replayed| try_out(&recording, &replayed, &[]));
    Ok(())
}

#[test]
fn a_whole_one_can_be_used() {
    assert_eq!(use_it(&sample().0), Ok(()));
}

/// Cut anywhere, with or without the end of a line: it is said, and how much is whole.
#[test]
fn a_recording_that_is_cut_says_so() {
    let file = &sample().0;
    for cut in (0..file.len()).step_by(97).chain([file.len() - 1]) {
        let said = Recording::read(&file[..cut]).unwrap_err();
        let first = file.iter().position(|b| *b == b'\n').unwrap() + 1;
        match said {
            Unreadable::NoRecording => assert!(cut < first, "{cut}"),
            Unreadable::Cut(_) => assert!(cut >= first, "{cut}"),
            other => panic!("{cut}: {other}"),
        }
    }
    let half = Recording::read(&file[..file.len() / 2]).unwrap_err();
    assert!(half.to_string().starts_with("it is cut off: it ends after "), "{half}");
}

#[test]
fn another_format_and_other_files_are_told_apart() {
    let text = String::from_utf8(sample().0.clone()).unwrap();
    let said = |text: &str| Recording::read(text.as_bytes()).unwrap_err().to_string();
    let other = text.replacen("\"format\":1", "\"format\":2", 1).replacen("0.0.0", "9.9.9", 1);
    assert_eq!(said(&other), "it has format 2, of mwan 9.9.9; this mwan reads format 1");
    assert_eq!(said("config interface 'wan'\n"), "it is not a recording of mwan");
    assert_eq!(said(""), "it is not a recording of mwan");
    let mut lines: Vec<&str> = text.lines().collect();
    lines.remove(lines.len() / 2);
    assert!(said(&format!("{}\n", lines.join("\n"))).ends_with("lines are missing before it"));
    lines.insert(9, "{\"event\":7}");
    assert!(said(&lines.join("\n")).starts_with("line 10 is damaged"));
}

/// Gzip's checksum comes last: what is read before it is not believed without it.
#[test]
fn the_end_of_the_file_is_read_too() {
    struct Fails(std::io::ErrorKind);
    impl std::io::Read for Fails {
        fn read(&mut self, _: &mut [u8]) -> std::io::Result<usize> {
            Err(self.0.into())
        }
    }
    let of = |kind| {
        let file = std::io::Read::chain(sample().0.as_slice(), Fails(kind));
        Recording::read(std::io::BufReader::new(file)).unwrap_err()
    };
    assert!(matches!(of(std::io::ErrorKind::InvalidData), Unreadable::Io(_)));
    assert!(matches!(of(std::io::ErrorKind::UnexpectedEof), Unreadable::Cut(_)));
    let twice = [sample().0.as_slice(), sample().0.as_slice()].concat();
    assert!(Recording::read(twice.as_slice()).unwrap_err().to_string().contains("something is behind it"));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(600))]

    /// Bytes here and there are others.
    #[test]
    fn flipped_bytes_never_panic(edits in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8)) {
        let mut file = sample().0.clone();
        for (index, byte) in edits {
            *index.get_mut(&mut file) = byte;
        }
        let _ = use_it(&file);
    }

    /// Numbers are others: what parses and cannot be.
    #[test]
    fn other_numbers_never_panic(
        edits in prop::collection::vec((any::<prop::sample::Index>(), prop::sample::select(vec![
            "0", "1", "7", "255", "4096", "65535", "1000000000", "4294967295", "281474976710656", "18446744073709551615", "true", "null",
        ])), 1..6),
        early in any::<bool>(),
    ) {
        let mut text = String::from_utf8(sample().0.clone()).unwrap();
        for (index, number) in edits {
            // Half of the time within the core, where everything refers to something.
            let begin = text.find("{\"begin\"").unwrap_or(0);
            let end = if early { text[begin..].find('\n').map_or(text.len(), |at| begin + at) } else { text.len() };
            let digits: Vec<usize> = text.bytes().enumerate().skip(begin).take(end - begin)
                .filter(|(at, b)| b.is_ascii_digit() && !text.as_bytes()[at - 1].is_ascii_alphanumeric())
                .map(|(at, _)| at).collect();
            if digits.is_empty() {
                continue;
            }
            let at = *index.get(&digits);
            let length = text[at..].bytes().take_while(u8::is_ascii_digit).count();
            text.replace_range(at..at + length, number);
        }
        let _ = use_it(text.as_bytes());
    }

    #[test]
    fn anything_else_is_no_recording(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        prop_assert!(Recording::read(bytes.as_slice()).is_err());
    }
}
