//! `mwan replay` as it is used: words in, lines and an exit code out. No daemon, no root.
#![allow(clippy::unwrap_used)]

use std::io::Write;
use std::process::{Command, Output, Stdio};

const EVENING: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../record/tests/data/evening.json");

fn mwan(words: &[&str], input: &[u8]) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_mwan"))
        .args(words)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    // One that has read enough hangs up.
    let _ = stdin.write_all(input);
    drop(stdin);
    child.wait_with_output().unwrap()
}

fn out(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn err(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

#[test]
fn a_recording_is_replayed_and_other_options_are_tried() {
    let plain = mwan(&["replay", EVENING], b"");
    assert_eq!((plain.status.code(), err(&plain)), (Some(0), String::new()));
    let text = out(&plain);
    assert!(text.contains("wan ipv4: disconnecting -> offline: 5 rounds in a row lost"), "{text}");
    assert!(text.ends_with("every decision is the recorded one\n"), "{text}");

    let tried = out(&mwan(&["replay", EVENING, "--set", "wan.down=3", "--set", "wan.timeout=1"], b""));
    assert!(tried.contains("with wan.down=3 wan.timeout=1:\n"), "{tried}");
    assert!(tried.contains(" s sooner\n") && tried.contains("false failover for "), "{tried}");

    let json =
        out(&mwan(&["replay", "-", "--json", "--set", "wan.down=3"], &std::fs::read(EVENING).unwrap()));
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!((&json["schema"], &json["differences"]), (&"mwan.replay.v1".into(), &0.into()));
    let seen: Vec<_> =
        json["trial"]["outages"].as_array().unwrap().iter().map(|o| o["seen"].clone()).collect();
    assert_eq!(seen, ["sooner", "only"]);
}

#[test]
fn what_cannot_be_used_is_one_line_and_a_hint() {
    let file = std::fs::read(EVENING).unwrap();
    let text = String::from_utf8(file.clone()).unwrap();
    let said = |words: &[&str], input: &[u8]| {
        let output = mwan(words, input);
        assert_eq!((output.status.code(), out(&output)), (Some(1), String::new()), "{words:?}");
        let lines: Vec<String> = err(&output).lines().map(str::to_owned).collect();
        let [line, hint] = lines.as_slice() else { panic!("{lines:?}") };
        assert!(hint.starts_with("hint: "), "{hint}");
        line.clone()
    };
    assert!(
        said(&["replay", "-"], &file[..file.len() / 2]).starts_with("mwan: -: it is cut off: it ends after ")
    );
    let other = text.replacen("\"format\":1", "\"format\":2", 1);
    assert!(
        said(&["replay", "-"], other.as_bytes())
            .contains("it has format 2, of mwan 0.0.0; this mwan reads format 1")
    );
    assert_eq!(said(&["replay", "-"], b"config interface\n"), "mwan: -: it is not a recording of mwan");
    assert!(said(&["replay", "/nonexistent"], b"").starts_with("mwan: cannot read /nonexistent: "));
    assert_eq!(said(&["replay", EVENING, "--set", "wan.dwon=3"], b""), "mwan: 'wan' has no option 'dwon'");
    assert_eq!(
        said(&["replay", EVENING, "--set", "vdsl.down=3"], b""),
        "mwan: the configuration has no section 'vdsl'"
    );
    assert!(said(&["replay", EVENING, "--set", "wan.track_ip=1.1.1.1"], b"").contains("cannot be tried"));
    assert!(said(&["replay", EVENING, "--set", "down=3"], b"").starts_with("mwan: --set down=3"));
    assert!(
        said(&["--run-dir", "/nonexistent", "record", "/nonexistent/file"], b"")
            .contains("no daemon answers")
    );
}

#[test]
fn decisions_that_differ_are_told_and_the_exit_code_says_so() {
    let text =
        std::fs::read_to_string(EVENING).unwrap().replacen("\"to\":\"Offline\"", "\"to\":\"Connecting\"", 1);
    let output = mwan(&["replay", "-"], text.as_bytes());
    assert_eq!(output.status.code(), Some(3));
    assert!(err(&output).contains("1 events lead to other decisions here"), "{}", err(&output));
    assert!(!out(&output).contains("every decision"), "{}", out(&output));
}
