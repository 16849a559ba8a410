//! Epoch keys: which there are, which this identity holds, which to write under.

use std::collections::{BTreeMap, BTreeSet};

use zeroize::Zeroizing;

use crate::authority::{Authority, Members};
use crate::clock::Hlc;
use crate::header::Signed;
use crate::key::{AuthorKey, Chance, Digest, Identity, RecordId, SealKey, SealSecret, Secret};
use crate::ledger::Ledger;
use crate::log::Logs;
use crate::operation::{Epoch, History, MEMBERS_MAX, Operation, Scope, SealedTo, Share, fits};
use crate::root::{Genesis, Root};
use crate::seal::{open, seal, unwrap, wrap};

/// Epochs made by members that a new one takes the place of; owners' all count.
const FOREIGN_HEADS_MAX: usize = 16;

/// Where keys stand: what is sealed for one place opens in no other.
fn covered(record: RecordId, maker: AuthorKey, height: u64) -> Vec<u8> {
    [&record.0[..], &maker.0, &height.to_le_bytes()].concat()
}

/// The keys of an epoch: one opens contents, the other the keys of earlier epochs.
#[derive(Clone, Debug)]
pub(crate) struct EpochKeys {
    pub(crate) content: Secret,
    pub(crate) history: Option<Secret>,
}

impl EpochKeys {
    fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (content, rest) = bytes.split_first_chunk()?;
        let history = match rest {
            [] => None,
            rest => Some(Secret::new(rest.try_into().ok()?)),
        };
        Some(Self { content: Secret::new(*content), history })
    }

    fn bytes(&self, history: History) -> Zeroizing<Vec<u8>> {
        let mut bytes = Zeroizing::new(Vec::with_capacity(64));
        bytes.extend_from_slice(self.content.expose());
        if let (History::Whole, Some(key)) = (history, &self.history) {
            bytes.extend_from_slice(key.expose());
        }
        bytes
    }
}

/// An epoch as its header says it.
#[derive(Debug)]
struct Row {
    author: AuthorKey,
    height: u64,
    hlc: Hlc,
    accepted: bool,
    epoch: Epoch,
    /// Members that it was shared with later.
    shared: Members,
}

/// What is known of epochs.
#[derive(Debug, Default)]
pub(crate) struct Keyring {
    rows: BTreeMap<Digest, Row>,
    keys: BTreeMap<Digest, EpochKeys>,
}

impl Keyring {
    /// Reads the logs anew; keys once opened are kept.
    pub(crate) fn refresh(&mut self, me: &Identity, logs: &Logs, ledger: &Ledger) {
        self.rows.clear();
        let mut shares = Vec::<(&Signed, &Share)>::new();
        for signed in logs.iter().flat_map(|(_, log)| log.iter()) {
            let header = signed.header();
            let accepted = !ledger.is_refused(&header.author, header.height);
            match &header.operation {
                Operation::Epoch(epoch) => {
                    let row = Row {
                        author: header.author,
                        height: header.height,
                        hlc: header.hlc,
                        accepted,
                        epoch: epoch.clone(),
                        shared: Members::new(),
                    };
                    self.rows.insert(signed.id(), row);
                }
                Operation::Share(share) if accepted => shares.push((signed, share)),
                _ => {}
            }
        }
        for (signed, share) in shares {
            for (id, sealed) in &share.keys {
                if let Some(row) = self.rows.get_mut(id) {
                    row.shared.insert(share.to);
                }
                if share.to == me.author() {
                    let header = signed.header();
                    self.open(
                        *id,
                        me.seal_secret(),
                        &covered(header.record, header.author, header.height),
                        sealed,
                    );
                }
            }
        }
        self.open_own(me, logs);
        self.follow();
    }

    /// Opens every epoch with the recovery phrase.
    pub(crate) fn recover(&mut self, root: &Root, record: RecordId) {
        let rows: Vec<(Digest, Vec<u8>, Vec<u8>)> = self
            .rows
            .iter()
            .map(|(id, row)| (*id, covered(record, row.author, row.height), row.epoch.recovery.clone()))
            .collect();
        for (id, covered, sealed) in rows {
            self.open(id, root.recovery(), &covered, &sealed);
        }
        self.follow();
    }

