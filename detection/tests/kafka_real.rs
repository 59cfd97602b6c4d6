//! A real broker: every reading is answered, whatever happens to the reader or to the broker.

use detection::testing::{KafkaBroker, kafka_jars};
use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::Message;
use rdkafka::producer::{FutureProducer, FutureRecord};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

mod support;
use support::{detector, engine, kafka_args};

/// The whole of a test on a busy machine.
const LIMIT: Duration = Duration::from_secs(120);

async fn topics(broker: &KafkaBroker, names: &[&str]) {
    let admin: AdminClient<DefaultClientContext> =
        ClientConfig::new().set("bootstrap.servers", broker.address()).create().expect("admin");
    let topics: Vec<NewTopic<'_>> =
        names.iter().map(|name| NewTopic::new(name, 2, TopicReplication::Fixed(1))).collect();
    for result in admin.create_topics(&topics, &AdminOptions::new()).await.expect("topics") {
        result.expect("topic");
    }
}

async fn produce(broker: &KafkaBroker, topic: &str, messages: &[String]) {
    let producer: FutureProducer =
        ClientConfig::new().set("bootstrap.servers", broker.address()).create().expect("producer");
    for (number, message) in messages.iter().enumerate() {
        let key = format!("node-{}", number % 3);
        let record = FutureRecord::to(topic).key(&key).payload(message);
        producer.send(record, Duration::from_secs(30)).await.expect("produced");
    }
}

/// Every answer in the topic so far, by partition and offset of its reading: how often it was given.
fn answers(broker: &KafkaBroker, topic: &str, wanted: usize) -> BTreeMap<(i64, i64), (usize, serde_json::Value)> {
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", broker.address())
        .set("group.id", format!("reader-{}", std::process::id()))
        .set("enable.auto.commit", "false")
        .set("auto.offset.reset", "earliest")
        .create()
        .expect("consumer");
    let mut all = rdkafka::TopicPartitionList::new();
    for partition in 0..2 {
        all.add_partition_offset(topic, partition, rdkafka::Offset::Beginning).expect("offset");
    }
    consumer.assign(&all).expect("assigned");
    let mut found: BTreeMap<(i64, i64), (usize, serde_json::Value)> = BTreeMap::new();
    let (begun, mut quiet) = (Instant::now(), 0);
    while (found.len() < wanted || quiet < 5) && begun.elapsed() < LIMIT {
        match consumer.poll(Duration::from_millis(200)) {
            Some(Ok(message)) => {
                quiet = 0;
                let answer: serde_json::Value =
                    serde_json::from_slice(message.payload().expect("payload")).expect("JSON");
                let of = |key: &str| answer[key].as_i64().expect("a number");
                let entry = found.entry((of("partition"), of("offset"))).or_insert((0, answer.clone()));
                entry.0 += 1;
            }
            Some(Err(error)) => println!("reading answers: {error}"),
            None => quiet += 1,
        }
    }
    found
}

