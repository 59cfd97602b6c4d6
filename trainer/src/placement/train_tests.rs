use super::super::OwnHistory;
use super::*;
use simulator::input::{Shape, Synthetic};
use simulator::learning::Parts;

fn small() -> PlacementSettings {
    PlacementSettings {
        episodes: 6,
        search_rounds: 0,
        nodes: 8,
        days: 0.5,
        updates: 20,
        hours: 2,
        hidden: vec![16],
        look_every: 2,
        ..PlacementSettings::default()
    }
}

fn made_up(settings: &PlacementSettings) -> Clusters<'_> {
    Clusters { settings, history: None }
}

#[test]
fn hours_of_cost_become_a_return() {
    let settings = PlacementSettings { discount: 0.5, ..small() };
    let hour = |stability: f64| Parts { stability, ..Parts::default() };
    let seen = Experience {
        row: vec![1.0],
        hours: vec![hour(60.0), hour(120.0)],
        after: vec![3.0],
        terminated: false,
        truncated: true,
        chosen: true,
    };
    let made = transition(&settings, &seen).expect("a transition");
    // −1 − ½ × 2, and what follows counts a quarter.
    assert_eq!((made.reward, made.discount, &made.next[..]), (-2.0, 0.25, &[3.0][..]));
    assert!(made.end.truncated && !made.end.terminated);
    let over = Experience { after: Vec::new(), terminated: true, truncated: false, ..seen.clone() };
    assert!(transition(&settings, &over).expect("a transition").end.terminated);
    let cut = Experience { after: Vec::new(), ..seen };
    assert_eq!(transition(&settings, &cut), None);
}

#[test]
fn a_killed_training_ends_exactly_where_an_unbroken_one_does() {
    let weights = CostWeights::default();
    let unbroken = train(made_up(&small()), &weights, None, |_| ()).expect("trained");
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("checkpoint");
    // The process dies in its fourth episode: two looks have written a checkpoint, the third round has not.
    let mut seen = 0;
    let killed = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        train(made_up(&small()), &weights, Some(&file), |_| {
            seen += 1;
            assert!(seen < 5, "killed");
        })
    }));
    assert!(killed.is_err() && file.exists());
    let mut episodes = Vec::new();
    let resumed =
        train(made_up(&small()), &weights, Some(&file), |point| episodes.push(point.episode)).expect("resumed");
    assert_eq!(episodes, [4, 5], "only what was not done yet");
    assert_eq!(resumed.network.to_bytes(), unbroken.network.to_bytes());
    assert_eq!((resumed.starts, resumed.curve), (unbroken.starts, unbroken.curve));
    assert_eq!(resumed.looks, unbroken.looks);
}

#[test]
fn a_training_killed_in_its_first_episode_has_kept_what_it_searched() {
    let weights = CostWeights::default();
    let settings = PlacementSettings { search_rounds: 1, ..small() };
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("checkpoint");
    let killed = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        train(made_up(&settings), &weights, Some(&file), |_| panic!("killed"))
    }));
    assert!(killed.is_err());
    let kept = State::read(&file, &settings, None).expect("a checkpoint").expect("one");
    let names: Vec<&str> = kept.starts.iter().map(|start| &start.rule[..]).collect();
    assert_eq!((names, kept.rounds.len()), (vec!["found", "course", "least-used", "least-requested", "searched"], 1));
    // Going on comes to what an unbroken training comes to.
    let resumed = train(made_up(&settings), &weights, Some(&file), |_| ()).expect("resumed");
    let unbroken = train(made_up(&settings), &weights, None, |_| ()).expect("trained");
    assert_eq!(resumed.network.to_bytes(), unbroken.network.to_bytes());
    assert_eq!((resumed.starts, resumed.rounds), (unbroken.starts, unbroken.rounds));
    assert_eq!((resumed.looks, resumed.curve), (unbroken.looks, unbroken.curve));
}

#[test]
fn learning_begins_as_the_cheapest_rule_and_keeps_it_until_a_look_is_cheaper() {
    let rule = |name: &str, weight: f32, against_kube: f64| {
        let start = Start { rule: name.to_owned(), cost: 10.0, against_kube };
        (vec![weight; features::cluster_state::WIDTH], start)
    };
    let rules = vec![rule("one", 1.0, 0.1), rule("two", 2.0, -0.2), rule("three", 3.0, -0.1)];
    let state = State::new(&small(), rules, Vec::new()).expect("a state");
    assert_eq!(state.learner.network().skip(), vec![2.0; features::cluster_state::WIDTH]);
    assert_eq!(state.best.skip(), state.learner.network().skip());
    assert_eq!(state.looks, [Look { episode: 0, cost: 10.0, against_kube: -0.2 }]);
    assert_eq!(state.starts.len(), 3);
}

