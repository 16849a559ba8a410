//! The roster from outside: what it asks for, told what happened.
#![expect(clippy::disallowed_methods, reason = "a test needs an origin to count from")]

mod desk;
mod discovery;
mod duplicates;
mod json;
mod peers;
mod relays;
mod street;
mod timelines;
mod town;
mod towns;
