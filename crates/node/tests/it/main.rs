//! Nodes on real sockets of the loopback interface.

#[cfg(test)]
mod channel;
#[cfg(test)]
mod life;
#[cfg(test)]
mod links;
#[cfg(test)]
mod mainline;
#[cfg(test)]
mod network;
#[cfg(test)]
mod sockets;
