//! Answers to what is asked over the control socket.

use std::sync::Arc;

use mwan_api::{EventKind, EventQuery, RedCommand, Request, Response, Severity};
use mwan_core::{Event, Marks, PathKey};
use mwan_linux::clock;
#[cfg(feature = "ipfire")]
use tracing::info;
use tracing::warn;

use super::config::parse_config;
use super::hooks::STOP_MAX;
use super::impact;
use super::plan::plan;
use super::put::Change;
use super::reload::Reply;
use super::status::{self, Achieved, diagnostics};
use super::writer::{Writer, describe};
use super::{Daemon, Next, events, why};
use crate::cli::Failure;
#[cfg(feature = "ipfire")]
use crate::ipfire;
use crate::ipfire::Ipfire;
use crate::openwrt::Openwrt;

impl Daemon {
    /// What threads of their own find.
    fn look_up(&mut self, request: Request, reply: Reply) -> Next {
        match request {
            Request::History(query) => self.history.answer(query, reply),
            Request::Report { month } => self.history.report(month, reply),
            Request::Flows { limit } => self.flow_list.answer(&self.core, limit, reply),
            Request::Record => self.record.answer(reply),
            Request::Explain(query) => self.explain(query, reply),
            // None other comes here; who asked would be told that nobody answers.
            _ => {}
        }
        Next::Go
    }

    /// Answers at once, except what takes a while: that is done elsewhere.
    pub(super) fn answer(&mut self, request: Request, reply: Reply) -> Next {
        self.tell_news();
        let response = match request {
            Request::Status => Ok(Response::Status(Box::new(self.status()))),
            Request::Diff => self.difference(),
            Request::IfUp { interface } => self.command(interface, "ifup", Event::IfUp),
            Request::IfDown { interface } => self.command(interface, "ifdown", Event::IfDown),
            Request::Drain { interface } => self.command(interface, "drain", Event::Drain),
            Request::Undrain { interface } => self.command(interface, "undrain", Event::Undrain),
            Request::Why { name } => self.why(name),
            Request::Drill(order) => self.order_drill(order),
            Request::StopDrill => self.stop_drill(),
            Request::Drills { attended } => Ok(self.drills(attended)),
            Request::Events(query) => Ok(Response::Events(self.events.answer(&query))),
            request @ (Request::History(_)
            | Request::Report { .. }
            | Request::Flows { .. }
            | Request::Record
            | Request::Explain(_)) => return self.look_up(request, reply),
            Request::Watch { after } => {
                // Who watches hears what is told from here on.
                if let Some(test) = self.alerts.asked() {
                    self.events.tell(&test);
                }
                let query =
                    EventQuery { after, limit: Some(after.map_or(0, |_| u32::MAX)), ..EventQuery::default() };
                Ok(Response::Events(self.events.answer(&query)))
            }
            Request::Candidates => Ok(Response::Candidates(status::candidates(&self.core))),
            Request::Alerts => Ok(Response::Alerts(self.alerts())),
            Request::TestAlert { name } => self.test_alert(name),
            Request::ReportAlerts { alerts } => {
                self.alerts.report(alerts);
                Ok(Response::Done)
            }
            Request::Use { interface } => self.binding(&interface),
            #[cfg(feature = "ipfire")]
            Request::Red { command: command @ (RedCommand::Enable | RedCommand::Disable) } => {
                self.switch_settings(command == RedCommand::Enable, reply);
                return Next::Go;
            }
            Request::Red { command } => self.red(command),
            Request::Reload => {
                self.reload(Some(reply));
                return Next::Go;
            }
            // Who asked the control socket has had it shown there.
            Request::Show { request, .. } => return self.answer(*request, reply),
            Request::Guarded { request } => {
                self.guarded(*request, reply);
                return Next::Go;
            }
            Request::Config => {
                self.at_desk(reply, |desk, _| desk.text());
                return Next::Go;
            }
            Request::Validate { file, text } => {
                self.at_desk(reply, move |desk, _| desk.validate(&file, &text));
                return Next::Go;
            }
            Request::Cloud => {
                self.at_desk(reply, |desk, _| desk.cloud());
                return Next::Go;
            }
            Request::PutConfig { text, revision, dry_run, by } => {
                self.put(Change::Text(text), Some(revision), dry_run, None, by, reply);
                return Next::Go;
            }
            Request::Apply(_)
            | Request::Confirm
            | Request::TakeBack
            | Request::Revisions
            | Request::Revision { .. } => {
                self.with_a_way_back(request, None, reply);
                return Next::Go;
            }
            Request::PutCloud { document, file, revision, dry_run, partial, by } => {
                self.put(Change::cloud(document, file, partial), revision, dry_run, None, by, reply);
                return Next::Go;
            }
            Request::Plan { file, text } => {
                self.plan(file, text, reply);
                return Next::Go;
            }
            Request::Stop => match self.writer.clean() {
                Ok(()) => {
                    let text = "stopped: everything is removed from the kernel".to_owned();
                    self.events.note(events::plain(EventKind::Daemon, Severity::Warning, text));
                    self.store.forget_health();
                    self.dnsmasq.stop(self.core.config());
                    self.clear_marks();
                    self.core.stopped().into_iter().for_each(|call| self.hooks.call(call));
                    let _ = reply.send(Response::Done);
                    return Next::End(STOP_MAX);
                }
                Err(failure) => Err(failure),
            },
        };
        let _ = reply.send(response.unwrap_or_else(error_response));
        Next::Go
    }

