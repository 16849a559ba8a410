//! Conversations: any number of connections over which replicas bring each other up to date.
//!
//! Both sides greet, prove who they are, say what they have, and then send what the other lacks, now and whenever
//! more comes. What is sent next follows from what is here and what the other is known to have, so that nothing
//! waits in queues and a connection that breaks is continued where the next one starts.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::{Duration, Instant};

use crate::blob::{AttachmentError, Fetch, Parts, read_chunk};
use crate::chart::Chart;
use crate::clock::Now;
use crate::event::Event;
use crate::header::{Header, Signed};
use crate::journal::{Admission, Intake};
use crate::key::{AuthorKey, Digest, Domain, hash};
use crate::message::{BATCH_MAX, Bye, LogHead, Message, Piece, WANT_MAX};
use crate::operation::{History, Operation, Role};
use crate::statement::Attachment;
use crate::store::{Archive, Slot, StoreError};

/// Connections of one replica.
pub const LINKS_MAX: usize = 64;

/// Until then a peer has proven who it is.
const GREETING_MAX: Duration = Duration::from_secs(20);

/// How long our own writing waits for headers of ours that a peer says it has.
pub(crate) const BEHIND_MAX: Duration = Duration::from_secs(10);

/// After this, peers are asked again for contents that nobody had.
const RETRY_AFTER: Duration = Duration::from_secs(30);

/// Bytes after which a batch ends.
const BATCH_LEN: usize = 64 * 1024;

/// Times that a peer may say it has less than before.
const RESTARTS_MAX: u32 = 4_096;

/// Requests of a peer that wait to be answered. It asks for fewer at a time.
const SERVE_MAX: usize = 2 * WANT_MAX;

/// Parts of attachments asked for on one connection.
const BLOBS_OUT_MAX: usize = 8;

const HELLO: Domain = Domain("homing chart hello");
const PROOF: Domain = Domain("homing chart proof");

/// A connection, named by whoever holds it. Names are not used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LinkId(pub u64);

/// Who opened a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Side {
    /// This side.
    Dialer = 1,
    /// The other.
    Listener = 2,
}

impl Side {
    pub(crate) const fn other(self) -> Self {
        match self {
            Self::Dialer => Self::Listener,
            Self::Listener => Self::Dialer,
        }
    }
}

/// An encrypted connection that carries whole frames in order.
#[derive(Clone, Copy, Debug)]
pub struct Channel {
    /// What both ends of this connection, and of no other, know: the hash of its handshake.
    pub binding: [u8; 32],
    /// Who opened it.
    pub side: Side,
}

/// No more connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("there are too many connections")]
pub struct TooManyLinks;

#[derive(Debug, PartialEq, Eq)]
enum State {
    Greeting,
    Open,
    Closing(Bye),
    Closed,
}

/// How far our side of a greeting is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Said {
    Nothing,
    Hello,
    Proof,
}

/// One conversation.
#[derive(Debug)]
pub(crate) struct Link {
    channel: Channel,
    state: State,
    since: Instant,
    nonce: [u8; 32],
    said: Said,
    their_nonce: Option<[u8; 32]>,
    peer: Option<AuthorKey>,
    /// Whether the peer has said what it has.
    told: bool,
    /// Headers of each log that the peer has or was sent.
    known: BTreeMap<AuthorKey, u64>,
    restarts: u32,
    heads_due: bool,
    /// Logs that the peer shall send from the beginning.
    again: BTreeSet<AuthorKey>,
    /// Logs of which this connection brings nothing that can be used, until something changes.
    stuck: BTreeSet<AuthorKey>,
    forks_told: BTreeSet<(AuthorKey, u64)>,
    serve: VecDeque<Request>,
    wants_out: BTreeSet<(AuthorKey, u64)>,
    /// Where the search for contents to ask for goes on; `None` after the last.
    want_from: Option<(AuthorKey, u64)>,
    blobs_out: BTreeSet<Digest>,
    blobs_lacking: BTreeSet<Digest>,
}

