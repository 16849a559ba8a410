//! Vaults on real directories.

#[cfg(test)]
mod backup;
#[cfg(test)]
mod opening;
#[cfg(test)]
mod world;
