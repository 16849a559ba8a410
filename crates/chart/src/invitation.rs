//! Invitations: a code that a person passes on, and the book in which its issuer keeps what became of it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use data_encoding::BASE32_NOPAD;

use crate::bytes::{DecodeError, Reader, Writer, whole, written};
use crate::chart::{Chart, WriteError};
use crate::clock::{Now, UnixMillis};
use crate::key::{AuthorKey, Digest, Domain, Secret, derive, hash};
use crate::operation::{History, Role, Scope};
use crate::root::{FORMAT_VERSION, version};
use crate::statement::Private;
use crate::store::{Archive, Slot, StoreError, Write};

const PREFIX: &str = "pehr:";
const CHECK: Domain = Domain("homing chart invitation check");
const ID: Domain = Domain("homing chart invitation id");
const MINUTE: u64 = 60_000;

/// Invitations in a book; the oldest that are over make room.
const BOOK_MAX: usize = 64;

/// Bytes of a name.
pub(crate) const NAME_MAX: usize = 256;

/// A text that is no invitation, or one with a wrong letter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the text is not an invitation")]
pub struct NotAnInvitation;

/// What one person passes to another, as text or as a picture of it. By itself it gives nothing: who redeems it is
/// accepted by its issuer, or not.
///
/// ```text
/// bytes: | version 1 | role 1 | secret 16 | issuer 32 | expires, minutes since 1970 u32le | check 4 |
/// text:  pehr: and the bytes in base 32 (RFC 4648, upper case, no padding)
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct Invitation {
    secret: [u8; 16],
    /// What the member will be.
    pub role: Role,
    /// The device that issued it, the only one that can accept.
    pub issuer: AuthorKey,
    /// Until when it can be redeemed, in whole minutes.
    pub expires: UnixMillis,
}

impl fmt::Debug for Invitation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Invitation").field(&self.id()).finish()
    }
}

impl Invitation {
    /// Reads what [`Invitation::text`] wrote; case, spaces and line breaks do not matter.
    ///
    /// # Errors
    ///
    /// On any other text; a wrong letter is found by its check.
    pub fn parse(text: &str) -> Result<Self, NotAnInvitation> {
        let plain: String = text.chars().filter(|c| !c.is_whitespace()).take(256).collect();
        let (prefix, code) = plain.split_at_checked(PREFIX.len()).ok_or(NotAnInvitation)?;
        if !prefix.eq_ignore_ascii_case(PREFIX) {
            return Err(NotAnInvitation);
        }
        let bytes = BASE32_NOPAD.decode(code.to_ascii_uppercase().as_bytes()).map_err(|_| NotAnInvitation)?;
        let (body, check) = bytes.split_last_chunk::<4>().ok_or(NotAnInvitation)?;
        let invitation = whole(body, Self::read).map_err(|_| NotAnInvitation)?;
        if hash(&CHECK, &[body]).starts_with(check) { Ok(invitation) } else { Err(NotAnInvitation) }
    }

    /// The text.
    pub fn text(&self) -> String {
        let mut bytes = written(|w| self.write(w));
        let check = hash(&CHECK, &[&bytes]);
        bytes.extend_from_slice(&check[..4]);
        format!("{PREFIX}{}", BASE32_NOPAD.encode(&bytes))
    }

    /// Its name, which can be shown and stored: it gives no access.
    pub fn id(&self) -> Digest {
        Digest(hash(&ID, &[&self.secret]))
    }

    /// Where both sides meet: nobody without the code can tell what it is for.
    pub fn topic(&self) -> [u8; 32] {
        *self.derived(&Domain("homing chart invitation topic")).expose()
    }

    /// The seed of the key pair under which the issuer waits there, a key that is used for nothing else.
    pub fn waiting_seed(&self) -> Secret {
        self.derived(&Domain("homing chart invitation waiting"))
    }

    pub(crate) fn derived(&self, domain: &Domain) -> Secret {
        let mut wide = [0; 32];
        wide[..16].copy_from_slice(&self.secret);
        derive(&Secret::new(wide), domain, &[])
    }

