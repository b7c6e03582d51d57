//! netifd's `network.interface dump` as the core takes it.

use mwan_config::{Gather, sort_short};
use std::net::IpAddr;

use ipnet::IpNet;
use mwan_core::{LogicalInterface, PlatformView};
use mwan_ubus::{Table, Value};

/// Interfaces taken; more than any router has, and what they hold is bounded by the size of a message.
const INTERFACES_MAX: usize = 4096;

/// The interfaces of a dump. What has an unexpected form is left out: it is as if netifd had not said it.
pub(super) fn view(dump: &Table) -> PlatformView {
    let all = dump.array("interface").iter().take(INTERFACES_MAX).filter_map(Value::as_table);
    let named = all.filter_map(|one| Some((one.str("interface")?.to_owned(), interface(one))));
    PlatformView { interfaces: named.gather() }
}

fn interface(table: &Table) -> LogicalInterface {
    let text = |name: &str| table.str(name).filter(|t| !t.is_empty()).map(str::to_owned);
    let inactive = table.get("inactive").and_then(Value::as_table);
    // `defaultroute 0` leaves a route inactive: not for the main table, and just what ours need.
    let (mut routes, idle) = (routes(table), inactive.map(routes).unwrap_or_default());
    routes.extend(idle);
    LogicalInterface {
        up: table.get("up").and_then(Value::as_bool).unwrap_or(false),
        device: text("l3_device"),
        lower_device: text("device"),
        proto: text("proto").unwrap_or_default(),
        metric: table.get("metric").and_then(number).unwrap_or(0),
        gateways: routes,
        addresses: addresses(table),
        prefixes: prefixes(table),
        on_trial: false,
        dns: table.array("dns-server").iter().filter_map(ip).collect(),
    }
}

fn number(value: &Value) -> Option<u32> {
    // blobmsg has no unsigned numbers: a metric above 2³¹ looks negative.
    value.as_i64().map(|n| n as u32)
}

fn ip(value: &Value) -> Option<IpAddr> {
    value.as_str()?.parse().ok()
}

/// Next hops of default routes: those of the main table first, then by metric, then in netifd's order.
fn routes(table: &Table) -> Vec<IpAddr> {
    let hop = |route: &Table| {
        let target: IpAddr = ip(route.get("target")?)?;
        let default = target.is_unspecified() && route.get("mask").and_then(number) == Some(0);
        // A device that needs no next hop says 0.0.0.0 or nothing.
        let hop = ip(route.get("nexthop")?).filter(|hop| default && !hop.is_unspecified())?;
        let metric = route.get("metric").and_then(number).unwrap_or(0);
        Some(((route.get("table").is_some(), metric), hop))
    };
    let mut all: Vec<_> = table.array("route").iter().filter_map(|r| hop(r.as_table()?)).collect();
    sort_short(&mut all, |(order, _)| *order);
    all.into_iter().map(|(_, hop)| hop).collect()
}

fn addresses(table: &Table) -> Vec<IpAddr> {
    let lists = ["ipv4-address", "ipv6-address"].into_iter().flat_map(|list| table.array(list));
    lists.filter_map(|one| ip(one.as_table()?.get("address")?)).collect()
}

/// Prefixes that were delegated to us by this interface.
fn prefixes(table: &Table) -> Vec<IpNet> {
    let one = |one: &Value| {
        let one = one.as_table()?;
        let length = u8::try_from(one.get("mask").and_then(number)?).ok()?;
        Some(IpNet::new(ip(one.get("address")?)?, length).ok()?.trunc())
    };
    table.array("ipv6-prefix").iter().filter_map(one).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use mwan_ubus::Stream;

    /// The longest answer in a recording of the real netifd.
    fn recorded() -> Table {
        let text = include_str!("../../../ubus/tests/wire/call-dump.hex");
        let mut stream = Stream::default();
        for hex in text.lines().filter(|l| l.contains("S>C")).map(|l| l.split(' ').nth(2).unwrap()) {
            let byte = |at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap();
            stream.push(&(0..hex.len()).step_by(2).map(byte).collect::<Vec<u8>>());
            while let Some(message) = stream.next().unwrap() {
                if let Some(table) = message.data().filter(|t| t.get("interface").is_some()) {
                    return table.clone();
                }
            }
        }
        panic!("no dump in the recording");
    }

    #[test]
    fn the_real_netifd_is_understood() {
        let view = view(&recorded());
        let names: Vec<&str> = view.interfaces.keys().map(String::as_str).collect();
        assert_eq!(names, ["lan", "loopback", "wan", "wanb"]);
        let wanb = &view.interfaces["wanb"];
        assert_eq!(
            *wanb,
            LogicalInterface {
                up: true,
                device: Some("eth2".into()),
                lower_device: Some("eth2".into()),
                proto: "static".into(),
                metric: 20,
                gateways: vec!["10.10.2.1".parse().unwrap()],
                addresses: vec!["10.10.2.2".parse().unwrap()],
                prefixes: Vec::new(),
                on_trial: false,
                dns: Vec::new(),
            }
        );
        assert!(view.interfaces["lan"].gateways.is_empty());
        assert_eq!(view.interfaces["lan"].addresses.len(), 2);
    }

    fn route(target: &str, mask: i32, hop: &str) -> Table {
        Table::new().with("target", target).with("mask", mask).with("nexthop", hop)
    }

    fn of(tables: Vec<Table>) -> Value {
        tables.into_iter().map(Value::Table).collect::<Vec<_>>().into()
    }

    /// PPPoE with IPv6: a child with a delegated prefix and several routes.
    #[test]
    fn children_prefixes_and_routes_of_all_kinds() {
        let routes = vec![
            route("2001:db8::", 32, "fe80::9"),
            route("::", 0, "fe80::3").with("metric", 512),
            route("::", 0, "fe80::2").with("metric", 256),
            route("::", 0, "fe80::4").with("table", 100),
        ];
        let idle = of(vec![route("0.0.0.0", 0, "10.64.64.1"), route("0.0.0.0", 0, "0.0.0.0")]);
        let prefix = Table::new().with("address", "2001:db8:a::").with("mask", 48);
        let bad = Table::new().with("address", "2001:db8:a::").with("mask", 129);
        let wan_6 = Table::new()
            .with("interface", "wan_6")
            .with("up", true)
            .with("dynamic", true)
            .with("l3_device", "pppoe-wan")
            .with("device", "")
            .with("metric", -1)
            .with("route", of(routes))
            .with("inactive", Table::new().with("route", idle))
            .with("ipv6-prefix", of(vec![prefix, bad]))
            .with("dns-server", vec![Value::from("2001:db8::53"), Value::from("nonsense")]);
        let dump =
            Table::new().with("interface", of(vec![wan_6, Table::new(), Table::new().with("interface", 1)]));
        let view = view(&dump);
        assert_eq!(view.interfaces.len(), 1);
        let child = &view.interfaces["wan_6"];
        let hops: Vec<String> = child.gateways.iter().map(ToString::to_string).collect();
        assert_eq!(hops, ["fe80::2", "fe80::3", "fe80::4", "10.64.64.1"]);
        assert_eq!((child.device.as_deref(), child.lower_device.as_deref()), (Some("pppoe-wan"), None));
        assert_eq!(child.metric, u32::MAX);
        assert_eq!(child.prefixes, ["2001:db8:a::/48".parse().unwrap()]);
        assert_eq!(child.dns.len(), 1);
    }
}