#[test]
fn a_checkpoint_that_does_not_fit_is_refused_with_the_reason() {
    let weights = CostWeights::default();
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("checkpoint");
    let settings = PlacementSettings { episodes: 2, ..small() };
    train(made_up(&settings), &weights, Some(&file), |_| ()).expect("trained");
    let refused = |settings: &PlacementSettings| {
        format!("{:#}", train(made_up(settings), &weights, Some(&file), |_| ()).expect_err("refused"))
    };
    let wider = refused(&PlacementSettings { hidden: vec![8], ..settings.clone() });
    assert!(wider.contains("other settings") && wider.contains("\"hidden\":[16]"), "{wider}");
    let mut bytes = std::fs::read(&file).expect("bytes");
    bytes.truncate(bytes.len() - 3);
    std::fs::write(&file, &bytes).expect("written");
    assert!(refused(&settings).contains("SHA-256"));
    std::fs::write(&file, b"nonsense").expect("written");
    assert!(refused(&settings).contains("checkpoint"));
}

#[test]
fn every_second_cluster_is_of_the_users_own_history_and_a_checkpoint_knows_which() {
    let settings = PlacementSettings { episodes: 2, ..small() };
    let history =
        OwnHistory::fixture("raw-1", Synthetic { days: 3.0, ..Synthetic::small(5) }.build().expect("a scenario"));
    let own = Clusters { settings: &settings, history: Some(&history) };
    let name = |episode| own.of_episode(episode).expect("a cluster").name;
    assert_eq!((name(0), name(1)), ("mixed".to_owned(), "history".to_owned()));
    assert_eq!(own.of_own_history(3).expect("parts").len(), 3);
    assert_eq!(own.to_look_at().expect("clusters").len(), 24);
    let weights = CostWeights::default();
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("checkpoint");
    let trained = train(own, &weights, Some(&file), |_| ()).expect("trained");
    let kinds: Vec<_> = trained.curve.iter().map(|point| &point.scenario[..]).collect();
    assert_eq!(kinds, ["mixed", "history"]);
    let refused = format!("{:#}", train(made_up(&settings), &weights, Some(&file), |_| ()).expect_err("refused"));
    assert!(refused.contains("a training on raw-1, this is one on no history"), "{refused}");
}

/// Recorded clusters in which CPU is hardly used or memory is short: what is best elsewhere need not be best there.
fn odd_histories() -> impl Iterator<Item = OwnHistory> {
    let odd = [(0.1, 1.0), (0.02, 1.2), (0.3, 1.3), (1.0, 1.0)];
    let made = move |(cpu, memory): (f32, f32), seed| {
        let made_up = Synthetic { shape: Shape::Memory, nodes: 12, days: 3.0, load: 0.8, seed };
        let mut scenario = made_up.build().expect("a scenario");
        for pod in &mut scenario.pods {
            pod.usage.cpu_milli *= cpu;
            pod.usage.memory_bytes *= memory;
        }
        OwnHistory::fixture("raw-odd", scenario)
    };
    odd.into_iter().flat_map(move |usage| (11..15).map(move |seed| made(usage, seed)))
}

#[test]
fn a_history_where_another_rule_is_cheaper_is_begun_with_that_rule() {
    let settings = PlacementSettings { episodes: 1, updates: 1, ..small() };
    let weights = CostWeights::default();
    let begun = |clusters: Clusters<'_>| {
        let looked_at = Looked::at(clusters.to_look_at().expect("clusters"), &weights);
        begin(clusters, &weights, &looked_at).expect("a state")
    };
    let name = |state: &State| state.starts[start::cheapest(&state.starts).expect("a start")].rule.clone();
    let alone = name(&begun(made_up(&settings)));
    let (history, state) = odd_histories()
        .map(|history| {
            let state = begun(Clusters { settings: &settings, history: Some(&history) });
            (history, state)
        })
        .find(|(_, state)| name(state) != alone)
        .expect("a history that another rule suits better");
    let rule = RULES.iter().find(|rule| rule.name == name(&state)).expect("a rule");
    assert_eq!(state.learner.network().skip(), rule.skip());

    let own = Clusters { settings: &settings, history: Some(&history) };
    let trained = train(own, &weights, None, |_| ()).expect("trained");
    assert_eq!(trained.began_as().map(|start| &start.rule[..]), Some(rule.name));
    assert_eq!(trained.looks[0], state.looks[0]);
}