#[derive(Debug)]
enum Request {
    Content(AuthorKey, u64),
    Blob(Digest),
}

/// The place before all others.
const FIRST_PLACE: (AuthorKey, u64) = (AuthorKey([0; 32]), 0);

impl Link {
    const fn new(now: Now, channel: Channel, nonce: [u8; 32]) -> Self {
        Self {
            channel,
            state: State::Greeting,
            since: now.instant,
            nonce,
            said: Said::Nothing,
            their_nonce: None,
            peer: None,
            told: false,
            known: BTreeMap::new(),
            restarts: 0,
            heads_due: true,
            again: BTreeSet::new(),
            stuck: BTreeSet::new(),
            forks_told: BTreeSet::new(),
            serve: VecDeque::new(),
            wants_out: BTreeSet::new(),
            want_from: Some(FIRST_PLACE),
            blobs_out: BTreeSet::new(),
            blobs_lacking: BTreeSet::new(),
        }
    }

    fn close(&mut self, bye: Bye) {
        if !matches!(self.state, State::Closing(_) | State::Closed) {
            self.state = State::Closing(bye);
        }
    }

    fn knows(&self, author: &AuthorKey) -> u64 {
        self.known.get(author).copied().unwrap_or(0)
    }

    fn learns(&mut self, author: AuthorKey, height: u64) {
        let known = self.known.entry(author).or_default();
        *known = height.max(*known);
    }
}

/// Contents that came with headers, to be kept once the headers are judged.
type Contents = Vec<(AuthorKey, u64, Vec<u8>)>;

impl<S: Archive> Chart<S> {
    /// Begins a conversation.
    ///
    /// # Errors
    ///
    /// If there are [`LINKS_MAX`] or the name is in use.
    pub fn open_link(&mut self, now: Now, id: LinkId, channel: Channel) -> Result<(), TooManyLinks> {
        if self.links.len() >= LINKS_MAX || self.links.contains_key(&id) {
            return Err(TooManyLinks);
        }
        let nonce = *self.chance.draw().expose();
        self.links.insert(id, Link::new(now, channel, nonce));
        Ok(())
    }

    /// Forgets a conversation whose connection is gone.
    pub fn close_link(&mut self, id: LinkId) {
        let Some(link) = self.links.remove(&id) else { return };
        for blob in &link.blobs_out {
            self.fetches.values_mut().for_each(|fetch| fetch.give_up(blob));
        }
        if self.behind.is_some_and(|(by, ..)| by == id) {
            self.behind = None;
        }
    }

    /// Asks a peer to leave: what is said last is goodbye.
    pub fn leave(&mut self, id: LinkId) {
        if let Some(link) = self.links.get_mut(&id) {
            link.close(Bye::Leaving);
        }
    }

    /// Who is at the other end, once proven.
    pub fn peer(&self, id: LinkId) -> Option<AuthorKey> {
        self.links.get(&id).filter(|link| link.state == State::Open)?.peer
    }

    /// How far behind us a peer is known to be, in headers.
    pub fn waiting(&self, id: LinkId) -> Option<u64> {
        let link = self.links.get(&id).filter(|link| link.told)?;
        let lag = self.journal.logs.iter().map(|(author, log)| {
            log.settled(self.authority().cut(author)).saturating_sub(link.knows(author))
        });
        Some(lag.sum())
    }

    /// Takes a frame. What strangers send can end the conversation, never more.
    ///
    /// # Errors
    ///
    /// If the store fails.
    pub fn handle_frame(&mut self, now: Now, id: LinkId, frame: &[u8]) -> Result<(), StoreError> {
        let Some(mut link) = self.links.remove(&id) else { return Ok(()) };
        let contents = self.take_frame(now, id, &mut link, frame);
        self.links.insert(id, link);
        let contents = contents?;
        self.revise(now)?;
        for (author, height, content) in contents {
            self.keep_content(author, height, &content)?;
        }
        self.prune();
        Ok(())
    }

