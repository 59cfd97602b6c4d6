use super::*;
use crate::{FeatureMatrix, FitOptions, ModelError};
use rand::{Rng, SeedableRng};

const ROWS: usize = 3_000;

/// CPU and network that follow each other, memory by itself; every 300th row begins ten odd ones: CPU without network.
fn rows() -> (FeatureMatrix, Vec<bool>) {
    let mut generator = rand_chacha::ChaCha8Rng::seed_from_u64(3);
    let mut near = |middle: f32, width: f32| middle + width * (generator.random::<f32>() - 0.5);
    let mut values = Vec::new();
    let odd: Vec<bool> = (0..ROWS).map(|row| row % 300 < 10).collect();
    for odd in &odd {
        let load = near(0.5, 0.4);
        let (cpu, network) = if *odd { (near(0.95, 0.02), near(0.05, 0.02)) } else { (load, near(load, 0.05)) };
        values.extend([cpu, network, near(0.3, 0.1), 5.0]);
    }
    let names: Vec<String> = ["cpu", "network", "memory", "pods"].map(str::to_owned).into();
    (FeatureMatrix::new(names, ROWS, values).expect("a matrix"), odd)
}

fn settings() -> DetectorSettings {
    let member = |name: &str, kind, columns: &[&str]| MemberSettings {
        name: name.to_owned(),
        kind,
        columns: columns.iter().map(|column| (*column).to_owned()).collect(),
        side: Side::Both,
    };
    DetectorSettings {
        forest: ForestSettings::default(),
        members: vec![
            member("work", AnomalyKind::Performance, &["cpu", "network"]),
            member("memory", AnomalyKind::Resource, &["memory"]),
        ],
        rules: vec![Rule::Missing { feature: "cpu".into(), while_known: "pods".into() }],
        alarms: AlarmSettings::default(),
        expected_share: 0.01,
    }
}

fn fitted() -> (Detector, FeatureMatrix, Vec<bool>) {
    let (x, odd) = rows();
    let usual: Vec<bool> = odd.iter().map(|odd| !odd).collect();
    let detector = fit_detector(&LabelledRows { x: &x, odd: &odd, usual: &usual }, &settings(), 7).expect("a detector");
    (detector, x, odd)
}

#[test]
fn odd_rows_are_found_typed_and_blamed_on_what_changed() {
    let (detector, x, odd) = fitted();
    let Vote::Weighted(weights) = detector.vote() else { panic!("there are labels") };
    assert!(weights[0] > weights[1], "{weights:?}");
    let found = |row: usize| detector.severity(&detector.read(x.row(row)).expect("a row")) >= Some(Severity::Warning);
    let share = |wanted: bool| {
        let rows: Vec<usize> = (0..ROWS).filter(|row| odd[*row] == wanted).collect();
        rows.iter().filter(|row| found(**row)).count() as f64 / rows.len() as f64
    };
    assert!(share(true) > 0.95, "{}", share(true));
    assert!(share(false) < 0.02, "the threshold leaves one in a hundred: {}", share(false));
    let finding = detector.explain(x.row(0), 2).expect("a row");
    assert_eq!(finding.kind, AnomalyKind::Performance);
    assert!(finding.score > 0.5 && finding.blame.iter().all(|blame| blame.feature != "memory"), "{finding:?}");
    let network = finding.blame.iter().find(|blame| blame.feature == "network").expect("it is to blame");
    // Usual network is 0.5 ± 0.2 ± 0.025.
    let (low, high) = (network.normal.low.expect("known"), network.normal.high.expect("known"));
    assert!((0.27..0.34).contains(&low) && (0.66..0.73).contains(&high), "{network:?}");
    let all: f64 = detector.explain(x.row(0), 99).expect("a row").blame.iter().map(|blame| blame.share).sum();
    assert!((all - 1.0).abs() < 1e-9, "{all}");
}

#[test]
fn a_rule_is_certain_and_silence_alone_is_not_odd() {
    let (detector, ..) = fitted();
    let down = [f32::NAN, f32::NAN, f32::NAN, 5.0];
    let reading = detector.read(&down).expect("a row");
    assert!(reading.certain && reading.kind == AnomalyKind::Availability);
    assert_eq!((detector.severity(&reading), detector.score(&reading)), (Some(Severity::Critical), 1.0));
    assert_eq!(detector.explain(&down, 5).expect("a row").blame[0].feature, "cpu");
    let silent = detector.read(&[f32::NAN; 4]).expect("a row");
    assert_eq!((detector.severity(&silent), silent.vote), (None, 0.0));
}

#[test]
fn without_labels_the_largest_surprise_and_the_stated_share_decide() {
    let (x, odd) = rows();
    let nobody = vec![false; ROWS];
    let usual: Vec<bool> = vec![true; ROWS];
    let detector =
        fit_detector(&LabelledRows { x: &x, odd: &nobody, usual: &usual }, &settings(), 7).expect("a detector");
    assert_eq!(detector.vote(), &Vote::Largest);
    let votes = |row| detector.read(x.row(row)).expect("a row").vote;
    let above = (0..ROWS).filter(|row| votes(*row) > detector.threshold()).count();
    assert!((25..=35).contains(&above), "one in a hundred of 3,000: {above}");
    assert!((0..ROWS).filter(|row| votes(*row) > detector.threshold()).filter(|row| odd[*row]).count() > above / 2);
}

