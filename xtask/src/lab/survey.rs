//! What the laboratory must be like before a result of it counts.

use std::thread;

use anyhow::{Result, anyhow, ensure};

use crate::lab::nat::Kind;
use crate::lab::probe::{self, Nature};
use crate::lab::shaper::Weather;
use crate::lab::site::{Internet, Site};
use crate::lab::trials::weather;

/// Two hosts are this far apart, there and back.
const ROUND_TRIP_MS: f64 = 80.0;

/// How much the laboratory may be off; busy processors show here first.
const ROUND_TRIP_SLACK_MS: f64 = 4.0;

/// Measures an internet of every kind, prints what it is like, and refuses to go on if that is not as meant.
pub(crate) fn survey(seed: u64) -> Result<()> {
    let mut internet = Internet::open(seed)?;
    let kinds = Kind::MATRIX.into_iter().chain([Kind::Open, Kind::Blocked]);
    let sites: Vec<Site> = kinds.map(|kind| internet.site(kind, weather(0.0))).collect::<Result<_>>()?;
    let open: Vec<&Site> = sites.iter().filter(|site| site.kind == Kind::Open).collect();
    let [one, other] = open[..] else { return Err(anyhow!("two open hosts were built")) };
    let round_trip = probe::round_trip_ms(one, other)?;
    println!("round trip between hosts: {round_trip:.1} ms");
    let off = (round_trip - ROUND_TRIP_MS).abs();
    ensure!(off <= ROUND_TRIP_SLACK_MS, "the laboratory is off by {off:.1} ms: is the machine busy?");
    // The rest does not measure time.
    for site in &sites {
        internet.change(site, Weather::default())?;
    }
    let natures: Vec<Option<Nature>> = thread::scope(|scope| {
        let internet = &internet;
        let probes: Vec<_> =
            sites.iter().map(|site| scope.spawn(move || probe::nature(internet, site.host()))).collect();
        let joined = probes.into_iter().map(|probe| probe.join().map_err(|_| anyhow!("a probe panicked"))?);
        joined.collect::<Result<_>>()
    })?;
    for (site, nature) in sites.iter().zip(natures) {
        println!(
            "{:14} {}",
            site.kind,
            nature.map_or_else(|| "UDP does not pass".into(), |it| it.to_string())
        );
        ensure!(nature == probe::expected(site.kind), "that is no {}", site.kind);
    }
    Ok(())
}