    fn take_frame(
        &mut self,
        now: Now,
        id: LinkId,
        link: &mut Link,
        frame: &[u8],
    ) -> Result<Contents, StoreError> {
        if matches!(link.state, State::Closing(_) | State::Closed) {
            return Ok(Contents::new());
        }
        match Message::decode(frame) {
            Ok(message) => self.take_message(now, id, link, message),
            Err(crate::DecodeError::UnknownVersion(_)) => {
                link.close(Bye::Version);
                Ok(Contents::new())
            }
            Err(_) => {
                link.close(Bye::Offence);
                Ok(Contents::new())
            }
        }
    }

    fn take_message(
        &mut self,
        now: Now,
        id: LinkId,
        link: &mut Link,
        message: Message,
    ) -> Result<Contents, StoreError> {
        let peer = link.peer.filter(|_| link.state == State::Open);
        match (message, peer) {
            (Message::Bye(bye), _) => {
                link.state = State::Closed;
                self.events.push(Event::Closed { link: id, author: link.peer, why: bye });
            }
            (Message::Hello { nonce, tag }, None) if link.their_nonce.is_none() => {
                if tag == self.hello_tag(&link.channel, link.channel.side.other(), &nonce) {
                    link.their_nonce = Some(nonce);
                } else {
                    link.close(Bye::Stranger);
                }
            }
            (Message::Proof { author, signature, first }, None) => {
                let proof = self.proof_of(link, link.channel.side.other());
                let holds = proof.is_some_and(|proof| author.verify(&PROOF, &[&proof], &signature).is_ok());
                if !holds || author == self.me.author() {
                    link.close(Bye::Offence);
                    return Ok(Contents::new());
                }
                if let Some(first) = first.filter(|first| first.header().author == author) {
                    self.journal.admit(*first)?;
                    self.revise(now)?;
                }
                link.peer = Some(author);
                match self.welcome(now, &author) {
                    Ok(()) => {
                        link.state = State::Open;
                        self.events.push(Event::Met { link: id, author });
                    }
                    Err(bye) => link.close(bye),
                }
            }
            (Message::Heads(heads), Some(_)) => self.take_heads(now, id, link, &heads),
            (Message::Batch(pieces), Some(peer)) => return self.take_batch(now, link, peer, pieces),
            (Message::Forked(fork), Some(peer)) => {
                let author = fork.author();
                link.forks_told.insert((author, fork.height()));
                let outcome = self.journal.prove(*fork)?;
                self.note_admission(link, peer, author, outcome);
            }
            (Message::Want(places), Some(_)) => {
                for (author, height) in places {
                    enqueue(link, Request::Content(author, height));
                }
            }
            (Message::Content { author, height, content }, Some(_)) => {
                if link.wants_out.remove(&(author, height))
                    && let Some(content) = content
                {
                    self.keep_content(author, height, &content)?;
                }
            }
            (Message::WantBlob(blob), Some(_)) => enqueue(link, Request::Blob(blob)),
            (Message::Blob { id, bytes }, Some(_)) => self.take_blob(link, id, bytes)?,
            _ => link.close(Bye::Offence),
        }
        Ok(Contents::new())
    }

    /// Whether a peer is talked to.
    fn welcome(&self, now: Now, author: &AuthorKey) -> Result<(), Bye> {
        if self.authority().is_owner(author) {
            return Ok(());
        }
        if self.authority().cut(author).is_some() {
            return Err(Bye::Revoked);
        }
        if self.is_expired(author, now) {
            return Err(Bye::Expired);
        }
        let known = self.authority().standing(author).is_some() || self.introduced.contains(author);
        if known { Ok(()) } else { Err(Bye::Stranger) }
    }

