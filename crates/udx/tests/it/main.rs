//! Streams between hosts in virtual time, against the reference's captures, bad links and bad peers.

mod captures;
mod closing;
mod congestion;
mod hostile;
mod net;
mod paths;
mod transfer;
mod window;
