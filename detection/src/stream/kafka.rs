//! From one Kafka topic to another, at least once.
//!
//! A message's offset is committed only after its answer was acknowledged by all in-sync replicas. Whatever happens in
//! between (a kill, a rebalance, a broker that is away), the message comes again and is answered again; partition and offset
//! in the answer tell repetitions.

use super::{Engine, Origin, StreamSummary};
use crate::metrics::Metrics;
use anyhow::{Context, bail, ensure};
use clap::Args;
use futures::future::join_all;
use rdkafka::client::ClientContext;
use rdkafka::config::{ClientConfig, RDKafkaLogLevel};
use rdkafka::consumer::{CommitMode, Consumer, ConsumerContext, StreamConsumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{BorrowedMessage, Message};
use rdkafka::producer::{FutureProducer, FutureRecord, Producer};
use rdkafka::{Offset, TopicPartitionList};
use runtime::WrongUse;
use runtime::settings::Span;
use serde::Serialize;
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tokio::task::block_in_place;

/// From where to where.
#[derive(Debug, Clone, Args, Serialize)]
pub struct KafkaArgs {
    /// Brokers of Apache Kafka, such as kafka-0:9092,kafka-1:9092; without them lines of standard input are answered
    #[arg(long, env = "BERTH_KAFKA_BROKERS", value_name = "BROKERS", requires_all = ["input_topic", "output_topic"])]
    pub kafka: Option<String>,
    /// Topic of readings, one JSON object per message
    #[arg(long, env = "BERTH_KAFKA_INPUT_TOPIC", value_name = "TOPIC")]
    pub input_topic: Option<String>,
    /// Topic for answers, one JSON object per message, with the key of the reading
    #[arg(long, env = "BERTH_KAFKA_OUTPUT_TOPIC", value_name = "TOPIC")]
    pub output_topic: Option<String>,
    /// Consumer group: its members share the partitions and its offsets say where it stands
    #[arg(long, env = "BERTH_KAFKA_GROUP", default_value = "berth-anomaly", value_name = "GROUP")]
    pub group: String,
    /// How often offsets are committed; what was answered since is answered again after a kill
    #[arg(long, env = "BERTH_KAFKA_COMMIT_INTERVAL", default_value = "1s", value_name = "SPAN")]
    pub commit_interval: Span,
    /// End when no message came for so long [default: go on until SIGTERM]
    #[arg(long, env = "BERTH_KAFKA_STOP_WHEN_IDLE", value_name = "SPAN")]
    pub stop_when_idle: Option<Span>,
    /// A setting of librdkafka, such as session.timeout.ms=10000; may be given often
    #[arg(long = "kafka-setting", value_name = "NAME=VALUE")]
    pub kafka_settings: Vec<String>,
}

/// Settings that the promise of at least once rests on.
const OURS: [&str; 7] = [
    "bootstrap.servers",
    "group.id",
    "enable.auto.commit",
    "enable.auto.offset.store",
    "enable.idempotence",
    "acks",
    "message.timeout.ms",
];
/// Messages that are answered before their answers must be acknowledged.
const BATCH: usize = 500;
/// How long answers wait for further messages to be sent with.
const LINGER: Duration = Duration::from_millis(20);
/// How often a quiet loop looks up.
const LOOK_UP: Duration = Duration::from_millis(200);
/// How often Kafka is asked whether it is there again.
const PROBE_EVERY: Duration = Duration::from_secs(2);
/// The first and the longest pause before an answer that was refused is sent again.
const PAUSES: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(30));
/// How long answers that are under way are waited for when the process is told to stop.
const GRACE: Duration = Duration::from_secs(10);

/// What happened on the way, beside the readings themselves.
#[derive(Debug, Clone, Default, Serialize)]
pub struct KafkaSummary {
    /// The readings.
    #[serde(flatten)]
    pub stream: StreamSummary,
    /// Answers that Kafka acknowledged.
    pub acknowledged: u64,
    /// Commits of offsets.
    pub commits: u64,
    /// Errors of the connection that were waited out.
    pub connection_errors: u64,
}

/// Whether Kafka answers: told by librdkafka's own threads.
#[derive(Debug)]
struct Link {
    is_away: AtomicBool,
    errors: AtomicU64,
    metrics: Arc<Metrics>,
}

impl Link {
    fn lost(&self, reason: &str) {
        self.errors.fetch_add(1, Ordering::Relaxed);
        self.metrics.retried("kafka");
        if !self.is_away.swap(true, Ordering::Relaxed) {
            self.metrics.connected("kafka", false);
            tracing::warn!(reason, "kafka is away, trying again; nothing is lost");
        }
    }