    fn read(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        version(r)?;
        let (role, secret, issuer) = (Role::read(r)?, r.array()?, AuthorKey::read(r)?);
        let minutes = u32::from_le_bytes(r.array()?);
        Ok(Self { secret, role, issuer, expires: UnixMillis(u64::from(minutes) * MINUTE) })
    }

    fn write(&self, w: &mut Writer) {
        let minutes = u32::try_from(self.expires.0 / MINUTE).unwrap_or(u32::MAX);
        w.u8(FORMAT_VERSION).u8(self.role.byte()).raw(&self.secret).raw(&self.issuer.0);
        w.raw(&minutes.to_le_bytes());
    }
}

/// What has become of an invitation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
#[non_exhaustive]
pub enum InvitationState {
    /// Nobody has redeemed it.
    Open = 1,
    /// Somebody is redeeming it, or tried to.
    Taken = 2,
    /// Its issuer took it back.
    Cancelled = 3,
    /// It made a member.
    Used = 4,
}

impl InvitationState {
    fn read(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let tag = r.u8()?;
        let all = [Self::Open, Self::Taken, Self::Cancelled, Self::Used];
        all.into_iter().find(|state| *state as u8 == tag).ok_or(DecodeError::UnknownTag(tag))
    }
}

/// For whom an invitation is and what they will be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Invited {
    /// What the issuer calls them.
    pub name: Private<String>,
    /// What they may do.
    pub role: Role,
    /// What they may read of the time before.
    pub history: History,
    /// What they may read and write; scope 0 is always among them.
    pub scopes: BTreeSet<Scope>,
    /// When their sessions will end.
    pub membership_expires: Option<UnixMillis>,
    /// Bytes of contents in all.
    pub quota: u64,
}

/// An invitation in the book of its issuer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Issued {
    /// The code.
    pub invitation: Invitation,
    /// For whom.
    pub invited: Invited,
    /// What has become of it.
    pub state: InvitationState,
}

/// The invitations that this device has issued.
#[derive(Debug, Default)]
pub(crate) struct Book {
    issued: BTreeMap<Digest, Issued>,
}

impl Book {
    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let rows = whole(bytes, |r| {
            version(r)?;
            r.list(BOOK_MAX, read_issued)
        })?;
        Ok(Self { issued: rows.into_iter().map(|row| (row.invitation.id(), row)).collect() })
    }

    fn encode(&self) -> Vec<u8> {
        let rows: Vec<&Issued> = self.issued.values().collect();
        written(|w| {
            w.u8(FORMAT_VERSION).list(&rows, |w, row| write_issued(w, row));
        })
    }

    pub(crate) fn get(&self, id: &Digest) -> Option<&Issued> {
        self.issued.get(id)
    }

    fn make_room(&mut self, now: UnixMillis) {
        let is_over = |row: &Issued| row.state != InvitationState::Open || row.invitation.expires <= now;
        while self.issued.len() >= BOOK_MAX {
            let over = self.issued.values().filter(|row| is_over(row));
            let Some(oldest) = over.min_by_key(|row| row.invitation.expires) else { return };
            let id = oldest.invitation.id();
            self.issued.remove(&id);
        }
    }
}

fn read_issued(r: &mut Reader<'_>) -> Result<Issued, DecodeError> {
    Ok(Issued {
        invitation: Invitation::read(r)?,
        invited: Invited {
            name: Private(r.text(NAME_MAX)?),
            role: Role::read(r)?,
            history: History::read(r)?,
            scopes: r.set(usize::from(Scope::COUNT), Scope::read)?.into_iter().collect(),
            membership_expires: r.option(UnixMillis::read)?,
            quota: r.uint()?,
        },
        state: InvitationState::read(r)?,
    })
}

fn write_issued(w: &mut Writer, row: &Issued) {
    row.invitation.write(w);
    let invited = &row.invited;
    w.bytes(invited.name.0.as_bytes()).u8(invited.role.byte()).u8(invited.history.byte());
    let scopes: Vec<Scope> = invited.scopes.iter().copied().collect();
    w.list(&scopes, |w, scope| {
        w.u8(scope.number());
    });
    w.option(invited.membership_expires, |w, time| time.write(w));
    w.uint(invited.quota).u8(row.state as u8);
}

