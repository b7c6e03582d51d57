#![allow(clippy::unwrap_used)]
use super::*;

const STATES: [State; 5] =
    [State::Online, State::Offline, State::Connecting, State::Disconnecting, State::Disabled];

/// The words from one state to another; the columns are `STATES`.
const TABLE: [(&str, [&str; 5]); 6] = [
    ("first", ["ifup", "ifup", "ifup", "ifup", ""]),
    (
        "online",
        ["", "disconnecting disconnected", "disconnected connecting", "disconnecting", "disconnected ifdown"],
    ),
    ("offline", ["connecting connected", "", "connecting", "connecting connected", "ifdown"]),
    ("connecting", ["connected", "", "", "connected", "ifdown"]),
    ("disconnecting", ["", "disconnected", "disconnected connecting", "", "disconnected ifdown"]),
    ("disabled", ["ifup connected", "ifup", "ifup connecting", "ifup connected", ""]),
];

fn words(list: &[Action]) -> String {
    list.iter().map(|a| a.name()).collect::<Vec<_>>().join(" ")
}

#[test]
fn every_transition_gives_the_actions_of_the_table() {
    for (from, row) in TABLE {
        let before = STATES.into_iter().find(|s| s.name() == from);
        assert_eq!(before.is_none(), from == "first", "{from}");
        for (to, expected) in STATES.into_iter().zip(row) {
            assert_eq!(words(&actions(before, to)), expected, "{from} -> {}", to.name());
        }
    }
}

/// Whatever happens: `connected` and `disconnected` take turns, `ifup` and `ifdown` too, and nothing is connected
/// that is down.
#[test]
fn over_any_walk_of_three_steps_the_pairs_take_turns() {
    for (a, b, c, d) in walks() {
        let mut told = Told::default();
        let (mut up, mut connected) = (false, false);
        for state in [a, b, c, d] {
            for call in told.tell("wan", "eth1", &[(Family::V4, state, Reason::Answering)]) {
                if call.scope != Scope::Interface {
                    continue;
                }
                match call.action {
                    Action::IfUp => {
                        assert!(!up, "{a:?} {b:?} {c:?} {d:?}");
                        up = true;
                        // The first state is taken as it is.
                        connected = call.from.is_none() && call.to.usable();
                    }
                    Action::IfDown => {
                        assert!(up && !connected, "{a:?} {b:?} {c:?} {d:?}");
                        assert_eq!(call.device, "");
                        up = false;
                    }
                    Action::Connected => {
                        assert!(up && !connected, "{a:?} {b:?} {c:?} {d:?}");
                        assert_eq!(call.device, "eth1");
                        connected = true;
                    }
                    Action::Disconnected => {
                        assert!(up && connected, "{a:?} {b:?} {c:?} {d:?}");
                        connected = false;
                    }
                    Action::Connecting | Action::Disconnecting => {}
                }
            }
            assert_eq!(
                (up, connected),
                (state != State::Disabled, state.usable()),
                "{a:?} {b:?} {c:?} {d:?}"
            );
        }
    }
}

fn walks() -> impl Iterator<Item = (State, State, State, State)> {
    let each = |s| STATES.into_iter().map(move |t| (s, t));
    let three =
        STATES.into_iter().flat_map(each).flat_map(|(a, b)| STATES.into_iter().map(move |c| (a, b, c)));
    three.flat_map(|(a, b, c)| STATES.into_iter().map(move |d| (a, b, c, d)))
}

fn dual(told: &mut Told, v4: State, v6: State) -> Vec<String> {
    let paths = [(Family::V4, v4, Reason::Answering), (Family::V6, v6, Reason::Answering)];
    let text = |call: HookCall| {
        let scope = match call.scope {
            Scope::Interface => "wan".to_owned(),
            Scope::Path(family) => family.name().to_owned(),
        };
        format!("{scope}:{}", call.action.name())
    };
    told.tell("wan", "eth1", &paths).into_iter().map(text).collect()
}

#[test]
fn an_interface_of_two_families_is_lost_with_the_second_one() {
    use State::*;
    let mut told = Told::default();
    assert_eq!(dual(&mut told, Online, Disabled), ["wan:ifup"]);
    assert_eq!(dual(&mut told, Online, Connecting), ["ipv6:connecting"]);
    assert_eq!(dual(&mut told, Online, Online), ["ipv6:connected"]);
    assert_eq!(dual(&mut told, Offline, Online), ["ipv4:disconnecting", "ipv4:disconnected"]);
    assert_eq!(
        dual(&mut told, Offline, Disabled),
        ["ipv6:disconnected", "wan:disconnecting", "wan:disconnected"]
    );
    assert_eq!(dual(&mut told, Disabled, Disabled), ["wan:ifdown"]);
    assert_eq!(dual(&mut told, Disabled, Disabled), [""; 0]);
}

#[test]
fn a_restart_tells_only_what_changed_meanwhile() {
    let before = [("wan".to_owned(), Family::V4, State::Online), ("b".to_owned(), Family::V4, State::Online)];
    let mut told = Told::remembered(before.into_iter());
    let now = |state| [(Family::V4, state, Reason::Resumed)];
    assert_eq!(told.tell("wan", "eth1", &now(State::Online)), []);
    let calls = told.tell("b", "eth2", &now(State::Disabled));
    let interface: Vec<Action> =
        calls.iter().filter(|c| c.scope == Scope::Interface).map(|c| c.action).collect();
    assert_eq!(interface, [Action::Disconnected, Action::IfDown]);
    // Taken out of the configuration and back: new.
    told.retain(|name| name != "b");
    assert_eq!(
        words(&told.tell("b", "eth2", &now(State::Online)).iter().map(|c| c.action).collect::<Vec<_>>()),
        "ifup"
    );
}

#[test]
fn a_stop_disconnects_what_is_online_and_says_nothing_of_the_rest() {
    use State::*;
    let said = |v4, v6| {
        let mut told = Told::default();
        dual(&mut told, v4, v6);
        let calls = told.stopped("wan", "eth1");
        assert!(calls.iter().all(|c| c.action == Action::Disconnected && c.device == "eth1"));
        assert!(calls.iter().all(|c| c.paths.iter().all(|(_, _, reason)| *reason == Reason::Stopped)));
        calls.iter().map(|c| (c.scope, c.from)).collect::<Vec<_>>()
    };
    let (v4, v6) = (Scope::Path(Family::V4), Scope::Path(Family::V6));
    let all = [(v4, Some(Online)), (v6, Some(Disconnecting)), (Scope::Interface, Some(Online))];
    assert_eq!(said(Online, Disconnecting), all);
    assert_eq!(said(Offline, Online), [(v6, Some(Online)), (Scope::Interface, Some(Online))]);
    assert_eq!(said(Connecting, Disabled), []);
    assert_eq!(Told::default().stopped("wan", "eth1"), [], "nothing was ever said of it");
}
