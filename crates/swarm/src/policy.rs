//! By which ways a connection may come about.

use std::sync::Arc;

use wire::PublicKey;

/// Whether something may be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Permit {
    /// It may.
    Allowed,
    /// It may not.
    Forbidden,
}

/// Which paths a connection may take.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Paths {
    /// Any: what opens first, and then the best.
    #[default]
    Any,
    /// Never through a relay, whoever proposes one.
    DirectOnly,
    /// Only through a relay: the peer learns no address of ours from the connection, and none is tried.
    RelayOnly,
    /// Only within the same network.
    LanOnly,
}

/// Which relays may be proposed to a peer. One that the peer proposes is taken, unless they are forbidden: it
/// sees addresses, and nothing of what is said.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum RelayPolicy {
    /// None, and the peer's proposals are not taken either.
    Never,
    /// One of these, by chance, in every handshake, as `relayThrough` of the reference has it.
    These(Arc<[PublicKey]>),
    /// One that was found under [`RELAYS_TOPIC`](crate::RELAYS_TOPIC), where our own NAT is seen to have random
    /// ports, or a dial found no other path.
    #[default]
    Found,
}

/// How readily a relay is proposed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Resort {
    /// Only where our NAT makes it likely to be needed.
    Sparing,
    /// As the policy says.
    #[default]
    Usual,
    /// No other path was found.
    Last,
}
