//! What is asked about people, invitations and the network.

use std::collections::BTreeSet;

use chart::{AuthorKey, Digest, Invited, PairingState, Private, Scope, UnixMillis};
use serde_json::{Value, json};

use super::{Open, Talk, now};
use crate::failure::Failure;
use crate::profile::Reach;
use crate::request::{Invitee, Verdict, Which};
use crate::rooms::Place;
use crate::view::{claimed, history_of, invitation_word, iso, role_of, role_word, short};

/// Bytes of contents that a member may write in all.
const QUOTA: u64 = 1 << 30;

impl Open {
    pub(crate) fn invite(&mut self, invitee: &Invitee) -> Result<Value, Failure> {
        let role = role_of(&invitee.role)
            .ok_or(Failure::Invalid { what: "--role", wanted: "reader, contributor or helper" })?;
        let history = history_of(&invitee.history)
            .ok_or(Failure::Invalid { what: "--history", wanted: "whole or from-now" })?;
        let expires = invitee.days.map(|days| UnixMillis(now().wall.0 + u64::from(days) * UnixMillis::DAY));
        let (_, folder) = self.own()?;
        let invited = Invited {
            name: Private(invitee.name.0.clone()),
            role,
            history,
            scopes: BTreeSet::from([Scope::GENERAL]),
            membership_expires: expires,
            quota: QUOTA,
        };
        let invitation = folder.chart.invite(now(), invited, invitee.minutes)?;
        self.look_again();
        Ok(json!({
            "invitation": invitation.id().to_string(), "code": invitation.text(), "name": invitee.name.0,
            "role": role_word(role), "until": iso(invitation.expires),
        }))
    }

    pub(crate) fn cancel(&mut self, name: &str) -> Result<Value, Failure> {
        let (_, folder) = self.own()?;
        let ids = folder.chart.invitations().map(|row| (row.invitation.id(), row.invited.name.0.clone()));
        let id = one(ids, "invitation", name, "pehr people")?;
        let cancelled = folder.chart.cancel(&id)?;
        // Whoever is redeeming it is told.
        let links: Vec<_> = self
            .talks
            .iter()
            .filter(|(_, talk)| matches!(talk.place, Place::Invitation(_, of) if of == id))
            .filter(|(_, talk)| matches!(talk.talk, Talk::Reception(..)))
            .map(|(link, _)| *link)
            .collect();
        for link in links {
            if let Some(Talk::Reception(_, machine)) = self.talks.get_mut(&link).map(|talk| &mut talk.talk) {
                machine.refuse();
            }
        }
        Ok(json!({"invitation": id.to_string(), "cancelled": cancelled}))
    }

    /// Lets a visitor in, or not; without a name there must be exactly one.
    pub(crate) fn accept(&mut self, invitation: Option<&str>, verdict: Verdict) -> Result<Value, Failure> {
        let mut waiting = self.talks.values_mut().filter_map(|talk| match (&mut talk.talk, talk.place) {
            (Talk::Reception(record, machine), Place::Invitation(_, id))
                if matches!(machine.state(), PairingState::Compare(_))
                    && invitation.is_none_or(|name| id.to_string().starts_with(name)) =>
            {
                Some((*record, machine, id))
            }
            _ => None,
        });
        let (record, machine, id) = waiting.next().ok_or(Failure::NobodyWaiting)?;
        if waiting.next().is_some() {
            return Err(Failure::Ambiguous { kind: "visitor", name: invitation.unwrap_or_default().into() });
        }
        let folder = self.folders.get_mut(&record).ok_or(Failure::NoProfile)?;
        match verdict {
            Verdict::Yes => machine.accept(now(), &mut folder.chart)?,
            Verdict::No => machine.refuse(),
        }
        let key = machine.visitor().map(|visitor| visitor.author.to_string());
        self.look_again();
        Ok(json!({"invitation": id.to_string(), "key": key, "accepted": verdict == Verdict::Yes}))
    }

