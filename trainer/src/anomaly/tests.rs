use super::*;
use crate::folds::Window;
use cluster::{DAY_MS, GRID_STEP_MS};
use features::labels::Label;
use models::FeatureMatrix;
use models::anomaly::AlarmSettings;
use rand::{Rng, SeedableRng};

const SLOT: i64 = GRID_STEP_MS;

/// A history of one column that nobody reads: votes come from outside.
pub(crate) fn history(nodes: usize, slots: i64, labels: Vec<Vec<Label>>) -> History {
    let rows = nodes * slots as usize;
    let x = FeatureMatrix::new(vec!["nothing".to_owned()], rows, vec![0.0; rows]).expect("a matrix");
    History {
        nodes: (0..nodes).map(|node| format!("node-{node}")).collect(),
        spans: (0..nodes).map(|node| node * slots as usize..(node + 1) * slots as usize).collect(),
        ts: (0..nodes).flat_map(|_| (1..=slots).map(|slot| slot * SLOT)).collect(),
        plain: x.clone(),
        x,
        labels,
        raw: None,
    }
}

pub(crate) fn label(kind: &str, severity: &str, from: i64, until: i64) -> Label {
    Label { started_at: from, ended_at: until, kind: kind.to_owned(), severity: severity.to_owned() }
}

const ALL: Window = Window { from: 0, until: i64::MAX };
/// A missed incident is as dear as ten false alarms, which may be as many as there are.
const DEAR: Costs = Costs { missed: 10.0, false_alarm: 1.0, least_precision: 0.0 };
/// Every reading counts at once.
const AT_ONCE: AlarmSettings = AlarmSettings { raise_after: 1, clear_after: 1, info_share: 1.0, critical_factor: 9.0 };

#[test]
fn figures_of_alarms_agree_with_a_calculation_by_hand() {
    // Node 0: an incident over readings 11 to 14, flagged at 12, 13 and, within 10 readings, at 22: one right alarm.
    // Flagged at 40: one false alarm. Node 1: an incident over readings 5 and 6 that nobody flags.
    let labels = vec![
        vec![label("leak", "critical", 10 * SLOT, 14 * SLOT)],
        vec![label("noise", "warning", 4 * SLOT + 1, 6 * SLOT - 1)],
    ];
    let history = history(2, 144, labels);
    let mut votes = vec![0.0; 288];
    for reading in [12, 13, 22, 40] {
        votes[reading - 1] = 2.0;
    }
    let (certain, odd) = (vec![false; 288], history.odd());
    let timeline = Timeline { history: &history, votes: &votes, certain: &certain, odd: &odd, alarms: AT_ONCE };
    let alarms = timeline.alarms(ALL, &timeline.flags(ALL, 1.0));
    let spans: Vec<(i64, i64)> = alarms[0].iter().map(|alarm| (alarm.from / SLOT, alarm.until / SLOT)).collect();
    assert_eq!((spans, alarms[1].len()), (vec![(11, 22), (39, 40)], 0));

    let scores = evaluate(&timeline, ALL, 1.0);
    assert_eq!((scores.alarms, scores.right_alarms, scores.incidents, scores.found), (2, 1, 2, 1));
    assert_eq!((scores.precision, scores.recall, scores.critical_recall), (Some(0.5), Some(0.5), Some(1.0)));
    // 288 readings of five minutes are one node-day with one false alarm; the alarm rose at 12, the incident at 10.
    assert_eq!((scores.node_days, scores.false_alarms_per_node_day), (1.0, Some(1.0)));
    assert_eq!(scores.delay_minutes, Some(10.0));
    assert_eq!(scores.cost(10.0, 1.0), 11.0);
    assert_eq!(scores.kinds["leak"], KindScores { incidents: 1, found: 1 });
    // Readings within incidents: 11 to 14 of node 0, 5 and 6 of node 1; two of four flagged ones are among them.
    assert_eq!((scores.points.odd_rows, scores.points.precision), (6, Some(0.5)));
    assert_eq!(scores.points.recall, Some(2.0 / 6.0));
    assert_eq!(scores.points.false_positive_rate, Some(2.0 / 282.0));
    // Ten readings between two flagged ones are joined, eleven are not.
    let mut votes = vec![0.0; 288];
    for reading in [1, 12, 24] {
        votes[reading - 1] = 2.0;
    }
    let timeline = Timeline { votes: &votes, ..timeline };
    assert_eq!(timeline.alarms(ALL, &timeline.flags(ALL, 1.0))[0].len(), 2);
}

