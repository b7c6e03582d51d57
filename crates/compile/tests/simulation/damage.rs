//! What administrators, firewalls and other packages do to a table that is not theirs.

use std::sync::Arc;

use mwan_compile::nft::{Rule, SetKind, Statement, Verdict};
use mwan_config::Family;

use crate::kernel::{KChain, KSet, KTable};
use crate::rng::Rng;

fn foreign_rule() -> Rule {
    Rule { statements: vec![Statement::NotNew, Statement::Verdict(Verdict::Accept)], tag: String::new() }
}

pub(crate) fn table(rng: &mut Rng, table: &mut KTable) {
    let chains: Vec<String> = table.chains.keys().cloned().collect();
    if chains.is_empty() {
        return;
    }
    let name = rng.pick(&chains).clone();
    let chain = Arc::make_mut(table.chains.get_mut(&name).expect("listed"));
    match rng.below(10) {
        0 => chain.rules.clear(),
        1 if !chain.rules.is_empty() => {
            let at = rng.below(chain.rules.len() as u64) as usize;
            chain.rules.remove(at);
        }
        2 => chain.rules.insert(0, foreign_rule()),
        3 => {
            let mut to_ours = foreign_rule();
            to_ours.statements.push(Statement::Verdict(Verdict::Goto(name.clone())));
            let chain = KChain { rules: vec![to_ours], ..KChain::default() };
            table.chains.insert("foreign".into(), Arc::new(chain));
        }
        4 => {
            table.chains.remove("prerouting");
        }
        5 => {
            for set in table.sets.values_mut() {
                set.ranges.pop_first();
            }
        }
        6 => {
            table.sets.insert("foreign_set".into(), KSet::new(SetKind::ranges(Family::V4)));
            table.counters.insert("foreign_counter".into());
        }
        7 => table.dormant = true,
        8 => chain.drop = chain.hook.is_some(),
        _ => {
            // A base chain in the place of one of ours cannot be changed back in place.
            let hook = chain.hook.take();
            chain.drop = false;
            if hook.is_none() {
                chain.rules.reverse();
            }
        }
    }
}
