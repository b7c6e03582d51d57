//! Stable numbers for interfaces (I10): a name keeps its id for as long as the state file remembers it.

use mwan_config::Gather;
use std::collections::BTreeMap;

use mwan_config::Interface;

/// Ids by interface name, those of interfaces that left the configuration included: flows may still carry
/// their marks, so a retired id is given to somebody else only when no other is left.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
#[cfg_attr(feature = "record", derive(serde::Serialize, serde::Deserialize))]
pub struct Ids {
    by_name: BTreeMap<String, u32>,
}

impl Ids {
    /// Whether these are ids that were given, none of them above `max`: nothing that was read from a file is believed.
    #[cfg(feature = "record")]
    pub(crate) fn is_sound(&self, max: u32) -> bool {
        let ids: std::collections::BTreeSet<u32> = self.by_name.values().copied().gather();
        ids.len() == self.by_name.len() && ids.iter().all(|id| (1..=max).contains(id))
    }

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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn interfaces(names: &[&str]) -> Vec<Interface> {
        let sections: String = names.iter().map(|n| format!("config interface '{n}'\n")).collect();
        mwan_config::parse("ids", sections.as_bytes()).config.interfaces
    }

    fn ids(ids: &Ids, names: &[&str]) -> Vec<Option<u32>> {
        names.iter().map(|n| ids.get(n)).collect()
    }

    #[test]
    fn ids_are_positions_at_first_and_stable_ever_after() {
        let mut all = Ids::default();
        for (file, wanted) in [
            (vec!["a", "b", "c"], vec![("a", 1), ("b", 2), ("c", 3)]),
            (vec!["c", "a", "b"], vec![("a", 1), ("b", 2), ("c", 3)]),
            (vec!["c"], vec![("c", 3)]),
            // 1 and 2 belong to a and b, who may return.
            (vec!["d", "c"], vec![("d", 4), ("c", 3)]),
            (vec!["a", "x", "c", "d"], vec![("a", 1), ("x", 5), ("c", 3), ("d", 4)]),
            (vec!["b", "c"], vec![("b", 2), ("c", 3)]),
        ] {
            all.assign(&interfaces(&file), 60);
            for (name, id) in wanted {
                assert_eq!(all.get(name), Some(id), "{name} in {file:?}");
            }
        }
    }

    /// The configuration keeps as many as there are ids for; one without would be ignored without a word.
    #[test]
    fn every_interface_the_configuration_keeps_has_an_id() {
        let names: Vec<String> = (0..300).map(|n| format!("w{n}")).collect();
        let sections: String = names.iter().map(|n| format!("config interface '{n}'\n")).collect();
        for (mask, room) in [("0x700", 4), ("0x3f00", 60), ("0xff00", 250), ("0xfff000", 250)] {
            let text = format!("config globals 'globals'\n option mmx_mask '{mask}'\n{sections}");
            let loaded = mwan_config::parse("ids", text.as_bytes());
            let core = crate::Core::new(
                crate::Platform { translate: false },
                std::sync::Arc::new(loaded.config),
                crate::Memory::default(),
            );
            assert_eq!(core.config().interfaces.len(), room, "{mask}");
            assert!(core.config().interfaces.iter().all(|i| core.wan(&i.name).is_some() || !i.enabled));
            let ids = core.memory().ids;
            assert_eq!(ids.len(), room, "{mask}");
            assert!(ids.iter().all(|(_, id)| (1..=250).contains(id)));
            let told = loaded.diagnostics.iter().filter(|d| d.code == "E0507").count();
            assert_eq!(told, 300 - room, "{mask}");
        }
    }

    #[test]
    fn retired_ids_are_reused_only_when_no_other_is_left() {
        let mut all = Ids::default();
        all.assign(&interfaces(&["a", "b"]), 4);
        all.assign(&interfaces(&["b", "c", "d"]), 4);
        assert_eq!(ids(&all, &["a", "b", "c", "d"]), [Some(1), Some(2), Some(3), Some(4)]);
        all.assign(&interfaces(&["b", "c", "d", "e"]), 4);
        assert_eq!(ids(&all, &["a", "e"]), [None, Some(1)]);
    }

    #[test]
    fn contradictory_memories_are_dropped() {
        let all = Ids::remembered([("a".into(), 1), ("b".into(), 1), ("c".into(), 0), ("d".into(), 9)]);
        assert_eq!(ids(&all, &["a", "b", "c", "d"]), [Some(1), None, None, Some(9)]);
    }

    #[test]
    fn a_smaller_mask_drops_ids_it_has_no_room_for() {
        let mut all = Ids::remembered([("a".into(), 40), ("b".into(), 2)]);
        all.assign(&interfaces(&["a", "b"]), 4);
        assert_eq!(ids(&all, &["a", "b"]), [Some(1), Some(2)]);
    }
}