#[test]
fn files_give_the_same_detector_whatever_the_threads() {
    let files = |threads| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("a pool");
        pool.install(|| fitted().0.to_files().expect("files"))
    };
    let (one, four) = (files(1), files(4));
    assert_eq!(one, four);
    let (detector, x, _) = fitted();
    let read = Detector::from_files(&one).expect("our own files");
    let surprises = detector.surprises(&x).expect("the same features");
    for row in 0..ROWS {
        let alone = read.read(x.row(row)).expect("a row");
        assert_eq!(alone, detector.reading(x.row(row), &surprises[2 * row..2 * row + 2]), "row {row}");
    }
}

#[test]
fn what_lies_on_the_other_side_is_usual_and_blamed_for_nothing() {
    let (x, odd) = rows();
    let usual: Vec<bool> = odd.iter().map(|odd| !odd).collect();
    let mut above = settings();
    above.members[1].side = Side::Above;
    let labelled = LabelledRows { x: &x, odd: &odd, usual: &usual };
    let detector = fit_detector_with_reach(&labelled, &above, 7).expect("a detector");
    let detector = detector.with_vote(Vote::Largest, 1.0);
    // Usual memory lies between 0.25 and 0.35.
    let vote = |memory: f32| detector.read(&[0.5, 0.5, memory, 5.0]).expect("a row").vote;
    assert!(vote(0.6) > 3.0 && vote(0.0) < 1.0, "{} {}", vote(0.6), vote(0.0));
    assert_eq!(vote(0.0), vote(0.2));
    let blamed = |memory: f32| {
        let finding = detector.explain(&[0.5, 0.5, memory, 5.0], 9).expect("a row");
        finding.blame.iter().find(|blame| blame.feature == "memory").map_or(0.0, |blame| blame.share)
    };
    assert!(blamed(0.6) > 0.9 && blamed(0.0) < 0.5, "{} {}", blamed(0.6), blamed(0.0));
    let read = Detector::from_files(&detector.to_files().expect("files")).expect("our own files");
    assert_eq!(read, detector);
}

#[test]
fn what_does_not_fit_is_refused_by_name() {
    let (detector, x, odd) = fitted();
    let files = detector.to_files().expect("files");
    for name in files.keys() {
        let mut less = files.clone();
        less.remove(name);
        assert!(Detector::from_files(&less).expect_err("cut").to_string().contains(name.as_str()));
    }
    let mut other = files;
    let text = String::from_utf8(other[DETECTOR_FILE].clone()).expect("text").replace("\"memory\",\n", "");
    other.insert(DETECTOR_FILE.to_owned(), text.into_bytes());
    let refused = Detector::from_files(&other).expect_err("a feature is gone").to_string();
    assert!(refused.contains(DETECTOR_FILE), "{refused}");
    assert!(detector.read(&[0.0; 3]).is_err());
    let rows = LabelledRows { x: &x, odd: &odd, usual: &odd };
    let refused = |settings| fit_detector(&rows, &settings, 1).expect_err("wrong settings").to_string();
    let mut wrong = settings();
    wrong.members[0].columns[0] = "cpuu".to_owned();
    assert!(refused(wrong).contains("no column `cpuu`, which member `work`"));
    assert!(
        refused(DetectorSettings { expected_share: 0.0, ..settings() }).contains("`expected_share` must be above 0")
    );
    assert!(refused(DetectorSettings { members: vec![], ..settings() }).contains("`members` must be between 1 and 16"));
}

#[test]
fn a_reach_goes_on_where_a_forest_ends_and_survives_its_file() {
    let (x, odd) = rows();
    let usual: Vec<bool> = odd.iter().map(|odd| !odd).collect();
    let labelled = LabelledRows { x: &x, odd: &odd, usual: &usual };
    let detector = fit_detector_with_reach(&labelled, &settings(), 7).expect("a detector");
    let names: Vec<&str> = detector.members().iter().map(|member| member.name.as_str()).collect();
    assert_eq!(names, ["work", "memory", "work-reach", "memory-reach"]);
    let far = |memory: f32| {
        let row = FeatureMatrix::new(x.names().to_vec(), 1, vec![0.5, 0.5, memory, 5.0]).expect("a row");
        detector.surprises(&row).expect("its features")
    };
    // Usual memory lies between 0.25 and 0.35, evenly, so that a little beyond is very odd already.
    let (near, farther) = (far(0.351), far(0.353));
    assert!((near[1] - farther[1]).abs() < 1e-3, "the forest has seen nothing beyond 0.35: {near:?} {farther:?}");
    assert!(farther[3] > near[3] + 1.0, "{near:?} {farther:?}");
    let read = Detector::from_files(&detector.to_files().expect("files")).expect("our own files");
    assert_eq!(read, detector);
    let finding = detector.clone().with_vote(Vote::Largest, 1.0).explain(&[0.5, 0.5, 0.9, 5.0], 1).expect("a row");
    assert_eq!(finding.blame[0].feature, "memory");
    let mut many = settings();
    many.members = (0..9).map(|place| MemberSettings { name: place.to_string(), ..many.members[1].clone() }).collect();
    let refused = fit_detector_with_reach(&labelled, &many, 7).expect_err("nine").to_string();
    assert!(refused.contains("`members` must be between 1 and 8, got 9"), "{refused}");
}