    #[cfg(not(feature = "ipfire"))]
    fn red(&mut self, _: RedCommand) -> Result<Response, Failure> {
        Err(Failure::says("this build is without IPFire").hint("build it with --features ipfire"))
    }

    #[cfg(feature = "ipfire")]
    fn red(&mut self, command: RedCommand) -> Result<Response, Failure> {
        let Some(ipfire) = &mut self.ipfire else {
            return Err(Failure::says("there is no RED here")
                .hint("this is for IPFire: mwan daemon --config /var/ipfire/mwan/settings"));
        };
        let command = match command {
            // What hooks tell in a take-over of ours is no news.
            RedCommand::Up | RedCommand::Down if ipfire.is_switching() => return Ok(Response::Done),
            RedCommand::Up | RedCommand::Down => {
                info!("IPFire says that RED is {}", if command == RedCommand::Up { "up" } else { "down" });
                self.reload(None);
                return Ok(Response::Done);
            }
            // Answered before: these write a file.
            RedCommand::Enable | RedCommand::Disable => return Ok(Response::Done),
            RedCommand::Switch { profile } if !ipfire.backups().contains(&profile) => {
                let known = ipfire.backups().join(", ");
                return Err(Failure::says(format!(
                    "there is no usable profile '{}'",
                    profile.escape_debug()
                ))
                .hint(format!("the configuration has: {known}")));
            }
            RedCommand::Failover if ipfire.backups().is_empty() => {
                return Err(
                    Failure::says("there is no usable profile").hint("make one in /var/ipfire/mwan/profiles")
                );
            }
            RedCommand::Switch { profile } => ipfire::Command::Switch(profile),
            RedCommand::Failover => ipfire::Command::Failover,
            RedCommand::Failback => ipfire::Command::Failback,
            RedCommand::TestPrimary => ipfire::Command::TestPrimary,
        };
        let tested = (command == ipfire::Command::TestPrimary).then(|| ipfire.primary().to_owned());
        let view = ipfire.command(command);
        self.links_changed(view);
        if let Some(primary) = tested {
            self.feed(Event::Hurry(primary));
        }
        Ok(Response::Done)
    }

    /// Entries that are just getting other marks may have bits of both masks.
    fn clear_marks(&mut self) {
        let changing = self.staged.take().map(|(_, remark, _)| remark).or(self.remark.take());
        self.flows.clear(self.core.config().globals.mask | changing.map_or(0, |remark| remark.mask()));
        self.clearing = true;
    }

    /// The owner's settings are written by a thread: the disk may be slow. Their change is seen like any other.
    #[cfg(feature = "ipfire")]
    fn switch_settings(&self, enabled: bool, reply: Reply) {
        let Some(root) = self.ipfire.as_ref().and_then(|_| ipfire::root_of(&self.options.config)) else {
            let _ = reply.send(error_response(Failure::says("there is no RED here")));
            return;
        };
        let root = root.to_owned();
        in_thread("settings", "writes the settings", reply, move |_| {
            ipfire::set_enabled(&root, enabled).map_err(|e| Failure::new("cannot write the settings", &e))?;
            Ok(Response::Done)
        });
    }

