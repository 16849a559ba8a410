//! The `homing` binary as people and programs use it: real processes on loopback.

#[cfg(test)]
mod directory;
#[cfg(test)]
mod ending;
#[cfg(test)]
mod failing;
#[cfg(test)]
mod finding;
#[cfg(test)]
mod process;
#[cfg(test)]
mod records;