fn with_classifier(weights: impl Fn(usize, bool) -> f32) -> Result<(Detector, FeatureMatrix, Vec<bool>), ModelError> {
    let (x, odd) = rows();
    let usual: Vec<bool> = odd.iter().map(|odd| !odd).collect();
    let labelled = LabelledRows { x: &x, odd: &odd, usual: &usual };
    let weights: Vec<f32> = odd.iter().enumerate().map(|(row, odd)| weights(row, *odd)).collect();
    let settings_of_classifier = ClassifierSettings {
        columns: vec!["cpu".to_owned(), "network".to_owned(), "memory".to_owned()],
        rounds: 40,
        max_depth: 3,
        learning_rate: 0.2,
        most_usual_rows: 1_000,
    };
    let detector = fit_detector(&labelled, &settings(), 7)?.with_classifier(
        &labelled,
        &weights,
        &settings_of_classifier,
        &FitOptions::seeded(7),
    )?;
    Ok((detector, x, odd))
}

#[test]
fn a_classifier_of_faults_joins_the_members_and_travels_with_the_files() {
    // The first half teaches, the second half is judged.
    let (detector, x, odd) = with_classifier(|row, odd| if odd && row < ROWS / 2 { 0.1 } else { 0.0 }).expect("fitted");
    assert_eq!(detector.members().len(), 3);
    let surprises = detector.surprises(&x).expect("the same features");
    let of = |row: usize| surprises[3 * row + 2];
    let unseen: Vec<usize> = (ROWS / 2..ROWS).collect();
    let mean = |wanted: bool| {
        let rows: Vec<usize> = unseen.iter().copied().filter(|row| odd[*row] == wanted).collect();
        rows.iter().map(|row| of(*row)).sum::<f32>() / rows.len() as f32
    };
    // A surprise of 1 is odds of ten to one.
    assert!(mean(true) > 1.0 && mean(false) < 0.1, "{} {}", mean(true), mean(false));
    let files = detector.to_files().expect("files");
    assert!(files.contains_key("classifier-faults.ubj"), "{:?}", files.keys());
    let read = Detector::from_files(&files).expect("our own files");
    assert_eq!(read, detector);
    assert_eq!(read.surprises(&x).expect("the same features"), surprises);
    // The classifier knows no kinds: the most surprised of the others names one.
    assert_eq!(detector.explain(x.row(0), 2).expect("a row").kind, AnomalyKind::Performance);
}

#[test]
fn too_few_rows_of_faults_teach_no_classifier() {
    let (detector, ..) = with_classifier(|row, odd| if odd && row < 600 { 0.1 } else { 0.0 }).expect("fitted");
    assert_eq!(detector.members().len(), 2, "20 rows are fewer than 30");
}

/// A forest of trees without a split, grown on 8,192 rows: two bytes a tree, and 8,191 places for splits.
fn stumps(trees: u32, width: u32) -> Vec<u8> {
    let mut bytes = b"BERTHIF\x01".to_vec();
    bytes.extend([trees, 8_192, 0, width, 8_192].into_iter().flat_map(u32::to_le_bytes));
    bytes.extend([0xff, 0xff].repeat(trees as usize));
    bytes
}

#[test]
fn small_files_that_ask_for_much_memory_are_refused_before_it_is_taken() {
    let small = stumps(10_000, 1);
    assert!(small.len() < 21_000);
    let error = IsolationForest::from_bytes("forest-x.bin", &small).expect_err("81,910,000 places").to_string();
    assert!(error.contains("81910000 places") && error.contains("forest-x.bin"), "{error}");
    assert!(IsolationForest::from_bytes("forest-x.bin", &stumps(10, 1)).is_ok());

    // Each of two members may have half of what there is for all of them.
    let mut files = fitted().0.to_files().expect("files");
    files.insert("forest-work.bin".into(), stumps(600, 2));
    assert!(Detector::from_files(&files).is_ok());
    files.insert("forest-memory.bin".into(), stumps(600, 1));
    let error = Detector::from_files(&files).expect_err("9,829,200 places").to_string();
    assert!(error.contains("forest-memory.bin") && error.contains("3474008 of 8388608 are left"), "{error}");

    // Nor is such a detector fitted, which nobody could load.
    let (x, odd) = rows();
    let forest = ForestSettings { trees: 5_000, samples: 2_048, extension: 0 };
    let rows = LabelledRows { x: &x, odd: &odd, usual: &vec![true; ROWS] };
    let error = fit_detector(&rows, &DetectorSettings { forest, ..settings() }, 7).expect_err("too many").to_string();
    assert!(error.contains("8388608"), "{error}");
}
