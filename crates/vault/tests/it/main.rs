//! Vaults on real directories.

mod opening;
mod world;
