//! What each tracking method costs.

use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::time::Duration;

use super::config::{Shape, TARGETS};
use super::daemon::Setup;
use super::resources::Probing;
use super::table::Row;
use super::world::World;
use crate::responders::{Responder, respond};

const WINDOW: Duration = Duration::from_secs(10);
const WANS: usize = 60;
/// Shares of a core, percent: TLS has to calculate, the others ask the kernel only.
const SHARE_MAX: f64 = 2.0;
const SHARE_MAX_TLS: f64 = 5.0;

/// A method as mwan3 names it, and its options.
struct Method {
    name: &'static str,
    tracking: &'static [&'static str],
    share_max: f64,
}

const METHODS: &[Method] = &[
    method("nping-tcp", &["interval 1", "timeout 1", "track_method nping-tcp"], SHARE_MAX),
    method("nping-udp", &["interval 1", "timeout 1", "track_method nping-udp"], SHARE_MAX),
    method("nslookup", &["interval 1", "timeout 1", "track_method nslookup"], SHARE_MAX),
    method("httping", &["interval 1", "timeout 1", "track_method httping"], SHARE_MAX),
    method(
        "httping with TLS",
        &["interval 1", "timeout 1", "track_method httping", "httping_ssl 1"],
        SHARE_MAX_TLS,
    ),
];

const fn method(name: &'static str, tracking: &'static [&'static str], share_max: f64) -> Method {
    Method { name, tracking, share_max }
}

/// 60 interfaces, 4 targets each, every second, once by each method.
pub(crate) fn methods(mwan: &Path) -> Result<Vec<Row>, String> {
    let world = World::build("methods", WANS)?;
    world.listen()?;
    let plain = |tls| Responder::Http { tls, status: 200, location: None };
    for target in TARGETS {
        let ip: IpAddr = target.parse().map_err(|e| format!("{target}: {e}"))?;
        for (responder, port) in [(Responder::Dns, 53), (plain(false), 80), (plain(true), 443)] {
            respond(&world.peer, &responder, SocketAddr::new(ip, port)).map_err(|e| e.to_string())?;
        }
    }
    METHODS.iter().map(|method| one(mwan, &world, method)).collect()
}

fn one(mwan: &Path, world: &World, method: &Method) -> Result<Row, String> {
    let shape = Shape { wans: WANS, rules: 0, targets: 4, tracking: method.tracking, last: "balanced" };
    let running = Setup::new(mwan, &world.router, &shape.uci())?.start()?;
    running.wait_online(Duration::from_secs(20)).map_err(|e| format!("{}: {e}", method.name))?;
    std::thread::sleep(Duration::from_secs(2));
    let probing = Probing::over(&running, WINDOW)?;
    running.stop()?;
    let Probing { sent, received, late, share, rss, .. } = probing;
    Ok(Row::new("methods", format!("60 interfaces × 4 targets × 1 s by {}", method.name))
        .target(format!("≤ {} % of a core", method.share_max))
        .measured(format!("{share:.2} %, {late} late"))
        .verdict(share <= method.share_max && probing.lost_nothing())
        .note(format!(
            "{sent} probes sent and {received} answered in {} s, {late} late rounds, {rss:.1} MiB RSS.",
            WINDOW.as_secs()
        )))
}