    fn open_own(&mut self, me: &Identity, logs: &Logs) {
        let mine = me.author();
        let mut found = Vec::new();
        for (id, row) in self.rows.iter().filter(|(id, _)| !self.keys.contains_key(id)) {
            let sealed = row.epoch.members.iter().find(|member| member.author == mine);
            if let (Some(sealed), Some(signed)) = (sealed, logs.find(id)) {
                found.push((
                    *id,
                    covered(signed.header().record, row.author, row.height),
                    sealed.keys.clone(),
                ));
            }
        }
        for (id, covered, sealed) in found {
            self.open(id, me.seal_secret(), &covered, &sealed);
        }
    }

    fn open(&mut self, id: Digest, secret: &SealSecret, covered: &[u8], sealed: &[u8]) {
        let known = self.keys.get(&id);
        if known.is_some_and(|keys| keys.history.is_some()) {
            return;
        }
        if let Some(keys) = open(secret, covered, sealed).and_then(|plain| EpochKeys::from_bytes(&plain)) {
            self.keys.insert(id, keys);
        }
    }

    /// Opens earlier epochs with the history keys of later ones, as far back as they reach.
    fn follow(&mut self) {
        let mut todo: Vec<Digest> = self.keys.keys().copied().collect();
        while let Some(id) = todo.pop() {
            let (Some(row), Some(keys)) = (self.rows.get(&id), self.keys.get(&id)) else { continue };
            let Some(history) = keys.history.clone() else { continue };
            let previous = row.epoch.previous.clone();
            for (earlier, boxed) in previous {
                let whole = self.keys.get(&earlier).is_some_and(|keys| keys.history.is_some());
                let opened = (!whole).then(|| open_previous(&history, &earlier, &boxed)).flatten();
                if let Some(keys) = opened {
                    self.keys.insert(earlier, keys);
                    todo.push(earlier);
                }
            }
        }
    }

    pub(crate) fn content_key(&self, epoch: &Digest) -> Option<&Secret> {
        self.keys.get(epoch).map(|keys| &keys.content)
    }

    pub(crate) fn scope(&self, epoch: &Digest) -> Option<Scope> {
        self.rows.get(epoch).map(|row| row.epoch.scope)
    }

    /// Whether a member was given an epoch's key.
    pub(crate) fn was_given(&self, epoch: &Digest, author: &AuthorKey) -> bool {
        self.rows.get(epoch).is_some_and(|row| row.gives(author))
    }

    /// The epoch to write under: the latest that owners or this author made, that nothing supersedes, and whose
    /// keys nobody holds who may not read.
    pub(crate) fn current(&self, authority: &Authority, me: &AuthorKey, scope: Scope) -> Option<Digest> {
        let trusted = |row: &Row| authority.was_owner(&row.author) || row.author == *me;
        let rows =
            || self.rows.iter().filter(|(_, row)| row.accepted && row.epoch.scope == scope && trusted(row));
        let superseded: BTreeSet<&Digest> = rows().flat_map(|(_, row)| &row.epoch.supersedes).collect();
        let readers = authority.readers(scope);
        let usable = rows().filter(|(id, row)| {
            !superseded.contains(id)
                && self.keys.contains_key(id)
                && row.holders().all(|holder| readers.contains_key(holder))
        });
        usable.max_by_key(|(id, row)| (row.hlc, **id)).map(|(id, _)| *id)
    }

    /// Epochs of a scope that nothing supersedes and whose keys are here.
    fn heads(&self, authority: &Authority, me: &AuthorKey, scope: Scope) -> Vec<Digest> {
        let rows = || self.rows.iter().filter(|(_, row)| row.accepted && row.epoch.scope == scope);
        let superseded: BTreeSet<&Digest> = rows().flat_map(|(_, row)| &row.epoch.supersedes).collect();
        let heads = rows().filter(|(id, _)| !superseded.contains(id) && self.keys.contains_key(id));
        let (mut ours, mut foreign) = (Vec::new(), Vec::new());
        for (id, row) in heads {
            let side =
                if authority.was_owner(&row.author) || row.author == *me { &mut ours } else { &mut foreign };
            side.push((row.hlc, *id));
        }
        foreign.sort_unstable();
        let skipped = foreign.len().saturating_sub(FOREIGN_HEADS_MAX);
        ours.sort_unstable();
        let all = ours.into_iter().rev().chain(foreign.into_iter().skip(skipped));
        all.map(|(_, id)| id).take(MEMBERS_MAX).collect()
    }

