use super::*;
use proptest::prelude::*;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

fn names(count: usize) -> Vec<String> {
    (0..count).map(|at| format!("feature_{at}")).collect()
}

fn layer(inputs: usize, outputs: usize, chance: &mut ChaCha8Rng) -> Layer {
    let mut draw = |count: usize| (0..count).map(|_| chance.random_range(-1.0..1.0)).collect::<Vec<f32>>();
    Layer { inputs, outputs, weights: draw(inputs * outputs), bias: draw(outputs) }
}

fn network(seed: u64) -> PlacementNetwork {
    let mut chance = ChaCha8Rng::seed_from_u64(seed);
    let layers = vec![layer(5, 24, &mut chance), layer(24, 7, &mut chance), layer(7, 1, &mut chance)];
    let skip = (0..5).map(|_| chance.random_range(-1.0..1.0)).collect();
    PlacementNetwork::new(names(5), skip, layers).expect("a network")
}

fn scores(network: &PlacementNetwork, rows: &[f32]) -> Vec<f32> {
    let mut scores = Vec::new();
    network.score(rows, &mut Scratch::default(), &mut scores).expect("whole rows");
    scores
}

#[test]
fn a_value_by_hand() {
    let first = Layer { inputs: 2, outputs: 2, weights: vec![1.0, -1.0, 2.0, 0.5], bias: vec![0.5, 0.0] };
    let last = Layer { inputs: 2, outputs: 1, weights: vec![3.0, 10.0], bias: vec![-1.0] };
    let network = PlacementNetwork::new(names(2), vec![0.0, 0.25], vec![first, last]).expect("a network");
    // x = (1, 2): hidden (1 + 4 + 0.5, −1 + 1) = (5.5, 0); 3 × 5.5 − 1 + 0.25 × 2 = 16.
    // x = (−3, 0): hidden (−2.5 → 0, 3); 10 × 3 − 1 = 29.
    assert_eq!(scores(&network, &[1.0, 2.0, -3.0, 0.0]), [16.0, 29.0]);
    assert_eq!(network.hidden(), [2]);
}

#[test]
fn what_does_not_fit_together_is_refused() {
    let mut chance = ChaCha8Rng::seed_from_u64(1);
    let mut refused = |skip: usize, layers: Vec<(usize, usize)>| {
        let layers = layers.into_iter().map(|(inputs, outputs)| layer(inputs, outputs, &mut chance)).collect();
        PlacementNetwork::new(names(3), vec![0.0; skip], layers).expect_err("refused").to_string()
    };
    assert!(refused(2, vec![(3, 1)]).contains("linear part"));
    assert!(refused(3, vec![(4, 1)]).contains("inputs"));
    assert!(refused(3, vec![(3, 2)]).contains("outputs"));
    assert!(refused(3, vec![]).contains("no rows"));
    let infinite = Layer { inputs: 3, outputs: 1, weights: vec![f32::NAN, 0.0, 0.0], bias: vec![0.0] };
    let error = PlacementNetwork::new(names(3), vec![0.0; 3], vec![infinite]).expect_err("refused").to_string();
    assert!(error.contains("NaN"), "{error}");
    let error = network(1).score(&[0.0; 6], &mut Scratch::default(), &mut Vec::new()).expect_err("half a row");
    assert!(error.to_string().contains("expected 10"), "{error}");
}

#[test]
fn a_file_comes_back_whole_and_anything_else_is_refused() {
    let network = network(2);
    let bytes = network.to_bytes();
    assert_eq!(PlacementNetwork::from_bytes(&bytes).expect("read"), network);
    for cut in [0, 7, 40, bytes.len() - 1] {
        let error = PlacementNetwork::from_bytes(&bytes[..cut]).expect_err("cut").to_string();
        assert!(error.contains(NETWORK_FILE), "{error}");
    }
    let mut foreign = bytes.clone();
    let place = bytes.windows(9).position(|nine| nine == b"network-1").expect("the format");
    foreign[place + 8] = b'9';
    let error = PlacementNetwork::from_bytes(&foreign).expect_err("foreign").to_string();
    assert!(error.contains("format"), "{error}");
}

