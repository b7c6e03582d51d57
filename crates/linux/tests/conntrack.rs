//! Connection entries in a real kernel.

mod common;

use std::time::Instant;

use common::{feed, in_namespace, sh};
use mwan_config::Family;
use mwan_linux::conntrack::{Conntrack, Flow};

/// `count` entries of each family with a mark.
fn fill(mark: u32, count: u32, first: u32) {
    let line = |n: u32| {
        let (high, low) = (n / 250, n % 250 + 1);
        format!(
            "-I -p udp -s 10.1.{high}.{low} -d 192.0.2.1 --sport 1000 --dport 53 -t 300 -m {mark}\n\
             -I -p tcp -s 2001:db8::{n:x} -d 2001:db8:1::1 --sport 1000 --dport 80 -t 300 --state ESTABLISHED -m {mark}\n"
        )
    };
    feed("conntrack -R - >/dev/null 2>&1", &(first..first + count).map(line).collect::<String>());
}

fn list(conntrack: &mut Conntrack, family: Family, mark: u32, mask: u32) -> Vec<Flow> {
    let mut flows = vec![];
    conntrack.walk(family, mark, mask, &mut |flow| flows.push(flow)).expect("list");
    flows
}

#[test]
fn only_the_marked_family_is_deleted() {
    in_namespace("only_the_marked_family_is_deleted", || {
        let mut conntrack = Conntrack::open().expect("socket");
        // The mark's other bits are somebody else's.
        fill(0x100, 10, 0);
        fill(0x1_0100, 5, 100);
        fill(0x200, 7, 200);
        let mut count = |family, mark| conntrack.count_by_mark(family, mark, 0x3f00).expect("count");
        assert_eq!(
            (count(Family::V4, 0x100), count(Family::V6, 0x100), count(Family::V4, 0x200)),
            (15, 15, 7)
        );
        conntrack.delete_by_mark(Family::V4, 0x100, 0x3f00).expect("delete");
        conntrack.delete_by_mark(Family::V4, 0x100, 0x3f00).expect("delete nothing");
        let mut count = |family, mark| conntrack.count_by_mark(family, mark, 0x3f00).expect("count");
        assert_eq!(
            (count(Family::V4, 0x100), count(Family::V6, 0x100), count(Family::V4, 0x200)),
            (0, 15, 7)
        );
        assert_eq!(conntrack.total().expect("total"), 29);
        assert_eq!(sh("conntrack -C").trim(), "29");
    });
}

#[test]
fn flows_are_listed_and_deleted_by_tuple() {
    in_namespace("flows_are_listed_and_deleted_by_tuple", || {
        let mut conntrack = Conntrack::open().expect("socket");
        fill(0x100, 3, 0);
        sh(
            "conntrack -I -p udp -s 10.9.0.1 -d 198.51.100.1 -r 198.51.100.1 -q 203.0.113.1 --sport 7 --dport 8 --reply-port-src 8 --reply-port-dst 7 -t 60 -m 0x300 2>/dev/null",
        );
        sh(
            "conntrack -I -p icmp -s 10.9.0.2 -d 198.51.100.1 --icmp-type 8 --icmp-code 0 --icmp-id 5 -t 60 -m 0x300 -w 9 2>/dev/null",
        );
        let flows = list(&mut conntrack, Family::V4, 0x300, 0x3f00);
        assert_eq!(flows.len(), 2);
        let flow = flows.iter().find(|f| f.protocol == 17).expect("udp");
        assert_eq!((flow.source_port, flow.destination_port, flow.mark), (7, 8, 0x300));
        assert_eq!(flow.source.to_string(), "10.9.0.1");
        assert_eq!(flow.reply_destination.to_string(), "203.0.113.1");
        assert_eq!(flows.iter().map(|f| f.zone).max(), Some(9));
        let twice = [flows[0].clone(), flows[1].clone(), flows[0].clone()];
        assert_eq!(conntrack.delete_flows(&twice).expect("delete"), 2, "the third is gone by then");
        assert_eq!(conntrack.delete_flows(&flows).expect("gone"), 0);
        assert_eq!(conntrack.delete_flows(&[]).expect("none"), 0);
        let six = list(&mut conntrack, Family::V6, 0x100, u32::MAX);
        assert_eq!(six.len(), 3);
        assert_eq!(conntrack.delete_flows(&six[..1]).expect("delete"), 1);
        assert_eq!(conntrack.total().expect("total"), 5);
    });
}

#[test]
fn many_entries_are_quick() {
    in_namespace("many_entries_are_quick", || {
        let mut conntrack = Conntrack::open().expect("socket");
        fill(0x100, 5000, 0);
        fill(0x200, 5000, 6000);
        let start = Instant::now();
        assert_eq!(list(&mut conntrack, Family::V4, 0x100, 0x3f00).len(), 5000);
        let listed = start.elapsed();
        let start = Instant::now();
        conntrack.delete_by_mark(Family::V6, 0x100, 0x3f00).expect("delete");
        println!("of 20,000: 5,000 listed in {listed:?}, 5,000 deleted in {:?}", start.elapsed());
        assert_eq!(conntrack.total().expect("total"), 15_000);
        let flows = list(&mut conntrack, Family::V4, 0x100, 0x3f00);
        let start = Instant::now();
        let deleted: usize = flows.chunks(64).map(|some| conntrack.delete_flows(some).expect("delete")).sum();
        println!("5,000 deleted one by one, 64 at a time, in {:?}", start.elapsed());
        assert_eq!((deleted, conntrack.total().expect("total")), (5000, 10_000));
    });
}

/// I3: bits outside the mask survive, and so does everything else of the entry.
#[test]
fn flows_are_marked_within_the_mask() {
    in_namespace("flows_are_marked_within_the_mask", || {
        let mut conntrack = Conntrack::open().expect("socket");
        fill(0x1_0100, 3, 0);
        for family in Family::ALL {
            let before = list(&mut conntrack, family, 0x100, 0x3f00);
            let wanted: Vec<(Flow, u32)> = before.iter().cloned().map(|f| (f, 0xfffd_c0ff)).collect();
            assert_eq!(conntrack.mark_flows(&wanted, 0xf_c000).expect("mark"), 3);
            let after = list(&mut conntrack, family, 0x100, 0x3f00);
            let mut expected = before.clone();
            expected.iter_mut().for_each(|flow| flow.mark = 0xd_c100);
            assert_eq!(after, expected);
            conntrack.delete_flows(&after[..1]).expect("delete");
            assert_eq!(
                conntrack.mark_flows(&wanted, 0xf_c000).expect("mark"),
                2,
                "what is gone is not made anew"
            );
        }
        assert_eq!(conntrack.total().expect("total"), 4);
    });
}
