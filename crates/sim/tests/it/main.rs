//! What a network of machines does in virtual time: the quality it must have, and the scenarios of a node's
//! life.

#[cfg(test)]
mod liars;
#[cfg(test)]
mod life;
mod mainline;
#[cfg(test)]
mod punch;
#[cfg(test)]
mod quality;
#[cfg(test)]
mod reachability;
#[cfg(test)]
mod relays;
#[cfg(test)]
mod weather;
