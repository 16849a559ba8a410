//! What operations come to, told apart by who is to blame where they fail.

use dht::{Answered, Failure, Outcome, Walked};

use super::Stopped;

/// Why one node could not be asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AskError {
    /// It did not answer, four sendings long.
    #[error("no answer")]
    NoAnswer,
    /// This node is suspended.
    #[error("this node is suspended")]
    Suspended,
    /// This node has too much under way.
    #[error("too many requests are under way")]
    Busy,
    /// This node was shut down.
    #[error(transparent)]
    Stopped(#[from] Stopped),
}

/// Why a walk through the network came to nothing.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WalkError {
    /// No node answered at all.
    #[error("no node of the network answered")]
    NoNodes,
    /// This node is suspended.
    #[error("this node is suspended")]
    Suspended,
    /// This node has too much under way.
    #[error("too many requests are under way")]
    Busy,
    /// This node was shut down.
    #[error(transparent)]
    Stopped(#[from] Stopped),
}

/// Why nothing was stored.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PutError {
    /// The value is longer than a datagram has room for.
    #[error("the value is longer than {} bytes", dht::Task::VALUE_MAX)]
    TooLong,
    /// The walk to the nodes that would store it came to nothing.
    #[error(transparent)]
    Walk(#[from] WalkError),
}

impl From<Stopped> for PutError {
    fn from(stopped: Stopped) -> Self {
        Self::Walk(stopped.into())
    }
}

/// What a walk stored, or removed.
#[derive(Clone, Debug)]
#[must_use]
pub struct Stored {
    /// The walk that found the nodes.
    pub walked: Walked,
    /// Nodes that did what was asked.
    pub stored: usize,
    /// Nodes that refused because they hold the same sequence number with another value.
    pub seq_reused: usize,
    /// Nodes that refused because they hold a higher sequence number.
    pub seq_too_low: usize,
}

/// A signed value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Its sequence number.
    pub seq: u64,
    /// Its bytes.
    pub value: Vec<u8>,
}

impl From<Failure> for AskError {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Suspended => Self::Suspended,
            Failure::TooBusy => Self::Busy,
            Failure::NoAnswer | Failure::NoNodes | Failure::TooLong | _ => Self::NoAnswer,
        }
    }
}

impl From<Failure> for WalkError {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Suspended => Self::Suspended,
            Failure::TooBusy => Self::Busy,
            Failure::NoAnswer | Failure::NoNodes | Failure::TooLong | _ => Self::NoNodes,
        }
    }
}

pub(super) fn answered(outcome: Outcome) -> Result<Answered, AskError> {
    let Outcome::Answered(answered) = outcome else { return Err(failure(&outcome).into()) };
    Ok(answered)
}

pub(super) fn walked(outcome: Outcome) -> Result<Walked, WalkError> {
    let Outcome::Walked(walked) = outcome else { return Err(failure(&outcome).into()) };
    Ok(walked)
}

pub(super) fn stored(outcome: Outcome) -> Result<Stored, PutError> {
    let Outcome::Stored { walked, stored, seq_reused, seq_too_low, .. } = outcome else {
        let failure = failure(&outcome);
        return Err(if failure == Failure::TooLong {
            PutError::TooLong
        } else {
            PutError::Walk(failure.into())
        });
    };
    Ok(Stored { walked, stored, seq_reused, seq_too_low })
}

pub(super) fn found(outcome: Outcome) -> Result<Option<(u64, Vec<u8>)>, WalkError> {
    let Outcome::Value { found, .. } = outcome else { return Err(failure(&outcome).into()) };
    Ok(found)
}

fn failure(outcome: &Outcome) -> Failure {
    let Outcome::Failed(failure) = outcome else { unreachable!("not what this task ends with: {outcome:?}") };
    *failure
}