    /// Looks at all conversations after something changed: some end with it, and others may send more.
    pub(crate) fn review_links(&mut self, now: Now) {
        let mut links = std::mem::take(&mut self.links);
        for link in links.values_mut().filter(|link| link.state == State::Open) {
            let welcome = link.peer.map_or(Err(Bye::Stranger), |peer| self.welcome(now, &peer));
            match welcome {
                Ok(()) => {
                    link.heads_due = true;
                    link.stuck.clear();
                    link.want_from = Some(FIRST_PLACE);
                }
                Err(bye) => link.close(bye),
            }
        }
        self.links = links;
    }

    fn take_heads(&mut self, now: Now, id: LinkId, link: &mut Link, heads: &[LogHead]) {
        for head in heads {
            let log = self.journal.logs.get(&head.author);
            let ours = log.map_or(0, |log| log.settled(self.authority().cut(&head.author)));
            let agrees = head.height > ours
                || log.and_then(|log| log.head(head.height)).is_none_or(|h| h == head.head);
            let has = if agrees { head.height } else { 0 };
            if has < link.knows(&head.author) {
                link.restarts += 1;
            }
            link.known.insert(head.author, has);
            if head.author == self.me.author() && head.height > ours && self.behind.is_none() {
                self.behind = Some((id, head.height, now));
            }
        }
        link.told = true;
        if link.restarts > RESTARTS_MAX || link.known.len() > 2 * crate::log::LOGS_MAX {
            link.close(Bye::Offence);
        }
    }

    fn take_batch(
        &mut self,
        now: Now,
        link: &mut Link,
        peer: AuthorKey,
        pieces: Vec<Piece>,
    ) -> Result<Contents, StoreError> {
        let mut contents = Contents::new();
        for Piece { signed, content } in pieces {
            let (author, height, id) = (signed.header().author, signed.header().height, signed.id());
            let header = signed.header().clone();
            let outcome = self.journal.admit(signed)?;
            if outcome == Admission::Added {
                link.learns(author, height + 1);
                self.see(now, &header);
                self.events.push(Event::Received { id, via: peer });
                if author == self.me.author() {
                    self.events.push(Event::SetBack);
                }
                if header.content.is_some() {
                    self.missing.insert((author, height));
                }
            } else if outcome == Admission::Known {
                link.learns(author, height + 1);
            }
            self.note_admission(link, peer, author, outcome);
            if matches!(outcome, Admission::Added | Admission::Known)
                && let Some(content) = content
            {
                contents.push((author, height, content));
            }
        }
        Ok(contents)
    }

    fn note_admission(&mut self, link: &mut Link, peer: AuthorKey, author: AuthorKey, outcome: Admission) {
        match outcome {
            Admission::Added | Admission::Known => {}
            Admission::Forked => self.events.push(Event::Forked(author)),
            Admission::Gap | Admission::Diverged => {
                if link.stuck.insert(author) {
                    link.again.insert(author);
                }
            }
            Admission::Refused(why) => {
                if link.stuck.insert(author) {
                    self.events.push(Event::TurnedAway { via: peer, author, why });
                }
                if matches!(why, Intake::BadSignature | Intake::OtherRecord) {
                    link.close(Bye::Offence);
                }
            }
        }
    }

    fn keep_content(&mut self, author: AuthorKey, height: u64, content: &[u8]) -> Result<(), StoreError> {
        if self.journal.put_content(author, height, content)? {
            self.missing.remove(&(author, height));
            if let Some(signed) = self.journal.logs.get(&author).and_then(|log| log.get(height)) {
                self.events.push(Event::Completed(signed.id()));
            }
        }
        Ok(())
    }

    fn take_blob(&mut self, link: &mut Link, id: Digest, bytes: Option<Vec<u8>>) -> Result<(), StoreError> {
        if !link.blobs_out.remove(&id) {
            return Ok(());
        }
        let Some(bytes) = bytes else {
            link.blobs_lacking.insert(id);
            self.fetches.values_mut().for_each(|fetch| fetch.give_up(&id));
            return Ok(());
        };
        let writes: Vec<_> = self.fetches.values_mut().filter_map(|fetch| fetch.take(id, &bytes)).collect();
        if writes.is_empty() && !self.fetches.is_empty() {
            self.fetches.values_mut().for_each(|fetch| fetch.give_up(&id));
            link.close(Bye::Offence);
            return Ok(());
        }
        self.journal.write(writes)?;
        self.finish_fetches();
        Ok(())
    }

