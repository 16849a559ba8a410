//! Mainline as a mechanism of the channel: one task for each order.

use std::num::NonZeroU16;

use discovery::{Command, Outcome, Sighting, Source, Who};
use tokio::sync::mpsc;
use wire::Id;

use super::driver::Report;
use crate::mainline::{Mainline, Port};
use crate::node::Stopped;

/// Walks once, and reports whom it finds.
pub(super) async fn look(node: Mainline, command: Command, id: Id<20>, reports: mpsc::Sender<Report>) {
    let outcome = match walk(&node, command, id, &reports).await {
        Ok(outcome) => outcome,
        Err(Stopped) => Outcome::Failed,
    };
    // A channel that has ended wants no reports.
    reports.send(Report::Outcome(command, outcome)).await.unwrap_or_default();
}

async fn walk(
    node: &Mainline,
    command: Command,
    id: Id<20>,
    reports: &mpsc::Sender<Report>,
) -> Result<Outcome, Stopped> {
    // Else a look-up at the very start finds no node, and the next comes much later.
    node.ready().await?;
    let mut lookup = node.lookup(id).await?;
    while let Some(found) = lookup.next().await {
        let who = Who::Address(found.peer);
        let (source, topic, informant) = (Source::Mainline, command.topic, Some(found.from.ip()));
        let sighting = Sighting { source, topic, who, informant };
        reports.send(Report::Sighting(sighting)).await.map_err(|_| Stopped)?;
    }
    Ok(if lookup.finish().await.is_ok() { Outcome::Answered } else { Outcome::Failed })
}

/// Announces a port once; the channel orders it again before it expires.
pub(super) async fn announce(
    node: Mainline,
    command: Command,
    what: (Id<20>, NonZeroU16),
    reports: mpsc::Sender<Report>,
) {
    let (id, port) = what;
    let stored = match node.ready().await {
        Ok(()) => node.announce_once(id, Port::Is(port)).await.is_ok_and(|stored| !stored.nodes.is_empty()),
        Err(Stopped) => false,
    };
    let outcome = if stored { Outcome::Answered } else { Outcome::Failed };
    // A channel that has ended wants no reports.
    reports.send(Report::Outcome(command, outcome)).await.unwrap_or_default();
}
