//! What the loop tells, into files and back.
#![allow(clippy::unwrap_used)]

use std::path::Path;

use super::*;

const START_MS: u64 = 1_793_491_200_000;

fn path(interface: &str, family: &str, n: u64) -> PathSample {
    PathSample {
        interface: interface.to_owned(),
        family: family.to_owned(),
        status: "online".to_owned(),
        usable: true,
        carries: true,
        rtt_us: Some(10_000 + n % 1000),
        jitter_us: Some(500),
        loss_percent: Some(0),
        sent: 3 * n,
        received: 3 * n - n / 10,
        rx_bytes: Some(1_000_000 + 1250 * n),
        tx_bytes: Some(125 * n),
    }
}

fn folders(dir: &Path) -> Folders {
    Folders::new(&dir.join("run"), &dir.join("state"))
}

fn sample(files: &mut Files, n: u64, down: &Down) {
    let paths = ["ipv4", "ipv6"].map(|family| (path("wan", family, n), down.clone()));
    files.sample(START_MS + n * 1000, paths.into());
}

fn chart(folders: &Folders, n: u64) -> mwan_api::History {
    let query = HistoryQuery {
        interface: "wan".to_owned(),
        family: None,
        from_s: Some(START_MS / 1000),
        to_s: Some(START_MS / 1000 + n),
        points: Some(4000),
    };
    history::series(folders.read("wan").as_ref(), &query, START_MS / 1000 + n).unwrap()
}

#[test]
fn samples_become_a_chart_with_differences_of_counters() {
    let dir = tempfile::tempdir().unwrap();
    let mut files = Files::new(folders(dir.path()));
    for n in 1..=100 {
        sample(&mut files, n, &Down::No);
    }
    let chart = chart(&files.folders, 101);
    assert_eq!((chart.family.as_str(), chart.step_s, chart.series.up.len()), ("ipv4", 1, 101));
    assert_eq!((chart.series.up[0], chart.series.rx_bps[0]), (None, None));
    // The first has nothing before it to be counted from.
    assert_eq!((chart.series.up[1], chart.series.rx_bps[1]), (Some(1.0), None));
    let rate = chart.series.rx_bps[50].unwrap();
    assert!((rate - 10_000.0).abs() < 1.0, "{rate}");
    let rtt = chart.series.rtt_ms[50].unwrap();
    assert!((rtt - 10.05).abs() < 0.05, "{rtt}");
    assert_eq!(chart.series.loss[50], Some(0.0));
}

/// Every end of a process is the same to the file; and a boot has what was kept.
#[test]
fn kill_9_loses_nothing_and_a_boot_what_was_not_kept() {
    let dir = tempfile::tempdir().unwrap();
    let mut files = Files::new(folders(dir.path()));
    (1..=70).for_each(|n| sample(&mut files, n, &Down::No));
    drop(files);
    let files = Mutex::new(Files::new(folders(dir.path())));
    (71..=80).for_each(|n| sample(&mut locked(&files), n, &Down::No));
    keep_all(&files);
    (81..=90).for_each(|n| sample(&mut locked(&files), n, &Down::No));
    let known = |n| chart(&folders(dir.path()), n).series.up.iter().flatten().count();
    assert_eq!(known(100), 90);
    drop(files);
    std::fs::remove_dir_all(dir.path().join("run")).unwrap();
    assert_eq!(known(100), 80);
    let mut files = Files::new(folders(dir.path()));
    (100..=105).for_each(|n| sample(&mut files, n, &Down::No));
    let chart = chart(&files.folders, 110);
    assert_eq!(chart.series.up.iter().flatten().count(), 86);
    assert_eq!(chart.series.up[90], None, "a gap is a gap");
}

#[test]
fn outages_have_the_time_of_the_transition_and_its_cause() {
    let dir = tempfile::tempdir().unwrap();
    let mut files = Files::new(folders(dir.path()));
    sample(&mut files, 1, &Down::No);
    let cause = ("probes_lost".to_owned(), "2 rounds in a row lost".to_owned());
    files.transition("wan", 0, START_MS + 1400, Some(&cause));
    for n in 2..9 {
        sample(&mut files, n, &Down::Because("probes_lost".to_owned(), "7 rounds in a row lost".to_owned()));
    }
    files.transition("wan", 0, START_MS + 8600, None);
    sample(&mut files, 9, &Down::No);
    let chart = chart(&files.folders, 10);
    let outage = &chart.outages[0];
    assert_eq!((outage.start_ms, outage.end_ms), (START_MS + 1400, Some(START_MS + 8600)));
    assert_eq!((outage.code.as_str(), outage.text.as_str()), ("probes_lost", "2 rounds in a row lost"));
    assert_eq!((chart.outages.len(), chart.series.up[5]), (1, Some(0.0)));
}

