//! Brings the kernel to a program and back to it. It makes no choices.

use std::sync::Arc;
use std::time::{Duration, Instant};

use mwan_compile::{Compiler, Observed, Ops, Program, check, check_change, cleanup, diff, diff_observed};
use mwan_core::Desired;
use mwan_linux::nft::{CommitError, NftSocket};
use mwan_linux::routing::RouteSocket;
use tracing::{debug, info};

use crate::cli::Failure;

/// Attempts of one transaction while others keep changing the ruleset under us. Each costs one observation.
const STALE_RETRIES: u32 = 8;

/// The kernel, and what we know is in it.
pub(super) struct Writer {
    nft: NftSocket,
    routes: RouteSocket,
    compiler: Compiler,
    /// What should be there.
    program: Option<Program>,
    /// What is there, as far as ours, at `generation`; `None`: unknown, look first.
    installed: Option<Program>,
    generation: u32,
    pub(super) applies: u64,
    pub(super) repairs: u64,
    pub(super) last_apply: Duration,
}

impl Writer {
    /// Opens the sockets.
    pub(super) fn open() -> Result<Self, Failure> {
        let denied = "mwan needs the capability CAP_NET_ADMIN: run it as root";
        let nft = NftSocket::open().map_err(|e| Failure::new("cannot open nf_tables", &e).hint(denied))?;
        let routes =
            RouteSocket::open().map_err(|e| Failure::new("cannot open rtnetlink", &e).hint(denied))?;
        Ok(Writer {
            nft,
            routes,
            compiler: Compiler::default(),
            program: None,
            installed: None,
            generation: 0,
            applies: 0,
            repairs: 0,
            last_apply: Duration::ZERO,
        })
    }

    /// Netlink ports of our sockets: how our own changes are recognised.
    pub(super) fn ports(&self) -> [u32; 2] {
        [self.nft.port(), self.routes.port()]
    }

    /// Makes the kernel have `desired`. After a failure the next attempt looks first.
    pub(super) fn apply(&mut self, desired: &Arc<Desired>) -> Result<(), Failure> {
        let started = Instant::now();
        let program = self.compiler.compile(desired);
        let faults = match &self.program {
            Some(old) => check_change(old, &program, desired.marks),
            None => check(&program, desired.marks),
        };
        if let Some(fault) = faults.first() {
            return Err(Failure::says(format!("refused to apply: {fault} ({} faults)", faults.len()))
                .hint("this is a bug of mwan; the state in the kernel stays as it was"));
        }
        let result = self.bring(&program);
        self.program = Some(program.clone());
        self.installed = result.is_ok().then_some(program);
        self.last_apply = started.elapsed();
        let changed = result?;
        if changed > 0 {
            self.applies += 1;
            let us = self.last_apply.as_micros();
            info!(generation = desired.generation, changes = changed, us, "applied");
        }
        Ok(())
    }

    /// Compares the kernel with what should be there and restores what is missing. Returns what was restored.
    pub(super) fn verify(&mut self) -> Result<Vec<String>, Failure> {
        let Some(program) = self.program.clone() else { return Ok(Vec::new()) };
        let observed = self.observe()?;
        let ops = diff_observed(&observed, &program);
        if ops.is_empty() {
            self.installed = Some(program);
            return Ok(Vec::new());
        }
        self.installed = None;
        let lines = describe(&ops);
        let failed_before = observed.table.is_none() && self.applies == 0;
        self.bring(&program)?;
        self.installed = Some(program);
        self.repairs += u64::from(!failed_before);
        Ok(lines)
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
        let routing =
            self.routes.observe().map_err(|e| Failure::new("cannot read ip rules and routes", &e))?;
        Ok(Observed { table, routing })
    }

    /// Removes everything of ours (I7).
    pub(super) fn clean(&mut self) -> Result<(), Failure> {
        self.program = None;
        self.installed = None;
        for _ in 0..STALE_RETRIES {
            let observed = self.observe()?;
            let ops = cleanup(&observed);
            if ops.is_empty() {
                return Ok(());
            }
            match self.execute(&ops) {
                Err(Trouble::Stale) => {}
                Err(Trouble::Failed(failure)) => return Err(failure),
                Ok(()) => {}
            }
        }
        Err(Failure::says("others change the ruleset faster than it can be cleaned"))
    }

    /// Counters by name.
    pub(super) fn counters(&mut self) -> std::collections::BTreeMap<String, (u64, u64)> {
        match self.nft.counters() {
            Ok(counters) => counters.into_iter().map(|(name, c)| (name, (c.packets, c.bytes))).collect(),
            Err(error) => {
                debug!("cannot read counters: {error}");
                Default::default()
            }
        }
    }

    /// Number of changes made.
    fn bring(&mut self, program: &Program) -> Result<usize, Failure> {
        let mut known = self.installed.take();
        for _ in 0..STALE_RETRIES {
            let ops = match known.take() {
                Some(installed) => diff(&installed, program),
                None => diff_observed(&self.observe()?, program),
            };
            match self.execute(&ops) {
                Ok(()) => return Ok(ops.add.len() + ops.nft.len() + ops.remove.len()),
                Err(Trouble::Stale) => debug!("the ruleset changed under us, looking again"),
                Err(Trouble::Failed(failure)) => return Err(failure),
            }
        }
        Err(Failure::says("others change the ruleset faster than it can be read"))
    }

    /// In the order that leaves traffic no worse at any point (I5). A route or rule that fails does not keep the
    /// others from being made; the first failure is reported.
    fn execute(&mut self, ops: &Ops) -> Result<(), Trouble> {
        let mut first = None;
        for op in &ops.add {
            if let Err(error) = self.routes.apply(op) {
                first.get_or_insert(Failure::new("kernel", &error));
            }
        }
        if !ops.nft.is_empty() {
            match self.nft.commit(&ops.nft, Some(self.generation)) {
                Ok(generation) => self.generation = generation,
                Err(CommitError::Stale) => return Err(Trouble::Stale),
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
        first.map_or(Ok(()), |failure| Err(Trouble::Failed(failure)))
    }
}

enum Trouble {
    /// Somebody else changed the ruleset since it was read.
    Stale,
    Failed(Failure),
}

/// Every change as a line.
pub(super) fn describe(ops: &Ops) -> Vec<String> {
    let routing = |list: &[mwan_compile::routing::RoutingOp]| -> Vec<String> {
        list.iter().map(ToString::to_string).collect()
    };
    let nft = ops.nft.iter().map(|op| format!("nft {op}"));
    routing(&ops.add).into_iter().chain(nft).chain(routing(&ops.remove)).collect()
}