fn readings(count: usize) -> Vec<String> {
    (0..count)
        .map(|number| match number % 50 {
            7 => "no json at all".to_owned(),
            _ => format!(r#"{{"node":"node-{}","cpu":{},"disk":0.3}}"#, number % 3, 0.3 + (number % 10) as f64 / 50.0),
        })
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_reading_is_answered_once_and_the_group_goes_on_where_it_stood() {
    let Some(jars) = kafka_jars().expect("jars") else { return };
    let folder = tempfile::tempdir().expect("temporary folder");
    let broker = KafkaBroker::start(folder.path(), &jars).expect("broker");
    topics(&broker, &["readings", "verdicts"]).await;
    produce(&broker, "readings", &readings(200)).await;
    let args = kafka_args(&broker.address(), "readings", "verdicts");
    let (first, metrics) = engine(detector(&["cpu", "disk"]));
    let summary =
        detection::stream::kafka::run(&args, first, metrics.clone(), std::future::pending()).await.expect("a stream");
    assert_eq!((summary.stream.messages_processed, summary.acknowledged), (200, 200));
    assert_eq!(summary.stream.errors["not_json"], 4);
    assert!(summary.commits > 0);
    let text = metrics.text();
    assert!(text.contains("berth_trainer_anomaly_messages_processed_total 200"), "{text}");
    assert!(text.contains("berth_trainer_anomaly_errors_total{reason=\"not_json\"} 4"), "{text}");
    let found = answers(&broker, "verdicts", 200);
    assert_eq!((found.len(), found.values().map(|(times, _)| times).sum::<usize>()), (200, 200));
    assert_eq!(found.values().filter(|(_, answer)| answer.get("error").is_some()).count(), 4);
    assert!(found.values().all(|(_, answer)| answer.get("error").is_some() || answer["score"].is_number()));

    // Twenty more: a new process of the group answers these alone.
    produce(&broker, "readings", &readings(20)).await;
    let (second, metrics) = engine(detector(&["cpu", "disk"]));
    let summary =
        detection::stream::kafka::run(&args, second, metrics, std::future::pending()).await.expect("a stream");
    assert_eq!(summary.stream.messages_processed, 20);
    assert_eq!(answers(&broker, "verdicts", 220).len(), 220);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_kafka_does_not_take_for_its_size_stops_nothing() {
    let Some(jars) = kafka_jars().expect("jars") else { return };
    let folder = tempfile::tempdir().expect("temporary folder");
    let broker = KafkaBroker::start(folder.path(), &jars).expect("broker");
    topics(&broker, &["readings", "verdicts"]).await;
    let producer: FutureProducer =
        ClientConfig::new().set("bootstrap.servers", broker.address()).create().expect("producer");
    let reading = r#"{"node":"a","cpu":0.4,"disk":0.4}"#;
    // The second one's key alone is larger than what the reader's producer may send.
    for key in ["a".to_owned(), "b".repeat(20_000), "c".to_owned()] {
        let record = FutureRecord::to("readings").key(&key).payload(reading).partition(0);
        producer.send(record, Duration::from_secs(30)).await.expect("produced");
    }
    let args = detection::stream::kafka::KafkaArgs {
        kafka_settings: vec!["message.max.bytes=10000".to_owned()],
        ..kafka_args(&broker.address(), "readings", "verdicts")
    };
    let (engine, metrics) = engine(detector(&["cpu", "disk"]));
    let summary =
        detection::stream::kafka::run(&args, engine, metrics.clone(), std::future::pending()).await.expect("a stream");
    assert_eq!((summary.stream.messages_processed, summary.acknowledged), (3, 3));
    let found = answers(&broker, "verdicts", 3);
    let kinds: Vec<Option<&str>> = found.values().map(|(_, answer)| answer["error"]["kind"].as_str()).collect();
    assert_eq!(kinds, [None, Some("answer_too_large"), None]);
    let line = "berth_trainer_anomaly_errors_total{reason=\"answer_too_large\"} 1";
    assert!(metrics.text().contains(line), "{}", metrics.text());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_dies_is_waited_for_and_nothing_is_lost() {
    let Some(jars) = kafka_jars().expect("jars") else { return };
    let folder = tempfile::tempdir().expect("temporary folder");
    let mut broker = KafkaBroker::start(folder.path(), &jars).expect("broker");
    topics(&broker, &["readings", "verdicts"]).await;
    produce(&broker, "readings", &readings(60)).await;
    let args = detection::stream::kafka::KafkaArgs {
        stop_when_idle: None,
        ..kafka_args(&broker.address(), "readings", "verdicts")
    };
    let (engine, metrics) = engine(detector(&["cpu", "disk"]));
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let seen = metrics.clone();
    let running = tokio::spawn(async move {
        let stop = async move { stopped.await.map_err(std::io::Error::other) };
        detection::stream::kafka::run(&args, engine, metrics, stop).await
    });
    let until = |line: &'static str| {
        let seen = seen.clone();
        async move {
            let begun = Instant::now();
            while !seen.text().contains(line) {
                assert!(begun.elapsed() < LIMIT, "`{line}` is not in\n{}", seen.text());
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    };
    until("berth_trainer_anomaly_messages_processed_total 60").await;
    broker.kill().expect("killed");
    until("berth_trainer_anomaly_connected{server=\"kafka\"} 0").await;
    broker.start_again().expect("started again");
    until("berth_trainer_anomaly_connected{server=\"kafka\"} 1").await;
    produce(&broker, "readings", &readings(60)).await;
    let found = answers(&broker, "verdicts", 120);
    assert_eq!(found.len(), 120, "{:?}", found.keys());
    stop.send(()).expect("it runs");
    let summary = running.await.expect("no panic").expect("a stream");
    assert!(summary.stream.messages_processed >= 120 && summary.connection_errors > 0, "{}", summary.text());
}

/// Not a test: the process that [`a_kill_between_answer_and_commit_loses_nothing`] kills.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "another test starts it as a process of its own"]
async fn victim() {
    let Ok(brokers) = std::env::var("BERTH_TEST_BROKERS") else { return };
    let (engine, metrics) = engine(detector(&["cpu", "disk"]));
    let args = detection::stream::kafka::KafkaArgs {
        commit_interval: "1h".parse().expect("a span"),
        stop_when_idle: None,
        kafka_settings: vec!["session.timeout.ms=6000".to_owned()],
        ..kafka_args(&brokers, "readings", "verdicts")
    };
    detection::stream::kafka::run(&args, engine, metrics, std::future::pending()).await.expect("a stream");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kill_between_answer_and_commit_loses_nothing() {
    let Some(jars) = kafka_jars().expect("jars") else { return };
    let folder = tempfile::tempdir().expect("temporary folder");
    let broker = KafkaBroker::start(folder.path(), &jars).expect("broker");
    topics(&broker, &["readings", "verdicts"]).await;
    produce(&broker, "readings", &readings(100)).await;
    let mut victim = std::process::Command::new(std::env::current_exe().expect("this program"))
        .args(["--exact", "victim", "--ignored"])
        .env("BERTH_TEST_BROKERS", broker.address())
        .stdout(std::process::Stdio::null())
        .spawn()
        .expect("a process");
    // All is answered, and nothing is committed for an hour.
    let before = answers(&broker, "verdicts", 100);
    victim.kill().expect("killed");
    victim.wait().expect("dead");
    assert_eq!(before.len(), 100);
    produce(&broker, "readings", &readings(10)).await;

    let (engine, metrics) = engine(detector(&["cpu", "disk"]));
    let args = detection::stream::kafka::KafkaArgs {
        kafka_settings: vec!["session.timeout.ms=6000".to_owned()],
        ..kafka_args(&broker.address(), "readings", "verdicts")
    };
    let summary =
        detection::stream::kafka::run(&args, engine, metrics, std::future::pending()).await.expect("a stream");
    assert_eq!(summary.stream.messages_processed, 110, "the hundred come again, since they were not committed");
    let after = answers(&broker, "verdicts", 110);
    assert_eq!(after.len(), 110, "nothing is lost");
    for (place, (times, answer)) in &before {
        assert_eq!(after[place].0, times + 1, "{place:?} was answered again");
        // The same detector says the same, whoever asks.
        assert_eq!(after[place].1["score"], answer["score"], "{place:?}");
    }
}
