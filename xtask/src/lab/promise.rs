//! What Rust peers promise in each class of scenes.

use crate::lab::scene::Class;
use crate::lab::table::Summary;

/// Links with or without loss promise different times.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Links {
    Lossless,
    Lossy,
}

/// Promises of a class that were not kept.
pub(crate) fn broken(class: Class, links: Links, summary: &Summary) -> Vec<String> {
    let all = Promise::Worked(1.0);
    let promises: &[Promise] = match (class, links) {
        (Class::Steady, Links::Lossless) => &[all, Promise::Open(0.5, 210.0), Promise::Open(0.99, 300.0)],
        (Class::Steady, Links::Lossy) => &[all, Promise::Open(0.9, 600.0)],
        (Class::Admitting, Links::Lossless) => &[all, Promise::Open(0.5, 260.0)],
        (Class::Birthday, Links::Lossless) => &[Promise::Worked(0.99), Promise::Echo(0.5, 500.0)],
        (Class::Sequential, Links::Lossless) => &[all, Promise::Punched(0.9)],
        (Class::Unpunchable | Class::Neighbours, Links::Lossless) => &[all, Promise::Echo(0.5, 600.0)],
        (Class::Together, _) => &[all],
        (Class::Blocked, _) => &[Promise::Cause("no-network", 2500.0)],
        (_, Links::Lossy) => &[],
    };
    promises.iter().filter(|promise| !promise.holds(summary)).map(|promise| promise.text(summary)).collect()
}

#[derive(Clone, Copy, Debug)]
enum Promise {
    /// At least this share worked.
    Worked(f64),
    /// This share was open after at most so many milliseconds.
    Open(f64, f64),
    /// This share had an echo after at most so many milliseconds.
    Echo(f64, f64),
    /// At least this share needed no relay.
    Punched(f64),
    /// All failed, for this reason and within so many milliseconds of the command's start.
    Cause(&'static str, f64),
}

impl Promise {
    #[expect(clippy::cast_precision_loss, reason = "a handful of trials")]
    fn holds(self, of: &Summary) -> bool {
        match self {
            Self::Worked(share) => of.worked() as f64 >= share * of.trials as f64,
            Self::Open(share, ms) => of.open_ms(share) <= ms,
            Self::Echo(share, ms) => of.first_byte_ms(share) <= ms,
            Self::Punched(share) => of.by(&["direct", "punched", "lan"]) >= share,
            Self::Cause(reason, ms) => of.failed_by(reason) == of.trials && of.failed_ms(1.0) <= ms,
        }
    }

    fn text(self, of: &Summary) -> String {
        match self {
            Self::Worked(share) => format!("{}/{} worked, not {share:.2}", of.worked(), of.trials),
            Self::Open(share, ms) => {
                format!("open p{:.0} {:.0} > {ms:.0} ms", share * 100.0, of.open_ms(share))
            }
            Self::Echo(share, ms) => {
                format!("echo p{:.0} {:.0} > {ms:.0} ms", share * 100.0, of.first_byte_ms(share))
            }
            Self::Punched(share) => {
                format!("{:.2} without relay < {share:.2}", of.by(&["direct", "punched", "lan"]))
            }
            Self::Cause(reason, ms) => {
                let (count, last) = (of.failed_by(reason), of.failed_ms(1.0));
                format!("{count}/{} say {reason}, the last after {last:.0} ms, not {ms:.0}", of.trials)
            }
        }
    }
}
