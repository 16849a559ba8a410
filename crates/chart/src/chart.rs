//! A replica of one health record.

use std::collections::{BTreeMap, BTreeSet};

use crate::authority::{Authority, Refusal};
use crate::blob::{Fetch, Sealer};
use crate::clock::{Clock, Hlc, Now, UnixMillis, is_doubtful};
use crate::event::{Event, Events};
use crate::header::{ContentRef, Header, STATEMENT_MAX, Signed};
use crate::invitation::Book;
use crate::journal::{Absent, CutOff, Journal};
use crate::key::{AuthorKey, Chance, Digest, Identity, RecordId, SealKey, Secret};
use crate::keyring::{Keyring, Place};
use crate::ledger::{Entry, Refused};
use crate::link::{Link, LinkId};
use crate::log::{Fork, Log};
use crate::operation::{
    Audit, Change, Grant, History, MEMBERS_MAX, Operation, Revocation, Role, Scope, Version,
};
use crate::root::{Cut, Genesis, Root};
use crate::seal::{decrypt, encrypt, unwrap, wrap};
use crate::statement::{Private, Statement};
use crate::store::{Archive, StoreError};

/// Rounds in which one change makes another necessary; more would be a circle.
const ROUNDS_MAX: usize = 8;

/// Why a replica did not write.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WriteError {
    /// Others would refuse it.
    #[error("it would be refused")]
    Refused(#[from] Refusal),
    /// This replica is not a member yet, or its first headers have not come.
    #[error("the membership has not begun")]
    NotYet,
    /// Others have more of our own log than we do: the store was set back. Fetching it comes first.
    #[error("our own log is behind what others have")]
    Behind,
    /// No key to encrypt with.
    #[error("no key of the scope is here")]
    NoKey,
    /// What is referred to is not here.
    #[error("no such header")]
    Unknown,
    /// Longer than [`STATEMENT_MAX`].
    #[error("the statement is too long")]
    TooLong,
    /// No room for another member.
    #[error("the record has no room for another member")]
    Full,
    /// The membership has ended already.
    #[error("the membership has ended already")]
    Ended,
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// What became of a version's contents.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Reading {
    /// Here they are.
    Statement(Box<Statement>),
    /// They were destroyed.
    Erased,
    /// They have not come.
    Missing,
    /// They are not for this replica.
    NoKey,
    /// They are not what the author signed, or not a statement.
    Damaged,
}

/// A grant to be.
#[derive(Clone, Debug)]
pub struct GrantDraft {
    /// Their log.
    pub grantee: AuthorKey,
    /// What is sealed to them.
    pub seal: SealKey,
    /// What people call them.
    pub name: Private<String>,
    /// What they may do.
    pub role: Role,
    /// What they may read of the time before.
    pub history: History,
    /// What they may read and write; scope 0 is always among them.
    pub scopes: BTreeSet<Scope>,
    /// When sessions end.
    pub expires: Option<UnixMillis>,
    /// Bytes of contents in all.
    pub quota: u64,
    /// The invitation that they came by.
    pub invitation: Option<Digest>,
}

/// A member, or somebody who was one.
#[derive(Clone, Debug)]
pub struct Person {
    /// Their log.
    pub author: AuthorKey,
    /// The latest grant.
    pub grant: Grant,
    /// Its name.
    pub id: Digest,
    /// Who gave it.
    pub by: AuthorKey,
    /// When.
    pub since: Hlc,
    /// Whether they took it.
    pub accepted: bool,
    /// What of their log still counts, if the membership has ended.
    pub ended: Option<Cut>,
}

/// A replica of one record: a machine without I/O.
///
/// Hosts feed it frames of connections that they encrypt, and send what it says; see the module of links for how
/// a conversation goes. After every call drain [`Chart::poll_event`] and [`Chart::poll_transmit`].
#[derive(Debug)]
pub struct Chart<S> {
    pub(crate) me: Identity,
    pub(crate) journal: Journal<S>,
    pub(crate) keyring: Keyring,
    clock: Clock,
    pub(crate) chance: Chance,
    pub(crate) events: Events,
    pub(crate) links: BTreeMap<LinkId, Link>,
    /// Peers that are talked to although no log names them.
    pub(crate) introduced: BTreeSet<AuthorKey>,
    /// Headers whose contents are not here.
    pub(crate) missing: BTreeSet<(AuthorKey, u64)>,
    pub(crate) fetches: BTreeMap<Digest, Fetch>,
    pub(crate) book: Book,
    /// Since when others are known to have more of our own log than we do.
    pub(crate) behind: Option<(LinkId, u64, Now)>,
    pub(crate) refusals_told: BTreeSet<(AuthorKey, u64)>,
    pub(crate) retry_at: Option<std::time::Instant>,
}

