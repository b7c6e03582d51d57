//! Brings the kernel to a program and back to it. It makes no choices.

use mwan_config::Gather;
use std::sync::Arc;
use std::time::{Duration, Instant};

use mwan_compile::nft::{NftOp, Statement};
use mwan_compile::routing::{ObservedRouting, RoutingOp};
use mwan_compile::{
    Compiler, Observed, Ops, Program, check, check_change, cleanup, diff, diff_observed, diff_routing,
    emptied, flush_strays, refill,
};
use mwan_config::Family;
use mwan_core::{Desired, PathKey};
use mwan_linux::monitor::Ears;
use mwan_linux::nft::{CommitError, Known, NftSocket, OwnRules};
use mwan_linux::routing::RouteSocket;
use tracing::{debug, info, warn};

use super::durations::Durations;
use crate::cli::Failure;

/// Attempts of one transaction while others keep changing the ruleset under us. Each costs one observation.
const STALE_RETRIES: u32 = 8;
/// Looks at rules and routes until one finds nothing to repair: the first repair may hit one of ours that the kernel
/// found first, which the second makes good.
const LOOKS_MAX: usize = 4;

/// The kernel, and what we know is in it.
pub(super) struct Writer {
    nft: NftSocket,
    routes: RouteSocket,
    compiler: Compiler,
    /// Whether the kernel takes rules and routes of IPv6.
    pub(super) ipv6: bool,
    /// What should be there.
    program: Option<Program>,
    /// What is there, as far as ours, at `generation`; `None`: unknown, look first.
    installed: Option<Program>,
    /// The last desired state whose ruleset was accepted.
    committed: Option<Arc<Desired>>,
    generation: u32,
    pub(super) applies: u64,
    pub(super) repairs: u64,
    pub(super) last_apply: Duration,
    pub(super) apply_times: Durations,
}

impl Writer {
    /// Opens the sockets.
    pub(super) fn open() -> Result<Self, Failure> {
        let nft = NftSocket::open().map_err(|e| Failure::new("cannot open nf_tables", &e))?;
        let routes = RouteSocket::open().map_err(|e| Failure::new("cannot open rtnetlink", &e))?;
        Ok(Writer {
            nft,
            routes,
            compiler: Compiler::default(),
            ipv6: mwan_linux::has_ipv6(),
            program: None,
            installed: None,
            committed: None,
            generation: 0,
            applies: 0,
            repairs: 0,
            last_apply: Duration::ZERO,
            apply_times: Durations::default(),
        })
    }

    /// The monitor does not listen while many elements are entered.
    pub(super) fn shut_while_large(&mut self, ears: Ears) {
        self.nft.shut_while_large(ears);
    }

    /// Whether others may have changed the ruleset while the monitor did not listen.
    pub(super) fn take_missed(&mut self) -> bool {
        self.nft.take_missed()
    }

    /// Netlink ports of our sockets: how our own changes are recognised.
    pub(super) fn ports(&self) -> [u32; 2] {
        [self.nft.port(), self.routes.port()]
    }

    /// Makes the kernel have `desired`. After a failure the next attempt looks first.
    pub(super) fn apply(&mut self, desired: &Arc<Desired>) -> Result<Applied, Trouble> {
        let started = Instant::now();
        let program = self.compile(desired);
        let faults = match &self.program {
            Some(old) => check_change(old, &program, desired.marks),
            None => check(&program, desired.marks),
        };
        if let Some(fault) = faults.first() {
            let text = format!("refused to apply: {fault} ({} faults)", faults.len());
            return Err(Trouble::Failed(
                Failure::says(text).hint("this is a bug of mwan; the state in the kernel stays as it was"),
            ));
        }
        let (applied, program) = self.reach(program)?;
        self.committed = Some(desired.clone());
        self.installed = applied.incomplete.is_none().then_some(program);
        self.last_apply = started.elapsed();
        let changes: usize = applied.ops.iter().map(|o| o.add.len() + o.nft.len() + o.remove.len()).sum();
        if changes > 0 {
            self.applies += 1;
            self.apply_times.note(self.last_apply);
            let (generation, us) = (desired.generation, self.last_apply.as_micros());
            // What the kernel refuses is tried again every second: not worth a line each time.
            match applied.incomplete {
                None => info!(generation, changes, us, "applied"),
                Some(_) => debug!(generation, changes, us, "applied, but not all of it"),
            }
        }
        Ok(applied)
    }

