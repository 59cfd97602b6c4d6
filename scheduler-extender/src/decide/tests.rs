use super::*;
use crate::health::Signs;
use crate::ledger::Hold;
use crate::rules::{Guard, Mode};
use crate::scoring::{Condition, Preferences, Remote};

/// A decider whose scorer is away.
fn decider() -> Decider {
    runtime::http::install_crypto_provider();
    let deadline = Duration::from_millis(20);
    let remote = Remote::new("http://127.0.0.1:9".parse().expect("an address"), reqwest::Client::new(), deadline);
    let metrics = Arc::new(Metrics::default());
    Decider {
        scoring: Arc::new(Scoring::Remote(Box::new(remote))),
        book: Arc::new(Book::open(None, None, Arc::clone(&metrics)).expect("rules")),
        ledger: Arc::new(Ledger::new(Hold { settle: 60_000, most: Duration::from_secs(900) })),
        health: Arc::new(Health::new(Arc::clone(&metrics))),
        memory: Arc::new(Memory::new(None, Duration::from_secs(60), Arc::clone(&metrics))),
        metrics,
        deadline,
        places: Places::new(4, 4),
        unknown_places: Places::new(1, 1),
        details: Mutex::default(),
    }
}

fn decision(standing: Standing) -> Decision {
    Decision::new("prioritize", &Pod::default(), standing, 2, Mode::Active, State::Healthy)
}

#[test]
fn requests_about_pods_that_nobody_has_told_of_lead_to_no_fallback() {
    let well = || {
        let models = [("load-predictor".to_owned(), "1".to_owned())].into();
        let condition = Condition { models, nodes: 10, data_age_seconds: Some(1.0), ..Condition::default() };
        Signs { condition, matched: Some(1.0), heard: Some(true) }
    };
    let decider = decider();
    // More than enough of either to fall back.
    let often = |standing| {
        for _ in 0..40 {
            decider.went(&decision(standing), &Ok(Err(Neutral::Failed)), Instant::now());
        }
        decider.health.look(&well(), &Guard::default());
        decider.health.state()
    };
    assert_eq!(often(Standing::Unknown), State::Healthy);
    assert_eq!(often(Standing::Known), State::Fallback);
}

#[tokio::test]
async fn requests_about_pods_that_nobody_has_told_of_open_no_breaker_of_others() {
    let decider = decider();
    let request = Arc::new(ScoreRequest { pods: vec![pod_request(&Pod::default())], ..ScoreRequest::default() });
    let ask = async |standing| {
        for _ in 0..6 {
            let place = Arc::clone(&decider.places.gate).acquire_owned().await.expect("a place");
            let scored = decider.scoring.score(&request, Preferences::default(), standing, place).await;
            scored.expect_err("nobody listens there");
        }
        let Scoring::Remote(remote) = &*decider.scoring else { panic!("a remote one") };
        remote.is_open()
    };
    assert!(!ask(Standing::Unknown).await && ask(Standing::Known).await);
}

#[tokio::test]
async fn pods_that_nobody_has_told_of_take_no_place_from_those_that_there_are() {
    let decider = decider();
    let made_up = &decider.places_for(&decision(Standing::Unknown)).gate;
    let all: Vec<_> = std::iter::from_fn(|| Arc::clone(made_up).try_acquire_owned().ok()).collect();
    assert_eq!(all.len(), 1);
    for standing in [Standing::Known, Standing::Unheard] {
        assert_eq!(decider.places_for(&decision(standing)).gate.available_permits(), 4);
    }
}