#[test]
fn a_scale_is_kept_in_the_file_and_files_without_one_are_read_by_the_default() {
    let scale = ValueScale::new(0.731, 0.0129).expect("a scale");
    let bytes = network(2).with_scale(scale).to_bytes();
    assert_eq!(PlacementNetwork::from_bytes(&bytes).expect("read").scale(), scale);
    let with = |change: &dyn Fn(&mut serde_json::Map<String, serde_json::Value>)| {
        let length = u64::from_le_bytes(bytes[..8].try_into().expect("eight bytes")) as usize;
        let mut header: serde_json::Value = serde_json::from_slice(&bytes[8..8 + length]).expect("JSON");
        change(header["__metadata__"].as_object_mut().expect("metadata"));
        let text = header.to_string().into_bytes();
        let mut changed = (text.len() as u64).to_le_bytes().to_vec();
        changed.extend(text);
        changed.extend(&bytes[8 + length..]);
        PlacementNetwork::from_bytes(&changed)
    };
    let without = with(&|metadata| metadata.retain(|key, _| key != "full_difference" && key != "noise"));
    assert_eq!(without.expect("a file of an earlier version").scale(), DEFAULT_SCALE);
    for (key, value, said) in [
        ("noise", "2.0", "full difference 0.731 and noise 2"),
        ("full_difference", "zero", "expected a number as text"),
        ("full_difference", "NaN", "full difference NaN"),
    ] {
        let error = with(&|metadata| drop(metadata.insert(key.to_owned(), value.into()))).expect_err(value).to_string();
        assert!(error.contains(said), "{error}");
    }
    let half = with(&|metadata| drop(metadata.remove("noise"))).expect_err("half a scale").to_string();
    assert!(half.contains("only one of"), "{half}");
}

#[test]
fn the_feature_that_moves_the_value_is_named_first() {
    let silent = Layer { inputs: 3, outputs: 1, weights: vec![0.0; 3], bias: vec![0.0] };
    let network = PlacementNetwork::new(names(3), vec![0.1, 2.0, 5.0], vec![silent]).expect("a network");
    // The third weighs most but never varies.
    let importance = network.importance(&[0.0, 0.0, 1.0, 1.0, 1.0, 1.0]).expect("whole rows");
    assert_eq!(importance[0].feature, "feature_1");
    assert!((importance[0].share - 2.0 / 2.1).abs() < 1e-3 && importance[2].share == 0.0, "{importance:?}");
}

proptest! {
    #[test]
    fn any_number_of_candidates_in_any_order(
        rows in prop::collection::vec(prop::array::uniform5(-2.0_f32..2.0), 1..70), seed in 0_u64..50, turn in 0_usize..70,
    ) {
        let network = network(seed);
        let together = scores(&network, &rows.concat());
        prop_assert_eq!(together.len(), rows.len());
        // Each alone has the score that it has among the others, bit for bit.
        for (row, score) in rows.iter().zip(&together) {
            prop_assert_eq!(scores(&network, row)[0].to_bits(), score.to_bits());
        }
        let turn = turn % rows.len();
        let mut turned = rows.clone();
        turned.rotate_left(turn);
        let mut expected = together;
        expected.rotate_left(turn);
        prop_assert_eq!(scores(&network, &turned.concat()), expected);
    }
}

#[test]
fn a_linear_networks_contributions_are_weight_times_distance_from_the_mean() {
    let skip = vec![-2.0, 1.0];
    let layer = Layer { inputs: 2, outputs: 1, weights: vec![0.0; 2], bias: vec![0.5] };
    let network = PlacementNetwork::new(names(2), skip, vec![layer]).expect("a network");
    // Means: 0.4 and 3.
    let contributions = network.contributions(&[0.2, 3.0, 0.6, 3.0]).expect("contributions");
    for (got, wanted) in contributions.iter().zip([0.4, 0.0, -0.4, 0.0]) {
        assert!((got - wanted).abs() < 1e-6, "{contributions:?}");
    }
    assert!(network.contributions(&[1.0]).is_err());
    assert!(network.contributions(&[]).expect("none").is_empty());
}
