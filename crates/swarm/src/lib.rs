//! Many peers as a machine: finding, dialling, serving and keeping connections.

mod roster;

pub use roster::{
    Action, Admission, Backoffs, Ban, Census, CloseReason, DialFailure, DialId, Dialled, Direction, Farewell,
    FlushId, FlushOutcome, Incoming, JoinError, JoinId, LinkId, PeerState, Priority, Proven, Reconnect,
    RefreshKind, RefreshOutcome, RelayUse, Relays, Role, Roster, RosterConfig, RosterEvent, RosterLimits,
    Standing, Vitals, Wanted,
};
