use sim::{Defence, Lie, Town};

const NODES: usize = 300;

#[test]
fn lookups_on_mainline_find_their_peer_among_dead_nodes_and_liars() {
    let mut town = Town::grow(1, NODES);
    // Nodes learn their address from others, and take an id that belongs to it.
    assert!(town.secured() >= NODES * 9 / 10, "{} of {NODES}", town.secured());
    let plain: Vec<usize> = (0..10).map(|_| town.ask_by(&Defence::ALL[0])).collect();
    let default: Vec<usize> = (0..10).map(|_| town.ask_by(Defence::ALL.last().unwrap())).collect();
    town.run_for(std::time::Duration::from_mins(1));
    town.silence(NODES, NODES / 10);
    town.corrupt(NODES, NODES / 5);
    town.set_lie(Lie::Forge);
    let found = |town: &mut Town, askers| {
        let trials = town.try_pairs(askers, 40);
        assert!(trials.iter().all(|trial| trial.requests > 0), "every look-up ends");
        trials.iter().filter(|trial| trial.found).count()
    };
    assert_eq!(found(&mut town, &default), 40);
    assert!(found(&mut town, &plain) < 40, "without defences the same liars must succeed");
}

#[test]
fn the_same_seed_grows_the_same_town() {
    let sent = |seed| Town::grow(seed, 40).sent;
    assert_eq!(sent(7), sent(7));
    assert_ne!(sent(7), sent(8));
}
