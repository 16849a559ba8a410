//! Places of the network where somebody is waited for, each under a key that is used there and nowhere else.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use chart::{AuthorKey, Day, Digest, RecordId, UnixMillis};
use node::roster::Role;
use node::{DialOptions, Id, Identity, ListenOptions, Node, PublicKey, SwarmOptions};
use tokio::sync::{mpsc, oneshot};
use tokio::time;

use crate::desk::Ask;

/// Around midnight both days are looked at, as the other's clock may be a little off.
const CLOCKS_APART: u64 = 2 * 3_600_000;
/// Between two attempts to reach whoever waits for an invitation.
const DIAL_AGAIN: Duration = Duration::from_millis(500);
/// How long whoever waits for an invitation is looked for.
const DIAL_MAX: Duration = Duration::from_secs(60);

/// What a place is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Place {
    /// Whoever has an invitation knocks here.
    Invitation(RecordId, Digest),
    /// Two members of a record meet, on one day.
    Relation(RecordId, AuthorKey, Day),
    /// A new device of the owner is waited for.
    Device(RecordId),
    /// We knock, with an invitation.
    Visit(u32),
    /// We are the new device.
    Joining(RecordId),
}

/// The days whose rooms are entered at a time.
pub(crate) fn days(now: UnixMillis) -> Vec<Day> {
    let day = |millis: u64| Day(millis / UnixMillis::DAY);
    let (first, last) = (day(now.0.saturating_sub(CLOCKS_APART)), day(now.0.saturating_add(CLOCKS_APART)));
    if first == last { vec![first] } else { vec![first, last] }
}

/// The rooms that are entered. Dropping one leaves it.
#[derive(Debug, Default)]
pub(crate) struct Rooms {
    open: BTreeMap<Place, Room>,
}

#[derive(Debug)]
struct Room {
    /// What is announced: the first bytes are shown.
    topic: [u8; 32],
    _leave: oneshot::Sender<()>,
}

impl Rooms {
    pub(crate) fn has(&self, place: &Place) -> bool {
        self.open.contains_key(place)
    }

    /// Leaves every room that is not wanted.
    pub(crate) fn keep(&mut self, is_wanted: impl Fn(&Place) -> bool) {
        self.open.retain(|place, _| is_wanted(place));
    }

    pub(crate) fn leave(&mut self, place: &Place) {
        self.open.remove(place);
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&Place, &[u8; 32])> {
        self.open.iter().map(|(place, room)| (place, &room.topic))
    }

    /// Announces a key in a topic and looks for another there.
    pub(crate) fn meet(&mut self, node: &Node, place: Place, at: Meet, asks: &mpsc::Sender<Ask>) {
        let (leave, left) = oneshot::channel();
        let topic = at.topic;
        tokio::spawn(meet(node.clone(), place, at, asks.clone(), left));
        self.open.insert(place, Room { topic, _leave: leave });
    }

    /// Waits under a key.
    pub(crate) fn wait(&mut self, node: &Node, place: Place, seed: [u8; 32], asks: &mpsc::Sender<Ask>) {
        let (leave, left) = oneshot::channel();
        let identity = Arc::new(Identity::from_seed(seed));
        let topic = identity.public_key().0;
        tokio::spawn(wait(node.clone(), place, identity, asks.clone(), left));
        self.open.insert(place, Room { topic, _leave: leave });
    }

    /// Looks for whoever waits under a key, by one of ours that is used for nothing else.
    pub(crate) fn knock(
        &mut self,
        node: &Node,
        place: Place,
        (own, theirs): ([u8; 32], [u8; 32]),
        asks: &mpsc::Sender<Ask>,
    ) {
        let (leave, left) = oneshot::channel();
        let theirs = Identity::from_seed(theirs).public_key();
        let own = Arc::new(Identity::from_seed(own));
        tokio::spawn(knock(node.clone(), place, (own, theirs), asks.clone(), left));
        self.open.insert(place, Room { topic: theirs.0, _leave: leave });
    }
}

/// Where two meet.
#[derive(Debug)]
pub(crate) struct Meet {
    pub(crate) topic: [u8; 32],
    pub(crate) own: [u8; 32],
    pub(crate) theirs: [u8; 32],
}

async fn meet(node: Node, place: Place, at: Meet, asks: mpsc::Sender<Ask>, mut left: oneshot::Receiver<()>) {
    let own = Arc::new(Identity::from_seed(at.own));
    let theirs = Identity::from_seed(at.theirs).public_key();
    let Ok(mut swarm) = node.swarm(&own, SwarmOptions::default()).await else { return };
    if let Err(error) = swarm.join(Id(at.topic), Role::Both).await {
        tracing::warn!(%error, "a room cannot be entered");
        return;
    }
    loop {
        tokio::select! {
            _ = &mut left => break,
            meeting = swarm.next() => {
                let Some(meeting) = meeting else { return };
                // Others may find the topic, but not make the key.
                if meeting.connection.remote() == theirs && arrive(&asks, place, meeting.connection).await.is_none() {
                    break;
                }
            }
        }
    }
    if swarm.end().await.is_err() {
        tracing::debug!("the node ended first");
    }
}

async fn wait(
    node: Node,
    place: Place,
    own: Arc<Identity>,
    asks: mpsc::Sender<Ask>,
    mut left: oneshot::Receiver<()>,
) {
    let Ok(mut listener) = node.serve(&own, ListenOptions::default()).await else { return };
    loop {
        tokio::select! {
            _ = &mut left => break,
            connection = listener.accept() => {
                let Some(connection) = connection else { return };
                if arrive(&asks, place, connection).await.is_none() {
                    break;
                }
            }
        }
    }
    drop(node.unlisten(own.public_key()).await);
}

async fn knock(
    node: Node,
    place: Place,
    (own, theirs): (Arc<Identity>, PublicKey),
    asks: mpsc::Sender<Ask>,
    mut left: oneshot::Receiver<()>,
) {
    let dial = async {
        loop {
            match node.connect(theirs, &own, DialOptions::default()).await {
                Ok(connection) => return connection,
                Err(error) => tracing::debug!(%error, "nobody waits yet"),
            }
            time::sleep(DIAL_AGAIN).await;
        }
    };
    tokio::select! {
        _ = &mut left => {}
        dialled = time::timeout(DIAL_MAX, dial) => match dialled {
            Ok(connection) => drop(arrive(&asks, place, connection).await),
            // The desk may be gone, and then nobody needs to know.
            Err(_) => drop(asks.send(Ask::NobodyAt(place)).await),
        },
    }
}

async fn arrive(asks: &mpsc::Sender<Ask>, place: Place, connection: node::Connection) -> Option<()> {
    asks.send(Ask::Arrived { place, connection: Box::new(connection) }).await.ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_day_has_one_room_and_midnight_has_two() {
        let at = |hours: u64| days(UnixMillis(100 * UnixMillis::DAY + hours * 3_600_000));
        assert_eq!(at(12), [Day(100)]);
        assert_eq!(at(1), [Day(99), Day(100)]);
        assert_eq!(at(23), [Day(100), Day(101)]);
    }
}
