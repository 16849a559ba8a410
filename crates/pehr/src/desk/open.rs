//! An open vault with its conversations.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use chart::{
    AuthorKey, Bye, Channel, LinkId, PairingState, Reception, RecordId, Relation, Secret, Side, UnixMillis,
};
use node::{Bootstrap, Config, Connection, Direction, Node};
use tokio::sync::mpsc;
use vault::Vault;

use super::{Ask, Home, Reply, answer, now};
use crate::failure::Failure;
use crate::folder::{Folder, Tiding};
use crate::invite::{Call, Outcome, Waiting};
use crate::job::{Job, Step};
use crate::line::Line;
use crate::profile::{Profile, Reach};
use crate::request::Answer;
use crate::rooms::{Meet, Place, Rooms, days};

/// Conversations of all records; a record has at most [`chart::LINKS_MAX`].
const CONVERSATIONS_MAX: usize = 1_024;
/// How often it is looked at whom to look for.
const ROOMS_EVERY: Duration = Duration::from_millis(500);
/// How long receipts of received versions may be in memory only: what a crash costs is when something came.
const RECEIPTS_EVERY: Duration = Duration::from_millis(200);

/// What is spoken on a connection.
#[derive(Debug)]
pub(crate) enum Talk {
    /// We redeem an invitation.
    Visit(u32),
    /// Somebody redeems one of ours.
    Reception(RecordId, Box<Reception>),
    /// Replicas bring each other up to date.
    Record(RecordId),
}

/// A connection and what it is for.
#[derive(Debug)]
pub(crate) struct Conversation {
    pub(crate) line: Line,
    pub(crate) talk: Talk,
    pub(crate) place: Place,
    pub(crate) peer: Option<AuthorKey>,
    pub(crate) since: UnixMillis,
    pub(crate) route: &'static str,
    binding: [u8; 32],
    side: Side,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Open {
    pub(crate) vault: Vault,
    pub(crate) profile: Profile,
    home: Home,
    asks: mpsc::WeakSender<Ask>,
    pub(crate) node: Option<Node>,
    pub(crate) folders: BTreeMap<RecordId, Folder>,
    pub(crate) rooms: Rooms,
    rooms_due: Instant,
    receipts_due: Instant,
    pub(crate) talks: BTreeMap<LinkId, Conversation>,
    last_link: u64,
    pub(crate) calls: BTreeMap<u32, Call>,
    pub(crate) waits: Vec<Waiting>,
    /// Answers that are given once everything written before is safe.
    pub(crate) acks: Vec<(Reply, Answer)>,
    pub(crate) jobs: VecDeque<Job>,
    /// New devices that are waited for: the key they knock at, and until when.
    pub(crate) device_codes: BTreeMap<RecordId, (Secret, UnixMillis)>,
}

impl Open {
    pub(crate) fn new(vault: Vault, profile: Profile, home: Home, asks: mpsc::WeakSender<Ask>) -> Self {
        let start = now().instant;
        Self {
            vault,
            profile,
            home,
            asks,
            node: None,
            folders: BTreeMap::new(),
            rooms: Rooms::default(),
            rooms_due: start,
            receipts_due: start,
            talks: BTreeMap::new(),
            last_link: 0,
            calls: BTreeMap::new(),
            waits: Vec::new(),
            acks: Vec::new(),
            jobs: VecDeque::new(),
            device_codes: BTreeMap::new(),
        }
    }

    pub(crate) fn has_jobs(&self) -> bool {
        !self.jobs.is_empty()
    }