    /// Members who should read a scope and lack the key of an epoch that is in use.
    pub(crate) fn lacking(
        &self,
        authority: &Authority,
        me: &AuthorKey,
        scope: Scope,
    ) -> Vec<(AuthorKey, Vec<Digest>)> {
        let heads = self.heads(authority, me, scope);
        let readers = authority.readers(scope).into_keys();
        let lacks = readers.map(|reader| {
            let without = |id: &&Digest| !self.was_given(id, &reader);
            let ids: Vec<Digest> = heads.iter().filter(without).copied().collect();
            (reader, ids)
        });
        lacks.filter(|(_, ids)| !ids.is_empty()).collect()
    }

    /// Makes new keys for a scope, sealed to everybody who may read it.
    pub(crate) fn rotate(&self, place: &Place<'_>, scope: Scope, chance: &mut Chance) -> Epoch {
        let keys = EpochKeys { content: chance.draw(), history: Some(chance.draw()) };
        let covered = place.covered();
        let me = place.me.author();
        let readers = place.authority.readers(scope);
        let members = readers.iter().take(MEMBERS_MAX).map(|(author, (to, history))| SealedTo {
            author: *author,
            keys: seal(to, &covered, &keys.bytes(*history), chance),
        });
        let members = members.collect();
        let mut supersedes = self.heads(place.authority, &me, scope);
        supersedes.sort_unstable();
        let history = keys.history.clone().unwrap_or_else(|| chance.draw());
        let previous = supersedes.iter().filter_map(|id| {
            let earlier = self.keys.get(id)?;
            Some((*id, box_previous(&history, id, earlier, chance)))
        });
        let previous = previous.collect();
        let recovery = seal(&place.genesis.recovery, &covered, &keys.bytes(History::Whole), chance);
        debug_assert!(fits(supersedes.len()), "heads are taken up to the limit of a set");
        Epoch { scope, supersedes, recovery, members, previous }
    }

    /// Seals keys that are here to a member.
    pub(crate) fn share(
        &self,
        place: &Place<'_>,
        to: (AuthorKey, SealKey, History),
        ids: &[Digest],
        chance: &mut Chance,
    ) -> Share {
        let covered = place.covered();
        let (author, seal_key, history) = to;
        let mut ids = ids.to_vec();
        ids.sort_unstable();
        let keys = ids.into_iter().filter_map(|id| {
            let keys = self.keys.get(&id)?;
            Some((id, seal(&seal_key, &covered, &keys.bytes(history), chance)))
        });
        Share { to: author, keys: keys.collect() }
    }

    /// Scopes that have an epoch.
    pub(crate) fn scopes(&self) -> BTreeSet<Scope> {
        self.rows.values().filter(|row| row.accepted).map(|row| row.epoch.scope).collect()
    }
}

impl Row {
    fn holders(&self) -> impl Iterator<Item = &AuthorKey> {
        self.epoch.members.iter().map(|member| &member.author).chain(&self.shared)
    }

    fn gives(&self, author: &AuthorKey) -> bool {
        self.holders().any(|holder| holder == author)
    }
}

/// The header that keys will stand in.
pub(crate) struct Place<'a> {
    pub(crate) authority: &'a Authority,
    pub(crate) genesis: &'a Genesis,
    pub(crate) me: &'a Identity,
    pub(crate) height: u64,
}

impl Place<'_> {
    fn covered(&self) -> Vec<u8> {
        covered(self.genesis.record(), self.me.author(), self.height)
    }
}

/// `content key box 72 | history key box 72, if known`.
fn box_previous(history: &Secret, id: &Digest, keys: &EpochKeys, chance: &mut Chance) -> Vec<u8> {
    match &keys.history {
        Some(earlier) => {
            [wrap(history, &id.0, &keys.content, chance), wrap(history, &id.0, earlier, chance)].concat()
        }
        None => wrap(history, &id.0, &keys.content, chance),
    }
}

fn open_previous(history: &Secret, id: &Digest, boxed: &[u8]) -> Option<EpochKeys> {
    let half = crate::seal::WRAPPED_LEN;
    let (content, rest) = boxed.split_at_checked(half)?;
    let content = unwrap(history, &id.0, content)?;
    let earlier = if rest.is_empty() { None } else { Some(unwrap(history, &id.0, rest)?) };
    Some(EpochKeys { content, history: earlier })
}
