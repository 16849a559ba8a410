//! Fuzz targets, one for each decoder. What they check is what the tests of `wire` and `chart` check on
//! fewer inputs.

#[path = "../../crates/wire/tests/it/decoders.rs"]
mod wire_decoders;

#[path = "../../crates/chart/tests/it/decoders.rs"]
mod chart_decoders;

fn decoders() -> impl Iterator<Item = (&'static str, fn(&[u8]))> {
    wire_decoders::DECODERS.iter().chain(chart_decoders::DECODERS).copied()
}

/// Panics where the decoder of this name breaks a promise on these bytes.
///
/// # Panics
///
/// Also panics on a name that no decoder has, so that a target cannot fuzz nothing.
pub fn check(decoder: &str, bytes: &[u8]) {
    let (_, check) = decoders().find(|(name, _)| *name == decoder).expect("a decoder's name");
    check(bytes);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_decoder_has_a_target() {
        let manifest = include_str!("../Cargo.toml");
        for (name, _) in decoders() {
            assert!(manifest.contains(&format!("path = \"targets/{name}.rs\"")), "{name}");
        }
        assert_eq!(manifest.matches("[[bin]]").count(), decoders().count());
    }
}
