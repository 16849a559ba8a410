//! Where two members look for each other: topics and keys that change every day and differ for each pair.
//!
//! An announcement carries the announcer's public key. It is one that is used for this relationship and this day only;
//! who is behind it is proven inside the encrypted connection. Whoever watches addresses can still see that one address
//! announces several topics.

use crate::chart::Chart;
use crate::clock::{Now, UnixMillis};
use crate::key::{AuthorKey, Domain, SealKey, Secret, derive};
use crate::store::Archive;

const RELATION: Domain = Domain("homing chart relation");
const TOPIC: Domain = Domain("homing chart relation topic");
const ANNOUNCE: Domain = Domain("homing chart relation announce");

/// A day, counted from 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Day(pub u64);

impl Day {
    /// The day of a time, and those before and after it, as the other's clock may be a little off.
    pub fn around(time: UnixMillis) -> [Self; 3] {
        let today = time.0 / UnixMillis::DAY;
        [Self(today.saturating_sub(1)), Self(today), Self(today + 1)]
    }
}

/// Two members of a record, seen from one of them.
#[derive(Debug)]
pub struct Relation {
    secret: Secret,
    me: AuthorKey,
    /// The other.
    pub peer: AuthorKey,
}

impl Relation {
    /// Where both look for each other on a day.
    pub fn topic(&self, day: Day) -> [u8; 32] {
        *derive(&self.secret, &TOPIC, &[&day.0.to_le_bytes()]).expose()
    }

    /// The seed of the key pair under which this side announces on a day.
    pub fn own_seed(&self, day: Day) -> Secret {
        self.seed(&self.me, day)
    }

    /// The seed of the key pair under which the other announces: its public key says whom to expect.
    pub fn peer_seed(&self, day: Day) -> Secret {
        self.seed(&self.peer, day)
    }

    fn seed(&self, author: &AuthorKey, day: Day) -> Secret {
        derive(&self.secret, &ANNOUNCE, &[&author.0, &day.0.to_le_bytes()])
    }
}

impl<S: Archive> Chart<S> {
    /// Everybody this replica may want to meet: for an owner all other devices and members, for a member the owner's
    /// devices and helpers. None means that there is nothing to announce.
    pub fn relations(&self, now: Now) -> Vec<Relation> {
        let mine = self.author();
        let owners = self.authority().owners();
        let members = self.authority().grantees().filter_map(|(author, granted)| {
            let meets = self.is_owner() || granted.grant.role == crate::Role::Helper;
            let active = self.authority().standing(author).is_some() && !self.is_expired(author, now);
            (meets && active).then_some((*author, granted.grant.seal))
        });
        let others = owners.chain(members).filter(|(author, _)| *author != mine);
        others.filter_map(|(author, seal)| self.relation(author, &seal)).collect()
    }

    fn relation(&self, peer: AuthorKey, seal: &SealKey) -> Option<Relation> {
        let me = self.author();
        let shared = self.me.seal_secret().agree(seal)?;
        let (low, high) = (me.min(peer), me.max(peer));
        let secret = derive(&shared, &RELATION, &[&self.record().0, &low.0, &high.0]);
        Some(Relation { secret, me, peer })
    }
}
