//! How each option of mwan3 and mwan4 fares here: the option part of `docs/compat.md`. A test of the names of the proofs
//! is in tests/generated_docs.rs.

use std::fmt::Write;

use crate::options::{OptionDoc, SectionKind, options_of};

/// How an option compares.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Verdict {
    /// As in mwan3 and mwan4.
    Same,
    /// Does what it says, where theirs does not quite.
    Better,
    /// Does something else, on purpose.
    Different,
    /// mwan3 and mwan4 do not have it.
    Ours,
}

struct Row {
    section: SectionKind,
    key: &'static str,
    verdict: Verdict,
    /// What is other; empty where nothing is.
    note: &'static str,
    /// A test or a scenario that shows it.
    proof: &'static str,
}

const fn row(
    section: SectionKind,
    key: &'static str,
    verdict: Verdict,
    note: &'static str,
    proof: &'static str,
) -> Row {
    Row { section, key, verdict, note, proof }
}

/// Every option has a row.
#[rustfmt::skip]
const ROWS: &[Row] = {
    use SectionKind::*;
    use Verdict::*;
    &[
        row(Globals, "enabled", Same, "", "switched_off_nothing_is_in_the_kernel"),
        row(Globals, "mmx_mask", Better, "any mask of at least 3 bits, of any shape (`mask-shapes`); changing it takes open connections along; other packages' bits survive", "mask-change"),
        row(Globals, "rt_table_lookup", Better, "names of /etc/iproute2/rt_tables and rt_tables.d, too; the files are watched", "table-names"),
        row(Globals, "logging", Better, "counted, and limited to 6000 lines a minute in all", "logging"),
        row(Globals, "loglevel", Same, "", "every_statement_reads_as_its_text"),
        row(Globals, "local_source", Different, "rules judge the router's own traffic by this address, in both families; the socket and the wire have the WAN's address, no route by `lo` is needed", "local-source"),
        row(Globals, "source_routing", Different, "both families, sockets and routed networks; mwan3 only keeps IPv6 default routes limited to their source; a WAN that is down passes its sources on to the rules", "source-routing"),
        row(Globals, "mode", Better, "without effect of its own; rules that say the other are named (W0302)", "a_mode_that_contradicts_the_rules_is_named"),
        row(Globals, "notification_email", Ours, "a cloud's document has it", "addresses_are_kept_and_told"),
        row(Globals, "cloud_document", Ours, "the cloud's program need only write a file", "a_watched_document_is_applied_and_a_bad_one_is_told_of_once"),
        row(Globals, "rtmon_interval", Same, "without effect since mwan3 2.9", "documented_examples_have_no_errors"),
        row(Globals, "masquerade", Ours, "on plain Linux there may be no firewall that translates", "masquerade-on"),
        row(Globals, "dnsmasq_file", Ours, "domains of sets, where no script writes them for dnsmasq", "sets-dnsmasq"),
        row(Globals, "dnsmasq_command", Ours, "run only when that file has changed", "sets-dnsmasq"),
        row(Globals, "rule_base_connected", Ours, "where other packages have rules of their own", "rule-bases"),
        row(Globals, "rule_base_iif", Ours, "likewise", "rule-bases"),
        row(Globals, "rule_base_fwmark", Ours, "likewise", "rule-bases"),
        row(Globals, "rule_base_oif", Ours, "likewise", "rule-bases"),
        row(Globals, "rule_base_unreachable", Ours, "likewise", "rule-bases"),
        row(Globals, "iif_rules", Ours, "mwan3's rules by input device are of no use here: what comes in by a WAN is marked", "iif-rules"),
        row(Globals, "user_script", Ours, "another place than /etc/mwan3.user", "the_command_line_comes_before_the_configuration_and_that_before_the_defaults"),
        row(Globals, "hooks_dir", Ours, "programs that read JSON", "hooks"),
        row(Globals, "history", Ours, "what `mwan report` is made of", "history"),
        row(Globals, "record_size", Ours, "what `mwan replay` decides by again", "record"),
        row(Globals, "record_incidents", Ours, "a recording of how the last WAN was lost", "record"),
        row(Globals, "hook_timeout", Ours, "no script holds anything up", "a_script_that_hangs_is_killed_with_all_it_started"),
        row(Interface, "device", Ours, "mwan3 knows names of netifd only", "balance-3-2-1"),
        row(Interface, "gateway", Ours, "where no route of the main table tells it", "switched_off_nothing_is_in_the_kernel"),
        row(Interface, "track_gateway", Ours, "the gateway of the moment as a target", "track-gateway-arp"),
        row(Interface, "quality_window", Ours, "loss and latency over the last probes", "s09-loss-15"),
        row(Interface, "failback", Ours, "what becomes of flows on the backup when the better WAN is back", "s04-failback-move-now"),
        row(Interface, "failback_drain", Ours, "how long they may stay", "failback_drain_moves_after_its_limit"),
        row(Interface, "drill", Ours, "a rehearsal of its failure, by the clock", "drill-schedule"),
        row(Interface, "drill_for", Ours, "how long it takes", "drill-schedule"),
        row(Interface, "enabled", Better, "an interface without it is named (N0501)", "every_case_reads_as_expected"),
        row(Interface, "family", Better, "each family has a health of its own", "v4-v6-independent"),
        row(Interface, "routed_network", Ours, "networks of which OpenWrt knows nothing", "source-routing"),
        row(Interface, "track_ip", Better, "all targets are asked at once; names are refused: DNS may need the link that is tested", "detection_takes_the_same_time_for_any_number_of_targets"),
        row(Interface, "track_method", Same, "", "track-nping"),
        row(Interface, "httping_ssl", Same, "", "track-httping-tls"),
        row(Interface, "reliability", Better, "one that no number of answers can reach is named (W0502)", "a_round_is_good_when_enough_targets_answer_and_bad_as_soon_as_they_cannot"),
        row(Interface, "count", Same, "", "a_round_is_good_when_enough_targets_answer_and_bad_as_soon_as_they_cannot"),
        row(Interface, "timeout", Better, "fractions, from 0.05 s", "s01-blackhole-4-targets"),
        row(Interface, "interval", Different, "from the start of a round to the start of the next; fractions", "s01-blackhole-1-target"),
        row(Interface, "failure_interval", Same, "", "down_rounds_take_it_offline_and_up_rounds_bring_it_back"),
        row(Interface, "recovery_interval", Same, "", "down_rounds_take_it_offline_and_up_rounds_bring_it_back"),
        row(Interface, "keep_failure_interval", Same, "", "keep_failure_interval_applies_while_offline"),
        row(Interface, "up", Same, "but a device that comes back is proven by one answer", "a_returning_path_is_proven_by_one_answer_and_has_down_rounds_for_it"),
        row(Interface, "down", Same, "", "down_rounds_take_it_offline_and_up_rounds_bring_it_back"),
        row(Interface, "size", Same, "", "probes_carry_mark_source_and_ttl_and_follow_the_device"),
        row(Interface, "max_ttl", Same, "", "probes_carry_mark_source_and_ttl_and_follow_the_device"),
        row(Interface, "check_quality", Same, "", "quality-per-round"),
        row(Interface, "failure_latency", Same, "", "score_and_quality_are_mwan3s_on_any_trace"),
        row(Interface, "recovery_latency", Same, "", "score_and_quality_are_mwan3s_on_any_trace"),
        row(Interface, "failure_loss", Same, "", "quality-per-round"),
        row(Interface, "recovery_loss", Same, "", "score_and_quality_are_mwan3s_on_any_trace"),
        row(Interface, "initial_state", Different, "decides at the start of the daemon; a device that comes back waits for its first answer", "carrier"),
        row(Interface, "flush_conntrack", Better, "entries of that interface and family only, after the switch; at ifdown and disconnected only if there is a better path", "flush_conntrack_deletes_at_the_events_it_names_and_at_no_other"),
        row(Member, "interface", Same, "", "every_case_reads_as_expected"),
        row(Member, "metric", Better, "to 65535 (mwan3 drops members above 256)", "every_small_world_chooses_as_brute_force_does"),
        row(Member, "weight", Same, "", "balance-3-2-1"),
        row(Policy, "use_member", Better, "an unknown member is named; the policy keeps the others", "bad-references"),
        row(Policy, "last_resort", Better, "for everybody, with every member offline", "s25-all-down-all-recover"),
        row(Rule, "family", Same, "option or list", "rule-matches"),
        row(Rule, "proto", Same, "", "protocol_lists"),
        row(Rule, "src_ip", Better, "lists, ranges, negation; a value that is none leaves out this rule only", "address_lists"),
        row(Rule, "src_port", Same, "", "port_lists"),
        row(Rule, "dest_ip", Better, "lists, ranges, negation; a value that is none leaves out this rule only", "address_lists"),
        row(Rule, "dest_port", Same, "", "port_lists"),
        row(Rule, "src_iface", Same, "", "rule-matches"),
        row(Rule, "ipset", Different, "an nftables set: a set nobody defines is made, empty, as in mwan3, but dnsmasq needs `nftset=` instead of `ipset=` to fill it (W0711 has the line)", "sets-on-demand"),
        row(Rule, "ipset_src", Ours, "the same for the source", "sets-dnsmasq"),
        row(Rule, "sticky_key", Ours, "one WAN per source and destination", "sticky-destination"),
        row(Rule, "sticky", Same, "", "sticky"),
        row(Rule, "timeout", Same, "", "sticky"),
        row(Rule, "logging", Better, "counted, and limited to 600 lines a minute, a rule", "logging"),
        row(Rule, "use_policy", Better, "an unknown policy is named", "bad-references"),
        row(Rule, "equalize", Same, "without effect", "legacy-options"),
        row(Ipset, "name", Ours, "sections as in OpenWrt's firewall", "sets"),
        row(Ipset, "enabled", Ours, "likewise", "sets"),
        row(Ipset, "family", Ours, "likewise; without it both", "sets-dnsmasq"),
        row(Ipset, "match", Ours, "likewise", "sets"),
        row(Ipset, "entry", Ours, "likewise", "sets-dnsmasq"),
        row(Ipset, "loadfile", Ours, "likewise; read again when it changes", "sets-dnsmasq"),
        row(Ipset, "domain", Ours, "what dnsmasq enters", "sets-dnsmasq"),
        row(Ipset, "timeout", Ours, "of what dnsmasq entered", "sets"),
        row(Ipset, "counters", Ours, "per element", "sets-dnsmasq"),
        row(Ipset, "maxelem", Ours, "of the old ipset; without effect", "sets"),
        row(Ipset, "hashsize", Ours, "likewise", "sets"),
        row(Ipset, "storage", Ours, "likewise", "sets"),
        row(Web, "enabled", Ours, "mwan3 has no web server", "the_section_says_where_and_how_it_listens"),
        row(Web, "listen", Ours, "likewise", "the_section_says_where_and_how_it_listens"),
        row(Web, "tls", Ours, "likewise", "off_the_machine_only_with_tls"),
        row(Web, "certificate", Ours, "likewise", "the_section_says_where_and_how_it_listens"),
        row(Web, "key", Ours, "likewise", "the_section_says_where_and_how_it_listens"),
        row(Web, "session_timeout", Ours, "likewise", "a_session_ends_when_nobody_uses_it_and_in_any_case_after_half_a_day"),
        row(Web, "group", Ours, "likewise", "members_of_the_group_are_operators_at_the_socket"),
        row(Web, "hostname", Ours, "likewise", "the_section_says_where_and_how_it_listens"),
        row(Cloud, "document", Ours, "what a cloud's document says beside the guide's sections", "the_guides_file_comes_out_of_its_document"),
        row(Cloud, "wan", Ours, "likewise", "what_the_owner_changed_is_in_the_export"),
    ]
};