    fn command(
        &mut self,
        interface: String,
        word: &str,
        event: fn(String) -> Event,
    ) -> Result<Response, Failure> {
        if self.core.wan(&interface).is_none() {
            return Err(self.no_interface(&interface));
        }
        let text = format!("{word} {interface}");
        let told = events::plain(EventKind::Command, Severity::Info, text);
        self.events.note(mwan_api::Event { interface: Some(interface.clone()), ..told });
        self.feed(event(interface));
        Ok(Response::Done)
    }

    pub(super) fn no_interface(&self, name: &str) -> Failure {
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

    /// Plans in a thread, with a copy of the core and a look of its own at the kernel: ten thousand rules take longer than
    /// probes can wait.
    fn plan(&mut self, file: String, text: String, reply: Reply) {
        let (mut core, own) = (self.core.clone(), self.writer.own_rules().cloned());
        let flow_list = self.flow_list.clone();
        in_thread("plan", "plans", reply, move |_| {
            let mut writer = Writer::open()?;
            own.into_iter().for_each(|own| writer.remember(own));
            let loaded = parse_config(&file, text.as_bytes());
            let impact = core.impact(Arc::new(loaded.config), clock::now());
            let mut plan = plan(&core, &mut writer, &loaded.diagnostics)?;
            // One list of connections at a time.
            plan.impact = flow_list.wait().and_then(|_turn| impact::count(&impact));
            Ok(Response::Plan(plan))
        });
    }

    pub(super) fn status(&mut self) -> mwan_api::Status {
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
            apply_times: self.writer.apply_times.document(),
            repairs: self.writer.repairs,
            apply_error: self.apply_error.clone(),
            late_rounds: self.late_rounds,
        };
        let mut status = mwan_api::Status {
            schema: mwan_api::SCHEMA_STATUS.to_owned(),
            red: self.ipfire.as_ref().map(Ipfire::red),
            daemon,
            drill: self.drills.under_way(),
            degraded: false,
            problems: Vec::new(),
            interfaces: status::interfaces(&self.core, &achieved, now),
            policies: achieved.policies(&counters, &self.switches),
            connected: status::networks(net.map_or(&none, |n| &n.connected).iter()),
            custom: status::networks(net.map_or(&none, |n| &n.custom).iter()),
            rules: Vec::new(),
            diagnostics: diagnostics(&self.diagnostics),
        };
        why::find_faults(&self.core, &mut status.interfaces);
        let committed = self.writer.committed().cloned();
        let achieved = Achieved::new(&self.core, committed.as_ref(), observed.as_ref());
        status.rules = achieved.rules(&counters, |rule, id, family| self.writer.sticky(rule, id, family));
        let (waiting_rules, waiting) = status::waiting(&self.core);
        status.rules.extend(waiting_rules);
        status.problems = status::problems(&status, !self.core.config().globals.enabled);
        status.problems.extend(achieved.differences());
        status.problems.extend(status::local_source(&self.core));
        status.problems.extend(waiting);
        status.problems.extend(self.dnsmasq.problem());
        status.problems.extend(self.cloud.problem());
        status.problems.extend(self.confirm.problem());
        status.problems.extend(self.companions.problems());
        status.problems.extend(crate::alerts::problem(self.core.config()));
        status.problems.extend(self.alert_problems());
        status.problems.extend(self.openwrt.as_ref().and_then(Openwrt::problem));
        status.problems.extend(crate::web::problem(self.core.config()));
        status
            .problems
            .extend(status.red.as_ref().and_then(|red| Some(format!("RED: {}", red.problem.as_ref()?))));
        status.degraded = !status.problems.is_empty();
        status
    }
}

/// Answers by what `work` finds, in a thread: the loop does not wait. `what`: what the thread does, for the log. `work` sees by the
/// reply whether anybody waits for it.
pub(super) fn in_thread(
    name: &str,
    what: &str,
    reply: Reply,
    work: impl FnOnce(&Reply) -> Result<Response, Failure> + Send + 'static,
) {
    let work = move || {
        let response = work(&reply).unwrap_or_else(error_response);
        // Who has gone wants no answer.
        let _ = reply.send(response);
    };
    // Without a thread the reply is dropped, and the client told so.
    if let Err(error) = std::thread::Builder::new().name(name.to_owned()).spawn(work) {
        warn!("cannot start the thread that {what}: {error}");
    }
}

pub(super) fn error_response(failure: Failure) -> Response {
    Response::Error { message: failure.to_string(), hint: failure.hint_text() }
}