    fn finish_fetches(&mut self) {
        let done = self.fetches.extract_if(.., |_, fetch| fetch.is_done());
        let done: Vec<Digest> = done.map(|(root, _)| root).collect();
        for root in done {
            self.events.push(Event::Fetched(root));
        }
    }

    /// Returns the next frame for a connection that can take one. Everything that it tells of is safe by then.
    ///
    /// # Errors
    ///
    /// If the store fails.
    pub fn poll_transmit(&mut self, now: Now, id: LinkId) -> Result<Option<Vec<u8>>, StoreError> {
        self.journal.sync()?;
        let Some(mut link) = self.links.remove(&id) else { return Ok(None) };
        let message = self.next_message(now, id, &mut link);
        self.links.insert(id, link);
        Ok(message?.map(|message| message.encode()))
    }

    fn next_message(&mut self, now: Now, id: LinkId, link: &mut Link) -> Result<Option<Message>, StoreError> {
        if let State::Closing(bye) = link.state {
            link.state = State::Closed;
            self.events.push(Event::Closed { link: id, author: link.peer, why: bye });
            return Ok(Some(Message::Bye(bye)));
        }
        if link.state == State::Closed {
            return Ok(None);
        }
        if link.said == Said::Nothing {
            link.said = Said::Hello;
            let tag = self.hello_tag(&link.channel, link.channel.side, &link.nonce);
            return Ok(Some(Message::Hello { nonce: link.nonce, tag }));
        }
        if link.said == Said::Hello {
            let Some(proof) = self.proof_of(link, link.channel.side) else { return Ok(None) };
            link.said = Said::Proof;
            let author = self.me.author();
            let first = self.journal.logs.get(&author).and_then(|log| log.get(0));
            let first = first.filter(|first| matches!(first.header().operation, Operation::Enrol(..)));
            let signature = self.me.sign(&PROOF, &[&proof]);
            return Ok(Some(Message::Proof { author, signature, first: first.cloned().map(Box::new) }));
        }
        let Some(peer) = link.peer.filter(|_| link.state == State::Open) else { return Ok(None) };
        if let Err(bye) = self.welcome(now, &peer) {
            link.close(bye);
            return self.next_message(now, id, link);
        }
        if let Some(message) = self.next_notice(link) {
            return Ok(Some(message));
        }
        if let Some(request) = link.serve.pop_front() {
            return self.answer(&peer, &request).map(Some);
        }
        if link.told
            && let Some(batch) = self.next_batch(link, &peer)?
        {
            return Ok(Some(batch));
        }
        if let Some(want) = self.next_want(link) {
            return Ok(Some(want));
        }
        self.next_blob(link)
    }

    /// What both should know before anything is sent: forks, and what is here.
    fn next_notice(&self, link: &mut Link) -> Option<Message> {
        let forks = self.journal.logs.iter().filter_map(|(_, log)| log.fork());
        for fork in forks {
            if link.forks_told.insert((fork.author(), fork.height())) {
                return Some(Message::Forked(Box::new(fork.clone())));
            }
        }
        if std::mem::take(&mut link.heads_due) {
            let heads = self.journal.logs.iter().map(|(author, log)| {
                let height = log.settled(self.authority().cut(author));
                LogHead { author: *author, height, head: log.head(height).unwrap_or(Digest::ZERO) }
            });
            return Some(Message::Heads(heads.take(crate::log::LOGS_MAX).collect()));
        }
        let author = link.again.pop_first()?;
        Some(Message::Heads(vec![LogHead { author, height: 0, head: Digest::ZERO }]))
    }