/// The table of `docs/compat.md`.
pub(crate) fn table() -> String {
    let mut out = String::from("| section | option | | what is other | shown by |\n|---|---|---|---|---|\n");
    for kind in SectionKind::ALL.into_iter().filter(|kind| is_compared(*kind)) {
        for doc in options_of(kind).filter(|o| !o.uci.is_empty() && o.kind != "text") {
            // Writing into a String cannot fail. A test asks for a row of each.
            let _ = row_of(kind, doc).map(|row| writeln!(out, "{}", line(row, doc)));
        }
    }
    out
}

/// Of sections without anything alike in mwan3 or mwan4 there is nothing to compare, option by option.
fn is_compared(kind: SectionKind) -> bool {
    kind != SectionKind::Alert
}

fn row_of(kind: SectionKind, doc: &OptionDoc) -> Option<&'static Row> {
    ROWS.iter().find(|r| r.section == kind && r.key == doc.key())
}

fn line(row: &Row, doc: &OptionDoc) -> String {
    let names: Vec<String> = doc.uci.iter().map(|n| format!("`{n}`")).collect();
    let verdict = match row.verdict {
        Verdict::Same => "same",
        Verdict::Better => "better",
        Verdict::Different => "different",
        Verdict::Ours => "ours",
    };
    let (kind, note, proof) = (row.section.uci()[0], row.note, row.proof);
    format!("| {kind} | {} | {verdict} | {note} | `{proof}` |", names.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A new option is compared and shown by something that can fail, or it is not in the table.
    #[test]
    fn every_option_has_a_row() {
        for kind in SectionKind::ALL.into_iter().filter(|kind| is_compared(*kind)) {
            for doc in options_of(kind).filter(|o| !o.uci.is_empty() && o.kind != "text") {
                assert!(row_of(kind, doc).is_some(), "{kind:?} {} has no row in compat.rs", doc.key());
            }
        }
    }

    #[test]
    fn every_row_is_about_an_option_and_only_once() {
        for row in ROWS {
            assert!(options_of(row.section).any(|o| o.key() == row.key), "{:?} {}", row.section, row.key);
            let same = ROWS.iter().filter(|r| (r.section, r.key) == (row.section, row.key));
            assert_eq!(same.count(), 1, "{:?} {}", row.section, row.key);
            // That values are read and checked is so of all of them, and shows nothing of what one does.
            assert!(!row.proof.starts_with("every_malformed_value"), "{}", row.key);
            assert!(
                !row.proof.is_empty() && (row.verdict == Verdict::Same || !row.note.is_empty()),
                "{}",
                row.key
            );
        }
    }
}