    /// The program of `desired` for this kernel.
    pub(super) fn compile(&mut self, desired: &Arc<Desired>) -> Program {
        let program = self.compiler.compile(desired);
        if self.ipv6 { program } else { program.without_routing_of(Family::V6) }
    }

    /// Compares the kernel with what should be there and restores what is missing. Returns what was restored.
    pub(super) fn verify(&mut self) -> Result<Vec<String>, Trouble> {
        let Some(program) = self.program.clone() else { return Ok(Vec::new()) };
        self.installed = None;
        let (Applied { ops, incomplete }, program) = self.reach(program)?;
        if let Some(failure) = incomplete {
            return Err(Trouble::Failed(failure));
        }
        self.installed = Some(program);
        self.repairs += u64::from(!ops.is_empty());
        Ok(ops.iter().flat_map(describe).collect())
    }

    /// Empties the sets of sticky rules that are to be empty. What cannot be done now is found by the next comparison.
    pub(super) fn flush_strays(&mut self) {
        // Also if others have changed the kernel since: what is asked for is harmless to anything they may have done.
        let Some(program) = &self.program else { return };
        let ops = flush_strays(program);
        for _ in 0..STALE_RETRIES {
            match self.execute(&ops) {
                Ok(_) => return,
                Err(Trouble::Stale) => match self.nft.generation() {
                    Ok(generation) => self.generation = generation,
                    Err(error) => return debug!("cannot read the ruleset's generation: {error}"),
                },
                Err(trouble) => return debug!("cannot empty the sets of sticky rules: {trouble}"),
            }
        }
    }

    /// The rules in the kernel known to be as we made them.
    pub(super) fn own_rules(&self) -> Option<&OwnRules> {
        self.nft.own_rules()
    }

    /// Goes on with what the daemon before us knew.
    pub(super) fn remember(&mut self, own: OwnRules) {
        self.nft.remember(own);
    }

    /// The last desired state that was achieved, if any was; others may have changed the kernel since.
    pub(super) fn committed(&self) -> Option<&Desired> {
        self.committed.as_deref()
    }

    /// What is missing or superfluous in the kernel now.
    pub(super) fn difference(&mut self) -> Result<Ops, Failure> {
        let observed = self.observe()?;
        Ok(self.program.as_ref().map(|p| diff_observed(&observed, p)).unwrap_or_default())
    }

    /// What of ours the kernel has.
    pub(super) fn observe(&mut self) -> Result<Observed, Failure> {
        let (table, generation) =
            self.nft.observe().map_err(|e| Failure::new("cannot read the nftables ruleset", &e))?;
        if self.generation != generation {
            // Others changed something since we last knew what is there; what it is shows only in a comparison.
            self.installed = None;
        }
        self.generation = generation;
        Ok(Observed { table, routing: self.routing()? })
    }

    fn routing(&mut self) -> Result<ObservedRouting, Failure> {
        self.routes.observe().map_err(|e| Failure::new("cannot read ip rules and routes", &e))
    }

    /// Removes everything of ours (I7). What should be there is forgotten only when it is gone.
    pub(super) fn clean(&mut self) -> Result<(), Failure> {
        for _ in 0..STALE_RETRIES {
            let observed = self.observe()?;
            let ops = cleanup(&observed);
            if ops.is_empty() {
                mwan_linux::verify::clean();
                self.program = None;
                self.installed = None;
                self.committed = None;
                return Ok(());
            }
            match self.execute(&ops) {
                Ok(None) | Err(Trouble::Stale) => {}
                Ok(Some(failure)) | Err(Trouble::CannotLog(failure) | Trouble::Failed(failure)) => {
                    return Err(failure);
                }
                Err(Trouble::Refused(routes)) => debug!("cleaning: {routes:?}"),
            }
        }
        Err(Failure::says("others change the ruleset faster than it can be cleaned"))
    }

