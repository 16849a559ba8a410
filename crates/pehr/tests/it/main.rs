//! People with processes of their own, on a private network on loopback.

#[cfg(test)]
mod attacks;
#[cfg(test)]
mod devices;
#[cfg(test)]
mod disk;
#[cfg(test)]
mod entries;
#[cfg(test)]
mod files;
#[cfg(test)]
mod process;
#[cfg(test)]
mod profile;
#[cfg(test)]
mod sharing;
#[cfg(test)]
mod show;
