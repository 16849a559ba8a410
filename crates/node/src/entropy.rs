use std::io;

/// Returns 32 bytes of the operating system's randomness, the seed of a machine or of an identity.
///
/// # Errors
///
/// Fails where the system has no source of randomness.
pub fn seed() -> io::Result<[u8; 32]> {
    let mut seed = [0; 32];
    getrandom::fill(&mut seed).map_err(io::Error::from)?;
    Ok(seed)
}