#[test]
fn the_cheapest_threshold_follows_the_costs() {
    // One incident whose readings vote 5, one that votes 2, and twelve lone readings elsewhere that vote 3.
    let labels = vec![
        vec![label("loud", "warning", 100 * SLOT, 104 * SLOT)],
        vec![label("faint", "warning", 100 * SLOT, 104 * SLOT)],
    ];
    let history = history(2, 600, labels);
    let mut votes = vec![0.5; 1_200];
    votes[100..104].fill(5.0);
    votes[700..704].fill(2.0);
    for lone in 0..12 {
        votes[200 + 30 * lone] = 3.0;
    }
    let (certain, odd) = (vec![false; 1_200], history.odd());
    let timeline = Timeline { history: &history, votes: &votes, certain: &certain, odd: &odd, alarms: AT_ONCE };
    // A threshold of 0.5 would be one endless alarm per node that meets every incident: it flags too much to be tried.
    assert_eq!(evaluate(&timeline, ALL, 0.5).cost(10.0, 1.0), 0.0);
    // Finding the faint one costs twelve false alarms: too dear at 10 each, worth it at 20.
    for (missed_cost, threshold, cost) in [(10.0, 3.0..=5.0, 10.0), (20.0, 0.5..=2.0, 12.0)] {
        let costs = Costs { missed: missed_cost, ..DEAR };
        let choice = cheapest(&timeline, ALL, &costs).expect("labels").choice().expect("a choice");
        assert_eq!(choice.cost, cost, "{choice:?}");
        assert!(threshold.contains(&choice.threshold) && choice.threshold > *threshold.start(), "{choice:?}");
    }
    // Finding the faint one makes 12 of 14 alarms false, which is refused where half of them must be right.
    let precise = Costs { missed: 20.0, least_precision: 0.5, ..DEAR };
    let choice = cheapest(&timeline, ALL, &precise).expect("labels").choice().expect("a choice");
    assert_eq!((choice.cost, choice.precision()), (20.0, Some(1.0)), "{choice:?}");
    // Where lone readings vote highest no threshold is precise enough, and the cheapest of all stands.
    let louder: Vec<f32> = votes.iter().map(|vote| if *vote == 3.0 { 9.0 } else { *vote }).collect();
    let choice = cheapest(&Timeline { votes: &louder, ..timeline.clone() }, ALL, &precise).expect("labels").choice();
    assert_eq!(choice.map(|choice| (choice.cost, choice.is_precise(0.5))), Some((12.0, false)));
    let unlabelled = History { labels: vec![vec![], vec![]], ..history.clone() };
    assert_eq!(cheapest(&Timeline { history: &unlabelled, ..timeline }, ALL, &DEAR), None);
}

#[test]
fn rows_of_an_incident_and_of_its_aftermath_teach_nothing_usual() {
    let history = history(1, 50, vec![vec![label("leak", "warning", 10 * SLOT, 12 * SLOT)]]);
    let places = |marks: Vec<bool>, wanted| -> Vec<usize> { (0..50).filter(|row| marks[*row] == wanted).collect() };
    // The reading at slot 11 covers 10 to 11; an hour has twelve slots.
    assert_eq!(places(history.odd(), true), [10, 11]);
    assert_eq!(places(history.usual(1.0), false), (10..24).collect::<Vec<_>>());
}

/// Real columns: every reading near zero but for incidents, in which CPU goes up while the cluster's does not.
pub(crate) fn made_up(nodes: usize, days: i64, labelled: bool) -> History {
    let names: Vec<String> = features::patterns::columns().iter().map(|name| (*name).to_owned()).collect();
    let slots = days * DAY_MS / SLOT;
    let mut random = rand_chacha::ChaCha8Rng::seed_from_u64(5);
    let labels: Vec<Vec<Label>> = (0..nodes as i64)
        .map(|node| {
            let begin = |day: i64| (day * 288 + 40 + 31 * node) * SLOT;
            (0..days).map(|day| label("noisy_neighbour", "warning", begin(day), begin(day) + 8 * SLOT)).collect()
        })
        .collect();
    let (mut values, mut plain) = (Vec::new(), Vec::new());
    let mut history = history(nodes, slots, labels);
    let odd = history.odd();
    for odd in &odd {
        for name in &names {
            let noise: f32 = random.random::<f32>() + random.random::<f32>() - 1.0;
            let shift = if *odd && name.contains("cpu") { 3.0 } else { 0.0 };
            values.push(if name == "uptime_hours" { 100.0 } else { noise + shift });
        }
        plain.extend((0..super::zscore::COLUMNS.len()).map(|_| random.random::<f32>()));
    }
    history.x = FeatureMatrix::new(names, odd.len(), values).expect("a matrix");
    let plain_names: Vec<String> = super::zscore::COLUMNS.iter().map(|name| (*name).to_owned()).collect();
    history.plain = FeatureMatrix::new(plain_names, odd.len(), plain).expect("a matrix");
    if !labelled {
        history.labels = vec![vec![]; nodes];
    }
    history
}