impl<S: Archive> Chart<S> {
    /// Begins a replica in an empty store. It waits for its first headers; founders go on with [`Chart::enrol`].
    pub fn new(store: S, record: RecordId, me: Identity, seed: Secret) -> Self {
        Self {
            me,
            journal: Journal::new(store, record),
            keyring: Keyring::default(),
            clock: Clock::default(),
            chance: Chance::new(seed),
            events: Events::default(),
            links: BTreeMap::new(),
            introduced: BTreeSet::new(),
            missing: BTreeSet::new(),
            fetches: BTreeMap::new(),
            book: Book::default(),
            behind: None,
            refusals_told: BTreeSet::new(),
            retry_at: None,
        }
    }

    /// Founds a record and makes this its first device.
    ///
    /// # Errors
    ///
    /// If the store fails.
    pub fn found(now: Now, store: S, me: Identity, seed: Secret, root: &Root) -> Result<Self, WriteError> {
        let mut chance = Chance::new(seed);
        let mut salt = [0; 16];
        salt.copy_from_slice(&chance.draw().expose()[..16]);
        let genesis = root.found(now.wall, salt);
        let mut it = Self::new(store, genesis.record(), me, chance.draw());
        it.enrol(now, &genesis, root)?;
        Ok(it)
    }

    /// Makes this device one of the owner's, with the recovery phrase at hand.
    ///
    /// # Errors
    ///
    /// If the device has written already, or the store fails.
    pub fn enrol(&mut self, now: Now, genesis: &Genesis, root: &Root) -> Result<(), WriteError> {
        if genesis.record() != self.record() || genesis.root != root.public() {
            return Err(WriteError::Refused(Refusal::NotRoot));
        }
        if self.journal.logs.len_of(&self.me.author()) > 0 {
            return Err(WriteError::Refused(Refusal::Misplaced));
        }
        let certificate = root.certify(self.record(), self.me.author(), self.me.seal_key());
        self.journal.genesis = Some(*genesis);
        self.append(now, Operation::Enrol(*genesis, certificate), None)?;
        Ok(self.revise(now)?)
    }

    /// Opens what a store holds, and says which logs have lost their end.
    ///
    /// # Errors
    ///
    /// If the store cannot be read.
    pub fn open(
        store: S,
        record: RecordId,
        me: Identity,
        seed: Secret,
    ) -> Result<(Self, Vec<CutOff>), StoreError> {
        let mut it = Self::new(store, record, me, seed);
        let cut_off = it.journal.load(&it.me.author())?;
        it.keyring.refresh(&it.me, &it.journal.logs, &it.journal.ledger);
        let mine = it.me.author();
        if let Some(last) = it.journal.logs.get(&mine).and_then(Log::last) {
            it.clock.resume(last.header().hlc);
        }
        for (author, log) in it.journal.logs.iter() {
            for signed in log.iter().filter(|signed| signed.header().content.is_some()) {
                // What is torn or damaged is asked for again, as what is missing.
                if it.journal.content(signed)?.is_err() {
                    it.missing.insert((*author, signed.header().height));
                }
            }
        }
        let book = it.journal.store.get(&crate::store::Slot::Invitations)?;
        it.book = book.and_then(|bytes| Book::decode(&bytes).ok()).unwrap_or_default();
        it.refusals_told = it.journal.ledger.refused.keys().copied().collect();
        Ok((it, cut_off))
    }

    /// The record's name.
    pub const fn record(&self) -> RecordId {
        self.journal.record
    }

    /// The record's beginning, once it is known.
    pub const fn genesis(&self) -> Option<&Genesis> {
        self.journal.genesis.as_ref()
    }

    /// The key of this replica's log.
    pub fn author(&self) -> AuthorKey {
        self.me.author()
    }