    fn answered(&self) {
        if self.is_away.swap(false, Ordering::Relaxed) {
            self.metrics.connected("kafka", true);
            tracing::info!("kafka answers");
        }
    }
}

#[derive(Clone)]
struct LinkContext(Arc<Link>);

impl ClientContext for LinkContext {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        tracing::debug!(?level, facility, message, "librdkafka");
    }

    fn error(&self, error: KafkaError, reason: &str) {
        match error.rdkafka_error_code() {
            Some(
                RDKafkaErrorCode::AllBrokersDown | RDKafkaErrorCode::BrokerTransportFailure | RDKafkaErrorCode::Resolve,
            ) => {
                self.0.lost(reason);
            }
            _ => tracing::warn!(%error, reason, "kafka reports an error"),
        }
    }
}

impl ConsumerContext for LinkContext {}

/// Reads, answers and commits until `stop` resolves, or nothing came for as long as `args` allow.
///
/// # Errors
/// Settings that make no sense, answers that Kafka refuses for good. What was not committed comes again next time.
pub async fn run(
    args: &KafkaArgs,
    engine: Engine,
    metrics: Arc<Metrics>,
    stop: impl Future<Output = std::io::Result<()>>,
) -> anyhow::Result<KafkaSummary> {
    let (Some(brokers), Some(input), Some(output)) = (&args.kafka, &args.input_topic, &args.output_topic) else {
        return Err(WrongUse("give --kafka, --input-topic and --output-topic together".to_owned()).into());
    };
    ensure!(input != output, WrongUse(format!("input and output topic are both `{input}`: answers would be answered")));
    let link = Arc::new(Link { is_away: AtomicBool::new(true), errors: AtomicU64::new(0), metrics });
    link.metrics.connected("kafka", false);
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", brokers).set("client.id", "berth-trainer").set("reconnect.backoff.max.ms", "5000");
    for (name, value) in further_settings(&args.kafka_settings)? {
        config.set(name, value);
    }
    let consumer: StreamConsumer<LinkContext> = config
        .clone()
        .set("group.id", &args.group)
        .set("enable.auto.commit", "false")
        .set("enable.auto.offset.store", "false")
        .set("auto.offset.reset", "earliest")
        .create_with_context(LinkContext(Arc::clone(&link)))
        .context("failed to prepare the consumer")?;
    let producer: FutureProducer<LinkContext> = config
        .set("enable.idempotence", "true")
        .set("acks", "all")
        // An answer is sent again until it is acknowledged; the default gives up after five minutes.
        .set("message.timeout.ms", "0")
        .create_with_context(LinkContext(Arc::clone(&link)))
        .context("failed to prepare the producer")?;
    consumer.subscribe(&[input]).with_context(|| format!("failed to subscribe to `{input}`"))?;
    tracing::info!(brokers, input, output, group = args.group, "waiting for messages");
    let mut road = Road {
        consumer: &consumer,
        producer: &producer,
        output,
        engine,
        link: &link,
        done: BTreeMap::new(),
        committed_at: Instant::now(),
        probed_at: None,
        summary: KafkaSummary::default(),
    };
    tokio::pin!(stop);
    let (mut quiet_since, mut missed_topic) = (None::<Instant>, false);
    loop {
        let received = tokio::select! {
            stopped = &mut stop => { stopped?; break }
            received = tokio::time::timeout(LOOK_UP, consumer.recv()) => received,
        };
        match received {
            Ok(Ok(first)) => {
                quiet_since = None;
                link.answered();
                let batch = road.gather(first).await;
                tokio::select! {
                    // The batch is dropped unacknowledged after the grace; it comes again.
                    stopped = async { (&mut stop).await?; tokio::time::sleep(GRACE).await; std::io::Result::Ok(()) } => {
                        stopped?;
                        tracing::warn!(messages = batch.len(), "answers were not acknowledged in time, their messages come again next time");
                        break;
                    }
                    settled = road.settle(&batch) => settled?,
                }
            }
            Ok(Err(error)) => {
                if error.rdkafka_error_code() == Some(RDKafkaErrorCode::UnknownTopicOrPartition) {
                    if !std::mem::replace(&mut missed_topic, true) {
                        tracing::warn!(topic = input, "kafka has no such topic yet, waiting for it");
                    }
                } else {
                    link.lost(&error.to_string());
                }
                // librdkafka connects again by itself, with growing pauses; errors of every try wait in line here.
                tokio::time::sleep(LOOK_UP / 4).await;
            }
            Err(_nothing_came) => {
                if link.is_away.load(Ordering::Relaxed) {
                    quiet_since = None;
                    road.probe();
                } else if consumer.assignment().is_ok_and(|assigned| assigned.count() > 0) {
                    let since = *quiet_since.get_or_insert_with(Instant::now);
                    if args.stop_when_idle.is_some_and(|limit| since.elapsed() >= limit.0) {
                        break;
                    }
                }
            }
        }
        road.commit_when_due(args.commit_interval.0);
    }
    road.commit();
    let Road { engine, mut summary, .. } = road;
    summary.stream = engine.summary();
    summary.connection_errors = link.errors.load(Ordering::Relaxed);
    Ok(summary)
}

