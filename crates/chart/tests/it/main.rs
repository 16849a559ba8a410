//! Records between replicas in one process, on disks that tear and over links that break.

#[cfg(test)]
mod attachments;
#[cfg(test)]
mod attacks;
#[cfg(test)]
mod decoders;
#[cfg(test)]
mod disk;
#[cfg(test)]
mod forge;
#[cfg(test)]
mod golden;
#[cfg(test)]
mod pairing;
#[cfg(test)]
mod recovery;
#[cfg(test)]
mod sharing;
#[cfg(test)]
mod simulation;
#[cfg(test)]
mod totality;
#[cfg(test)]
mod world;
