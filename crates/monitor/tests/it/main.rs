//! The monitor beside the truth: private networks on loopback, and states made up by chance.

#[cfg(test)]
mod company;
#[cfg(test)]
mod diagnosis;
#[cfg(test)]
mod equality;
#[cfg(test)]
mod seed;
#[cfg(test)]
mod verdicts;
#[cfg(test)]
mod world;
