//! The learner first learns trivial environments (as stable-baselines3's `test_identity.py`), and goes on from a checkpoint
//! as if it had never stopped.

use agent::{CheckpointError, DqnSettings, End, Explorer, LearnError, Learner, Priority, Transition};
use models::placement::Scratch;
use proptest::prelude::*;

const WIDTH: usize = 3;

fn features() -> Vec<String> {
    ["wanted", "offered", "constant"].map(str::to_owned).to_vec()
}

fn settings() -> DqnSettings {
    DqnSettings {
        hidden: vec![16],
        learning_rate: 5e-3,
        final_learning_rate: 1e-3,
        batch: 32,
        capacity: 2_000,
        target_every: 50,
        epsilon: 0.5,
        final_epsilon: 0.05,
        decay_episodes: 30,
        ..DqnSettings::default()
    }
}

fn fresh(settings: DqnSettings) -> Learner {
    Learner::new(settings, features(), vec![0.0; WIDTH]).expect("a learner")
}

/// A number is wanted, several are offered; the reward is 1 for the right one, else 0. One step per episode.
fn identity_episode(learner: &mut Learner, episode: u64) {
    let transitions: Vec<Transition> = {
        let mut explorer = Explorer::new(learner.network(), learner.settings().epsilon_at(episode), 11, episode);
        let choose = |step: u64| {
            let wanted = ((episode + step) % 3) as f32;
            let rows: Vec<f32> = [0.0, 1.0, 2.0].into_iter().flat_map(|offered| [wanted, offered, 1.0]).collect();
            let chosen = explorer.choose(&rows).expect("a choice");
            let row = rows[chosen * WIDTH..(chosen + 1) * WIDTH].to_vec();
            let reward = if chosen as f32 == wanted { 1.0 } else { 0.0 };
            Transition { row, reward, end: End { terminated: true, truncated: false }, ..Transition::default() }
        };
        (0..20).map(choose).collect()
    };
    transitions.into_iter().for_each(|transition| learner.observe(transition).expect("taken in"));
    learner.end_episode();
}

fn train(learner: &mut Learner, until: u64) -> f64 {
    let mut loss = f64::NAN;
    while learner.episodes() < until {
        let episode = learner.episodes();
        identity_episode(learner, episode);
        for _ in 0..20 {
            loss = learner.update().expect("an update").map_or(loss, |update| update.loss);
        }
    }
    loss
}

fn greedy_share(learner: &Learner) -> f64 {
    let mut explorer = Explorer::new(learner.network(), 0.0, 1, 0);
    let right = (0..3).filter(|wanted| {
        let rows: Vec<f32> = [0.0, 1.0, 2.0].into_iter().flat_map(|offered| [*wanted as f32, offered, 1.0]).collect();
        explorer.choose(&rows).expect("a choice") == *wanted as usize
    });
    right.count() as f64 / 3.0
}

#[test]
fn it_learns_to_give_what_is_wanted() {
    for priority in [None, Some(Priority::default())] {
        let mut learner = fresh(DqnSettings { priority, ..settings() });
        let loss = train(&mut learner, 60);
        assert_eq!(greedy_share(&learner), 1.0, "{priority:?}");
        assert!(loss < 0.05, "{loss}");
    }
}

#[test]
fn value_flows_back_over_several_steps() {
    // A corridor of four places; only the last step pays 1. By hand: values 0.5³, 0.5², 0.5, 1 from far to near, since each
    // step halves. The other action ends with 0.2, which is more than 0.125 and less than 0.25.
    let row = |place: usize, leave: bool| vec![place as f32 / 3.0, f32::from(u8::from(leave)), 1.0];
    let both = |place: usize| [row(place, false), row(place, true)].concat();
    let mut learner = fresh(DqnSettings { hidden: vec![32], ..settings() });
    for place in 0..4 {
        for _ in 0..20 {
            let over = End { terminated: true, truncated: false };
            let leave = Transition { row: row(place, true), reward: 0.2, end: over, ..Transition::default() };
            let go = if place == 3 {
                Transition { row: row(3, false), reward: 1.0, end: over, ..Transition::default() }
            } else {
                Transition { row: row(place, false), discount: 0.5, next: both(place + 1), ..Transition::default() }
            };
            learner.observe(leave).expect("taken in");
            learner.observe(go).expect("taken in");
        }
    }
    (0..3_000).for_each(|_| assert!(learner.update().expect("an update").is_some()));
    let rows: Vec<f32> = (0..4).flat_map(both).collect();
    let mut values = Vec::new();
    learner.network().score(&rows, &mut Scratch::default(), &mut values).expect("whole rows");
    // At the far end leaving (0.2) is best for the second place too: max(0.2, 0.5 × 0.5) = 0.25, so going is worth 0.125.
    let expected = [0.125, 0.2, 0.25, 0.2, 0.5, 0.2, 1.0, 0.2];
    let worst = values.iter().zip(expected).map(|(got, wanted)| (got - wanted).abs()).fold(0.0, f32::max);
    assert!(worst < 0.05, "{values:?}");
}