    pub(crate) fn people(&mut self, record: &Which) -> Result<Value, Failure> {
        let visitors = self.receptions();
        let connected: BTreeSet<AuthorKey> = self.talks.values().filter_map(|talk| talk.peer).collect();
        let (_, folder) = self.folder(record)?;
        let now = now();
        let mut people = Vec::new();
        for person in folder.chart.people() {
            let (name, role) = folder.known_as(&person.author)?;
            let expired = person.grant.expires.is_some_and(|at| at <= now.wall);
            let state = match (person.ended, expired, person.accepted) {
                (Some(_), ..) => "revoked",
                (None, true, _) => "expired",
                (None, false, true) => "active",
                (None, false, false) => "invited",
            };
            people.push(json!({
                "key": person.author.to_string(), "name": name, "role": role, "state": state,
                "since": claimed(person.since), "until": person.grant.expires.map(iso),
                "connected": connected.contains(&person.author), "counted": person.ended.map(|cut| cut.height),
            }));
        }
        let invitations: Vec<Value> = folder
            .chart
            .invitations()
            .map(|row| {
                json!({
                    "invitation": row.invitation.id().to_string(), "name": row.invited.name.0,
                    "role": role_word(row.invited.role), "until": iso(row.invitation.expires),
                    "state": invitation_word(&row.invitation, row.state, now.wall),
                })
            })
            .collect();
        Ok(json!({"people": people, "invitations": invitations, "visitors": visitors}))
    }

    pub(crate) fn revoke(&mut self, name: &str) -> Result<Value, Failure> {
        let (_, folder) = self.own()?;
        let mut known = Vec::new();
        for person in folder.chart.people() {
            let ended = person.ended.is_some();
            // Of several memberships of one name the one that goes on is meant.
            if !ended || person.author.to_string().starts_with(name) {
                known.push((person.author, folder.known_as(&person.author)?.0));
            }
        }
        let author = one(known.into_iter(), "person", name, "pehr people")?;
        folder.chart.revoke(now(), author)?;
        self.look_again();
        Ok(json!({
            "revoked": author.to_string(),
            "note": "From now on they get nothing new. What their computer already has stays there.",
        }))
    }

    pub(crate) async fn reach(&mut self, reach: Reach) -> Result<Value, Failure> {
        self.disconnect().await;
        self.profile.reach = reach;
        self.profile.save(&self.vault)?;
        self.connect().await?;
        Ok(json!({"reach": self.profile.reach}))
    }

    pub(crate) async fn net(&mut self) -> Result<Value, Failure> {
        let Some(node) = self.node.clone() else {
            return Ok(json!({"network": "offline", "reach": self.profile.reach, "rooms": [], "peers": []}));
        };
        let snapshot = node.snapshot().await?;
        let mut rooms = Vec::new();
        for (place, topic) in self.rooms.iter() {
            let (purpose, whom, day) = match place {
                Place::Invitation(_, id) => ("invitation", short(id), None),
                Place::Relation(record, peer, day) => {
                    let name = self.folders.get(record).map(|folder| folder.known_as(peer)).transpose()?;
                    ("share", name.map_or_else(|| short(peer), |(name, _)| name), Some(day.0))
                }
                Place::Device(_) => ("new device", String::new(), None),
                Place::Visit(_) => ("redeeming", String::new(), None),
                Place::Joining(_) => ("joining", String::new(), None),
            };
            rooms.push(json!({"for": purpose, "whom": whom, "day": day, "topic": short(&Digest(*topic))}));
        }
        let mut peers = Vec::new();
        for (link, talk) in &self.talks {
            let Some(peer) = talk.peer else { continue };
            let Talk::Record(record) = talk.talk else { continue };
            let Some(folder) = self.folders.get(&record) else { continue };
            peers.push(json!({
                "key": peer.to_string(), "name": folder.known_as(&peer)?.0, "since": iso(talk.since),
                "route": talk.route, "record": record.to_string(), "behind": folder.chart.waiting(*link),
            }));
        }
        Ok(
            json!({"network": "joined", "reach": self.profile.reach, "rooms": rooms, "peers": peers, "node": snapshot}),
        )
    }
}

/// The one thing of a name, or of a key that begins like that.
fn one<K: Copy + std::fmt::Display>(
    known: impl Iterator<Item = (K, String)>,
    kind: &'static str,
    name: &str,
    list: &'static str,
) -> Result<K, Failure> {
    let wanted = name.to_lowercase();
    let mut found = known.filter(|(key, called)| {
        !wanted.is_empty() && (key.to_string().starts_with(&wanted) || called.to_lowercase() == wanted)
    });
    let first = found.next().ok_or_else(|| Failure::NotFound { kind, name: name.into(), list })?;
    match found.next() {
        None => Ok(first.0),
        Some(_) => Err(Failure::Ambiguous { kind, name: name.into() }),
    }
}