    pub(crate) const fn authority(&self) -> &Authority {
        &self.journal.authority
    }

    /// Whether this replica is one of the owner's devices.
    pub fn is_owner(&self) -> bool {
        self.authority().is_owner(&self.me.author())
    }

    /// Opens every epoch with the recovery phrase, on a device that was no member when they were made. The keys are
    /// then sealed to this device, so that it needs the phrase only once.
    ///
    /// # Errors
    ///
    /// If the store fails.
    pub fn recover(&mut self, now: Now, root: &Root) -> Result<(), WriteError> {
        self.keyring.recover(root, self.record());
        self.tend(now)?;
        Ok(self.revise(now)?)
    }

    /// Talks to a peer although no log that is here names it: a restored device has no logs yet.
    pub fn introduce(&mut self, author: AuthorKey) {
        self.introduced.insert(author);
    }

    /// Makes someone a member.
    ///
    /// # Errors
    ///
    /// If this is no owner device, the key had a membership that ended, or there are too many members.
    pub fn grant(&mut self, now: Now, draft: GrantDraft) -> Result<Digest, WriteError> {
        if self.authority().cut(&draft.grantee).is_some() {
            return Err(WriteError::Ended);
        }
        let members = self.authority().readers(Scope::GENERAL);
        if members.len() >= MEMBERS_MAX && !members.contains_key(&draft.grantee) {
            return Err(WriteError::Full);
        }
        let mut scopes = draft.scopes;
        scopes.insert(Scope::GENERAL);
        let grant = Grant {
            grantee: draft.grantee,
            seal: draft.seal,
            role: draft.role,
            history: draft.history,
            scopes: scopes.into_iter().collect(),
            expires: draft.expires,
            quota: draft.quota,
            invitation: draft.invitation,
        };
        let name = Statement {
            media_type: "text/plain".into(),
            body: Private(draft.name.0.into_bytes()),
            ..Statement::default()
        };
        let id = self.append(now, Operation::Grant(grant), Some((Scope::GENERAL, &name)))?;
        self.revise(now)?;
        Ok(id)
    }

    /// Ends a membership at what is here of its log. Sessions with it end with this call.
    ///
    /// # Errors
    ///
    /// If this is no owner device, or the key is an owner's.
    pub fn revoke(&mut self, now: Now, author: AuthorKey) -> Result<Digest, WriteError> {
        if self.authority().cut(&author).is_some() {
            return Err(WriteError::Ended);
        }
        let id = self.append(now, self.revocation(author), None)?;
        self.revise(now)?;
        Ok(id)
    }

    fn revocation(&self, author: AuthorKey) -> Operation {
        let cut = self.journal.logs.get(&author).map_or(Cut { height: 0, head: Digest::ZERO }, Log::cut);
        Operation::Revoke(Revocation { author, cut })
    }

    /// Takes one of the owner's devices away, with the recovery phrase at hand.
    ///
    /// # Errors
    ///
    /// If the root is another, or this is no owner device.
    pub fn remove_device(&mut self, now: Now, root: &Root, device: AuthorKey) -> Result<Digest, WriteError> {
        if self.genesis().is_none_or(|genesis| genesis.root != root.public()) {
            return Err(WriteError::Refused(Refusal::NotRoot));
        }
        if !self.authority().is_owner(&device) {
            return Err(WriteError::Ended);
        }
        let cut = self.journal.logs.get(&device).map_or(Cut { height: 0, head: Digest::ZERO }, Log::cut);
        let removal = root.remove(self.record(), device, cut);
        let id = self.append(now, Operation::Remove(removal), None)?;
        self.revise(now)?;
        Ok(id)
    }

    /// Says something new.
    ///
    /// # Errors
    ///
    /// If this replica may not write there, or has no key.
    pub fn add(&mut self, now: Now, scope: Scope, statement: &Statement) -> Result<Digest, WriteError> {
        let blobs = blobs(statement);
        let version = Version { change: Change::Creation, entry: None, follows: Vec::new(), scope, blobs };
        self.say(now, version, statement)
    }

