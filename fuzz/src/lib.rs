//! Fuzz targets, one for each decoder and one for each handler of datagrams. What they check is what the tests of
//! the crates check on fewer inputs.

use std::time::Instant;

#[path = "../../crates/chart/tests/it/decoders.rs"]
mod chart_decoders;
#[path = "../../crates/wire/tests/it/decoders.rs"]
mod decoders;
#[path = "../../crates/discovery/tests/it/packets.rs"]
mod packets;
#[path = "../../crates/vault/tests/it/decoders.rs"]
mod vault_decoders;

/// Handlers of whole datagrams by name.
const HANDLERS: &[(&str, decoders::Check)] = &[("local_discovery", local_discovery)];

/// Everything that takes bytes of strangers.
fn all() -> impl Iterator<Item = (&'static str, decoders::Check)> {
    decoders::DECODERS
        .iter()
        .chain(chart_decoders::DECODERS)
        .chain(vault_decoders::DECODERS)
        .chain(HANDLERS)
        .copied()
}

/// Panics where the decoder or handler of this name breaks a promise on these bytes.
///
/// # Panics
///
/// Also panics on a name that none has, so that a target cannot fuzz nothing.
pub fn check(name: &str, bytes: &[u8]) {
    let mut all = all();
    let (_, check) = all.find(|(other, _)| *other == name).expect("the name of a decoder or handler");
    check(bytes);
}

fn local_discovery(bytes: &[u8]) {
    packets::local(Instant::now(), bytes);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_decoder_and_handler_has_a_target() {
        let manifest = include_str!("../Cargo.toml");
        for (name, _) in all() {
            assert!(manifest.contains(&format!("path = \"targets/{name}.rs\"")), "{name}");
        }
        assert_eq!(manifest.matches("[[bin]]").count(), all().count());
    }
}
