use std::net::IpAddr;

use wire::krpc::BLOOM_LEN;

/// Bits of a filter.
const BITS: usize = 8 * BLOOM_LEN;
/// Bits that each address sets.
const HASHES: i32 = 2;

/// A set of addresses of which only the size can be told (BEP 33).
#[derive(Clone, Copy, Debug)]
pub(super) struct Bloom(pub(super) [u8; BLOOM_LEN]);

impl Default for Bloom {
    fn default() -> Self {
        Self([0; BLOOM_LEN])
    }
}

impl Bloom {
    pub(super) fn insert(&mut self, ip: IpAddr) {
        let Id(hash) = match ip {
            IpAddr::V4(ip) => sha1(&ip.octets()),
            IpAddr::V6(ip) => sha1(&ip.octets()),
        };
        for pair in [[hash[0], hash[1]], [hash[2], hash[3]]] {
            let bit = usize::from(u16::from_le_bytes(pair)) % BITS;
            self.0[bit / 8] |= 1 << (bit % 8);
        }
    }

    /// Adds what is in another set.
    pub(super) fn merge(&mut self, other: &[u8; BLOOM_LEN]) {
        self.0.iter_mut().zip(other).for_each(|(byte, other)| *byte |= other);
    }

    /// Estimates how many addresses are in the set.
    pub(super) fn len(&self) -> f64 {
        let zeros: u32 = self.0.iter().map(|byte| byte.count_zeros()).sum();
        let (zeros, bits) = (f64::from(zeros.max(1)), f64::from(u32::try_from(BITS).unwrap_or(u32::MAX)));
        (zeros / bits).ln() / (f64::from(HASHES) * (1.0 - 1.0 / bits).ln())
    }
}

use super::sha1;
use wire::Id;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mainline::tests::{hex, vector};

    #[test]
    fn a_filter_is_the_one_that_the_bep_prints() {
        let row = &vector()["bep33"];
        let mut bloom = Bloom::default();
        (0..=255).for_each(|n| bloom.insert([192, 0, 2, n].into()));
        (0..=0x3e7).for_each(|n| bloom.insert([0x2001, 0xdb8, 0, 0, 0, 0, 0, n].into()));
        assert_eq!(bloom.0.to_vec(), hex(&row["filter"]));
        assert!((bloom.len() - row["estimate"].as_f64().unwrap()).abs() < 1e-6);
        let mut both = Bloom::default();
        both.insert([10, 0, 0, 1].into());
        assert!((both.len() - 1.0).abs() < 0.01);
        both.merge(&bloom.0);
        assert!(both.len() >= bloom.len());
    }
}
