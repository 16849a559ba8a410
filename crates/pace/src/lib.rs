//! What every machine shares: timers, maps that forget, and round-trip estimates.
//!
//! Nothing here reads a clock: the present is an argument.

mod generations;
mod rtt;
mod timers;

pub use generations::Generations;
pub use rtt::Rtt;
pub use timers::Timers;
