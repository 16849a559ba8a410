//! Vaults on real directories.

#[cfg(test)]
mod age;
#[cfg(test)]
mod backup;
#[cfg(test)]
mod crash;
#[cfg(test)]
mod decoders;
#[cfg(test)]
mod erasure;
#[cfg(test)]
mod golden;
#[cfg(test)]
mod opening;
#[cfg(test)]
mod reader;
#[cfg(test)]
mod tampering;
#[cfg(test)]
mod totality;
#[cfg(test)]
mod world;