fn further_settings(settings: &[String]) -> Result<Vec<(&str, &str)>, WrongUse> {
    let mut all = Vec::new();
    for setting in settings {
        let Some((name, value)) = setting.split_once('=') else {
            return Err(WrongUse(format!("--kafka-setting `{setting}` must be NAME=VALUE")));
        };
        if OURS.contains(&name) {
            return Err(WrongUse(format!(
                "--kafka-setting must not change `{name}`: that nothing is lost rests on it"
            )));
        }
        if name.contains("password") || name.contains("secret") || name.contains("pem") {
            return Err(WrongUse(format!(
                "--kafka-setting must not hold the secret `{name}`: flags are seen by everyone on the machine"
            )));
        }
        all.push((name, value));
    }
    Ok(all)
}

/// What one loop holds.
struct Road<'a> {
    consumer: &'a StreamConsumer<LinkContext>,
    producer: &'a FutureProducer<LinkContext>,
    output: &'a str,
    engine: Engine,
    link: &'a Link,
    /// By topic and partition, the offset after the last one whose answer was acknowledged, not committed yet.
    done: BTreeMap<(String, i32), i64>,
    committed_at: Instant,
    probed_at: Option<Instant>,
    summary: KafkaSummary,
}

/// A message with its answer.
#[derive(Clone)]
struct Answered {
    topic: String,
    partition: i32,
    offset: i64,
    key: Option<Vec<u8>>,
    answer: String,
}

impl Road<'_> {
    /// Answers this message and those that wait behind it.
    async fn gather(&mut self, first: BorrowedMessage<'_>) -> Vec<Answered> {
        let mut batch = vec![self.answer(&first)];
        let until = tokio::time::Instant::now() + LINGER;
        while batch.len() < BATCH {
            match tokio::time::timeout_at(until, self.consumer.recv()).await {
                Ok(Ok(message)) => batch.push(self.answer(&message)),
                // An error shows again at the next look.
                Ok(Err(_)) | Err(_) => break,
            }
        }
        batch
    }

    fn answer(&mut self, message: &BorrowedMessage<'_>) -> Answered {
        let (partition, offset) = (message.partition(), message.offset());
        let origin = Origin::Kafka { partition, offset };
        let answer = match message.payload() {
            Some(payload) => self.engine.answer(payload, origin),
            None => self.engine.refuse(origin, "empty", "the message has no value"),
        };
        Answered {
            topic: message.topic().to_owned(),
            partition,
            offset,
            key: message.key().map(<[u8]>::to_vec),
            answer: answer.text,
        }
    }

    /// Sends the answers and waits until all are acknowledged; only then their messages count as done. An answer that is too large for
    /// Kafka gives way to a sentence that says so: the same message would come again for ever, and nothing behind it.
    async fn settle(&mut self, batch: &[Answered]) -> anyhow::Result<()> {
        let mut waiting: Vec<Cow<'_, Answered>> = batch.iter().map(Cow::Borrowed).collect();
        let mut pause = PAUSES.0;
        while !waiting.is_empty() {
            let deliveries = join_all(waiting.iter().map(|answered| self.send(answered))).await;
            let (mut again, mut smaller) = (Vec::new(), Vec::new());
            for (answered, delivery) in waiting.into_iter().zip(deliveries) {
                match delivery {
                    Ok(()) => self.summary.acknowledged += 1,
                    Err(error) if is_too_large(&error) && matches!(answered, Cow::Borrowed(_)) => {
                        tracing::warn!(
                            partition = answered.partition,
                            offset = answered.offset,
                            bytes = answered.answer.len() + answered.key.as_ref().map_or(0, Vec::len),
                            "an answer is too large for kafka, it is told so instead"
                        );
                        self.link.metrics.error(TOO_LARGE);
                        smaller.push(Cow::Owned(answered.without_content()));
                    }
                    Err(error) if is_hopeless(&error) || self.producer.client().fatal_error().is_some() => {
                        let (partition, offset) = (answered.partition, answered.offset);
                        bail!(
                            "kafka refuses the answer to offset {offset} of partition {partition} for good: {error}. Its offset is not committed, so the message comes again"
                        );
                    }
                    Err(error) => {
                        self.link.lost(&error.to_string());
                        again.push(answered);
                    }
                }
            }
            if !again.is_empty() {
                tokio::time::sleep(pause).await;
                pause = (2 * pause).min(PAUSES.1);
            }
            waiting = again;
            waiting.append(&mut smaller);
        }
        self.link.answered();
        for answered in batch {
            let next = self.done.entry((answered.topic.clone(), answered.partition)).or_default();
            *next = answered.offset + 1;
        }
        Ok(())
    }

    async fn send(&self, answered: &Answered) -> Result<(), KafkaError> {
        let record = FutureRecord::<[u8], str>::to(self.output).payload(&answered.answer);
        let record = match &answered.key {
            Some(key) => record.key(&key[..]),
            None => record,
        };
        self.producer.send(record, rdkafka::util::Timeout::Never).await.map(|_| ()).map_err(|(error, _)| error)
    }

    /// Asks whether Kafka is there again, where no message would tell.
    fn probe(&mut self) {
        if self.probed_at.is_some_and(|at| at.elapsed() < PROBE_EVERY) {
            return;
        }
        self.probed_at = Some(Instant::now());
        if block_in_place(|| self.consumer.fetch_metadata(Some(self.output), PROBE_EVERY)).is_ok() {
            self.link.answered();
        }
    }

    fn commit_when_due(&mut self, interval: Duration) {
        if self.committed_at.elapsed() >= interval {
            self.commit();
        }
    }

    /// Commits what is done. A commit that fails is tried again with the next one: until then messages may come again.
    fn commit(&mut self) {
        self.committed_at = Instant::now();
        if self.done.is_empty() {
            return;
        }
        let mut offsets = TopicPartitionList::new();
        for ((topic, partition), next) in &self.done {
            if let Err(error) = offsets.add_partition_offset(topic, *partition, Offset::Offset(*next)) {
                tracing::warn!(%error, topic, partition, "an offset cannot be committed");
            }
        }
        match block_in_place(|| self.consumer.commit(&offsets, CommitMode::Sync)) {
            Ok(()) => {
                self.summary.commits += 1;
                self.done.clear();
            }
            Err(error) => {
                self.link.metrics.retried("kafka");
                tracing::warn!(%error, "offsets were not committed, trying again");
            }
        }
    }
}

