//! Every decoder, on its inputs for fuzzing, on these cut off and changed anywhere, and on noise.

use std::fs;
use std::path::PathBuf;

use arbtest::arbtest;

use crate::decoders::DECODERS;

#[test]
fn decoders_keep_their_promises_on_inputs_cut_off_or_changed_anywhere() {
    for (name, check) in DECODERS {
        let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/seeds").join(name);
        let files: Vec<_> = fs::read_dir(folder).unwrap().map(|file| file.unwrap().path()).collect();
        assert!(!files.is_empty(), "{name} has no inputs");
        for seed in files.into_iter().map(|path| fs::read(path).unwrap()) {
            check(&seed);
            for at in 0..seed.len().min(400) {
                check(&seed[..at]);
                for change in [1, 0x20, 0x80, 0xff] {
                    let mut changed = seed.clone();
                    changed[at] ^= change;
                    check(&changed);
                }
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
    .budget_ms(300);
}
