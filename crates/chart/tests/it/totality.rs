//! Every decoder, on its golden inputs, on mutations of them, and on noise.

use std::fs;
use std::path::PathBuf;

use arbtest::arbtest;

use crate::decoders::DECODERS;

const MUTATIONS: usize = 400;

fn seeds(decoder: &str) -> Vec<Vec<u8>> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/seeds").join(decoder);
    let files = fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut paths: Vec<PathBuf> = files.map(|file| file.unwrap().path()).collect();
    paths.sort();
    paths.into_iter().map(|path| fs::read(path).unwrap()).collect()
}

#[test]
fn decoders_keep_their_promises_on_inputs_and_their_mutations() {
    for (name, check) in DECODERS {
        let seeds = seeds(name);
        assert!(!seeds.is_empty(), "{name} has no inputs");
        let mut state = 1_u64;
        let mut roll = move |below: usize| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            usize::try_from(state >> 33).unwrap() % below.max(1)
        };
        for seed in seeds {
            check(&seed);
            for _ in 0..MUTATIONS {
                let mut mutant = seed.clone();
                for _ in 0..=roll(3) {
                    let at = roll(mutant.len());
                    match roll(4) {
                        0 if !mutant.is_empty() => mutant[at] ^= 1 << roll(8),
                        1 if !mutant.is_empty() => mutant[at] = [0, 1, 0x7f, 0xfd, 0xfe, 0xff][roll(6)],
                        2 => mutant.truncate(at),
                        _ => mutant.insert(at, u8::try_from(roll(256)).unwrap()),
                    }
                }
                check(&mutant);
            }
        }
    }
}

#[test]
fn decoders_keep_their_promises_on_noise() {
    arbtest(|u| {
        let bytes: Vec<u8> = u.arbitrary()?;
        for (_, check) in DECODERS {
            check(&bytes);
        }
        Ok(())
    })
    .budget_ms(500);
}