    /// Counters by name.
    pub(super) fn counters(&mut self) -> std::collections::BTreeMap<String, (u64, u64)> {
        match self.nft.counters() {
            Ok(counters) => counters.into_iter().map(|(name, c)| (name, (c.packets, c.bytes))).gather(),
            Err(error) => {
                debug!("cannot read counters: {error}");
                Default::default()
            }
        }
    }

    /// Who keeps interface `id` by a sticky rule, soonest to expire first.
    pub(super) fn sticky(&mut self, rule: &mwan_config::Rule, id: u32, family: Family) -> Vec<Known> {
        let Some(kind) = mwan_compile::sticky_kind(rule, family) else { return Vec::new() };
        let name = mwan_compile::sticky_set(&rule.name, id, family);
        self.nft.known(&name, kind).unwrap_or_else(|error| {
            debug!("cannot read the set {name}: {error}");
            Vec::new()
        })
    }

    /// Brings the kernel to `program`, or to the same without rules that log if it cannot do that: a missing module must
    /// not cost the ruleset. Returns the program that it was brought to.
    fn reach(&mut self, mut program: Program) -> Result<(Applied, Program), Trouble> {
        self.program = Some(program.clone());
        let mut result = self.bring(&program);
        if let Err(Trouble::CannotLog(failure)) = &result
            && let Some(desired) = self.compiler.silence()
        {
            warn!(
                "rules are not logged: {failure}; load nft_log and nf_log_syslog (OpenWrt: kmod-nf-log), restart mwan"
            );
            program = self.compile(&desired);
            self.program = Some(program.clone());
            result = self.bring(&program);
        }
        result.map(|applied| (applied, program))
    }

    fn bring(&mut self, program: &Program) -> Result<Applied, Trouble> {
        let mut known = self.installed.take();
        let mut done = Vec::new();
        for _ in 0..STALE_RETRIES {
            let mut ops = match &known {
                Some(installed) => diff(installed, program),
                // The ruleset is what was committed a moment ago; that others change it is heard of.
                None if !done.is_empty() => diff_routing(&self.routing().map_err(Trouble::Failed)?, program),
                None => diff_observed(&self.observe().map_err(Trouble::Failed)?, program),
            };
            self.keep_content(&mut ops, program).map_err(Trouble::Failed)?;
            match self.execute(&ops) {
                Ok(incomplete) => {
                    let again = known.is_none() && !(ops.add.is_empty() && ops.remove.is_empty());
                    done.extend(Some(ops).filter(|ops| !ops.is_empty()));
                    if !again || incomplete.is_some() {
                        return Ok(Applied { ops: done, incomplete });
                    }
                    if done.len() == LOOKS_MAX {
                        let text = "rules or routes are changed by others as fast as they are restored";
                        return Ok(Applied { ops: done, incomplete: Some(Failure::says(text)) });
                    }
                }
                Err(Trouble::Stale) => {
                    debug!("the ruleset changed under us");
                    // Most likely a table that is not ours. The same change again, without the dump that a busy
                    // ruleset would outrun; if it was ours, the kernel refuses or the comparison that the
                    // monitor asks for finds it.
                    let generation = self.nft.generation().map_err(|e| {
                        Trouble::Failed(Failure::new("cannot read the ruleset's generation", &e))
                    })?;
                    self.generation = generation;
                }
                // What we took for known may be the reason.
                Err(Trouble::Failed(_) | Trouble::CannotLog(_)) if known.is_some() => known = None,
                Err(trouble) => return Err(trouble),
            }
        }
        Err(Trouble::Failed(Failure::says("others change the ruleset faster than it can be read")))
    }