/// How an answer is counted that Kafka does not take for its size.
const TOO_LARGE: &str = "answer_too_large";

impl Answered {
    /// The same with nothing of what came in it, its key included.
    fn without_content(&self) -> Self {
        let mut answer = serde_json::Map::new();
        Origin::Kafka { partition: self.partition, offset: self.offset }.note(&mut answer);
        let message = "the answer, with the key of the reading, is too large for kafka";
        answer.insert("error".to_owned(), serde_json::json!({ "kind": TOO_LARGE, "message": message }));
        let answer = serde_json::Value::Object(answer).to_string();
        Self { topic: self.topic.clone(), partition: self.partition, offset: self.offset, key: None, answer }
    }
}

fn is_too_large(error: &KafkaError) -> bool {
    error.rdkafka_error_code() == Some(RDKafkaErrorCode::MessageSizeTooLarge)
}

/// Errors that no further try heals.
fn is_hopeless(error: &KafkaError) -> bool {
    matches!(
        error.rdkafka_error_code(),
        Some(
            RDKafkaErrorCode::MessageSizeTooLarge
                | RDKafkaErrorCode::TopicAuthorizationFailed
                | RDKafkaErrorCode::InvalidTopic
                | RDKafkaErrorCode::Fatal
        )
    )
}

impl KafkaSummary {
    /// For people.
    pub fn text(&self) -> String {
        format!(
            "{}kafka {} answers acknowledged, {} commits, {} connection errors waited out\n",
            self.stream.text(),
            self.acknowledged,
            self.commits,
            self.connection_errors
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_that_the_promise_rests_on_and_secrets_are_refused() {
        let settings = |text: &str| further_settings(&[text.to_owned()]).map(|_| ()).map_err(|error| error.to_string());
        assert_eq!(settings("session.timeout.ms=9000"), Ok(()));
        assert!(settings("acks=1").expect_err("refused").contains("`acks`"));
        assert!(settings("sasl.password=x").expect_err("refused").contains("`sasl.password`"));
        assert!(settings("nonsense").expect_err("refused").contains("NAME=VALUE"));
    }
}
