use std::time::Duration;

use sim::Plan;

#[test]
fn a_thousand_nodes_a_fifth_of_them_silent_find_the_closest_in_time() {
    let quality = Plan::default().run().unwrap();
    assert_eq!((quality.lookups.len(), quality.unfinished, quality.answering), (200, 0, 800), "{quality}");
    assert!(quality.share_missing_at_most(2) >= 0.99, "{quality}");
    assert!(quality.slowest() <= Duration::from_secs(15), "{quality}");
}

#[test]
fn the_same_seed_measures_the_same() {
    let plan = Plan { nodes: 60, lookups: 10, rest: Duration::ZERO, ..Plan::default() };
    let figures = |plan: &Plan| {
        let quality = plan.run().unwrap();
        (quality.lookups, quality.report)
    };
    assert_eq!(figures(&plan), figures(&plan));
}
