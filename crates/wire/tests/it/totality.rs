use std::fs;
use std::path::Path;

use arbtest::arbitrary::{Result, Unstructured};

use crate::decoders::DECODERS;

/// Mutations of one input at most: more leave little of the message that they started from.
const MUTATIONS_MAX: u8 = 4;

/// Integers that stand for more than any datagram holds, and the edges of their forms.
const HUGE: [&[u8]; 6] = [
    &[0xfc],
    &[0xfd, 0xff, 0xff],
    &[0xfe, 0x00, 0x00, 0x10, 0x00],
    &[0xfe, 0xff, 0xff, 0xff, 0xff],
    &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x1f, 0x00],
    &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff],
];

/// The committed inputs of a fuzz target: valid messages made by the reference, and what once broke a decoder.
fn seeds(decoder: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/seeds").join(decoder);
    let mut paths: Vec<_> = fs::read_dir(&folder)
        .expect("each decoder has seeds")
        .map(|entry| entry.expect("a folder lists").path())
        .collect();
    // Directories list in any order; the property must not depend on it.
    paths.sort();
    assert!(!paths.is_empty(), "{decoder} has no seed");
    paths.iter().map(|path| fs::read(path).expect("a seed is a file")).collect()
}

fn mutate(u: &mut Unstructured<'_>, bytes: &mut Vec<u8>) -> Result<()> {
    let at = u.int_in_range(0..=bytes.len())?;
    match u.int_in_range(0..=5u8)? {
        0 => bytes.truncate(at),
        1 => bytes.extend(u.bytes(at.min(u.len()))?),
        2 => bytes.insert(at, u.arbitrary()?),
        3 => drop(bytes.splice(at..at, u.choose(&HUGE)?.iter().copied())),
        4 => drop(bytes.splice(at..bytes.len().min(at + 1), u.choose(&HUGE)?.iter().copied())),
        _ => {
            if let Some(byte) = bytes.get_mut(at) {
                *byte = u.arbitrary()?;
            }
        }
    }
    Ok(())
}

#[test]
fn shortened_messages_keep_the_promises_of_their_decoder() {
    for (name, check) in DECODERS {
        for seed in seeds(name) {
            (0..seed.len()).for_each(|len| check(&seed[..len]));
        }
    }
}

#[test]
fn mutated_messages_keep_the_promises_of_their_decoder() {
    for (name, check) in DECODERS {
        let seeds = seeds(name);
        arbtest::arbtest(|u| {
            let mut bytes = u.choose(&seeds)?.clone();
            for _ in 0..u.int_in_range(1..=MUTATIONS_MAX)? {
                mutate(u, &mut bytes)?;
            }
            check(&bytes);
            Ok(())
        });
    }
}

#[test]
fn random_bytes_keep_the_promises_of_every_decoder() {
    arbtest::arbtest(|u| {
        let bytes: Vec<u8> = u.arbitrary()?;
        for (_, check) in DECODERS {
            check(&bytes);
        }
        Ok(())
    });
}

#[test]
fn seeds_of_every_kind_keep_the_promises_of_every_decoder() {
    for (name, _) in DECODERS {
        for seed in seeds(name) {
            for (_, check) in DECODERS {
                check(&seed);
            }
        }
    }
}