    /// Headers that the peer lacks, those of owners first, since they say who the others are.
    fn next_batch(&self, link: &mut Link, peer: &AuthorKey) -> Result<Option<Message>, StoreError> {
        let mut pieces = Vec::new();
        let mut room = BATCH_LEN;
        let owners = self.journal.logs.iter().filter(|(author, _)| self.authority().was_owner(author));
        let others = self.journal.logs.iter().filter(|(author, _)| !self.authority().was_owner(author));
        for (author, log) in owners.chain(others) {
            let end = log.settled(self.authority().cut(author));
            for height in link.knows(author)..end {
                if room == 0 || pieces.len() >= BATCH_MAX {
                    return Ok(Some(Message::Batch(pieces)));
                }
                let Some(signed) = log.get(height) else { break };
                let content = self.content_for(peer, signed)?;
                let len = signed.encode().len() + content.as_ref().map_or(0, Vec::len);
                room = room.saturating_sub(len);
                pieces.push(Piece { signed: signed.clone(), content });
                link.learns(*author, height + 1);
            }
        }
        Ok((!pieces.is_empty()).then_some(Message::Batch(pieces)))
    }

    /// Contents for a peer who may have them.
    fn content_for(&self, peer: &AuthorKey, signed: &Signed) -> Result<Option<Vec<u8>>, StoreError> {
        let header = signed.header();
        let refused = self.journal.ledger.is_refused(&header.author, header.height);
        if header.content.is_none() || refused || !self.is_entitled(peer, header) {
            return Ok(None);
        }
        self.journal.content(signed).map(Result::ok)
    }

    /// Whether somebody may have the contents of a header: owners and helpers all of them, others what lies in their
    /// scopes and their time.
    fn is_entitled(&self, peer: &AuthorKey, header: &Header) -> bool {
        if self.authority().is_owner(peer) || header.author == *peer {
            return true;
        }
        let Some(standing) = self.authority().standing(peer) else { return false };
        if standing.role == Role::Helper {
            return true;
        }
        let Some(reference) = &header.content else { return false };
        let grant = &standing.granted.grant;
        let in_scope =
            self.keyring.scope(&reference.epoch).is_some_and(|scope| grant.scopes.contains(&scope));
        in_scope && (grant.history == History::Whole || self.keyring.was_given(&reference.epoch, peer))
    }

    fn next_want(&mut self, link: &mut Link) -> Option<Message> {
        if !link.wants_out.is_empty() {
            return None;
        }
        let from = link.want_from?;
        let me = self.me.author();
        let mut wanted = Vec::new();
        link.want_from = None;
        for place in self.missing.range(from..) {
            if wanted.len() == WANT_MAX {
                link.want_from = Some(*place);
                break;
            }
            let (author, height) = *place;
            let Some(signed) = self.journal.logs.get(&author).and_then(|log| log.get(height)) else {
                continue;
            };
            let refused = self.journal.ledger.is_refused(&author, height);
            let erased = self.journal.ledger.erased.contains(&signed.id());
            if !refused && !erased && link.knows(&author) > height && self.is_entitled(&me, signed.header()) {
                wanted.push(*place);
            }
        }
        if wanted.is_empty() {
            return None;
        }
        link.wants_out.extend(wanted.iter().copied());
        Some(Message::Want(wanted))
    }

    fn next_blob(&mut self, link: &mut Link) -> Result<Option<Message>, StoreError> {
        if link.blobs_out.len() >= BLOBS_OUT_MAX {
            return Ok(None);
        }
        let mut fresh = None;
        for fetch in self.fetches.values_mut() {
            match fetch.next(&self.journal.store)? {
                Some(id) if link.blobs_lacking.contains(&id) => fetch.give_up(&id),
                Some(id) => {
                    fresh = Some(id);
                    break;
                }
                None => {}
            }
        }
        self.finish_fetches();
        let Some(id) = fresh else { return Ok(None) };
        link.blobs_out.insert(id);
        Ok(Some(Message::WantBlob(id)))
    }

