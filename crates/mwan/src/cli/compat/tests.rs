//! What the documents show of the commands, byte for byte (wire/ are recordings of mwan3 2.12.2).

use super::*;

const HELP: &str = include_str!("../../show/package/golden/mwan3-help.txt");
const USE: &str = include_str!("../../show/package/golden/mwan3-use.txt");

#[test]
fn help_is_mwan3s() {
    assert_eq!(help(Program::Mwan3), HELP);
    let mwan4 = help(Program::Mwan4);
    assert!(mwan4.starts_with("Syntax: mwan4 [command]\n"), "{mwan4}");
    assert!(mwan4.contains("\nstrategies               Show currently active strategy\n"), "{mwan4}");
}

#[test]
fn use_says_what_mwan3_says() {
    let line = commands::use_line("ping -c1 8.8.8.8", "eth1", "10.10.1.2".parse().ok(), 0x3f00);
    assert_eq!(Some(line.as_str()), USE.lines().next());
}

#[test]
fn the_name_it_is_called_by_decides() {
    let called = |name: &str| Program::called(OsStr::new(name));
    assert_eq!(called("/usr/sbin/mwan3"), Some(Program::Mwan3));
    assert_eq!(called("mwan4"), Some(Program::Mwan4));
    assert_eq!(called("/usr/sbin/mwan"), None);
}
