//! A core written down, so that it can be set up again on another machine: what a recording begins with.
//!
//! Written down is what events have made of it. What follows from the configuration is worked out anew: recordings have that as
//! text, and a checkpoint fits no other one.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use mwan_config::{Config, interfaces_max};
use serde::{Deserialize, Serialize};

use super::drill::Drill;
use super::flows::Flows;
use super::{Core, Dirty, Platform, RememberedPath, enabled_wans, policy_members, used_policies};
use crate::hooks::Told;
use crate::ids::Ids;
use crate::path::Path;
use crate::{NetView, PathKey, PlatformView, Time};

/// Everything that events have made of a core.
///
/// It may come from a file that anybody has written: [`Core::restore`] looks at it before it is used.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Checkpoint {
    platform: Platform,
    ids: Ids,
    net: Option<Arc<NetView>>,
    view: Option<Arc<PlatformView>>,
    /// Device of every interface that takes part.
    devices: BTreeMap<String, String>,
    paths: Vec<Path>,
    taken_down: BTreeSet<String>,
    drained: BTreeSet<String>,
    drill: Option<Drill>,
    refused: Vec<(PathKey, String, Time)>,
    resume: Vec<RememberedPath>,
    /// Generation of the desired state, if there is one: what it says is worked out anew.
    generation: Option<u64>,
    applied: u64,
    flows: Flows,
    rounds: u64,
    dirty: Dirty,
    told: Told,
    untold: bool,
}

/// A checkpoint that cannot be one of the configuration it is said to be of.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Unfit(&'static str);

impl std::fmt::Display for Unfit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.0)
    }
}

impl std::error::Error for Unfit {}

/// Larger numbers than these no core has ever counted to; smaller ones leave room to count on.
const COUNT_MAX: u64 = 1 << 48;

impl Core {
    /// Writes down what events have made of this core.
    pub fn checkpoint(&self) -> Checkpoint {
        Checkpoint {
            platform: self.platform,
            ids: self.ids.clone(),
            net: self.net.clone(),
            view: self.view.clone(),
            devices: self.wans.iter().map(|w| (w.name.clone(), w.device.clone())).collect(),
            paths: self.paths.values().cloned().collect(),
            taken_down: self.taken_down.clone(),
            drained: self.drained.clone(),
            drill: self.drill.clone(),
            refused: self.refused.iter().map(|(key, (why, at))| (*key, why.clone(), *at)).collect(),
            resume: self.resume.clone(),
            generation: self.desired.as_ref().map(|desired| desired.generation),
            applied: self.applied,
            flows: self.flows.clone(),
            rounds: self.rounds,
            dirty: self.dirty,
            told: self.told.clone(),
            untold: self.untold,
        }
    }

    /// A core that decides from here on as the one did of which this is a checkpoint. `config`: what was in force then.
    ///
    /// # Errors
    /// The checkpoint does not go with the configuration, or no core can have become what it says.
    pub fn restore(checkpoint: Checkpoint, config: Arc<Config>) -> Result<Core, Unfit> {
        checkpoint.judge(&config)?;
        let Checkpoint { platform, ids, net, view, devices, paths, taken_down, drained, .. } = checkpoint;
        let mut wans = enabled_wans(&config, &ids);
        for wan in &mut wans {
            let device =
                devices.get(&wan.name).ok_or(Unfit("an interface of the configuration is not in it"))?;
            wan.device.clone_from(device);
        }
        let paths: BTreeMap<PathKey, Path> = paths.into_iter().map(|path| (path.key, path)).collect();
        let families = wans.iter().flat_map(|wan| {
            config.interfaces[wan.index].families.iter().map(|family| PathKey { id: wan.id, family })
        });
        if !paths.keys().copied().eq(families.collect::<BTreeSet<_>>()) {
            return Err(Unfit("its paths are not those of the configuration"));
        }
        let refused = checkpoint.refused.into_iter().map(|(key, why, at)| (key, (why, at)));
        let mut core = Core {
            platform,
            ids,
            net,
            view,
            paths,
            taken_down,
            drained,
            drill: checkpoint.drill,
            refused: refused.collect(),
            resume: checkpoint.resume,
            desired: None,
            applied: checkpoint.applied,
            flows: checkpoint.flows,
            rounds: checkpoint.rounds,
            used: used_policies(&config),
            members: policy_members(&config, &wans),
            dirty: checkpoint.dirty,
            told: checkpoint.told,
            untold: checkpoint.untold,
            config,
            wans,
        };
        core.desire(checkpoint.generation);
        Ok(core)
    }

    /// Works out what was wanted when the checkpoint was made: all that it follows from is there again.
    fn desire(&mut self, generation: Option<u64>) {
        let (Some(generation), Some(net)) = (generation, self.net.clone()) else { return };
        let mut desired = self.wanted(&net, None);
        desired.generation = generation;
        self.desired = Some(Arc::new(desired));
    }
}

impl Checkpoint {
    /// The network as it was seen last.
    pub fn network(&self) -> Option<&NetView> {
        self.net.as_deref()
    }

    /// Whether everything in it that the core relies on is so.
    fn judge(&self, config: &Config) -> Result<(), Unfit> {
        if self.rounds > COUNT_MAX || self.applied > COUNT_MAX || self.generation > Some(COUNT_MAX) {
            return Err(Unfit("a number in it is too large"));
        }
        if self.generation.is_some() && self.net.is_none() {
            return Err(Unfit("something is wanted of a network that was not seen"));
        }
        if !self.ids.is_sound(interfaces_max(config.globals.mask)) {
            return Err(Unfit("the numbers of its interfaces cannot be"));
        }
        match self.paths.iter().all(Path::is_sound) && self.flows.is_sound() {
            true => Ok(()),
            false => Err(Unfit("the state of a path cannot be")),
        }
    }
}

/// Maps whose keys are no strings, which JSON has not: as a list of pairs.
pub(super) mod pairs {
    use std::collections::BTreeMap;

    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub(in crate::engine) fn serialize<K: Serialize, V: Serialize, S: Serializer>(
        map: &BTreeMap<K, V>,
        to: S,
    ) -> Result<S::Ok, S::Error> {
        map.iter().collect::<Vec<_>>().serialize(to)
    }

    pub(in crate::engine) fn deserialize<'de, K, V, D>(from: D) -> Result<BTreeMap<K, V>, D::Error>
    where
        K: Deserialize<'de> + Ord,
        V: Deserialize<'de>,
        D: Deserializer<'de>,
    {
        Vec::<(K, V)>::deserialize(from).map(|pairs| pairs.into_iter().collect())
    }
}