#[test]
fn terminated_and_truncated_are_two_things() {
    // The same step, once at an end and once merely no longer watched. What follows is worth 1 by its own transition.
    let value = |end: End| {
        let mut learner = fresh(settings());
        for _ in 0..40 {
            let after = Transition {
                row: vec![1.0, 0.0, 1.0],
                reward: 1.0,
                end: End { terminated: true, truncated: false },
                ..Transition::default()
            };
            let step = Transition {
                row: vec![0.0, 1.0, 1.0],
                discount: 0.9,
                next: vec![1.0, 0.0, 1.0],
                end,
                ..Transition::default()
            };
            learner.observe(after).expect("taken in");
            learner.observe(step).expect("taken in");
        }
        (0..800).for_each(|_| assert!(learner.update().expect("an update").is_some()));
        let mut values = Vec::new();
        learner.network().score(&[0.0, 1.0, 1.0], &mut Scratch::default(), &mut values).expect("a row");
        values[0]
    };
    let (terminated, truncated) =
        (value(End { terminated: true, truncated: false }), value(End { terminated: false, truncated: true }));
    assert!(terminated.abs() < 0.1 && (truncated - 0.9).abs() < 0.1, "{terminated} {truncated}");
}

#[test]
fn a_resumed_training_ends_exactly_where_an_unbroken_one_does() {
    for priority in [None, Some(Priority::default())] {
        // Small enough that the ring has wrapped when it is saved.
        let settings = DqnSettings { priority, capacity: 300, ..settings() };
        let mut unbroken = fresh(settings.clone());
        train(&mut unbroken, 25);
        let mut killed = fresh(settings.clone());
        train(&mut killed, 17);
        let bytes = killed.save().expect("a checkpoint");
        drop(killed);
        let mut resumed = Learner::load(&bytes, &settings, &features()).expect("the checkpoint");
        assert_eq!(resumed.save().expect("a checkpoint"), bytes);
        train(&mut resumed, 25);
        assert_eq!(resumed.network().to_bytes(), unbroken.network().to_bytes(), "{priority:?}");
        assert_eq!(resumed.save().expect("a checkpoint"), unbroken.save().expect("a checkpoint"));
    }
}

#[test]
fn a_checkpoint_of_another_training_or_a_damaged_one_is_refused_with_the_reason() {
    let mut learner = fresh(settings());
    train(&mut learner, 3);
    let bytes = learner.save().expect("a checkpoint");
    let refused = |bytes: &[u8], settings: &DqnSettings| match Learner::load(bytes, settings, &features()) {
        Err(error) => error,
        Ok(_) => panic!("accepted"),
    };
    let wider = DqnSettings { hidden: vec![32], ..settings() };
    let error = refused(&bytes, &wider);
    assert!(matches!(error, CheckpointError::Other { .. }) && error.to_string().contains("[16]"), "{error}");
    let other_seed = DqnSettings { seed: 8, ..settings() };
    assert!(refused(&bytes, &other_seed).to_string().contains("settings"));
    for cut in [0, 5, 60, bytes.len() / 2, bytes.len() - 1] {
        assert!(refused(&bytes[..cut], &settings()).to_string().contains("damaged"));
    }
    let mut flipped = bytes.clone();
    *flipped.last_mut().expect("bytes") ^= 1;
    assert!(refused(&flipped, &settings()).to_string().contains("SHA-256"));
}

#[test]
fn what_cannot_be_learned_from_is_refused() {
    let mut learner = fresh(settings());
    let short = Transition { row: vec![1.0], ..Transition::default() };
    assert!(matches!(learner.observe(short), Err(LearnError::Width { expected: 3, got: 1 })));
    let nan = Transition { row: vec![1.0; 3], reward: f32::NAN, ..Transition::default() };
    assert!(matches!(learner.observe(nan), Err(LearnError::NotFinite { .. })));
    assert_eq!(learner.update().expect("nothing to do"), None);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]
    #[test]
    fn the_same_seed_learns_the_same_network(seed in 0_u64..1_000) {
        let settings = DqnSettings { seed, ..settings() };
        let (mut first, mut again) = (fresh(settings.clone()), fresh(settings));
        train(&mut first, 4);
        train(&mut again, 4);
        prop_assert_eq!(first.network().to_bytes(), again.network().to_bytes());
    }
}
