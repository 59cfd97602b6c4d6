use super::super::OwnHistory;
use super::*;
use simulator::learning::Parts;

fn small() -> PlacementSettings {
    PlacementSettings {
        episodes: 6,
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
    assert_eq!((resumed.curve, resumed.looks), (unbroken.curve, unbroken.looks));
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
    let history = OwnHistory::fixture("raw-1", 3.0);
    let own = Clusters { settings: &settings, history: Some(&history) };
    let name = |episode| own.of_episode(episode).expect("a cluster").name;
    assert_eq!((name(0), name(1)), ("mixed".to_owned(), "history".to_owned()));
    assert_eq!(own.of_own_history(3).expect("parts").len(), 3);
    assert_eq!(own.to_look_at().expect("clusters").len(), 12);
    let weights = CostWeights::default();
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("checkpoint");
    let trained = train(own, &weights, Some(&file), |_| ()).expect("trained");
    let kinds: Vec<_> = trained.curve.iter().map(|point| &point.scenario[..]).collect();
    assert_eq!(kinds, ["mixed", "history"]);
    let refused = format!("{:#}", train(made_up(&settings), &weights, Some(&file), |_| ()).expect_err("refused"));
    assert!(refused.contains("a training on raw-1, this is one on no history"), "{refused}");
}