impl<S: Archive> Chart<S> {
    /// Issues an invitation that can be redeemed for so many minutes.
    ///
    /// # Errors
    ///
    /// If this is no owner device, the name is too long, or there are too many open invitations.
    pub fn invite(&mut self, now: Now, invited: Invited, minutes: u32) -> Result<Invitation, WriteError> {
        if !self.is_owner() {
            return Err(WriteError::Refused(crate::Refusal::NotOwner));
        }
        if invited.name.0.len() > NAME_MAX {
            return Err(WriteError::TooLong);
        }
        self.book.make_room(now.wall);
        if self.book.issued.len() >= BOOK_MAX {
            return Err(WriteError::Full);
        }
        let mut secret = [0; 16];
        secret.copy_from_slice(&self.chance.draw().expose()[..16]);
        let until = (now.wall.0 / MINUTE).saturating_add(u64::from(minutes));
        let invitation = Invitation {
            secret,
            role: invited.role,
            issuer: self.author(),
            expires: UnixMillis(until * MINUTE),
        };
        let issued = Issued { invitation: invitation.clone(), invited, state: InvitationState::Open };
        self.book.issued.insert(invitation.id(), issued);
        self.write_book()?;
        Ok(invitation)
    }

    /// Takes an invitation back that made nobody a member yet; says whether there was one.
    ///
    /// # Errors
    ///
    /// If the store fails.
    pub fn cancel(&mut self, id: &Digest) -> Result<bool, StoreError> {
        let can = self.book.get(id).is_some_and(|row| row.state != InvitationState::Used);
        if can {
            self.mark(id, InvitationState::Cancelled)?;
        }
        Ok(can)
    }

    /// The invitations that this device has issued.
    pub fn invitations(&self) -> impl Iterator<Item = &Issued> {
        self.book.issued.values()
    }

    pub(crate) fn mark(&mut self, id: &Digest, state: InvitationState) -> Result<(), StoreError> {
        if let Some(row) = self.book.issued.get_mut(id) {
            row.state = state;
            self.write_book()?;
        }
        Ok(())
    }

    fn write_book(&mut self) -> Result<(), StoreError> {
        let value = Some(self.book.encode());
        self.journal.write(vec![Write { slot: Slot::Invitations, value }])?;
        self.journal.sync()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn invitation() -> Invitation {
        let expires = UnixMillis(29_926_080 * MINUTE);
        Invitation { secret: [7; 16], role: Role::Contributor, issuer: AuthorKey([8; 32]), expires }
    }

    #[test]
    fn the_text_is_short_and_reads_back_however_it_is_typed() {
        let text = invitation().text();
        // 58 bytes are 464 bits, 93 letters of five.
        assert_eq!(text.len(), 5 + 93);
        assert_eq!(Invitation::parse(&text), Ok(invitation()));
        let (start, end) = text.split_at(40);
        let typed = format!("  {} \n{end}", start.to_lowercase());
        assert_eq!(Invitation::parse(&typed), Ok(invitation()));
    }

    #[test]
    fn a_wrong_letter_is_found() {
        let text = invitation().text();
        for at in 0..text.len() {
            let mut wrong: Vec<char> = text.chars().collect();
            wrong[at] = if wrong[at] == 'B' { 'C' } else { 'B' };
            let wrong: String = wrong.into_iter().collect();
            assert_eq!(Invitation::parse(&wrong), Err(NotAnInvitation), "{at}");
        }
    }

    #[test]
    fn a_book_reads_back() {
        let invited = Invited {
            name: Private("Dr Smith".into()),
            role: Role::Contributor,
            history: History::Whole,
            scopes: BTreeSet::from([Scope::GENERAL]),
            membership_expires: Some(UnixMillis(5)),
            quota: 1_000,
        };
        let row = Issued { invitation: invitation(), invited, state: InvitationState::Taken };
        let book = Book { issued: BTreeMap::from([(row.invitation.id(), row.clone())]) };
        let back = Book::decode(&book.encode()).unwrap();
        assert_eq!(back.get(&row.invitation.id()), Some(&row));
    }
}
