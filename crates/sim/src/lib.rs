//! A world in virtual time, in one thread: hosts with a HyperDHT node each, and the network between them.
//!
//! The same seed gives the same run. Nothing in here waits: a day passes in seconds.

mod chance;
mod net;
mod population;
mod quality;
mod report;
mod storm;
mod town;
mod trace;
mod world;

pub use net::{
    Allocation, Arrival, Cable, CutId, Dependence, Flight, Hairpin, HostId, Latency, Lost, Millionths,
    NatConfig, NatId, Net, Path, Realm, Refresh, Sent,
};
pub use population::{Population, Roster};
pub use quality::{Figures, Plan, Quality};
pub use report::{Failure, Report, Traffic, Why};
pub use storm::weather;
pub use town::{Defence, Lie, Town, Trial};
pub use trace::{Record, Sample, Step};
pub use world::{Heard, Raised, Rule, Said, Script, World};
