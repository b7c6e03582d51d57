#![allow(clippy::unwrap_used)]
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path as FilePath;
use std::time::Instant;

use mwan_api::{PathSample, Sample};

use super::*;

fn status() -> Status {
    serde_json::from_str(include_str!("../tests/status.json")).unwrap()
}

fn sample(interface: &str, received: u64) -> PathSample {
    PathSample {
        interface: interface.to_owned(),
        family: "ipv4".to_owned(),
        status: "online".to_owned(),
        usable: true,
        carries: true,
        rtt_us: Some(12_000),
        jitter_us: Some(500),
        loss_percent: Some(3),
        sent: received,
        received,
        rx_bytes: Some(1000),
        tx_bytes: Some(2000),
    }
}

fn window(interfaces: &[String]) -> Window {
    let mut window = Window::default();
    for n in 1..=300 {
        let paths = interfaces.iter().map(|interface| sample(interface, n)).collect();
        window.take(&Sample { time_ms: n * 1000, paths });
    }
    window
}

const CLIENTS: Clients = Clients { listening: 2, dropped: 1 };

fn text(format: Format) -> String {
    write(format, Some(&status()), &window(&["wan".to_owned()]), CLIENTS)
}

/// Name, labels and value of every sample.
fn parse(text: &str) -> Vec<(String, String, f64)> {
    let samples = text.lines().filter(|line| !line.starts_with('#'));
    samples
        .map(|line| {
            let (name, value) = line.rsplit_once(' ').unwrap();
            let (name, labels) = name.split_once('{').unwrap_or((name, ""));
            (name.to_owned(), labels.to_owned(), value.parse().unwrap_or_else(|_| panic!("{line}")))
        })
        .collect()
}

/// What both formats ask for: one block per family, its type before its samples, no series twice, endings that fit the type.
#[test]
fn the_text_keeps_to_the_rules_of_both_formats() {
    for format in [Format::OpenMetrics, Format::Prometheus] {
        let text = text(format);
        let mut seen = BTreeSet::new();
        let (mut family, mut kind) = (String::new(), String::new());
        for line in text.lines().filter(|line| *line != "# EOF") {
            if let Some(rest) = line.strip_prefix("# TYPE ") {
                let (name, of) = rest.split_once(' ').unwrap();
                assert!(seen.insert(name.to_owned()), "{name} twice");
                (family, kind) = (name.to_owned(), of.to_owned());
                continue;
            }
            if let Some(rest) = line.strip_prefix("# ") {
                assert_eq!(rest.split(' ').nth(1), Some(family.as_str()), "{line}");
                continue;
            }
            let name = line.split(['{', ' ']).next().unwrap();
            let ending = name.strip_prefix(family.as_str()).unwrap_or_else(|| panic!("{line} in {family}"));
            let endings: &[&str] = match (format, kind.as_str()) {
                (_, "summary") => &["", "_sum", "_count"],
                (_, "histogram") => &["_bucket", "_sum", "_count"],
                (Format::OpenMetrics, "counter") => &["_total"],
                (Format::OpenMetrics, "info") => &["_info"],
                _ => &[""],
            };
            assert!(endings.contains(&ending), "{kind} {line}");
        }
        let samples = parse(&text);
        let unique: BTreeSet<(&str, &str)> =
            samples.iter().map(|(n, l, _)| (n.as_str(), l.as_str())).collect();
        assert_eq!(unique.len(), samples.len(), "a series is there once");
        assert_eq!(text.ends_with("# EOF\n"), format == Format::OpenMetrics);
    }
}

#[test]
fn the_values_are_those_of_the_status_and_of_the_samples() {
    let text = text(Format::OpenMetrics);
    for line in [
        "mwan_up 1",
        "mwan_build_info{version=\"0.1.0\"} 1",
        "mwan_problems 1",
        "mwan_apply_duration_seconds_bucket{le=\"0.001\"} 2",
        "mwan_apply_duration_seconds_bucket{le=\"+Inf\"} 2",
        "mwan_apply_duration_seconds_sum 0.0018",
        "mwan_repairs_total 1",
        "mwan_path_state{interface=\"wan\",family=\"ipv4\",mwan_path_state=\"online\"} 1",
        "mwan_path_state{interface=\"wan\",family=\"ipv4\",mwan_path_state=\"offline\"} 0",
        "mwan_path_reason_info{interface=\"wanb\",family=\"ipv4\",reason=\"probes_lost\"} 1",
        "mwan_path_rtt_seconds{interface=\"wan\",family=\"ipv4\",quantile=\"0.99\"} 0.012",
        "mwan_path_rtt_seconds_count{interface=\"wan\",family=\"ipv4\"} 300",
        "mwan_path_loss_ratio{interface=\"wan\",family=\"ipv4\"} 0.03",
        "mwan_target_up{interface=\"wanb\",family=\"ipv4\",target=\"9.9.9.9\"} 0",
        "mwan_target_probes_total{interface=\"wan\",family=\"ipv4\",target=\"8.8.8.8\"} 60",
        "mwan_policy_share_ratio{policy=\"balanced\",family=\"ipv4\",interface=\"wan\"} 0.75",
        "mwan_policy_carried{policy=\"balanced\",family=\"ipv6\"} 0",
        "mwan_policy_switches_total{policy=\"balanced\",family=\"ipv4\"} 2",
        "mwan_member_flows_total{policy=\"balanced\",family=\"ipv4\",interface=\"wanb\"} 3",
        "mwan_rule_first_packet_bytes_total{rule=\"https \\\"quoted\\\"\\\\\",family=\"ipv4\",target=\"balanced\"} 720",
        "mwan_web_event_clients_dropped_total 1",
    ] {
        assert!(text.lines().any(|known| known == line), "{line}\n{text}");
    }
    // Before the first outcome nothing is said, and of a rule that is not in the kernel neither.
    assert!(!text.contains("mwan_target_up{interface=\"wan\",family=\"ipv4\",target=\"1.1.1.1\"}"), "{text}");
    assert!(!text.contains("rule=\"late\""), "{text}");
}

