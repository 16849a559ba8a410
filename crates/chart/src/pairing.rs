//! Redeeming an invitation: two people who have never met make sure that nobody stands between them.
//!
//! ```text
//! visitor                                   host
//!   knock  (invitation, commitment)   ->
//!                                     <-    commitment
//!   who I am, and my chance           ->
//!                                     <-    my chance, signed by the issuing device
//!            both see the same six words, made from everything above
//!   yes, signed                       ->
//!                                     <-    welcome, once a person has accepted
//! ```
//!
//! Each side is bound to its chance before it sees the other's, so that nobody can look for chance that makes words
//! alike. Until the welcome the visitor learns nothing of the record, not even its name.

use bip39::Language;

use crate::bytes::{DecodeError, whole, written};
use crate::chart::{Chart, GrantDraft, WriteError};
use crate::clock::{Now, UnixMillis};
use crate::invitation::{Invitation, InvitationState, NAME_MAX};
use crate::key::{AuthorKey, Digest, Domain, Identity, RecordId, SealKey, Secret, Signature, derive, hash};
use crate::statement::Private;
use crate::store::{Archive, StoreError};

const COMMIT: Domain = Domain("homing chart pairing commitment");
const TRANSCRIPT: Domain = Domain("homing chart pairing transcript");
const WORDS: Domain = Domain("homing chart pairing words");
const KNOCK: Domain = Domain("homing chart pairing knock");
const ISSUER: Domain = Domain("homing chart pairing issuer");
const VISITOR: Domain = Domain("homing chart pairing visitor");

/// Words that both read to each other: 66 bits.
const WORD_COUNT: usize = 6;

/// Bytes of a message.
pub const PAIRING_FRAME_MAX: usize = 512;

/// Why a host turns a visitor away.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, thiserror::Error)]
#[repr(u8)]
#[non_exhaustive]
pub enum Declined {
    /// This device issued no such invitation.
    #[error("there is no such invitation")]
    Unknown = 1,
    /// It was redeemed before.
    #[error("the invitation was already used")]
    AlreadyUsed = 2,
    /// Its time is over.
    #[error("the invitation has expired")]
    Expired = 3,
    /// Its issuer took it back.
    #[error("the invitation was cancelled")]
    Cancelled = 4,
    /// A person said no.
    #[error("the invitation's issuer declined")]
    ByPerson = 5,
    /// The other side broke the rules.
    #[error("the other side broke the rules")]
    Offence = 6,
}

impl Declined {
    const ALL: [Self; 6] =
        [Self::Unknown, Self::AlreadyUsed, Self::Expired, Self::Cancelled, Self::ByPerson, Self::Offence];
}

/// What a visitor says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Visitor {
    /// The log that it will write.
    pub author: AuthorKey,
    /// What will be sealed to it.
    pub seal: SealKey,
    /// What it calls itself. A claim.
    pub name: Private<String>,
}

/// A visitor's first words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Knock {
    /// The invitation.
    pub id: Digest,
    /// To who the visitor is and to its chance.
    pub commitment: [u8; 32],
    /// Over the commitment and the connection.
    pub tag: [u8; 32],
}

/// A message of a pairing.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PairingMessage {
    /// The visitor's first: which invitation, its commitment, and a tag that only the code makes.
    Knock(Knock),
    /// The host's commitment to its chance.
    Commitment([u8; 32]),
    /// The visitor's chance, and who it is.
    Reveal([u8; 32], Visitor),
    /// The host's chance, and the issuing device's signature over everything.
    Answer([u8; 32], Signature),
    /// The visitor's person has compared the words; signed over everything.
    Confirm(Signature),
    /// The record, to whose log the grant has been added.
    Welcome(RecordId),
    /// The end.
    Decline(Declined),
}

