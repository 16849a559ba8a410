//! The hardened layer as an attacker meets it: raw requests to a real server on loopback.

#[cfg(test)]
mod attacks;
#[cfg(test)]
mod server;
#[cfg(test)]
mod sessions;
