//! What a configuration would install, against what the kernel has.

use std::sync::Arc;

use mwan_api::Plan;
use mwan_compile::diff_observed;
use mwan_config::Diagnostic;
use mwan_core::{Core, Event, Memory};
use mwan_linux::clock;
use mwan_linux::monitor::Monitor;

use super::config::parse_config;
use super::status::diagnostics;
use super::writer::{Writer, describe};
use crate::cli::{BusArgs, Failure};
use crate::ipfire;
use crate::openwrt::Openwrt;
use crate::platform::PlatformName;

/// What `config` would install, with every interface in its initial state.
pub(crate) fn plan_without_daemon(
    name: &str,
    bytes: &[u8],
    platform: PlatformName,
    bus: &BusArgs,
) -> Result<Plan, Failure> {
    let loaded = parse_config(name, bytes);
    let tables = loaded.config.globals.rt_table_lookup.clone();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|e| Failure::new("cannot start the runtime", &e))?;
    let (net, view) = runtime.block_on(async {
        let view = if platform.has_netifd() { Openwrt::start(bus, None).first().await } else { None };
        let net = Monitor::open(tables).map(|mut m| m.view());
        net.map(|net| (net, view)).map_err(|e| Failure::new("cannot read the network", &e))
    })?;
    let mut core = Core::new(platform.core(), Arc::new(loaded.config), Memory::default());
    if let Some(view) = view.or_else(|| ipfire::plan_view(core.config())) {
        core.handle(clock::now(), Event::Platform(view));
    }
    core.handle(clock::now(), Event::Network(net));
    plan(&core, &mut Writer::open()?, &loaded.diagnostics)
}

/// The program of a core's desired state, against the kernel as it is now.
pub(super) fn plan(core: &Core, writer: &mut Writer, found: &[Diagnostic]) -> Result<Plan, Failure> {
    let desired = core.desired().ok_or_else(|| Failure::says("the network has not been seen yet"))?;
    let program = writer.compile(desired);
    let changes = describe(&diff_observed(&writer.observe()?, &program));
    Ok(Plan {
        schema: mwan_api::SCHEMA_PLAN.to_owned(),
        nft: mwan_compile::text::table(&program.table),
        rules: program.rules.iter().map(ToString::to_string).collect(),
        routes: program.routes.iter().map(ToString::to_string).collect(),
        changes,
        diagnostics: diagnostics(found),
        impact: None,
    })
}