impl PairingMessage {
    /// Reads a frame.
    ///
    /// # Errors
    ///
    /// On bytes that are not exactly one message in its one form.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        if bytes.len() > PAIRING_FRAME_MAX {
            return Err(DecodeError::OutOfRange);
        }
        whole(bytes, |r| {
            Ok(match r.u8()? {
                1 => Self::Knock(Knock { id: Digest::read(r)?, commitment: r.array()?, tag: r.array()? }),
                2 => Self::Commitment(r.array()?),
                3 => Self::Reveal(
                    r.array()?,
                    Visitor {
                        author: AuthorKey::read(r)?,
                        seal: SealKey::read(r)?,
                        name: Private(r.text(NAME_MAX)?),
                    },
                ),
                4 => Self::Answer(r.array()?, Signature::read(r)?),
                5 => Self::Confirm(Signature::read(r)?),
                6 => Self::Welcome(RecordId::read(r)?),
                7 => {
                    let tag = r.u8()?;
                    let why = Declined::ALL.into_iter().find(|why| *why as u8 == tag);
                    Self::Decline(why.ok_or(DecodeError::UnknownTag(tag))?)
                }
                tag => return Err(DecodeError::UnknownTag(tag)),
            })
        })
    }

    /// Writes a frame.
    pub fn encode(&self) -> Vec<u8> {
        written(|w| match self {
            Self::Knock(knock) => {
                w.u8(1).raw(&knock.id.0).raw(&knock.commitment).raw(&knock.tag);
            }
            Self::Commitment(commitment) => {
                w.u8(2).raw(commitment);
            }
            Self::Reveal(chance, visitor) => {
                w.u8(3).raw(chance).raw(&visitor.author.0).raw(&visitor.seal.0);
                w.bytes(visitor.name.0.as_bytes());
            }
            Self::Answer(chance, signature) => {
                w.u8(4).raw(chance).raw(&signature.0);
            }
            Self::Confirm(signature) => {
                w.u8(5).raw(&signature.0);
            }
            Self::Welcome(record) => {
                w.u8(6).raw(&record.0);
            }
            Self::Decline(why) => {
                w.u8(7).u8(*why as u8);
            }
        })
    }
}

/// The six words, from the list of BIP-39.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SixWords(pub [&'static str; WORD_COUNT]);

impl SixWords {
    fn of(transcript: &[u8; 32]) -> Self {
        let list = Language::English.word_list();
        let bits = hash(&WORDS, &[transcript]);
        let (chunks, _) = bits.as_chunks::<2>();
        Self(std::array::from_fn(|at| {
            // Eleven bits of sixteen: the list has 2,048 words.
            let number = u16::from_le_bytes(chunks[at]) & 2_047;
            list[usize::from(number)]
        }))
    }
}

impl std::fmt::Display for SixWords {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0.join(" "))
    }
}

fn visitor_commitment(chance: &[u8; 32], visitor: &Visitor) -> [u8; 32] {
    hash(&COMMIT, &[b"visitor", chance, &visitor.author.0, &visitor.seal.0, visitor.name.0.as_bytes()])
}

fn host_commitment(chance: &[u8; 32], issuer: &AuthorKey) -> [u8; 32] {
    hash(&COMMIT, &[b"host", chance, &issuer.0])
}

fn knock_tag(invitation: &Invitation, binding: &[u8; 32], commitment: &[u8; 32]) -> [u8; 32] {
    *derive(&invitation.derived(&KNOCK), &KNOCK, &[binding, commitment]).expose()
}

/// Everything that was said, as both sides know it.
fn transcript(
    invitation: &Invitation,
    binding: &[u8; 32],
    (visitor_chance, visitor): (&[u8; 32], &Visitor),
    host_chance: &[u8; 32],
) -> [u8; 32] {
    let parts: [&[u8]; 8] = [
        &invitation.id().0,
        &invitation.issuer.0,
        binding,
        host_chance,
        visitor_chance,
        &visitor.author.0,
        &visitor.seal.0,
        visitor.name.0.as_bytes(),
    ];
    hash(&TRANSCRIPT, &parts)
}

#[derive(Debug)]
enum Stage {
    /// The host waits for a knock; the visitor for the commitment.
    First,
    /// The host waits for the reveal; the visitor, who has revealed, for the answer.
    Second {
        theirs: [u8; 32],
    },
    /// Both see the words.
    Words {
        transcript: [u8; 32],
    },
    Welcomed(RecordId),
    Over(Declined),
}

/// What a side of a pairing is at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PairingState {
    /// The other has yet to say something.
    Waiting,
    /// People compare words.
    Compare(SixWords),
    /// The visitor is a member.
    Welcomed(RecordId),
    /// Nothing came of it.
    Declined(Declined),
}

impl Stage {
    fn state(&self) -> PairingState {
        match self {
            Self::First | Self::Second { .. } => PairingState::Waiting,
            Self::Words { transcript } => PairingState::Compare(SixWords::of(transcript)),
            Self::Welcomed(record) => PairingState::Welcomed(*record),
            Self::Over(why) => PairingState::Declined(*why),
        }
    }
}

/// The visitor's side of one connection.
#[derive(Debug)]
pub struct Visit {
    invitation: Invitation,
    binding: [u8; 32],
    identity: Identity,
    visitor: Visitor,
    chance: [u8; 32],
    stage: Stage,
    confirmed: bool,
    out: Option<PairingMessage>,
}

