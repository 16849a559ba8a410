//! Local discovery and the channel: against the reference's bytes, and on a simulated link.

#[cfg(test)]
mod channel;
#[cfg(test)]
mod dns;
#[cfg(test)]
mod hostile;
#[cfg(test)]
mod lan;
#[cfg(test)]
mod link;
#[cfg(test)]
mod packets;
#[cfg(test)]
mod vectors;