    /// Adds a version to an entry: it follows every version that none follows yet.
    ///
    /// # Errors
    ///
    /// If the entry is not here, is another's, or this replica has no key.
    pub fn change(
        &mut self,
        now: Now,
        entry: Digest,
        change: Change,
        statement: &Statement,
    ) -> Result<Digest, WriteError> {
        let known = self.journal.ledger.entries.get(&entry).ok_or(WriteError::Unknown)?;
        let follows: BTreeSet<Digest> = known.heads().collect();
        let newest = known.versions().last().ok_or(WriteError::Unknown)?;
        let newest = self.journal.logs.find(&newest).ok_or(WriteError::Unknown)?;
        let Operation::Version(Version { scope, .. }) = newest.header().operation else {
            return Err(WriteError::Unknown);
        };
        let follows = follows.into_iter().take(MEMBERS_MAX).collect();
        let version = Version { change, entry: Some(entry), follows, scope, blobs: blobs(statement) };
        self.say(now, version, statement)
    }

    fn say(&mut self, now: Now, version: Version, statement: &Statement) -> Result<Digest, WriteError> {
        let scope = version.scope;
        self.append(now, Operation::Version(version), Some((scope, statement)))
    }

    /// Notes that something happened.
    ///
    /// # Errors
    ///
    /// If this replica is no member, or the store fails.
    pub fn note(&mut self, now: Now, audit: Audit) -> Result<Digest, WriteError> {
        self.append(now, Operation::Audit(audit), None)
    }

    /// Destroys contents of versions, here at once and on every replica that hears of it.
    ///
    /// # Errors
    ///
    /// If this is no owner device, or a version is not here.
    pub fn erase(&mut self, now: Now, versions: &BTreeSet<Digest>) -> Result<Digest, WriteError> {
        if versions.iter().any(|id| self.journal.logs.find(id).is_none()) {
            return Err(WriteError::Unknown);
        }
        let targets = versions.iter().copied().take(MEMBERS_MAX).collect();
        let id = self.append(now, Operation::Erase(targets), None)?;
        self.revise(now)?;
        Ok(id)
    }

    /// Begins an attachment: push bytes, then finish.
    pub fn attach(&mut self) -> Sealer {
        Sealer::new(self.chance.draw())
    }

    /// Returns once everything written so far survives a crash: only then is it acknowledged.
    ///
    /// # Errors
    ///
    /// If the store fails.
    pub fn flush(&mut self) -> Result<(), StoreError> {
        self.journal.sync()
    }

    /// Signs an operation, encrypts what it says, and adds both to our log.
    pub(crate) fn append(
        &mut self,
        now: Now,
        operation: Operation,
        content: Option<(Scope, &Statement)>,
    ) -> Result<Digest, WriteError> {
        let author = self.me.author();
        let begins = matches!(operation, Operation::Enrol(..) | Operation::Accept(_));
        let is_member = self.authority().was_owner(&author) || self.authority().standing(&author).is_some();
        if !begins && self.authority().cut(&author).is_some() {
            return Err(WriteError::Ended);
        }
        if !begins && (!is_member || self.journal.logs.len_of(&author) == 0) {
            return Err(WriteError::NotYet);
        }
        if self.is_behind(now) {
            return Err(WriteError::Behind);
        }
        // Encrypting may make an epoch, which stands in our log before what is written under it.
        let content = match content {
            None => None,
            Some((scope, statement)) => Some(self.encrypt(now, scope, statement)?),
        };
        let Cut { height, head: previous } =
            self.journal.logs.get(&author).map_or(Cut { height: 0, head: Digest::ZERO }, Log::cut);
        let sealed = content.map(|(epoch, plain)| self.seal_content(&epoch, height, &plain)).transpose()?;
        let header = Header {
            record: self.record(),
            author,
            height,
            previous,
            hlc: self.clock.tick(now.wall),
            wall: now.wall,
            content: sealed.as_ref().map(|(reference, _)| *reference),
            operation,
        };
        let signed = header.sign(&self.me);
        if !begins {
            self.authority().judge(&self.journal.logs, &signed)?;
        }
        let id = signed.id();
        self.journal.append(&signed, sealed.map(|(_, content)| content))?;
        Ok(id)
    }

