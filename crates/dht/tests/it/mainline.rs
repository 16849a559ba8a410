//! The Mainline node from outside: datagrams in, datagrams out.

mod hostile;
mod network;
mod serving;
mod world;