#[test]
fn a_trained_detector_finds_what_the_zscore_cannot_see() {
    let history = made_up(4, 10, true);
    let settings = AnomalySettings::default();
    let trained = train_detector(&history, &settings).expect("ten days");
    assert_eq!(
        (trained.learn.from, trained.learn.until, trained.test.until),
        (history.span().from, trained.test.from, history.span().until)
    );
    let scores = &trained.scores;
    assert!(scores.recall > Some(0.9) && scores.precision > Some(0.9), "{scores:?}");
    // The z-score reads columns in which nothing happens.
    assert!(scores.points.roc_auc > Some(0.95) && trained.zscore.points.roc_auc < Some(0.65), "{:?}", trained.zscore);
    let VoteChoice::ByEvidence(chosen) = &trained.choice else { panic!("there are labels") };
    assert_eq!(chosen.curve.choice().map(|choice| choice.threshold), Some(trained.detector.threshold()));
    let chosen = trained.detector.alarms().raise_after;
    assert!((settings.raise_after..=settings.raise_after_at_most).contains(&chosen), "{chosen}");
    let again = train_detector(&history, &settings).expect("ten days");
    assert_eq!(again.detector.to_files().expect("files"), trained.detector.to_files().expect("files"));
}

#[test]
fn without_labels_a_stated_share_is_flagged() {
    let history = made_up(4, 10, false);
    let settings = AnomalySettings { expected_share: 0.01, ..AnomalySettings::default() };
    let trained = train_detector(&history, &settings).expect("ten days");
    assert_eq!(trained.choice, VoteChoice::ByShare(0.01));
    let votes = &trained.test_votes.0;
    let above = votes.iter().filter(|vote| **vote > trained.detector.threshold()).count();
    // 1 % by chance and 2.8 % that are odd, which nobody said.
    assert!((0.005..0.05).contains(&(above as f64 / votes.len() as f64)), "{above} of {}", votes.len());
    assert_eq!((trained.scores.incidents, trained.scores.recall), (0, None));
}

#[test]
fn too_short_a_history_says_how_much_is_needed() {
    let error = train_detector(&made_up(1, 2, true), &AnomalySettings::default()).expect_err("two days");
    // A block is 0.7 ÷ 4 = 0.175 of the span: 24 ÷ 0.175 = 137.1 hours.
    assert!(format!("{error:#}").contains("137.1 are needed to train, choose and test"), "{error:#}");
}

#[test]
fn each_rule_of_the_gate_refuses_what_it_is_for() {
    let history = made_up(4, 10, true);
    let trained = train_detector(&history, &AnomalySettings::default()).expect("ten days");
    let good = Judged::of(&trained.detector, &history, trained.test).expect("its own features");
    let refused = |own: &Judged, champion: Option<&(String, AlarmScores, AlarmScores)>| -> Vec<String> {
        let checks = gate::check(own, &trained.zscore, champion, (10.0, 1.0), &AnomalyGate::default());
        checks.into_iter().filter(|check| !check.passed).map(|check| check.rule).collect()
    };
    assert_eq!(refused(&good, None), Vec::<String>::new());
    let with = |change: &dyn Fn(&mut Judged)| {
        let mut judged = good.clone();
        change(&mut judged);
        judged
    };
    assert_eq!(refused(&with(&|judged| judged.insane = 1), None), ["sane"]);
    assert_eq!(refused(&with(&|judged| judged.scores.points.false_positive_rate = Some(0.09)), None), ["flags"]);
    let imprecise = with(&|judged| judged.scores.right_alarms = judged.scores.alarms / 5);
    assert!(refused(&imprecise, None).contains(&"precision".to_owned()));
    let blind = with(&|judged| judged.scores.found = judged.scores.incidents / 5);
    assert!(refused(&blind, None).contains(&"recall".to_owned()));
    assert!(refused(&with(&|judged| judged.scores.alarms += 9_999), None).contains(&"z-score".to_owned()));
    let worse = AlarmScores { alarms: good.scores.alarms + 30, ..good.scores.clone() };
    assert_eq!(refused(&good, Some(&("1".into(), worse, good.scores.clone()))), ["champion"]);
    assert!(refused(&good, Some(&("1".into(), good.scores.clone(), good.scores.clone()))).is_empty());
    // Too few incidents: alarms are not judged.
    let few = with(&|judged| (judged.scores.incidents, judged.scores.found) = (2, 0));
    assert!(refused(&few, None).is_empty());
}

/// Wilson's 95 % interval of 4 of 8 goes to 0.785, that of 40 of 80 to 0.607: the limit of 0.7 lies within the first alone.
#[test]
fn a_refusal_on_few_incidents_says_that_it_is_undecided() {
    let history = made_up(4, 10, true);
    let trained = train_detector(&history, &AnomalySettings::default()).expect("ten days");
    let mut judged = Judged::of(&trained.detector, &history, trained.test).expect("its own features");
    let limits = AnomalyGate { min_recall: 0.7, ..AnomalyGate::default() };
    let mut recall = |incidents: usize, found: usize| {
        (judged.scores.incidents, judged.scores.found) = (incidents, found);
        let checks = gate::check(&judged, &trained.zscore, None, (10.0, 1.0), &limits);
        checks.into_iter().find(|check| check.rule == "recall").expect("the rule")
    };
    let few = recall(8, 4);
    assert!(!few.passed && few.undecided, "{}", few.reason);
    assert!(few.reason.contains("undecided: 8 are too few, the 95 % interval goes up to 0.785"), "{}", few.reason);
    let many = recall(80, 40);
    assert!(!many.passed && !many.undecided, "{}", many.reason);
    assert!(recall(8, 6).passed);
}