    /// What others have entered into sets that are made anew goes into the new ones. If they enter more meanwhile, the kernel
    /// refuses the transaction, and all of this is done again.
    fn keep_content(&mut self, ops: &mut Ops, program: &Program) -> Result<(), Failure> {
        for (set, kind) in emptied(ops, program) {
            let content = self.nft.content(&set, kind);
            let content = content.map_err(|e| Failure::new("cannot read what is to be kept", &e))?;
            refill(ops, set, kind, content);
        }
        Ok(())
    }

    /// In the order that leaves traffic no worse at any point (I5). Before any mark may lead to a route that the
    /// kernel refuses, that is told; a refused rule keeps nothing else from being made, and is returned.
    fn execute(&mut self, ops: &Ops) -> Result<Option<Failure>, Trouble> {
        let mut first = None;
        let mut refused = Vec::new();
        for op in &ops.add {
            match (self.routes.apply(op), op) {
                (Ok(()), _) => {}
                (Err(error), RoutingOp::SetRoute(route)) => {
                    let path = PathKey { id: route.table, family: route.family };
                    refused.push((path, Failure::new("", &error).to_string()));
                }
                (Err(error), _) => {
                    first.get_or_insert(Failure::new("kernel", &error));
                }
            }
        }
        if !refused.is_empty() {
            return Err(Trouble::Refused(refused));
        }
        if !ops.nft.is_empty() {
            match self.nft.commit(&ops.nft, Some(self.generation)) {
                Ok(generation) => self.generation = generation,
                Err(CommitError::Stale) => return Err(Trouble::Stale),
                Err(error) if logging_is_unknown(&error, &ops.nft) => {
                    return Err(Trouble::CannotLog(Failure::new("this kernel cannot", &error)));
                }
                Err(error) => {
                    return Err(Trouble::Failed(Failure::new("cannot change the nftables ruleset", &error)));
                }
            }
        }
        for op in &ops.remove {
            if let Err(error) = self.routes.apply(op) {
                first.get_or_insert(Failure::new("kernel", &error));
            }
        }
        Ok(first)
    }
}

/// Whether what was refused is a rule that logs, because the kernel has no such expression (nft_log) or nobody who writes
/// the lines (nf_logger_find_get: nf_log_syslog); both are ENOENT.
fn logging_is_unknown(error: &CommitError, ops: &[NftOp]) -> bool {
    let CommitError::Refused { index, source, .. } = error else { return false };
    let logs = |op: &NftOp| match op {
        NftOp::AddRule { rule, .. } => rule.statements.iter().any(|s| matches!(s, Statement::Log { .. })),
        _ => false,
    };
    source.errno == libc::ENOENT && ops.get(*index).is_some_and(logs)
}

/// What came of bringing the kernel to a program.
#[derive(Debug)]
pub(super) struct Applied {
    /// The changes.
    ops: Vec<Ops>,
    /// The ruleset and every route are as wanted, but this is not; to be tried again.
    pub(super) incomplete: Option<Failure>,
}

/// Why the kernel does not have what is wanted.
#[derive(Debug)]
pub(super) enum Trouble {
    /// Somebody else changed the ruleset since it was read.
    Stale,
    /// The kernel does not take the routes of these paths: what is wanted has to be decided anew without them.
    Refused(Vec<(PathKey, String)>),
    /// It does not take rules that log.
    CannotLog(Failure),
    /// Anything else.
    Failed(Failure),
}

impl std::fmt::Display for Trouble {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Trouble::Stale => f.write_str("others change the ruleset faster than it can be read"),
            Trouble::Refused(paths) => {
                let texts: Vec<&str> = paths.iter().map(|(_, text)| text.as_str()).collect();
                f.write_str(&texts.join("; "))
            }
            Trouble::CannotLog(failure) | Trouble::Failed(failure) => write!(f, "{failure}"),
        }
    }
}

/// Every change as a line.
pub(super) fn describe(ops: &Ops) -> Vec<String> {
    let routing = |list: &[RoutingOp]| -> Vec<String> { list.iter().map(ToString::to_string).collect() };
    let nft = ops.nft.iter().map(|op| format!("nft {op}"));
    routing(&ops.add).into_iter().chain(nft).chain(routing(&ops.remove)).collect()
}
