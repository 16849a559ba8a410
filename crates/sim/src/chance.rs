use rand::SeedableRng as _;
use rand::rngs::StdRng;

/// The tree of random generators that grows from a world's seed.
///
/// Every part has its own branch, so that a host more or a packet more does not change the others' luck.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Chance(pub(crate) u64);

/// A branch of the tree.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Branch {
    Links,
    Places,
    Nat(u32),
    Machine(u32),
    Ports,
    Workload,
}

impl Chance {
    pub(crate) fn generator(self, branch: Branch) -> StdRng {
        let (kind, index) = match branch {
            Branch::Links => (1, 0),
            Branch::Places => (2, 0),
            Branch::Nat(index) => (3, index),
            Branch::Machine(index) => (4, index),
            Branch::Ports => (5, 0),
            Branch::Workload => (6, 0),
        };
        let mut seed = [0; 32];
        seed[..8].copy_from_slice(&self.0.to_le_bytes());
        seed[8..16].copy_from_slice(&u64::to_le_bytes(kind));
        seed[16..20].copy_from_slice(&index.to_le_bytes());
        StdRng::from_seed(seed)
    }
}
