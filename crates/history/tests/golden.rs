//! The report as text and as a page, as whole files in `tests/golden`. `UPDATE_GOLDEN=1` writes them anew.
#![allow(clippy::unwrap_used, clippy::disallowed_methods)]

use std::path::Path;

use mwan_api::{Gap, Outage, Report, ReportInterface, ReportLatency, ReportPath};

const FROM: u64 = 1_793_491_200;

fn path(family: &str) -> ReportPath {
    ReportPath {
        family: family.to_owned(),
        known_s: 2_170_000,
        unknown_s: 12_400,
        usable_s: 2_168_790,
        availability_percent: Some(99.944),
        latency: Some(ReportLatency {
            p50_ms: 12.31,
            p95_ms: 20.0,
            p99_ms: 148.26,
            mean_ms: 13.6,
            max_ms: 912.0,
        }),
        jitter_ms: Some(1.23),
        probes_sent: 4_340_000,
        probes_lost: 5210,
        loss_percent: Some(0.12),
        outages: vec![
            Outage {
                start_ms: (FROM + 180_000) * 1000 + 250,
                end_ms: Some((FROM + 180_902) * 1000),
                end_seen: true,
                code: "probes_lost".to_owned(),
                text: "5 rounds in a row lost".to_owned(),
            },
            Outage {
                start_ms: (FROM + 300_000) * 1000,
                end_ms: Some((FROM + 300_007) * 1000),
                end_seen: false,
                code: "no_carrier".to_owned(),
                text: "device eth1 has no carrier".to_owned(),
            },
            Outage {
                start_ms: (FROM + 2_182_100) * 1000,
                end_ms: None,
                end_seen: false,
                code: "route_refused".to_owned(),
                text: "the kernel <b>\"says\"</b> & 'means' \u{1b}[31mno".to_owned(),
            },
        ],
        outages_incomplete: false,
        longest_outage_s: Some(902),
        gaps: vec![Gap { from_s: FROM + 299_600, to_s: FROM + 313_200, unknown_s: 12_400 }],
    }
}

fn report() -> Report {
    let nothing = ReportPath {
        known_s: 0,
        usable_s: 0,
        unknown_s: 2_182_400,
        availability_percent: None,
        latency: None,
        jitter_ms: None,
        probes_sent: 0,
        probes_lost: 0,
        loss_percent: None,
        longest_outage_s: None,
        outages: Vec::new(),
        outages_incomplete: true,
        gaps: Vec::new(),
        ..path("ipv6")
    };
    let interface = |name: &str, paths| ReportInterface {
        interface: name.to_owned(),
        rx_bytes: Some(123_456_789_012),
        tx_bytes: None,
        paths,
    };
    Report {
        schema: mwan_api::SCHEMA_REPORT.to_owned(),
        month: "2026-11".to_owned(),
        from_s: FROM,
        to_s: FROM + 2_182_400,
        made_s: FROM + 2_182_400,
        interfaces: vec![
            interface("fibre", vec![path("ipv4"), nothing]),
            interface("<script>alert(1)</script>\u{7}", vec![path("ipv4")]),
        ],
        problems: vec!["<wanb>.ring: its header is damaged".to_owned()],
    }
}

fn check(name: &str, text: &str) {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name);
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&file, text).unwrap();
    }
    let golden = std::fs::read_to_string(&file).unwrap_or_default();
    assert!(golden == text, "{} is not what is written now (UPDATE_GOLDEN=1):\n{text}", file.display());
}

#[test]
fn as_text() {
    let text = mwan_history::text(&report());
    assert!(!text.chars().any(|c| c.is_control() && c != '\n'));
    check("report.txt", &text);
}

#[test]
fn as_a_page_that_loads_and_runs_nothing() {
    let page = mwan_history::html(&report());
    for forbidden in ["<script", "<b>", "src=", "href=", "url(", "@import", "http:", "https:", "onload"] {
        assert!(!page.contains(forbidden), "{forbidden}");
    }
    assert!(page.contains("@media print"));
    check("report.html", &page);
}

#[test]
fn of_a_month_without_anything() {
    let nothing =
        Report { interfaces: Vec::new(), problems: Vec::new(), made_s: FROM + 9_000_000, ..report() };
    check("nothing.txt", &mwan_history::text(&nothing));
    assert!(mwan_history::html(&nothing).contains("Nothing is recorded of this month."));
}
