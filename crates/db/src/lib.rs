//! A Tool Db server, its store and its client: the door beside `node` for WebSocket and disk.
//!
//! [`Db`] runs the machine of `tooldb` on tokio: one task owns the replica and its [`Disk`], connections check
//! signatures on their way in, and writes are taken to the disk in groups. A database that [listens](Listen) is
//! a server, one that does not is a client; both keep what they know, so that a client works offline and its
//! writes are sent when it meets a server again.

mod bridge;
pub mod control;
mod db;
mod dial;
mod discover;
mod event;
mod functions;
mod host;
mod http;
mod import;
mod leveldb;
mod limits;
mod link;
mod listen;
mod status;
mod store;
mod tls;

pub use db::{
    Config, Db, Error, Kept, Listen, Running, Screens, StartError, Stopped, Storage, Watch, node_identity,
    store_path,
};
pub use dial::Named;
pub use discover::{DiscoverError, Discovery, Networks};
pub use event::{Event, Origin, Over};
pub use functions::{Function, Outcome, Work};
pub use host::Counts;
pub use import::Imported;
pub use leveldb::Read;
pub use limits::LinkLimits;
pub use status::{Scheme, Server, Status};
pub use store::{
    BackupError, Ban, CACHE_BYTES, Changes, Disk, FeedError, Flush, NotAToken, OpenError, Seq, Snapshot,
    Token, Usage, restore,
};
pub use tls::{Certificate, TlsError};
