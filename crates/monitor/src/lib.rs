//! See the network: one [`Snapshot`](node::Snapshot) and one stream of events, shown as a page ([`Monitor`]), on
//! a terminal ([`top`]), as metrics ([`metrics`]) and as JSON; and [`doctor`], which says why it does not work.
//!
//! Nodes and peers are never one number. Unknown is not zero, and off is not zero nodes. Nothing is called good
//! without evidence from outside, whose age is shown.

pub mod doctor;
mod feed;
mod history;
mod log;
pub mod metrics;
mod pages;
mod pictures;
mod server;
mod source;
pub mod top;
pub mod words;

pub use feed::{Alert, Feed, View};
pub use history::{History, Range, Series};
pub use log::{Entry, Log};
pub use server::{Monitor, MonitorError, Options};
pub use source::{Source, SourceError};