impl Visit {
    /// Knocks. `binding` is what both ends of the connection and nobody else know; `chance` is fresh.
    pub fn new(
        invitation: Invitation,
        binding: [u8; 32],
        identity: Identity,
        name: String,
        chance: &Secret,
    ) -> Self {
        let visitor =
            Visitor { author: identity.author(), seal: identity.seal_key(), name: Private(shorten(name)) };
        let chance = *chance.expose();
        let commitment = visitor_commitment(&chance, &visitor);
        let tag = knock_tag(&invitation, &binding, &commitment);
        let out = Some(PairingMessage::Knock(Knock { id: invitation.id(), commitment, tag }));
        Self { invitation, binding, identity, visitor, chance, stage: Stage::First, confirmed: false, out }
    }

    /// Takes a frame.
    pub fn handle_frame(&mut self, frame: &[u8]) {
        let message = PairingMessage::decode(frame);
        match (message, &self.stage) {
            (Ok(PairingMessage::Decline(why)), stage) if !matches!(stage, Stage::Welcomed(_)) => {
                self.stage = Stage::Over(why);
            }
            (Ok(PairingMessage::Commitment(theirs)), Stage::First) => {
                self.stage = Stage::Second { theirs };
                self.out = Some(PairingMessage::Reveal(self.chance, self.visitor.clone()));
            }
            (Ok(PairingMessage::Answer(chance, signature)), Stage::Second { theirs }) => {
                let said =
                    transcript(&self.invitation, &self.binding, (&self.chance, &self.visitor), &chance);
                let issuer = &self.invitation.issuer;
                let holds = host_commitment(&chance, issuer) == *theirs
                    && issuer.verify(&ISSUER, &[&said], &signature).is_ok();
                self.stage =
                    if holds { Stage::Words { transcript: said } } else { Stage::Over(Declined::Offence) };
            }
            (Ok(PairingMessage::Welcome(record)), Stage::Words { .. }) if self.confirmed => {
                self.stage = Stage::Welcomed(record);
            }
            _ => self.stage = Stage::Over(Declined::Offence),
        }
    }

    /// Says that the visitor's person found the words to be the same.
    pub fn confirm(&mut self) {
        if let (Stage::Words { transcript }, false) = (&self.stage, self.confirmed) {
            self.confirmed = true;
            self.out = Some(PairingMessage::Confirm(self.identity.sign(&VISITOR, &[transcript])));
        }
    }

    /// Where it stands.
    pub fn state(&self) -> PairingState {
        self.stage.state()
    }

    /// The next frame to send.
    pub fn poll_transmit(&mut self) -> Option<Vec<u8>> {
        self.out.take().map(|message| message.encode())
    }

    /// The identity under which the visitor writes the record.
    pub fn into_identity(self) -> Identity {
        self.identity
    }
}

/// The issuer's side of one connection.
#[derive(Debug)]
pub struct Reception {
    binding: [u8; 32],
    chance: [u8; 32],
    invitation: Option<Invitation>,
    visitor: Option<Visitor>,
    stage: Stage,
    confirmed: bool,
    accepted: bool,
    out: Option<PairingMessage>,
}

impl Reception {
    /// Waits for a knock; `chance` is fresh.
    pub fn new(binding: [u8; 32], chance: &Secret) -> Self {
        Self {
            binding,
            chance: *chance.expose(),
            invitation: None,
            visitor: None,
            stage: Stage::First,
            confirmed: false,
            accepted: false,
            out: None,
        }
    }

    /// Takes a frame; `chart` is that of the issuing device.
    ///
    /// # Errors
    ///
    /// If the store fails, or the member cannot be added.
    pub fn handle_frame<S: Archive>(
        &mut self,
        now: Now,
        chart: &mut Chart<S>,
        frame: &[u8],
    ) -> Result<(), WriteError> {
        let message = PairingMessage::decode(frame);
        match (message, &self.stage) {
            (Ok(PairingMessage::Knock(knock)), Stage::First) => self.take_knock(now, chart, &knock)?,
            (Ok(PairingMessage::Reveal(chance, visitor)), Stage::Second { theirs }) => {
                let fits = visitor_commitment(&chance, &visitor) == *theirs;
                match self.invitation.as_ref().filter(|_| fits) {
                    None => self.decline(Declined::Offence),
                    Some(invitation) => {
                        let said = transcript(invitation, &self.binding, (&chance, &visitor), &self.chance);
                        let signature = chart.me.sign(&ISSUER, &[&said]);
                        self.out = Some(PairingMessage::Answer(self.chance, signature));
                        self.stage = Stage::Words { transcript: said };
                        self.visitor = Some(visitor);
                    }
                }
            }
            (Ok(PairingMessage::Confirm(signature)), Stage::Words { transcript }) => {
                let visitor = self.visitor.as_ref();
                let holds = visitor.is_some_and(|visitor| {
                    visitor.author.verify(&VISITOR, &[transcript], &signature).is_ok()
                });
                if holds {
                    self.confirmed = true;
                    self.welcome(now, chart)?;
                } else {
                    self.decline(Declined::Offence);
                }
            }
            (Ok(PairingMessage::Decline(why)), stage) if !matches!(stage, Stage::Welcomed(_)) => {
                self.stage = Stage::Over(why);
            }
            _ => self.decline(Declined::Offence),
        }
        Ok(())
    }

