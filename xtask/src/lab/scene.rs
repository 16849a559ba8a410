use std::fmt;

use crate::lab::nat::{Hairpin, Kind};

/// Where a server and its client are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scene {
    /// Each behind a router of its own.
    Apart { server: Kind, client: Kind },
    /// Behind the same router.
    Together { kind: Kind, hairpin: Hairpin },
    /// In two homes of one carrier, whose router sends nothing back.
    Neighbours,
    /// The client's router drops UDP.
    Blocked,
}

/// Scenes of which the same is expected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Class {
    /// Neither side's port depends on the destination.
    Steady,
    /// One side's does, and the other admits strange ports.
    Admitting,
    /// One side's does, and the other admits only who it sent to: a birthday punch.
    Birthday,
    /// Both sides count their ports.
    Sequential,
    /// Both sides' ports depend on the destination, one's by chance.
    Unpunchable,
    Neighbours,
    Together,
    Blocked,
}

impl Class {
    pub(crate) const ALL: [Self; 8] = [
        Self::Steady,
        Self::Admitting,
        Self::Birthday,
        Self::Sequential,
        Self::Unpunchable,
        Self::Neighbours,
        Self::Together,
        Self::Blocked,
    ];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Steady => "steady",
            Self::Admitting => "admitting",
            Self::Birthday => "birthday",
            Self::Sequential => "sequential",
            Self::Unpunchable => "unpunchable",
            Self::Neighbours => "neighbours",
            Self::Together => "together",
            Self::Blocked => "blocked",
        }
    }

    pub(crate) fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|class| class.name() == name)
    }

    /// Every scene of the class.
    pub(crate) fn scenes(self) -> Vec<Scene> {
        match self {
            Self::Neighbours => vec![Scene::Neighbours],
            Self::Blocked => vec![Scene::Blocked],
            Self::Together => vec![
                Scene::Together { kind: Kind::PortCone, hairpin: Hairpin::None },
                Scene::Together { kind: Kind::PortCone, hairpin: Hairpin::Turns },
                Scene::Together { kind: Kind::Random, hairpin: Hairpin::None },
            ],
            Self::Steady | Self::Admitting | Self::Birthday | Self::Sequential | Self::Unpunchable => {
                let pairs = Kind::MATRIX.into_iter().flat_map(|server| {
                    Kind::MATRIX.into_iter().map(move |client| Scene::Apart { server, client })
                });
                pairs.filter(|scene| scene.class() == self).collect()
            }
        }
    }

    /// Trials between Rust peers that make the class's figures believable.
    pub(crate) const fn trials(self) -> usize {
        match self {
            Self::Steady | Self::Admitting => 100,
            Self::Birthday | Self::Sequential | Self::Unpunchable | Self::Neighbours => 50,
            Self::Together | Self::Blocked => 12,
        }
    }
}

impl Scene {
    pub(crate) const fn class(self) -> Class {
        match self {
            Self::Apart { server: Kind::Sequential, client: Kind::Sequential } => Class::Sequential,
            Self::Apart { server, client } => match (server.is_symmetric(), client.is_symmetric()) {
                (false, false) => Class::Steady,
                (true, true) => Class::Unpunchable,
                (true, false) if client.admits_strange_ports() => Class::Admitting,
                (false, true) if server.admits_strange_ports() => Class::Admitting,
                (true, false) | (false, true) => Class::Birthday,
            },
            Self::Together { .. } => Class::Together,
            Self::Neighbours => Class::Neighbours,
            Self::Blocked => Class::Blocked,
        }
    }

    /// Reads `SERVER:CLIENT`.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (server, client) = text.split_once(':')?;
        Some(Self::Apart { server: Kind::parse(server)?, client: Kind::parse(client)? })
    }
}

impl fmt::Display for Scene {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Apart { server, client } => write!(f, "{server}:{client}"),
            Self::Together { kind, hairpin: Hairpin::None } => write!(f, "both in {kind}"),
            Self::Together { kind, hairpin: Hairpin::Turns } => write!(f, "both in {kind}, hairpin"),
            Self::Neighbours => f.write_str("two homes of one carrier"),
            Self::Blocked => f.write_str("client without UDP"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_matrix_has_each_pair_in_one_class() {
        let sizes = Class::ALL.map(|class| class.scenes().len());
        // Of nine kinds two are symmetric, and three of the other seven admit strange ports.
        assert_eq!(sizes, [49, 12, 16, 1, 3, 1, 3, 1]);
        for class in Class::ALL {
            assert!(class.scenes().iter().all(|scene| scene.class() == class), "{}", class.name());
        }
    }
}