    /// Joins the network that the profile names.
    pub(crate) async fn connect(&mut self) -> Result<(), Failure> {
        let mut config = Config::default();
        match &self.profile.reach {
            Reach::Offline => return Ok(()),
            Reach::Public => {}
            Reach::Private(nodes) => {
                let nodes: Result<Vec<Bootstrap>, _> = nodes.iter().map(|node| node.parse()).collect();
                config.bootstrap =
                    nodes.map_err(|_| Failure::Invalid { what: "--bootstrap", wanted: "HOST:PORT" })?;
            }
        }
        let is_loopback = |entry: &Bootstrap| match entry {
            Bootstrap::Address(address) => address.ip().is_loopback(),
            Bootstrap::Name { .. } => false,
        };
        if config.bootstrap.iter().all(is_loopback) {
            config.host = Ipv4Addr::LOCALHOST;
            config.port = 0;
        }
        config.nodes = node::load_nodes(&self.home.path).unwrap_or_default();
        self.node = Some(Node::spawn(config).await?);
        self.rooms_due = now().instant;
        Ok(())
    }

    /// Leaves the network.
    pub(crate) async fn disconnect(&mut self) {
        self.rooms = Rooms::default();
        for (link, conversation) in std::mem::take(&mut self.talks) {
            self.forget(link, &conversation.talk);
            conversation.line.close();
        }
        if let Some(node) = self.node.take() {
            // An empty table is not saved: a start without a network must not forget the way into it.
            if let Ok(nodes) = node.nodes().await
                && !nodes.is_empty()
                && let Err(error) = self.home.dir.save_nodes(&nodes)
            {
                tracing::warn!(%error, "cannot save the routing table");
            }
            // It may have ended.
            drop(node.shutdown().await);
        }
    }

    pub(crate) async fn close(mut self) {
        let saved = self.save();
        for (reply, answer) in std::mem::take(&mut self.acks) {
            let answer = if saved.is_ok() { answer } else { Answer::of(Err(Failure::Ending)) };
            // Who asked may have gone.
            drop(reply.try_send(answer));
        }
        if let Err(error) = saved {
            tracing::error!(%error, "the store failed");
        }
        for wait in std::mem::take(&mut self.waits) {
            answer(&wait.reply, Err(Failure::Ending));
        }
        self.disconnect().await;
    }

    fn save(&mut self) -> Result<(), Failure> {
        for folder in self.folders.values_mut() {
            folder.chart.flush()?;
            folder.save_receipts(&self.vault)?;
        }
        Ok(())
    }

    // Connections.

    pub(crate) fn arrived(&mut self, place: Place, connection: Connection) {
        let Some(asks) = self.asks.upgrade() else { return };
        if self.talks.len() >= CONVERSATIONS_MAX {
            return;
        }
        self.last_link += 1;
        let link = LinkId(self.last_link);
        let binding = connection.binding();
        let side = match connection.direction() {
            Direction::Outgoing => Side::Dialer,
            Direction::Incoming => Side::Listener,
        };
        let Some(talk) = self.begin(link, place, Channel { binding, side }) else { return };
        let route = connection.route().word();
        let line = Line::start(link, connection, &asks);
        let since = now().wall;
        let conversation = Conversation { line, talk, place, peer: None, since, route, binding, side };
        self.talks.insert(link, conversation);
    }

    /// What a new connection is for; nothing, where it is not wanted any more.
    fn begin(&mut self, link: LinkId, place: Place, channel: Channel) -> Option<Talk> {
        match place {
            Place::Invitation(record, _) => {
                let chance = vault::draw().ok()?;
                Some(Talk::Reception(record, Box::new(Reception::new(channel.binding, &chance))))
            }
            Place::Visit(number) => {
                self.rooms.leave(&place);
                let name = self.profile.name.0.clone();
                self.calls.get_mut(&number)?.begin(link, channel.binding, name).ok()?;
                Some(Talk::Visit(number))
            }
            Place::Relation(record, ..) | Place::Device(record) | Place::Joining(record) => {
                if matches!(place, Place::Joining(_)) {
                    self.rooms.leave(&place);
                }
                self.folders.get_mut(&record)?.chart.open_link(now(), link, channel).ok()?;
                Some(Talk::Record(record))
            }
        }
    }