    /// Chooses an epoch, and makes one where none is fit, so that no write waits for anybody.
    fn encrypt(
        &mut self,
        now: Now,
        scope: Scope,
        statement: &Statement,
    ) -> Result<(Digest, Vec<u8>), WriteError> {
        let plain = statement.encode();
        if plain.len() > STATEMENT_MAX {
            return Err(WriteError::TooLong);
        }
        let mine = self.me.author();
        if let Some(epoch) = self.keyring.current(self.authority(), &mine, scope) {
            return Ok((epoch, plain));
        }
        let epoch = self.rotate(now, scope)?;
        self.revise(now)?;
        Ok((epoch, plain))
    }

    fn seal_content(
        &mut self,
        epoch: &Digest,
        height: u64,
        plain: &[u8],
    ) -> Result<(ContentRef, Vec<u8>), WriteError> {
        let covered = covered(self.record(), self.me.author(), height, epoch);
        let outer = self.keyring.content_key(epoch).ok_or(WriteError::NoKey)?;
        let inner = self.chance.draw();
        // The inner key encrypts these contents and nothing else, so that its nonce may be constant.
        let mut content = wrap(outer, &covered, &inner, &mut self.chance);
        content.extend(encrypt(&inner, [0; 24], &covered, plain));
        Ok((ContentRef::of(*epoch, &content), content))
    }

    fn rotate(&mut self, now: Now, scope: Scope) -> Result<Digest, WriteError> {
        let genesis = self.journal.genesis.ok_or(WriteError::NotYet)?;
        let height = self.journal.logs.len_of(&self.me.author());
        let place = Place { authority: &self.journal.authority, genesis: &genesis, me: &self.me, height };
        let epoch = self.keyring.rotate(&place, scope, &mut self.chance);
        self.append(now, Operation::Epoch(epoch), None)
    }

    /// Follows up a change of who may do what, until nothing more follows from it.
    pub(crate) fn revise(&mut self, now: Now) -> Result<(), StoreError> {
        let mut changed = false;
        for _ in 0..ROUNDS_MAX {
            if !self.journal.settle() {
                break;
            }
            changed = true;
            for author in self.journal.misplaced() {
                self.journal.drop_log(author)?;
            }
            self.keyring.refresh(&self.me, &self.journal.logs, &self.journal.ledger);
            self.shred()?;
            self.tend_quietly(now)?;
        }
        self.tell_refusals();
        if changed {
            self.review_links(now);
        }
        Ok(())
    }

    /// Destroys what is to be erased and still here.
    fn shred(&mut self) -> Result<(), StoreError> {
        let erased: Vec<Digest> = self.journal.ledger.erased.iter().copied().collect();
        for id in erased {
            let Some(signed) = self.journal.destroy(&id)? else { continue };
            self.missing.remove(&(signed.header().author, signed.header().height));
            if let Operation::Version(version) = &signed.header().operation {
                for root in &version.blobs {
                    self.fetches.remove(root);
                    crate::blob::destroy(&mut self.journal, root)?;
                }
            }
            self.events.push(Event::Erased(id));
        }
        Ok(())
    }

    /// Does what owners owe the record: end what has run out, renew keys, give keys to those who lack them. A new
    /// member accepts its grant.
    pub(crate) fn tend(&mut self, now: Now) -> Result<(), WriteError> {
        let mine = self.me.author();
        if self.journal.logs.len_of(&mine) == 0 {
            let grant = self.authority().standing(&mine).map(|standing| standing.granted.id);
            return grant.map_or(Ok(()), |id| self.append(now, Operation::Accept(id), None).map(drop));
        }
        if !self.is_owner() {
            return Ok(());
        }
        let over: Vec<AuthorKey> = self
            .authority()
            .grantees()
            .map(|(author, _)| *author)
            .filter(|author| self.authority().cut(author).is_none())
            .filter(|author| self.is_forked(author) || self.is_expired(author, now))
            .collect();
        if !over.is_empty() {
            for author in over {
                self.append(now, self.revocation(author), None)?;
            }
            // Keys are renewed in the next round, for those who are members then.
            return Ok(());
        }
        let mut scopes = self.keyring.scopes();
        scopes.insert(Scope::GENERAL);
        for scope in scopes {
            self.tend_scope(now, scope)?;
        }
        Ok(())
    }