/// docs/metrics.md has a row of every family, made from the table.
#[test]
fn the_page_names_every_family() {
    const BEGIN: &str = "<!-- families: generated from crates/web/src/metrics/mod.rs; make docs -->\n";
    const END: &str = "<!-- families end -->\n";
    let path = FilePath::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/metrics.md");
    let page = std::fs::read_to_string(&path).unwrap();
    let (before, rest) = page.split_once(BEGIN).expect("the page has the begin mark");
    let (_, after) = rest.split_once(END).expect("the page has the end mark");
    let labels = labels();
    let mut table = String::from("| metric | type | labels | what it is |\n|---|---|---|---|\n");
    for family in FAMILIES {
        let (ending, kind) = match family.kind {
            Kind::Gauge => ("", "gauge"),
            Kind::Counter => ("_total", "counter"),
            Kind::Summary => ("", "summary"),
            Kind::Histogram => ("", "histogram"),
            Kind::Info => ("_info", "info"),
            Kind::StateSet => ("", "stateset"),
        };
        let labels = labels.get(family.name).cloned().unwrap_or_default();
        table.push_str(&format!("| `{}{ending}` | {kind} | {labels} | {} |\n", family.name, family.help));
    }
    crate::openapi::check(&path, &format!("{before}{BEGIN}\n{table}\n{END}{after}"));
}

/// Labels by family, as they are written.
fn labels() -> BTreeMap<String, String> {
    let mut status = status();
    status.interfaces[0].paths[0].hold = None;
    let text = write(Format::OpenMetrics, Some(&status), &window(&["wan".to_owned()]), CLIENTS);
    let mut family = String::new();
    let mut labels = BTreeMap::new();
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# TYPE ") {
            family = rest.split(' ').next().unwrap().to_owned();
        } else if let Some((_, rest)) = line.split_once('{') {
            let names: Vec<&str> =
                rest.split("=\"").filter_map(|part| part.rsplit([',', '{', '"']).next()).collect();
            let names = &names[..names.len().saturating_sub(1)];
            let list = names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
            labels.entry(family.clone()).or_insert(list);
        }
    }
    let written = text.lines().filter(|line| line.starts_with("# TYPE ")).count();
    assert_eq!(written, FAMILIES.len(), "every family is written by the example");
    labels
}

/// A figure, not a limit: `cargo test -p mwan-web --release sixty -- --nocapture`.
#[test]
fn sixty_interfaces_are_written_at_once() {
    let mut status = status();
    let one = status.interfaces[0].clone();
    let names: Vec<String> = (0..60).map(|n| format!("wan{n}")).collect();
    status.interfaces = names.iter().map(|name| Interface { name: name.clone(), ..one.clone() }).collect();
    status.policies =
        (0..30).map(|n| Policy { name: format!("p{n}"), ..status.policies[0].clone() }).collect();
    let window = window(&names);
    let start = Instant::now();
    let text = write(Format::OpenMetrics, Some(&status), &window, CLIENTS);
    println!("{} lines, {} bytes in {:?}", text.lines().count(), text.len(), start.elapsed());
    assert!(text.lines().count() > 1500);
}

/// Dashboard and alert rules ask for nothing that is not there.
#[test]
fn what_is_shipped_for_prometheus_and_grafana_names_our_metrics() {
    let text = text(Format::OpenMetrics);
    let known: BTreeSet<String> = parse(&text).into_iter().map(|(name, _, _)| name).collect();
    let package = FilePath::new(env!("CARGO_MANIFEST_DIR")).join("../../package");
    for (file, least) in [("grafana/mwan.json", 12), ("prometheus/mwan-alerts.yml", 8)] {
        let shipped = std::fs::read_to_string(package.join(file)).unwrap();
        let words = shipped.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
        let named: BTreeSet<&str> = words.filter(|word| word.starts_with("mwan_")).collect();
        for name in &named {
            assert!(known.contains(*name), "{file}: {name}");
        }
        assert!(named.len() >= least, "{file}: {named:?}");
    }
    let dashboard = std::fs::read(package.join("grafana/mwan.json")).unwrap();
    let dashboard: serde_json::Value = serde_json::from_slice(&dashboard).unwrap();
    assert!(dashboard["panels"].as_array().unwrap().len() > 10);
}
