//! Stable numbers for interfaces (I10): a name keeps its id for as long as the state file remembers it.

use std::collections::BTreeMap;

use mwan_config::Interface;

/// Ids by interface name, those of interfaces that left the configuration included: flows may still carry
/// their marks, so a retired id is given to somebody else only when no other is left.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Ids {
    by_name: BTreeMap<String, u32>,
}

impl Ids {
    /// Ids remembered from an earlier run. Contradictory ones (the same id twice, zero) are dropped.
    pub fn remembered(ids: impl IntoIterator<Item = (String, u32)>) -> Self {
        let mut by_name: BTreeMap<String, u32> = BTreeMap::new();
        for (name, id) in ids {
            if id > 0 && by_name.values().all(|other| *other != id) {
                by_name.insert(name, id);
            }
        }
        Ids { by_name }
    }

    /// Everything to be remembered.
    pub fn iter(&self) -> impl Iterator<Item = (&str, u32)> {
        self.by_name.iter().map(|(name, id)| (name.as_str(), *id))
    }

    /// The id of `name`.
    pub fn get(&self, name: &str) -> Option<u32> {
        self.by_name.get(name).copied()
    }

    /// Gives every interface an id in `1..=max`: the remembered one, else its position in the file as
    /// mwan3 does, else the lowest never used, else the lowest retired one.
    ///
    /// The configuration guarantees that there are at most `max` interfaces.
    pub fn assign(&mut self, interfaces: &[Interface], max: u32) {
        self.by_name.retain(|_, id| *id <= max);
        let current = |name: &str| interfaces.iter().any(|i| i.name == name);
        for interface in interfaces {
            if self.by_name.contains_key(&interface.name) {
                continue;
            }
            let position = u32::from(interface.position);
            let unused = |id: &u32| self.by_name.values().all(|other| other != id);
            let free = Some(position).filter(|id| (1..=max).contains(id) && unused(id));
            let free = free.or_else(|| (1..=max).find(unused));
            let id = free.or_else(|| self.retire(&current));
            if let Some(id) = id {
                self.by_name.insert(interface.name.clone(), id);
            }
        }
    }

    /// Forgets the lowest id whose interface is not configured any more.
    fn retire(&mut self, current: &impl Fn(&str) -> bool) -> Option<u32> {
        let (id, name) =
            self.by_name.iter().filter(|(name, _)| !current(name)).map(|(n, id)| (*id, n.clone())).min()?;
        self.by_name.remove(&name);
        Some(id)
    }
}