    /// Tends; whatever but the store stops it stops it until the next change, when it is tried again.
    pub(crate) fn tend_quietly(&mut self, now: Now) -> Result<(), StoreError> {
        match self.tend(now) {
            Err(WriteError::Store(error)) => Err(error),
            _ => Ok(()),
        }
    }

    fn tend_scope(&mut self, now: Now, scope: Scope) -> Result<(), WriteError> {
        let mine = self.me.author();
        let readers = self.authority().readers(scope);
        let lacking = self.keyring.lacking(self.authority(), &mine, scope);
        // Whoever may not read what was before begins with an epoch of their own time.
        let begins = lacking.iter().any(|(author, _)| {
            readers.get(author).is_some_and(|(_, history)| *history == History::FromGrant)
        });
        if begins || self.keyring.current(self.authority(), &mine, scope).is_none() {
            self.rotate(now, scope)?;
            return Ok(());
        }
        let genesis = self.journal.genesis.ok_or(WriteError::NotYet)?;
        for (author, ids) in lacking {
            let Some((seal, history)) = readers.get(&author) else { continue };
            let height = self.journal.logs.len_of(&mine);
            let place = Place { authority: &self.journal.authority, genesis: &genesis, me: &self.me, height };
            let share = self.keyring.share(&place, (author, *seal, *history), &ids, &mut self.chance);
            self.append(now, Operation::Share(share), None)?;
        }
        Ok(())
    }

    fn is_forked(&self, author: &AuthorKey) -> bool {
        self.journal.logs.get(author).is_some_and(|log| log.fork().is_some())
    }

    pub(crate) fn is_expired(&self, author: &AuthorKey, now: Now) -> bool {
        let standing = self.authority().standing(author);
        standing
            .and_then(|standing| standing.granted.grant.expires)
            .is_some_and(|expires| expires <= now.wall)
    }

    /// Tells of operations that have no effect, each once.
    pub(crate) fn tell_refusals(&mut self) {
        for refused in std::mem::take(&mut self.journal.ledger.fresh) {
            if self.refusals_told.insert((refused.author, refused.height)) {
                self.events.push(Event::Refused(refused));
            }
        }
    }

    pub(crate) fn see(&mut self, now: Now, header: &Header) {
        self.clock.see(now.wall, header.hlc);
    }

    /// All entries by the hash of their creation.
    pub fn entries(&self) -> impl Iterator<Item = (&Digest, &Entry)> {
        self.journal.ledger.entries.iter()
    }

    /// One entry.
    pub fn entry(&self, id: &Digest) -> Option<&Entry> {
        self.journal.ledger.entries.get(id)
    }

    /// What an author signed.
    pub fn header(&self, id: &Digest) -> Option<&Header> {
        self.journal.logs.find(id).map(Signed::header)
    }

    /// A whole log, refused operations included: the audit of one author's acts.
    pub fn log(&self, author: &AuthorKey) -> impl Iterator<Item = &Signed> {
        self.journal.logs.get(author).into_iter().flat_map(Log::iter)
    }

    /// Headers of an author that are here.
    pub fn height(&self, author: &AuthorKey) -> u64 {
        self.journal.logs.len_of(author)
    }

    /// Authors with a log.
    pub fn authors(&self) -> impl Iterator<Item = &AuthorKey> {
        self.journal.logs.iter().map(|(author, _)| author)
    }

    /// Whether a claimed time is more than a day ahead of ours, which people should see.
    pub fn is_doubtful(&self, now: Now, header: &Header) -> bool {
        is_doubtful(now.wall, header.hlc)
    }

    /// Operations that have no effect, the same on every replica that knows the same. Branches of authors who
    /// contradicted themselves are not listed one by one: see [`Chart::forks`].
    pub fn refused(&self) -> impl Iterator<Item = &Refused> {
        self.journal.ledger.refused.values().filter(|refused| {
            let log = self.journal.logs.get(&refused.author);
            log.is_some_and(|log| refused.height < log.settled(self.authority().cut(&refused.author)))
        })
    }

    /// Authors who signed two headers of one height, with the proof.
    pub fn forks(&self) -> impl Iterator<Item = &Fork> {
        self.journal.logs.iter().filter_map(|(_, log)| log.fork())
    }