    fn take_knock<S: Archive>(
        &mut self,
        now: Now,
        chart: &mut Chart<S>,
        knock: &Knock,
    ) -> Result<(), StoreError> {
        let Knock { id, commitment, tag } = *knock;
        let issued = chart.book.get(&id);
        let issued = issued.filter(|row| knock_tag(&row.invitation, &self.binding, &commitment) == tag);
        let refusal = match issued {
            None => Some(Declined::Unknown),
            Some(row) => refusal(row.state, row.invitation.expires, now.wall),
        };
        match (issued, refusal) {
            (Some(row), None) => {
                self.invitation = Some(row.invitation.clone());
                // Used from here on: a second knock finds it taken, whatever becomes of this one.
                chart.mark(&id, InvitationState::Taken)?;
                self.out = Some(PairingMessage::Commitment(host_commitment(&self.chance, &chart.author())));
                self.stage = Stage::Second { theirs: commitment };
            }
            (_, refusal) => self.decline(refusal.unwrap_or(Declined::Unknown)),
        }
        Ok(())
    }

    /// Says that the issuer's person accepts; the visitor becomes a member once its person has confirmed too.
    ///
    /// # Errors
    ///
    /// If the store fails, or the member cannot be added.
    pub fn accept<S: Archive>(&mut self, now: Now, chart: &mut Chart<S>) -> Result<(), WriteError> {
        self.accepted = true;
        self.welcome(now, chart)
    }

    /// Says that the issuer's person does not accept.
    pub fn refuse(&mut self) {
        self.decline(Declined::ByPerson);
    }

    /// Who is there, once it has said so.
    pub const fn visitor(&self) -> Option<&Visitor> {
        self.visitor.as_ref()
    }

    /// Where it stands.
    pub fn state(&self) -> PairingState {
        self.stage.state()
    }

    /// The next frame to send.
    pub fn poll_transmit(&mut self) -> Option<Vec<u8>> {
        self.out.take().map(|message| message.encode())
    }

    fn welcome<S: Archive>(&mut self, now: Now, chart: &mut Chart<S>) -> Result<(), WriteError> {
        let (true, true, Stage::Words { .. }) = (self.accepted, self.confirmed, &self.stage) else {
            return Ok(());
        };
        let (Some(invitation), Some(visitor)) = (&self.invitation, &self.visitor) else { return Ok(()) };
        let id = invitation.id();
        let Some(row) = chart.book.get(&id).filter(|row| row.state == InvitationState::Taken).cloned() else {
            self.decline(Declined::Cancelled);
            return Ok(());
        };
        let draft = GrantDraft {
            grantee: visitor.author,
            seal: visitor.seal,
            name: row.invited.name,
            role: row.invited.role,
            history: row.invited.history,
            scopes: row.invited.scopes,
            expires: row.invited.membership_expires,
            quota: row.invited.quota,
            invitation: Some(id),
        };
        chart.grant(now, draft)?;
        chart.mark(&id, InvitationState::Used)?;
        self.out = Some(PairingMessage::Welcome(chart.record()));
        self.stage = Stage::Welcomed(chart.record());
        Ok(())
    }

    fn decline(&mut self, why: Declined) {
        if !matches!(self.stage, Stage::Welcomed(_) | Stage::Over(_)) {
            self.stage = Stage::Over(why);
            self.out = Some(PairingMessage::Decline(why));
        }
    }
}

fn refusal(state: InvitationState, expires: UnixMillis, now: UnixMillis) -> Option<Declined> {
    match state {
        InvitationState::Cancelled => Some(Declined::Cancelled),
        InvitationState::Taken | InvitationState::Used => Some(Declined::AlreadyUsed),
        InvitationState::Open => (expires <= now).then_some(Declined::Expired),
    }
}

/// A name as long as a message has room for.
fn shorten(mut name: String) -> String {
    let end = name.floor_char_boundary(NAME_MAX);
    name.truncate(end);
    name
}
