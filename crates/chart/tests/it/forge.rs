//! What a hostile member can sign with its own key: anything.

use chart::{Change, Digest, Header, Hlc, Message, Operation, Piece, Scope, Signed, Version};

use crate::world::{Place, World, author, identity};

/// The member's next header, as the replica at `seen_by` would expect it.
pub(crate) fn next(world: &World, by: Place, seen_by: Place, operation: Operation) -> Header {
    let key = author(by);
    let last = world.chart(seen_by).log(&key).last();
    let (height, previous, hlc) = last
        .map_or((0, Digest::ZERO, Hlc(0)), |last| (last.header().height + 1, last.id(), last.header().hlc));
    let now = world.now().wall;
    Header {
        record: world.chart(seen_by).record(),
        author: key,
        height,
        previous,
        hlc: Hlc((hlc.0 + 1).max(now.0 << 16)),
        wall: now,
        content: None,
        operation,
    }
}

pub(crate) fn version(change: Change, entry: Option<Digest>, follows: Vec<Digest>) -> Operation {
    Operation::Version(Version { change, entry, follows, scope: Scope::GENERAL, blobs: Vec::new() })
}

/// Sends a header as the member at `from`, over its own connection.
pub(crate) fn send(world: &mut World, from: Place, to: Place, signed: Signed) {
    let frame = Message::Batch(vec![Piece { signed, content: None }]).encode();
    world.inject(from, to, frame);
    world.settle();
}

/// Signs and sends the member's next header.
pub(crate) fn act(world: &mut World, from: Place, to: Place, operation: Operation) -> Digest {
    let signed = next(world, from, to, operation).sign(&identity(from));
    let id = signed.id();
    send(world, from, to, signed);
    id
}