/// That is no outage of the provider's, and nothing is known of its line meanwhile.
#[test]
fn what_the_owner_takes_down_is_not_recorded() {
    assert_eq!(Down::of(&Reason::TakenDown), Down::NotKnown);
    let dir = tempfile::tempdir().unwrap();
    let mut files = Files::new(folders(dir.path()));
    sample(&mut files, 1, &Down::No);
    sample(&mut files, 2, &Down::NotKnown);
    let chart = chart(&files.folders, 3);
    assert_eq!((chart.outages.len(), chart.series.up[1], chart.series.up[2]), (0, Some(1.0), None));
}

#[test]
fn interfaces_that_are_gone_are_kept_on_disk_alone() {
    let dir = tempfile::tempdir().unwrap();
    let mut first = Files::new(folders(dir.path()));
    sample(&mut first, 1, &Down::No);
    drop(first);
    // Of a daemon before us, and no interface of ours.
    let files = Mutex::new(Files::new(folders(dir.path())));
    keep_all(&files);
    assert!(dir.path().join("run/history/wan.live").exists());
    let long_ago = Instant::now().checked_sub(KEEP_INTERVAL).unwrap();
    locked(&files).live.get_mut("wan").unwrap().seen = long_ago;
    keep_all(&files);
    assert!(!dir.path().join("run/history/wan.live").exists());
    assert_eq!(chart(&folders(dir.path()), 5).series.up[1], Some(1.0));
    assert!(locked(&files).live.is_empty());
}

#[test]
fn a_folder_that_cannot_be_written_is_told_of_once_and_costs_nothing_else() {
    let dir = tempfile::tempdir().unwrap();
    // Not even root can make a folder of a file.
    std::fs::write(dir.path().join("run"), "").unwrap();
    let mut files = Files::new(folders(dir.path()));
    sample(&mut files, 1, &Down::No);
    sample(&mut files, 2, &Down::No);
    assert_eq!(files.troubles.len(), 1);
    std::fs::remove_file(dir.path().join("run")).unwrap();
    sample(&mut files, 3, &Down::No);
    assert!(files.troubles.is_empty());

    std::fs::write(dir.path().join("state"), "").unwrap();
    let files = Mutex::new(files);
    keep_all(&files);
    keep_all(&files);
    assert_eq!(locked(&files).troubles.len(), 1);
    std::fs::remove_file(dir.path().join("state")).unwrap();
    keep_all(&files);
    assert!(locked(&files).troubles.is_empty());
    assert!(dir.path().join("state/history/wan.ring").exists());
}

#[test]
fn the_end_keeps_everything_that_was_told() {
    let dir = tempfile::tempdir().unwrap();
    let mut recorder = Recorder::new(folders(dir.path()));
    recorder.set(true);
    for n in 1..=50 {
        recorder.send(Message::Sample(START_MS + n * 1000, vec![(path("wan", "ipv4", n), Down::No)]));
    }
    recorder.finish().iter().for_each(wait);
    assert!(!recorder.is_running());
    std::fs::remove_dir_all(dir.path().join("run")).unwrap();
    assert_eq!(chart(&folders(dir.path()), 60).series.up.iter().flatten().count(), 50);
}

/// `cargo test --release -p mwan --bin mwan history::tests::cost -- --ignored --nocapture`
#[test]
#[ignore = "a measurement"]
fn cost_of_a_second_with_60_interfaces() {
    let dir = tempfile::tempdir_in("/dev/shm").unwrap();
    let mut files = Files::new(folders(dir.path()));
    let seconds = 600;
    let begin = Instant::now();
    for n in 1..=seconds {
        let mut paths = Vec::new();
        for interface in 0..60 {
            let name = format!("wan{interface}");
            paths.extend(["ipv4", "ipv6"].map(|family| (path(&name, family, n), Down::No)));
        }
        files.sample(START_MS + n * 1000, paths);
    }
    println!("{:?} a second", begin.elapsed() / u32::try_from(seconds).unwrap());
}