    pub(crate) fn nobody_at(&mut self, place: Place) {
        self.rooms.leave(&place);
        match place {
            Place::Visit(number) => {
                if let Some(call) = self.calls.get_mut(&number) {
                    call.end(Outcome::NobodyThere);
                }
            }
            Place::Joining(record) => {
                if let Some(folder) = self.folders.get_mut(&record) {
                    folder.warn("nobody answered to the device code".into());
                }
            }
            Place::Invitation(..) | Place::Relation(..) | Place::Device(_) => {}
        }
    }

    pub(crate) fn frame(&mut self, link: LinkId, frame: &[u8]) {
        let Some(conversation) = self.talks.get_mut(&link) else { return };
        let outcome = match &mut conversation.talk {
            Talk::Visit(number) => {
                if let Some(machine) = self.calls.get_mut(number).and_then(|call| call.machine.as_mut()) {
                    machine.handle_frame(frame);
                }
                // What follows a welcome is of the record already.
                self.turn_page(link).map(drop)
            }
            Talk::Reception(record, machine) => match self.folders.get_mut(record) {
                Some(folder) => machine.handle_frame(now(), &mut folder.chart, frame).map_err(Failure::from),
                None => Ok(()),
            },
            Talk::Record(record) => match self.folders.get_mut(record) {
                Some(folder) => folder.chart.handle_frame(now(), link, frame).map_err(Failure::from),
                None => Ok(()),
            },
        };
        if let Err(error) = outcome {
            tracing::warn!(%error, "a conversation was ended");
            self.hang_up(link);
        }
    }

    pub(crate) fn gone(&mut self, link: LinkId) {
        if let Some(conversation) = self.talks.remove(&link) {
            self.forget(link, &conversation.talk);
            conversation.line.close();
        }
    }

    pub(crate) fn hang_up(&mut self, link: LinkId) {
        self.gone(link);
    }

    /// What was said last counts, also where the connection ended with it.
    fn end_call(&mut self, number: u32) -> Result<(), Failure> {
        let state = self.calls.get(&number).and_then(|call| call.machine.as_ref()).map(chart::Visit::state);
        let outcome = match state {
            Some(PairingState::Welcomed(record)) => return self.become_member(number, record),
            Some(PairingState::Declined(why)) => Outcome::Declined(why),
            _ => Outcome::Parted,
        };
        if let Some(call) = self.calls.get_mut(&number) {
            call.end(outcome);
        }
        Ok(())
    }

    fn forget(&mut self, link: LinkId, talk: &Talk) {
        match talk {
            Talk::Visit(number) => {
                if let Err(error) = self.end_call(*number) {
                    tracing::error!(%error, "a membership was lost");
                }
            }
            Talk::Reception(..) => {}
            Talk::Record(record) => {
                if let Some(folder) = self.folders.get_mut(record) {
                    folder.chart.close_link(link);
                }
            }
        }
    }

    // A turn's end.

    /// Writes, answers, speaks, and looks at the clock.
    pub(crate) fn settle(&mut self) -> Result<(), Failure> {
        self.work();
        self.listen()?;
        for folder in self.folders.values_mut() {
            folder.chart.flush()?;
        }
        for (reply, answer) in std::mem::take(&mut self.acks) {
            // Who asked may have gone.
            drop(reply.try_send(answer));
        }
        self.speak()?;
        self.listen()?;
        let now = now();
        if self.receipts_due <= now.instant {
            self.receipts_due = now.instant + RECEIPTS_EVERY;
            for folder in self.folders.values_mut() {
                folder.save_receipts(&self.vault)?;
            }
        }
        self.enter_rooms();
        self.answer_waits();
        Ok(())
    }

