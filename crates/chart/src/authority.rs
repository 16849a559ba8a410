//! Who may do what: a function of the logs alone, the same on every replica in whatever order they came.
//!
//! Authority has two steps and no circle. The root's signatures say which devices are the owner's and how much of
//! their logs counts; what counts of those logs says who else is a member and how much of theirs counts.

use std::collections::{BTreeMap, BTreeSet};

use crate::clock::Hlc;
use crate::header::{Header, Signed};
use crate::key::{AuthorKey, Digest, SealKey};
use crate::log::{Log, Logs};
use crate::operation::{Change, Grant, History, Operation, Role, Scope, Version};
use crate::root::{Certificate, Cut, Genesis};

/// Why an operation has no effect. Every replica says the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// No grant and no certificate names the author.
    #[error("the author is no member")]
    NoMember,
    /// It lies behind the cut of a revocation or a removal.
    #[error("it came after the end of the membership")]
    Revoked,
    /// The author signed two headers of one height at or below it.
    #[error("the author contradicted itself")]
    Forked,
    /// Only owner devices may do this.
    #[error("only the owner may do this")]
    NotOwner,
    /// The root's signature is missing: devices of the owner come and go by the root key alone.
    #[error("the root did not sign this")]
    NotRoot,
    /// An owner device is removed by the root, not revoked.
    #[error("an owner cannot be revoked")]
    OwnerStays,
    /// The role has no right to write.
    #[error("the role may not write")]
    ReadOnly,
    /// The scope is not among those granted.
    #[error("the scope was not granted")]
    OutOfScope,
    /// Only the author of an entry, and the owner, may change it.
    #[error("the entry is another's")]
    NotYours,
    /// The contents are more than the grant allows.
    #[error("the quota is used up")]
    OverQuota,
    /// The operation stands only at the beginning of a log.
    #[error("it stands at the beginning of a log only")]
    Misplaced,
}

/// A grant with its name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Granted {
    pub(crate) id: Digest,
    pub(crate) hlc: Hlc,
    pub(crate) by: AuthorKey,
    pub(crate) grant: Grant,
}

/// A member as grants say it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Standing<'a> {
    pub(crate) role: Role,
    pub(crate) granted: &'a Granted,
}

/// Who may do what.
#[derive(Debug, Default)]
pub(crate) struct Authority {
    genesis: Option<Genesis>,
    devices: BTreeMap<AuthorKey, SealKey>,
    /// By grantee, in the order of time and name.
    grants: BTreeMap<AuthorKey, Vec<Granted>>,
    cuts: BTreeMap<AuthorKey, Cut>,
}

impl Authority {
    /// Reads the logs.
    pub(crate) fn of(genesis: Option<Genesis>, logs: &Logs) -> Self {
        let mut it = Self { genesis, ..Self::default() };
        let Some(genesis) = genesis else { return it };
        for (author, log) in logs.iter() {
            if let Some(certificate) = log.get(0).and_then(|first| certificate(&genesis, first)) {
                it.devices.insert(*author, certificate.seal);
            }
        }
        // The root's word counts wherever it stands in an owner device's log, even a device's that is gone.
        for (_, log) in logs.iter().filter(|(author, _)| it.devices.contains_key(author)) {
            for signed in log.iter() {
                if let Operation::Remove(removal) = &signed.header().operation
                    && removal.verify(&genesis).is_ok()
                {
                    raise(&mut it.cuts, removal.device, removal.cut);
                }
            }
        }
        let (mut grants, mut revocations) = (Vec::new(), Vec::new());
        for (author, log) in logs.iter().filter(|(author, _)| it.devices.contains_key(author)) {
            for signed in log.iter().take_while(|signed| it.reaches(log, signed.header()).is_ok()) {
                match &signed.header().operation {
                    Operation::Grant(grant) => grants.push(Granted {
                        id: signed.id(),
                        hlc: signed.header().hlc,
                        by: *author,
                        grant: grant.clone(),
                    }),
                    Operation::Revoke(revocation) => revocations.push(*revocation),
                    _ => {}
                }
            }
        }
        for revocation in revocations {
            if !it.devices.contains_key(&revocation.author) {
                raise(&mut it.cuts, revocation.author, revocation.cut);
            }
        }
        grants.sort_by_key(|granted| (granted.hlc, granted.id));
        for granted in grants {
            it.grants.entry(granted.grant.grantee).or_default().push(granted);
        }
        it
    }

    pub(crate) fn cut(&self, author: &AuthorKey) -> Option<&Cut> {
        self.cuts.get(author)
    }

    /// Whether a key is one of the owner's devices and was not removed.
    pub(crate) fn is_owner(&self, author: &AuthorKey) -> bool {
        self.devices.contains_key(author) && !self.cuts.contains_key(author)
    }

    /// Whether a key was ever one of the owner's devices.
    pub(crate) fn was_owner(&self, author: &AuthorKey) -> bool {
        self.devices.contains_key(author)
    }

