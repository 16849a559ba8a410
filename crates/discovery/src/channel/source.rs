use std::fmt;
use std::str::FromStr;

/// A mechanism that peers are found by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Source {
    /// Addresses and host names that were given.
    Static,
    /// Multicast DNS on the local network.
    Mdns,
    /// Servers of npm `dns-discovery`.
    Dns,
    /// The Mainline DHT of BitTorrent.
    Mainline,
    /// HyperDHT, which tells keys.
    Hyper,
}

impl Source {
    /// Every mechanism.
    pub const ALL: [Self; 5] = [Self::Static, Self::Mdns, Self::Dns, Self::Mainline, Self::Hyper];

    const fn bit(self) -> u8 {
        1 << self as u8
    }

    /// The name that commands and events use.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Static => "static",
            Self::Mdns => "mdns",
            Self::Dns => "dns",
            Self::Mainline => "mainline",
            Self::Hyper => "hyper",
        }
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A text that names no mechanism.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected static, mdns, dns, mainline or hyper")]
pub struct ParseSourceError;

impl FromStr for Source {
    type Err = ParseSourceError;

    fn from_str(text: &str) -> Result<Self, ParseSourceError> {
        Self::ALL.into_iter().find(|source| source.as_str() == text).ok_or(ParseSourceError)
    }
}

/// A set of mechanisms.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sources(u8);

impl Sources {
    /// No mechanism.
    pub const NONE: Self = Self(0);
    /// Every mechanism.
    pub const ALL: Self = Self(0b1_1111);

    /// Adds a mechanism.
    #[must_use]
    pub const fn with(self, source: Source) -> Self {
        Self(self.0 | source.bit())
    }

    /// Removes a mechanism.
    #[must_use]
    pub const fn without(self, source: Source) -> Self {
        Self(self.0 & !source.bit())
    }

    /// Tells whether a mechanism is among them.
    #[must_use]
    pub const fn has(self, source: Source) -> bool {
        self.0 & source.bit() != 0
    }

    /// Those that are in either.
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Those that are in both.
    #[must_use]
    pub const fn within(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// Goes through them.
    pub fn iter(self) -> impl Iterator<Item = Source> {
        Source::ALL.into_iter().filter(move |source| self.has(*source))
    }
}

impl FromIterator<Source> for Sources {
    fn from_iter<T: IntoIterator<Item = Source>>(sources: T) -> Self {
        sources.into_iter().fold(Self::NONE, Self::with)
    }
}