    fn answer(&self, peer: &AuthorKey, request: &Request) -> Result<Message, StoreError> {
        Ok(match *request {
            Request::Content(author, height) => {
                let signed = self.journal.logs.get(&author).and_then(|log| log.get(height));
                let content = signed.map(|signed| self.content_for(peer, signed)).transpose()?.flatten();
                Message::Content { author, height, content }
            }
            Request::Blob(id) => Message::Blob { id, bytes: self.journal.store.get(&Slot::Blob(id))? },
        })
    }

    /// What only those can make who know the record, for one side of one connection.
    fn hello_tag(&self, channel: &Channel, side: Side, nonce: &[u8; 32]) -> [u8; 32] {
        hash(&HELLO, &[&self.record().0, &channel.binding, &[side as u8], nonce])
    }

    /// What a side signs: the connection, both nonces, the record, and which side it is.
    fn proof_of(&self, link: &Link, side: Side) -> Option<Vec<u8>> {
        let theirs = link.their_nonce?;
        let (dialer, listener) =
            if link.channel.side == Side::Dialer { (link.nonce, theirs) } else { (theirs, link.nonce) };
        Some([&self.record().0[..], &link.channel.binding, &dialer, &listener, &[side as u8]].concat())
    }

    /// Fetches an attachment from whoever has it; goes on where an earlier fetch stopped.
    pub fn fetch(&mut self, attachment: &Attachment) {
        self.fetches.entry(attachment.root).or_insert_with(|| Fetch::new(attachment.root));
        for link in self.links.values_mut() {
            link.blobs_lacking.clear();
        }
    }

    /// Keeps parts of an attachment that is being made.
    ///
    /// # Errors
    ///
    /// If the store fails.
    pub fn store_parts(&mut self, parts: Parts) -> Result<(), StoreError> {
        self.journal.write(parts.into_writes())
    }

    /// Reads chunk after chunk of an attachment; `None` beyond its end.
    ///
    /// # Errors
    ///
    /// If a part is missing or damaged, or the store fails.
    pub fn read_chunk(
        &self,
        attachment: &Attachment,
        number: u64,
    ) -> Result<Option<Vec<u8>>, AttachmentError> {
        read_chunk(&self.journal.store, attachment, number)
    }

    /// Ends what has taken too long, and asks again for what nobody had.
    ///
    /// # Errors
    ///
    /// If the store fails.
    pub fn handle_timeout(&mut self, now: Now) -> Result<(), StoreError> {
        for link in self.links.values_mut().filter(|link| link.state == State::Greeting) {
            if now.instant.saturating_duration_since(link.since) >= GREETING_MAX {
                link.close(Bye::Late);
            }
        }
        if self.retry_at.is_none_or(|at| at <= now.instant) {
            self.retry_at = Some(now.instant + RETRY_AFTER);
            for link in self.links.values_mut() {
                link.want_from.get_or_insert(FIRST_PLACE);
                link.blobs_lacking.clear();
            }
            // Grants run out by the clock.
            self.tend_quietly(now)?;
        }
        self.revise(now)?;
        self.prune();
        Ok(())
    }

    /// When [`Chart::handle_timeout`] is due.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let greetings = self.links.values().filter(|link| link.state == State::Greeting);
        let greetings = greetings.map(|link| link.since + GREETING_MAX);
        let retry = (!self.links.is_empty()).then_some(self.retry_at).flatten();
        greetings.chain(retry).min()
    }

    /// Connections are the host's to close; what is remembered of finished ones is not needed until then.
    fn prune(&mut self) {
        for link in self.links.values_mut().filter(|link| link.state == State::Closed) {
            link.serve.clear();
            for blob in std::mem::take(&mut link.blobs_out) {
                self.fetches.values_mut().for_each(|fetch| fetch.give_up(&blob));
            }
        }
    }
}

fn enqueue(link: &mut Link, request: Request) {
    if link.serve.len() < SERVE_MAX {
        link.serve.push_back(request);
    } else {
        link.close(Bye::Offence);
    }
}