    /// Takes note of what records have to tell, and lets them look at the clock.
    fn listen(&mut self) -> Result<(), Failure> {
        let now = now();
        for record in self.folders.keys().copied().collect::<Vec<_>>() {
            let Some(folder) = self.folders.get_mut(&record) else { continue };
            if folder.chart.poll_timeout().is_some_and(|at| at <= now.instant) {
                folder.chart.handle_timeout(now)?;
            }
            for tiding in folder.drain(now)? {
                match tiding {
                    Tiding::Met { link, author } => self.met(link, author),
                    Tiding::Closed { link, why } => self.closed(record, link, why)?,
                    Tiding::Fetched(root) => self.fetched(&root),
                }
            }
        }
        Ok(())
    }

    /// Of two connections with one peer the one of the pairing goes.
    fn met(&mut self, link: LinkId, author: AuthorKey) {
        if let Some(conversation) = self.talks.get_mut(&link) {
            conversation.peer = Some(author);
            conversation.since = now().wall;
        }
        let is_spare = |conversation: &Conversation| {
            conversation.peer == Some(author) && !matches!(conversation.place, Place::Relation(..))
        };
        if self.talks.get(&link).is_some_and(|conversation| !is_spare(conversation)) {
            let spare: Vec<LinkId> =
                self.talks.iter().filter(|(_, talk)| is_spare(talk)).map(|(id, _)| *id).collect();
            for id in spare {
                self.hang_up(id);
            }
        }
    }

    fn closed(&mut self, record: RecordId, link: LinkId, why: Bye) -> Result<(), Failure> {
        let is_owner = self.folders.get(&record).is_some_and(|folder| folder.chart.is_owner());
        if matches!(why, Bye::Revoked | Bye::Expired) && !is_owner {
            self.profile.ended.insert(record.to_string());
            self.profile.save(&self.vault)?;
        }
        self.hang_up(link);
        Ok(())
    }

    fn speak(&mut self) -> Result<(), Failure> {
        for link in self.talks.keys().copied().collect::<Vec<_>>() {
            self.speak_on(link)?;
        }
        Ok(())
    }

    /// Sends what one connection has room for.
    fn speak_on(&mut self, link: LinkId) -> Result<(), Failure> {
        loop {
            let Some(conversation) = self.talks.get_mut(&link) else { return Ok(()) };
            let frame = {
                let Some(place) = conversation.line.place() else { return Ok(()) };
                let frame = match &mut conversation.talk {
                    Talk::Visit(number) => {
                        let machine = self.calls.get_mut(number).and_then(|call| call.machine.as_mut());
                        machine.and_then(chart::Visit::poll_transmit)
                    }
                    Talk::Reception(_, machine) => machine.poll_transmit(),
                    Talk::Record(record) => match self.folders.get_mut(record) {
                        Some(folder) => folder.chart.poll_transmit(now(), link)?,
                        None => None,
                    },
                };
                frame.map(|frame| place.send(frame))
            };
            if frame.is_none() && !self.turn_page(link)? {
                return Ok(());
            }
        }
    }

    /// Goes on to what follows a pairing that is done; says whether anything did.
    fn turn_page(&mut self, link: LinkId) -> Result<bool, Failure> {
        let Some(conversation) = self.talks.get(&link) else { return Ok(false) };
        let (state, record) = match &conversation.talk {
            Talk::Visit(number) => {
                (self.calls.get(number).and_then(|call| call.machine.as_ref()).map(chart::Visit::state), None)
            }
            Talk::Reception(record, machine) => (Some(machine.state()), Some(*record)),
            Talk::Record(_) => return Ok(false),
        };
        match (state, record) {
            (Some(PairingState::Declined(_)), record) => {
                let place = conversation.place;
                let folder = record.and_then(|record| self.folders.get_mut(&record));
                if let (Place::Invitation(_, id), Some(folder)) = (place, folder) {
                    folder.note_refusal(now(), id)?;
                }
                self.hang_up(link);
                Ok(false)
            }
            (Some(PairingState::Welcomed(record)), _) => {
                if let Talk::Visit(number) = conversation.talk {
                    self.become_member(number, record)?;
                }
                self.converse(link, record);
                Ok(true)
            }
            _ => Ok(false),
        }
    }

