//! The health record as people use it: a process that holds a vault, talks with the machines of those it shares records
//! with, and is told what to do over a socket that only its owner can open.
//!
//! [`Resident`] runs it; [`control::ask`] asks it. The machine of a record is `chart`, the store is `vault`, the network
//! is `node`: here they meet.

pub mod control;
mod desk;
mod failure;
mod folder;
pub mod hostile;
mod invite;
mod job;
mod line;
mod profile;
mod request;
mod resident;
mod rooms;
mod view;

pub use failure::Failure;
pub use profile::{Kind, Reach};
pub use request::{Answer, Draft, Invitee, Request, Spoken, Verdict, Which};
pub use resident::{Options, Resident, StartError};
pub use view::{iso, short};
