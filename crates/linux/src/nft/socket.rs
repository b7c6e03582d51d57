//! The nf_tables socket: transactions and their outcome.

use std::collections::BTreeMap;
use std::io;

use mwan_compile::nft::NftOp;

use super::dump::{LargeSet, OwnRules, SetHandles, anonymous_set, parse_rule, parse_table};
use super::encode::{self, EncodeError};
use super::{INET, attr, header, message};
use crate::monitor::Ears;
use crate::netlink::{self, KernelError, Protocol, RequestError, Socket, Writer, error_of, u32_be};

/// A commit that enters so many elements is made unheard.
const UNHEARD_MIN: usize = 1024;
/// A transaction without a lock of the caller's is tried again this often when somebody else commits between
/// our look at the generation and our send.
const COMMIT_ATTEMPTS: usize = 16;

/// Why a transaction was not made. In every case nothing of it was.
#[derive(Debug, thiserror::Error)]
pub enum CommitError {
    /// Somebody committed since `expected_generation` was observed: observe and diff again.
    #[error("the ruleset changed since it was read")]
    Stale,
    /// The kernel refused an operation.
    #[error("failed to {op} (operation {index})")]
    Refused {
        /// Index into the operations.
        index: usize,
        /// The operation in words.
        op: String,
        /// What the kernel said.
        source: KernelError,
    },
    /// An operation that nf_tables cannot express.
    #[error("cannot {op} (operation {index})")]
    Inexpressible {
        /// Index into the operations.
        index: usize,
        /// The operation in words.
        op: String,
        /// Why not.
        source: EncodeError,
    },
    /// The kernel refused the batch as a whole.
    #[error("the kernel refused the transaction")]
    Batch(#[source] KernelError),
    /// The socket failed.
    #[error("nf_tables socket")]
    Io(#[from] io::Error),
    /// The generation could not be read.
    #[error("reading the ruleset's generation")]
    Generation(#[source] RequestError),
}

/// Why the table could not be read.
#[derive(Debug, thiserror::Error)]
pub enum ObserveError {
    /// A dump failed.
    #[error("failed to read {what} of table inet mwan")]
    Dump {
        /// Sets, chains…
        what: &'static str,
        /// Why.
        source: RequestError,
    },
    /// Somebody commits faster than we can read.
    #[error("the ruleset changed during each of {} attempts to read it", netlink::DUMP_ATTEMPTS)]
    Inconsistent,
}

/// A socket to nf_tables.
#[derive(Debug)]
pub struct NftSocket {
    pub(super) socket: Socket,
    /// The rules known to be as we made them; `None`: nobody told, the next look takes all that carry a tag.
    pub(super) own: Option<OwnRules>,
    /// Large sets as last read, see [`LargeSet`].
    pub(super) large: BTreeMap<String, LargeSet>,
    /// Shut while many elements are entered.
    ears: Option<Ears>,
    /// Others may have committed unheard.
    missed: bool,
}

impl NftSocket {
    /// Opens it in the network namespace of the calling thread.
    pub fn open() -> io::Result<Self> {
        Ok(NftSocket {
            socket: Socket::open(Protocol::Netfilter)?,
            own: None,
            large: BTreeMap::new(),
            ears: None,
            missed: false,
        })
    }

    /// The rules known to be as we made them.
    pub fn own_rules(&self) -> Option<&OwnRules> {
        self.own.as_ref()
    }

    /// Goes on with what another socket knew ([`NftSocket::own_rules`]).
    pub fn remember(&mut self, own: OwnRules) {
        self.own = Some(own);
    }

    /// The port id that notifications of our own commits carry.
    pub fn port(&self) -> u32 {
        self.socket.port()
    }

    /// The number of the ruleset's current generation, which every commit by anybody in this namespace counts up.
    pub fn generation(&mut self) -> Result<u32, RequestError> {
        let mut generation = None;
        let request = Writer::message(message::GET_GENERATION, 0, &header(0, 0));
        self.socket.query(request, &mut |m| {
            if m.kind == message::NEW_GENERATION {
                generation = m.attributes(4).find(attr::GEN_ID).and_then(u32_be);
            }
        })?;
        generation.ok_or(RequestError::NoAnswer)
    }

    /// Shuts these while many elements are entered: see [`Ears`].
    pub fn shut_while_large(&mut self, ears: Ears) {
        self.ears = Some(ears);
    }

    /// Whether others may have changed the ruleset while nobody listened, since this was asked last.
    pub fn take_missed(&mut self) -> bool {
        std::mem::take(&mut self.missed)
    }

    /// Makes all changes in one transaction, or none. With `expected_generation` only if nobody committed since
    /// it was observed. Returns the generation that resulted.
    pub fn commit(&mut self, ops: &[NftOp], expected_generation: Option<u32>) -> Result<u32, CommitError> {
        let elements = |op: &NftOp| match op {
            NftOp::AddElements { elements, .. } | NftOp::DeleteElements { elements, .. } => elements.len(),
            _ => 0,
        };
        let result = match self.ears.take_if(|_| ops.iter().map(elements).sum::<usize>() >= UNHEARD_MIN) {
            Some(ears) => {
                let result = ears.shut(|| self.commit_locked(ops, expected_generation));
                self.ears = Some(ears);
                let result = result.map_err(CommitError::Io).flatten();
                // From here on everything is heard; was there anything before?
                self.missed |= !matches!((&result, self.generation()), (Ok(own), Ok(now)) if *own == now);
                result
            }
            None => self.commit_locked(ops, expected_generation),
        };
        // Nothing was changed by a stale one; what else went wrong may come from what we took for known.
        if !matches!(result, Err(CommitError::Stale)) {
            ops.iter().for_each(|op| self.note_elements(op, result.is_ok()));
        }
        result
    }

    /// Keeps what is known of large sets as it is after a commit: reading 100,000 elements again would keep the caller
    /// waiting. When they were read stays as it was, so others' changes are seen as soon as without.
    fn note_elements(&mut self, op: &NftOp, committed: bool) {
        match op {
            NftOp::AddElements { set, elements, .. } if committed => {
                if let Some(large) = self.large.get_mut(set) {
                    large.elements.extend(elements.iter().copied());
                }
            }
            NftOp::DeleteElements { set, elements, .. } if committed => {
                if let Some(large) = self.large.get_mut(set) {
                    for element in elements {
                        large.elements.remove(element);
                    }
                }
            }
            NftOp::AddElements { set, .. }
            | NftOp::DeleteElements { set, .. }
            | NftOp::FlushSet(set)
            | NftOp::DeleteSet(set) => drop(self.large.remove(set)),
            NftOp::DeleteTable => self.large.clear(),
            _ => {}
        }
    }

    fn commit_locked(&mut self, ops: &[NftOp], expected_generation: Option<u32>) -> Result<u32, CommitError> {
        for _ in 0..COMMIT_ATTEMPTS {
            // Always under the lock: only so the generation that results is known to be ours.
            let generation = match expected_generation {
                Some(generation) => generation,
                None => self.generation().map_err(CommitError::Generation)?,
            };
            match self.commit_on(ops, generation) {
                Err(CommitError::Stale) if expected_generation.is_none() => {}
                Ok(Answers::Complete) => return self.resulting(generation),
                Ok(Answers::Lost) => {
                    self.own = None;
                    return match self.resulting(generation)? {
                        // What was lost told of a refusal.
                        same if same == generation => Err(io::Error::from_raw_os_error(libc::ENOBUFS).into()),
                        next => Ok(next),
                    };
                }
                Err(error) => return Err(error),
            }
        }
        Err(CommitError::Stale)
    }

    /// A transaction that changes nothing does not count the generation up (nf_tables_commit, empty list);
    /// one that does makes it the next one, 0 left out.
    fn resulting(&mut self, before: u32) -> Result<u32, CommitError> {
        let now = self.generation().map_err(CommitError::Generation)?;
        Ok(if now == before { before } else { before.wrapping_add(1).max(1) })
    }

    fn commit_on(&mut self, ops: &[NftOp], generation: u32) -> Result<Answers, CommitError> {
        // An upper bound of the messages is not known before encoding; the numbers only must not repeat.
        let first = self.socket.sequences(1);
        let batch = encode::encode(ops, first, generation).map_err(|(index, source)| {
            CommitError::Inexpressible { index, op: describe(&ops[index]), source }
        })?;
        self.socket.sequences(batch.owners.len() as u32 + 1);
        // The kernel wants the whole batch in one skb (netlink_sendmsg: EMSGSIZE above sk_sndbuf - 32).
        if let Ok(bytes) = i32::try_from(batch.bytes.len().saturating_mul(2))
            && bytes > 1 << 20
        {
            self.socket.reserve_send(bytes);
        }
        self.socket.send(&batch.bytes)?;
        self.outcome(ops, first, &batch.owners)
    }

    /// No error means committed: items were sent without NLM_F_ACK, and errors and echoes are there before send
    /// returns.
    fn outcome(&mut self, ops: &[NftOp], first: u32, owners: &[usize]) -> Result<Answers, CommitError> {
        let mut failure: Option<CommitError> = None;
        let mut answers = Answers::Complete;
        let mut sets = SetHandles::new();
        loop {
            let messages = match self.socket.receive() {
                Ok(messages) => messages,
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => break,
                // More errors than fit: those we have name the first culprits. Or more echoes.
                Err(e) if e.raw_os_error() == Some(libc::ENOBUFS) => {
                    answers = Answers::Lost;
                    continue;
                }
                Err(e) => return Err(e.into()),
            };
            for message in messages {
                let place = message.sequence.wrapping_sub(first) as usize;
                if place > owners.len() + 1 || failure.is_some() {
                    continue;
                }
                if i32::from(message.kind) != libc::NLMSG_ERROR {
                    learn(&mut self.own, &mut sets, &message);
                    continue;
                }
                let Some(error) = error_of(&message) else { continue };
                failure = Some(match place.checked_sub(1).and_then(|p| owners.get(p)) {
                    Some(&index) => CommitError::Refused { index, op: describe(&ops[index]), source: error },
                    None if error.errno == libc::ERESTART => CommitError::Stale,
                    None => CommitError::Batch(error),
                });
            }
        }
        failure.map_or(Ok(answers), Err)
    }

    /// Removes our table if there is one. Needs no configuration: clean-up after whatever happened.
    pub fn delete_table_if_exists(&mut self) -> Result<(), CommitError> {
        // Adding first makes deleting succeed; both are one transaction, so nothing flickers.
        self.commit(&[NftOp::AddTable, NftOp::DeleteTable], None).map(drop)
    }

    /// Dumps one kind of object; a missing table is an empty answer.
    pub(super) fn dump<T>(
        &mut self,
        what: &'static str,
        request: impl Fn() -> Writer,
        start: impl Fn() -> T,
        each: impl FnMut(&mut T, &netlink::Message<'_>),
    ) -> Result<T, ObserveError> {
        match self.socket.dump(request, &start, each) {
            Err(RequestError::Kernel(error)) if error.errno == libc::ENOENT => Ok(start()),
            other => other.map_err(|source| ObserveError::Dump { what, source }),
        }
    }

    /// A dump request that names our table.
    pub(super) fn about_table(kind: u16) -> Writer {
        let mut writer = Writer::message(kind, 0, &header(INET, 0));
        writer.put_str(attr::TABLE_NAME, mwan_compile::nft::TABLE);
        writer
    }
}

/// Whether all that the kernel had to say of a transaction fitted into the socket's buffer.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Answers {
    Complete,
    Lost,
}

/// Takes in the echo of a committed operation.
fn learn(own: &mut Option<OwnRules>, sets: &mut SetHandles, m: &netlink::Message<'_>) {
    sets.extend(anonymous_set(m));
    if let Some(table) = parse_table(m) {
        // One that is only woken up is not a new one.
        if own.as_ref().is_none_or(|own| own.table != table.handle) {
            *own = Some(OwnRules { table: table.handle, ..OwnRules::default() });
        }
    } else if let (Some(own), Some(rule)) = (own, parse_rule(m, sets)) {
        own.rules.insert(rule.digest);
    }
}

/// An operation in words, for errors.
pub(super) fn describe(op: &NftOp) -> String {
    match op {
        NftOp::AddTable => "create the table".into(),
        NftOp::DeleteTable => "delete the table".into(),
        NftOp::AddSet { name, .. } => format!("create set {name}"),
        NftOp::DeleteSet(name) => format!("delete set {name}"),
        NftOp::AddElements { set, elements, .. } => format!("add {} elements to set {set}", elements.len()),
        NftOp::DeleteElements { set, elements, .. } => {
            format!("delete {} elements of set {set}", elements.len())
        }
        NftOp::FlushSet(name) => format!("flush set {name}"),
        NftOp::AddCounter(name) => format!("create counter {name}"),
        NftOp::DeleteCounter(name) => format!("delete counter {name}"),
        NftOp::AddChain { name, .. } => format!("create chain {name}"),
        NftOp::FlushChain(name) => format!("flush chain {name}"),
        NftOp::DeleteChain(name) => format!("delete chain {name}"),
        NftOp::AddRule { chain, rule } => format!("add rule `{}` to chain {chain}", rule.tag),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::common;
    use crate::sys;
    use mwan_compile::nft::{Rule, Statement, Verdict};
    use std::os::fd::AsFd;

    fn rules(chain: &str, count: usize) -> impl Iterator<Item = NftOp> {
        (0..count).map(move |n| {
            let statements = vec![Statement::NotNew, Statement::Verdict(Verdict::Return)];
            NftOp::AddRule { chain: chain.into(), rule: Rule { statements, tag: format!("{chain} #{n}") } }
        })
    }

    #[test]
    fn an_echo_that_does_not_fit_is_made_up_for_by_the_next_look() {
        common::in_namespace(
            "nft::socket::tests::an_echo_that_does_not_fit_is_made_up_for_by_the_next_look",
            || {
                let mut socket = NftSocket::open().expect("socket");
                let chains = ["a", "b"].map(|name| NftOp::AddChain { name: name.into(), hook: None });
                let ops: Vec<NftOp> =
                    [NftOp::AddTable].into_iter().chain(chains).chain(rules("a", 1)).collect();
                socket.commit(&ops, None).expect("commit");
                assert_eq!(socket.own_rules().expect("known").rules.len(), 1);
                let small = |socket: &NftSocket| {
                    sys::set_option(socket.socket.as_fd(), libc::SOL_SOCKET, libc::SO_RCVBUF, 1)
                        .expect("smaller");
                };
                small(&socket);
                let generation = socket.generation().expect("generation");
                let ops: Vec<NftOp> = rules("b", 500).collect();
                assert_eq!(
                    socket.commit(&ops, Some(generation)).expect("committed all the same"),
                    generation + 1
                );
                assert_eq!(socket.own_rules(), None);
                let table = socket.observe().expect("observe").0.expect("the table");
                assert_eq!(table.chains["b"].tags[499], "b #499");
                assert_eq!(socket.own_rules().expect("known again").rules.len(), 501);
            },
        );
    }
}
