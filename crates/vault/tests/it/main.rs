//! Vaults on real directories.

#[cfg(test)]
mod backup;
#[cfg(test)]
mod crash;
#[cfg(test)]
mod erasure;
#[cfg(test)]
mod opening;
#[cfg(test)]
mod reader;
#[cfg(test)]
mod tampering;
#[cfg(test)]
mod world;
