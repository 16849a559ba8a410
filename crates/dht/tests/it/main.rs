//! The machine from outside: datagrams in, datagrams out.
#![expect(clippy::disallowed_methods, reason = "a test needs an origin to count from")]

mod attacks;
mod bootstrap;
mod commands;
mod harness;
mod mainline;
mod storage;