    /// Everybody who was ever granted something.
    pub fn people(&self) -> impl Iterator<Item = Person> {
        self.authority().grantees().map(|(author, granted)| Person {
            author: *author,
            grant: granted.grant.clone(),
            id: granted.id,
            by: granted.by,
            since: granted.hlc,
            accepted: self.journal.ledger.accepted.contains(&granted.id),
            ended: self.authority().cut(author).copied(),
        })
    }

    /// The owner's devices that were not removed.
    pub fn devices(&self) -> impl Iterator<Item = AuthorKey> {
        self.authority().owners().map(|(author, _)| author)
    }

    /// Reads what a header's contents say.
    ///
    /// # Errors
    ///
    /// If the store cannot be read.
    pub fn read(&self, id: &Digest) -> Result<Reading, StoreError> {
        let Some(signed) = self.journal.logs.find(id) else { return Ok(Reading::Missing) };
        if self.journal.ledger.erased.contains(id) {
            return Ok(Reading::Erased);
        }
        let header = signed.header();
        let Some(reference) = header.content else { return Ok(Reading::Missing) };
        let content = match self.journal.content(signed)? {
            Ok(content) => content,
            Err(Absent::Missing) => return Ok(Reading::Missing),
            Err(Absent::Damaged) => return Ok(Reading::Damaged),
        };
        let Some(outer) = self.keyring.content_key(&reference.epoch) else { return Ok(Reading::NoKey) };
        let covered = covered(header.record, header.author, header.height, &reference.epoch);
        let (key, body) = content.split_at_checked(crate::seal::WRAPPED_LEN).unwrap_or((&content, &[]));
        let plain = unwrap(outer, &covered, key).and_then(|inner| decrypt(&inner, [0; 24], &covered, body));
        let statement = plain.and_then(|plain| Statement::decode(&plain).ok());
        Ok(statement.map_or(Reading::Damaged, |statement| Reading::Statement(Box::new(statement))))
    }

    /// Checks every signature and every content again; returns what is damaged.
    ///
    /// # Errors
    ///
    /// If the store cannot be read.
    pub fn scrub(&self) -> Result<Vec<(AuthorKey, u64)>, StoreError> {
        let mut damaged = Vec::new();
        for (author, log) in self.journal.logs.iter() {
            for signed in log.iter() {
                let stored =
                    self.journal.store.get(&crate::store::Slot::Header(*author, signed.header().height))?;
                let holds = stored.is_some_and(|bytes| bytes == signed.encode()) && signed.verify().is_ok();
                if !holds || self.journal.content(signed)? == Err(Absent::Damaged) {
                    damaged.push((*author, signed.header().height));
                }
            }
        }
        Ok(damaged)
    }

    /// A hash of everything that replicas must agree on: every header below cuts and forks, and its verdict.
    pub fn state(&self) -> Digest {
        let mut parts = Vec::new();
        for (author, log) in self.journal.logs.iter() {
            let settled = log.settled(self.authority().cut(author));
            for (signed, height) in log.iter().zip(0..settled) {
                parts.extend(signed.id().0);
                parts.push(u8::from(self.journal.ledger.is_refused(author, height)));
            }
        }
        Digest(crate::key::hash(&crate::key::Domain("homing chart state"), &[&parts]))
    }

    /// Lends the store.
    pub const fn store(&self) -> &S {
        &self.journal.store
    }

    /// Gives the store back.
    pub fn into_store(self) -> S {
        self.journal.store
    }

    /// Takes the next event.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop()
    }

    fn is_behind(&self, now: Now) -> bool {
        self.behind.is_some_and(|(_, height, since)| {
            let waits = now.instant.saturating_duration_since(since.instant) < crate::link::BEHIND_MAX;
            waits && self.journal.logs.len_of(&self.me.author()) < height
        })
    }
}

/// Where contents stand: they decrypt in no other place.
fn covered(record: RecordId, author: AuthorKey, height: u64, epoch: &Digest) -> Vec<u8> {
    [&record.0[..], &author.0, &height.to_le_bytes(), &epoch.0].concat()
}

fn blobs(statement: &Statement) -> Vec<Digest> {
    let roots: BTreeSet<Digest> = statement.attachments.iter().map(|attachment| attachment.root).collect();
    roots.into_iter().collect()
}
