//! Answers to what is asked over the control socket.

use std::sync::Arc;

use mwan_api::{Request, Response};
use mwan_core::{Event, Marks, PathKey};
use mwan_linux::clock;

use super::config::parse_config;
use super::hooks::STOP_MAX;
use super::plan::plan;
use super::status::{self, Achieved, diagnostics};
use super::writer::describe;
use super::{Daemon, Next};
use crate::cli::Failure;

impl Daemon {
    pub(super) fn answer(&mut self, request: Request) -> (Response, Next) {
        let response = match request {
            Request::Status => Ok(Response::Status(Box::new(self.status()))),
            Request::Diff => self.difference(),
            Request::Plan { file, text } => self.plan(&file, text.as_bytes()),
            Request::IfUp { interface } => self.command(interface, Event::IfUp),
            Request::IfDown { interface } => self.command(interface, Event::IfDown),
            Request::Use { interface } => self.binding(&interface),
            Request::Reload => {
                self.reload();
                match &self.config_rejected {
                    None => Ok(Response::Done),
                    Some(why) => {
                        Err(Failure::says(format!("the configuration before stays in force: {why}")))
                    }
                }
            }
            Request::Stop => match self.writer.clean() {
                Ok(()) => {
                    self.store.forget_health();
                    self.core.stopped().into_iter().for_each(|call| self.hooks.call(call));
                    return (Response::Done, Next::End(STOP_MAX));
                }
                Err(failure) => Err(failure),
            },
        };
        (response.unwrap_or_else(error_response), Next::Go)
    }

    fn command(&mut self, interface: String, event: fn(String) -> Event) -> Result<Response, Failure> {
        if self.core.wan(&interface).is_none() {
            return Err(self.no_interface(&interface));
        }
        self.feed(event(interface));
        Ok(Response::Done)
    }

    fn no_interface(&self, name: &str) -> Failure {
        let known: Vec<&str> =
            self.core.config().interfaces.iter().filter(|i| i.enabled).map(|i| i.name.as_str()).collect();
        Failure::says(format!("there is no enabled interface '{}'", name.escape_debug()))
            .hint(format!("the configuration has: {}", known.join(", ")))
    }

    fn binding(&self, interface: &str) -> Result<Response, Failure> {
        let (id, device) = self.core.wan(interface).ok_or_else(|| self.no_interface(interface))?;
        let marks = Marks::new(self.core.config().globals.mask);
        let sources = mwan_config::Family::ALL
            .into_iter()
            .filter_map(|family| self.core.path(PathKey { id, family })?.source)
            .map(|ip| ip.to_string());
        Ok(Response::Use(mwan_api::Binding {
            device: device.to_owned(),
            sources: sources.collect(),
            mark: marks.of(marks.default_id()),
        }))
    }

    fn difference(&mut self) -> Result<Response, Failure> {
        let ops = self.writer.difference()?;
        let mut plan = plan(&self.core, &mut self.writer, &[])?;
        plan.changes = describe(&ops);
        Ok(Response::Plan(plan))
    }

    fn plan(&mut self, file: &str, bytes: &[u8]) -> Result<Response, Failure> {
        let loaded = parse_config(file, bytes);
        let mut core = self.core.clone();
        core.handle(clock::now(), Event::Configure(Arc::new(loaded.config)));
        plan(&core, &mut self.writer, &loaded.diagnostics).map(Response::Plan)
    }

    fn status(&mut self) -> mwan_api::Status {
        let now = clock::now();
        let counters = self.writer.counters();
        let observed = self.writer.observe().ok();
        let achieved = Achieved::new(&self.core, self.writer.committed(), observed.as_ref());
        let none = std::collections::BTreeSet::new();
        let net = self.core.network();
        let daemon = mwan_api::Daemon {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            pid: std::process::id(),
            uptime_s: now.since(self.started).as_secs(),
            config: self.options.config.to_string_lossy().into_owned(),
            config_rejected: self.config_rejected.clone(),
            generation: self.core.desired().map_or(0, |d| d.generation),
            last_apply_us: u64::try_from(self.writer.last_apply.as_micros()).unwrap_or(u64::MAX),
            applies: self.writer.applies,
            repairs: self.writer.repairs,
            apply_error: self.apply_error.clone(),
            late_rounds: self.late_rounds,
        };
        let mut status = mwan_api::Status {
            schema: mwan_api::SCHEMA_STATUS.to_owned(),
            daemon,
            degraded: false,
            problems: Vec::new(),
            interfaces: status::interfaces(&self.core, &achieved, now),
            policies: achieved.policies(&counters),
            connected: status::networks(net.map_or(&none, |n| &n.connected).iter()),
            custom: status::networks(net.map_or(&none, |n| &n.custom).iter()),
            rules: Vec::new(),
            diagnostics: diagnostics(&self.diagnostics),
        };
        let committed = self.writer.committed().cloned();
        let achieved = Achieved::new(&self.core, committed.as_ref(), observed.as_ref());
        status.rules = achieved.rules(&counters, |rule, id, family| self.writer.sticky(rule, id, family));
        status.problems = status::problems(&status, !self.core.config().globals.enabled);
        status.problems.extend(achieved.differences());
        status.problems.extend(status::local_source(&self.core));
        status.degraded = !status.problems.is_empty();
        status
    }
}

fn error_response(failure: Failure) -> Response {
    Response::Error { message: failure.to_string(), hint: failure.hint_text() }
}
