//! People with processes of their own, on a private network on loopback.

mod attacks;
mod devices;
mod disk;
mod entries;
mod files;
mod process;
mod profile;
mod sharing;
mod show;
