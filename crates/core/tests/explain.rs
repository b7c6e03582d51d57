//! What explanations say of a small site, and of what would carry otherwise.
#![allow(clippy::unwrap_used)]

mod common;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use common::{FAILOVER, config, network};
use mwan_config::{LastResort, Rule};
use mwan_core::*;

const REST: &str = "
config rule 'dns'
 option proto 'udp'
 option dest_port '53'
 option use_policy 'unreachable'
config rule 'all2'
 option use_policy 'failover'
";

/// Nothing is known of the kernel, except what is said.
#[derive(Default)]
struct Said {
    dynamic: bool,
    kept: Option<u32>,
}

impl Entered for Said {
    fn holds(&self, _: &str, _: IpAddr) -> bool {
        false
    }
    fn dynamic(&self, _: IpAddr) -> bool {
        self.dynamic
    }
}

impl Facts for Said {
    fn kept(&self, _: &Rule, id: u32, _: &Packet) -> Option<Duration> {
        self.kept.filter(|kept| *kept == id).map(|_| Duration::from_secs(9))
    }
    fn placed(&self, _: &Rule, shares: &[Share], _: &Packet) -> Option<u32> {
        shares.first().map(|share| share.id)
    }
}

fn core(rest: &str) -> Core {
    let mut core = Core::new(Platform { translate: true }, config(&["a", "b"], rest), Memory::default());
    core.handle(Time(1), Event::Network(Arc::new(network())));
    core
}

fn packet(destination: &str, port: u16) -> Packet {
    Packet {
        source: "192.168.1.2".parse().unwrap(),
        destination: destination.parse().unwrap(),
        protocol: 17,
        source_port: Some(40_000),
        destination_port: Some(port),
        input: Some("lan".to_owned()),
    }
}

#[test]
fn tier_runner_up_and_next_rule_are_said() {
    let mut core = core(&format!(
        "{}{REST}",
        FAILOVER.replace("option use_policy", "option dest_port 80\n option proto udp\n option use_policy")
    ));
    let explainer = core.explainer().unwrap();
    let found = explainer.explain(&packet("198.51.100.1", 80), &Said::default());
    assert_eq!(found.walk.found.unwrap().rule.name, "all");
    let parts: Vec<_> =
        found.members.iter().map(|m| (m.member.interface.as_str(), m.part, m.out.clone())).collect();
    assert_eq!(parts, [("a", Some((1, 1)), None), ("b", None, Some(Out::OtherTier))]);
    let [way] = &found.ways[..] else { panic!("{found:?}") };
    assert_eq!(way.interface.as_ref().unwrap().1, "a");
    assert!(matches!(&way.lead, Lead::Table { table: 1, device, .. } if device == "eth0"), "{way:?}");
    assert!(matches!(&way.instead, Some(Carrier::Members(shares)) if shares[0].interface == "b"), "{way:?}");
    assert_eq!(found.next.as_ref().unwrap().found.unwrap().rule.name, "all2");

    // Without the first the second carries, and after it nobody is left.
    core.handle(Time(2), Event::IfDown("a".into()));
    let explainer = core.explainer().unwrap();
    let found = explainer.explain(&packet("198.51.100.1", 80), &Said::default());
    assert_eq!(found.members[0].out, Some(Out::Unusable(Reason::TakenDown)));
    assert_eq!(found.ways[0].interface.as_ref().unwrap().1, "b");
    assert_eq!(found.ways[0].instead, Some(Carrier::LastResort(LastResort::Unreachable)));
    core.handle(Time(3), Event::IfDown("b".into()));
    let explainer = core.explainer().unwrap();
    let found = explainer.explain(&packet("198.51.100.1", 80), &Said::default());
    assert_eq!(found.ways[0].lead, Lead::Unreachable);
    // As if all were online.
    let mut explainer = core.explainer().unwrap();
    explainer.assume_online();
    let found = explainer.explain(&packet("198.51.100.1", 80), &Said::default());
    assert_eq!(found.ways[0].interface.as_ref().unwrap().1, "a");
}

#[test]
fn a_drained_member_is_told_from_a_worse_one() {
    let mut core = core(FAILOVER);
    core.handle(Time(2), Event::Drain("a".into()));
    let explainer = core.explainer().unwrap();
    let found = explainer.explain(&packet("198.51.100.1", 80), &Said::default());
    assert_eq!(found.members[0].out, Some(Out::Drained));
    assert_eq!(found.ways[0].interface.as_ref().unwrap().1, "b");
    // It may carry if nothing else can.
    assert!(matches!(&found.ways[0].instead, Some(Carrier::Members(shares)) if shares[0].interface == "a"));
}

#[test]
fn what_decides_before_the_rules_ends_the_walk() {
    let core = core(FAILOVER);
    let explainer = core.explainer().unwrap();
    let found = explainer.explain(&packet("198.51.100.1", 80), &Said { dynamic: true, kept: None });
    assert_eq!((found.walk.network, found.walk.found), (Some(Network::Dynamic), None));
    assert_eq!(found.ways[0].lead, Lead::Main);
    let inbound = Packet { input: Some("eth1".to_owned()), ..packet("198.51.100.1", 80) };
    let found = explainer.explain(&inbound, &Said::default());
    assert!(matches!(found.walk.decision, Decision::Inbound(2)), "{found:?}");
    assert_eq!(found.ways[0].mark, 0x200);
}

#[test]
fn a_kept_source_goes_where_it_is_kept_and_a_new_one_by_its_hash() {
    let balanced = FAILOVER
        .replace("option metric 2", "option metric 1")
        .replace("config rule 'all'", "config rule 'all'\n option sticky 1");
    let core = core(&balanced);
    let explainer = core.explainer().unwrap();
    let kept = explainer.explain(&packet("198.51.100.1", 80), &Said { dynamic: false, kept: Some(2) });
    assert_eq!(kept.choice, Choice::Kept(2, Duration::from_secs(9)));
    assert_eq!(kept.ways.iter().map(|way| way.mark).collect::<Vec<_>>(), [0x200]);
    let new = explainer.explain(&packet("198.51.100.1", 80), &Said::default());
    assert_eq!(new.choice, Choice::Placed(Some(1)));
    assert_eq!(new.ways.iter().map(|way| way.mark).collect::<Vec<_>>(), [0x100]);
}
