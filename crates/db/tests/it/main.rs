//! The store against disks that tear, and databases that talk to each other over loopback.

#[cfg(test)]
mod database;
#[cfg(test)]
mod home;
#[cfg(test)]
mod leveldb;
#[cfg(test)]
mod meeting;
#[cfg(test)]
mod store;
#[cfg(test)]
mod temporary;
#[cfg(test)]
mod tls;
#[cfg(test)]
mod torn;
#[cfg(test)]
mod world;