    /// The connection of a pairing becomes one of the record.
    fn converse(&mut self, link: LinkId, record: RecordId) {
        let Some(conversation) = self.talks.get_mut(&link) else { return };
        let channel = Channel { binding: conversation.binding, side: conversation.side };
        conversation.talk = Talk::Record(record);
        let opened = self.folders.get_mut(&record).map(|folder| folder.chart.open_link(now(), link, channel));
        if !matches!(opened, Some(Ok(()))) {
            self.hang_up(link);
        }
    }

    // Whom to look for.

    fn enter_rooms(&mut self) {
        let now = now();
        if self.rooms_due > now.instant {
            return;
        }
        self.rooms_due = now.instant + ROOMS_EVERY;
        let (Some(node), Some(asks)) = (self.node.clone(), self.asks.upgrade()) else { return };
        let mut wanted = BTreeSet::new();
        for (record, folder) in &self.folders {
            if self.profile.ended.contains(&record.to_string()) {
                continue;
            }
            for relation in folder.chart.relations(now) {
                for day in days(now.wall) {
                    let place = Place::Relation(*record, relation.peer, day);
                    wanted.insert(place);
                    if !self.rooms.has(&place) {
                        self.rooms.meet(&node, place, meeting(&relation, day), &asks);
                    }
                }
            }
            // Those that are used or taken back are still waited for, so that who comes late is told why.
            for issued in folder.chart.invitations().filter(|issued| issued.invitation.expires > now.wall) {
                let place = Place::Invitation(*record, issued.invitation.id());
                wanted.insert(place);
                if !self.rooms.has(&place) {
                    self.rooms.wait(&node, place, *issued.invitation.waiting_seed().expose(), &asks);
                }
            }
        }
        self.device_codes.retain(|_, (_, until)| *until > now.wall);
        for (record, (seed, _)) in &self.device_codes {
            let place = Place::Device(*record);
            wanted.insert(place);
            if !self.rooms.has(&place) {
                self.rooms.wait(&node, place, *seed.expose(), &asks);
            }
        }
        self.rooms
            .keep(|place| wanted.contains(place) || matches!(place, Place::Visit(_) | Place::Joining(_)));
    }

    /// Looks for whoever waits under a key.
    pub(crate) fn knock(&mut self, place: Place, theirs: [u8; 32]) -> Result<(), Failure> {
        let (Some(node), Some(asks)) = (self.node.clone(), self.asks.upgrade()) else {
            return Err(Failure::Offline);
        };
        let own = vault::draw()?;
        self.rooms.knock(&node, place, (*own.expose(), theirs), &asks);
        Ok(())
    }

    pub(crate) fn look_again(&mut self) {
        self.rooms_due = now().instant;
    }

    // Long work, in steps between other things.

    fn work(&mut self) {
        for _ in 0..self.jobs.len() {
            let Some(mut job) = self.jobs.pop_front() else { return };
            let Some(folder) = self.folders.get_mut(&job.record) else { continue };
            if job.reply.is_closed() {
                // Nobody waits for it any more: what was stored of it so far shortens the next attempt.
                continue;
            }
            match job.step(now(), folder) {
                Step::More => self.jobs.push_back(job),
                Step::Waits(root) => self.waits.push(Waiting::for_blob(root, job)),
                Step::Done(value) => self.acks.push((job.reply.clone(), Answer::Done(value))),
                Step::Failed(failure) => self.acks.push((job.reply.clone(), Answer::of(Err(failure)))),
            }
        }
    }
}

fn meeting(relation: &Relation, day: chart::Day) -> Meet {
    Meet {
        topic: relation.topic(day),
        own: *relation.own_seed(day).expose(),
        theirs: *relation.peer_seed(day).expose(),
    }
}