    /// What a member may, as its latest grant says; `None` for owners, strangers and those who were revoked.
    pub(crate) fn standing(&self, author: &AuthorKey) -> Option<Standing<'_>> {
        if self.cuts.contains_key(author) || self.devices.contains_key(author) {
            return None;
        }
        let granted = self.grants.get(author)?.last()?;
        Some(Standing { role: granted.grant.role, granted })
    }

    /// Whether a log of this author is kept at all.
    pub(crate) fn knows(&self, author: &AuthorKey) -> bool {
        self.devices.contains_key(author) || self.grants.contains_key(author)
    }

    /// All owner devices that were not removed, with what is sealed to them.
    pub(crate) fn owners(&self) -> impl Iterator<Item = (AuthorKey, SealKey)> {
        let kept = self.devices.iter().filter(|(author, _)| !self.cuts.contains_key(author));
        kept.map(|(author, seal)| (*author, *seal))
    }

    /// All grantees, past ones included.
    pub(crate) fn grantees(&self) -> impl Iterator<Item = (&AuthorKey, &Granted)> {
        self.grants.iter().filter_map(|(author, grants)| Some((author, grants.last()?)))
    }

    /// Everybody whose keys open a scope: owners, and members who may read it.
    pub(crate) fn readers(&self, scope: Scope) -> BTreeMap<AuthorKey, (SealKey, History)> {
        let owners = self.owners().map(|(author, seal)| (author, (seal, History::Whole)));
        let members = self.grants.keys().filter_map(|author| {
            let grant = &self.standing(author)?.granted.grant;
            let reads = grant.role != Role::Helper && grant.scopes.contains(&scope);
            reads.then_some((*author, (grant.seal, grant.history)))
        });
        owners.chain(members).collect()
    }

    /// Tells whether an operation has effect.
    pub(crate) fn judge(&self, logs: &Logs, signed: &Signed) -> Result<(), Refusal> {
        let header = signed.header();
        let log = logs.get(&header.author).ok_or(Refusal::NoMember)?;
        self.reaches(log, header)?;
        if self.devices.contains_key(&header.author) {
            return self.judge_owner(header);
        }
        let grants = self.grants.get(&header.author).ok_or(Refusal::NoMember)?;
        if self.quota(&header.author).is_some_and(|quota| log.written(header.height) > quota) {
            return Err(Refusal::OverQuota);
        }
        match &header.operation {
            Operation::Accept(_) if header.height == 0 => Ok(()),
            Operation::Accept(_) => Err(Refusal::Misplaced),
            Operation::Audit(_) => Ok(()),
            Operation::Epoch(epoch) => may_write(grants, epoch.scope),
            Operation::Version(version) => {
                may_write(grants, version.scope)?;
                judge_version(logs, header, version)
            }
            Operation::Enrol(..) | Operation::Remove(_) => Err(Refusal::NotRoot),
            Operation::Revoke(revocation) if self.devices.contains_key(&revocation.author) => {
                Err(Refusal::OwnerStays)
            }
            Operation::Grant(_) | Operation::Revoke(_) | Operation::Share(_) | Operation::Erase(_) => {
                Err(Refusal::NotOwner)
            }
        }
    }

    /// Bytes that a member may write in all; owners write what they like.
    pub(crate) fn quota(&self, author: &AuthorKey) -> Option<u64> {
        self.grants.get(author)?.iter().map(|granted| granted.grant.quota).max()
    }

    fn judge_owner(&self, header: &Header) -> Result<(), Refusal> {
        match &header.operation {
            Operation::Enrol(..) if header.height == 0 => Ok(()),
            Operation::Enrol(..) | Operation::Accept(_) => Err(Refusal::Misplaced),
            Operation::Remove(removal) => {
                let genesis = self.genesis.as_ref().ok_or(Refusal::NotRoot)?;
                removal.verify(genesis).map_err(|_| Refusal::NotRoot)
            }
            Operation::Revoke(revocation) if self.devices.contains_key(&revocation.author) => {
                Err(Refusal::OwnerStays)
            }
            _ => Ok(()),
        }
    }

    /// Whether cut and fork of a log leave a height in it.
    fn reaches(&self, log: &Log, header: &Header) -> Result<(), Refusal> {
        match (self.cuts.get(&header.author), log.fork()) {
            (Some(cut), _) if header.height >= cut.height => Err(Refusal::Revoked),
            (None, Some(fork)) if header.height >= fork.height() => Err(Refusal::Forked),
            _ => Ok(()),
        }
    }
}

/// The certificate with which an owner device begins its log, if the root signed it for this log and record.
pub(crate) fn certificate<'a>(genesis: &Genesis, first: &'a Signed) -> Option<&'a Certificate> {
    let Operation::Enrol(founding, certificate) = &first.header().operation else { return None };
    let fits =
        founding == genesis && certificate.device == first.header().author && first.header().height == 0;
    (fits && certificate.verify(genesis).is_ok()).then_some(certificate)
}

fn raise(cuts: &mut BTreeMap<AuthorKey, Cut>, author: AuthorKey, cut: Cut) {
    let known = cuts.entry(author).or_insert(cut);
    *known = cut.max(*known);
}

fn may_write(grants: &[Granted], scope: Scope) -> Result<(), Refusal> {
    let writes = |granted: &&Granted| granted.grant.role == Role::Contributor;
    if !grants.iter().any(|granted| writes(&granted)) {
        return Err(Refusal::ReadOnly);
    }
    let in_scope = grants.iter().filter(writes).any(|granted| granted.grant.scopes.contains(&scope));
    if in_scope { Ok(()) } else { Err(Refusal::OutOfScope) }
}

/// A member changes only entries that it created; it may stand by anybody's.
fn judge_version(logs: &Logs, header: &Header, version: &Version) -> Result<(), Refusal> {
    let (Some(entry), true) = (version.entry, version.change != Change::Attestation) else { return Ok(()) };
    let creation = logs.find(&entry).map(Signed::header).ok_or(Refusal::NotYours)?;
    let Operation::Version(created) = &creation.operation else { return Err(Refusal::NotYours) };
    let own = creation.author == header.author && creation.height < header.height;
    if !own || created.change != Change::Creation {
        return Err(Refusal::NotYours);
    }
    if created.scope == version.scope { Ok(()) } else { Err(Refusal::OutOfScope) }
}

/// Members that a set of epochs or grants names.
pub(crate) type Members = BTreeSet<AuthorKey>;
