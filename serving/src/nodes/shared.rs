//! One poller for many replicas, by way of Redis: whoever comes first fetches a span, and what was fetched is there for the others.
//!
//! A span of time is claimed by a key that expires, fetched, and filed under its range, which is the same for all replicas, since
//! all keep to the same grid. Who finds it claimed waits a little; when nothing comes (the other one died, or its Prometheus is
//! away) it fetches for itself. So does every replica while Redis is away: sharing saves requests, and nothing depends on it.

use super::feed::Samples;
use crate::metrics::Metrics;
use anyhow::{Context, ensure};
use clap::Args;
use cluster::{NodeMetric, NodeName, NodeSample};
use collector::prometheus::incidents::BadMoments;
use collector::prometheus::pods::PodFacts;
use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Client, Cmd, ConnectionAddr, FromRedisValue, TlsCertificates, cmd};
use runtime::WrongUse;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How replicas share one poller, section `[serving.redis]`.
#[derive(Debug, Clone, Default, Args, Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RedisArgs {
    /// Redis by which replicas share one poller, such as redis://redis:6379/0, or rediss:// for TLS; a password belongs into
    /// --redis-password-file
    #[arg(long, env = "BERTH_SERVING_REDIS", value_name = "URL")]
    pub redis: Option<String>,
    /// File that holds the password of Redis (or set BERTH_SERVING_REDIS_PASSWORD)
    #[arg(long, env = "BERTH_SERVING_REDIS_PASSWORD_FILE", value_name = "FILE")]
    pub redis_password_file: Option<PathBuf>,
    /// File with the certificates that Redis is trusted by, PEM; those of the system without it
    #[arg(long, env = "BERTH_SERVING_REDIS_CA_FILE", value_name = "FILE")]
    pub redis_ca_file: Option<PathBuf>,
}

impl RedisArgs {
    /// The client; `None` where no Redis is named. Nothing is sent yet.
    ///
    /// # Errors
    /// An address that is none, or a file that cannot be read.
    pub fn client(&self) -> anyhow::Result<Option<Client>> {
        let Some(address) = &self.redis else {
            let alone = [("redis_password_file", &self.redis_password_file), ("redis_ca_file", &self.redis_ca_file)];
            if let Some((name, _)) = alone.iter().find(|(_, file)| file.is_some()) {
                return Err(WrongUse(format!("`{name}` is given without `redis`")).into());
            }
            return Ok(None);
        };
        // The address may hold a password, which no message repeats.
        let wrong = |_| WrongUse("`redis` of [serving.redis] is no address such as redis://redis:6379/0".to_owned());
        let mut info = redis::IntoConnectionInfo::into_connection_info(address.as_str()).map_err(wrong)?;
        if info.redis_settings().password().is_some() {
            // Every user of a machine can read its command lines.
            let said = "`redis` of [serving.redis] holds a password: name a file with --redis-password-file, or set BERTH_SERVING_REDIS_PASSWORD";
            return Err(WrongUse(said.to_owned()).into());
        }
        let password = match &self.redis_password_file {
            Some(file) => Some(runtime::files::read_text(file)?),
            None => std::env::var("BERTH_SERVING_REDIS_PASSWORD").ok().filter(|password| !password.is_empty()),
        };
        if let Some(password) = password {
            let settings = info.redis_settings().clone().set_password(password.trim());
            info = info.set_redis_settings(settings);
        }
        let client = match &self.redis_ca_file {
            None => Client::open(info),
            Some(file) => {
                if !matches!(info.addr(), ConnectionAddr::TcpTls { .. }) {
                    return Err(
                        WrongUse("`redis_ca_file` wants an address that begins with rediss://".to_owned()).into()
                    );
                }
                let root_cert = Some(runtime::files::read_text(file)?.into_bytes());
                Client::build_with_tls(info, TlsCertificates { client_tls: None, root_cert })
            }
        };
        Ok(Some(client.context("failed to prepare the connection to Redis")?))
    }
}

/// An answer of Redis takes a millisecond; what takes a thousand times as long is no help.
const ANSWER: Duration = Duration::from_secs(1);
/// How often a replica that waits looks whether the other one is done.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// What was fetched is kept for so many refreshes.
const KEPT: u32 = 10;
/// A longer value is not read: an hour of 5,000 nodes at a minute's distance takes 60 MB.
const LONGEST: usize = 64 << 20;
/// A replica's share in the common poller.
#[derive(Debug)]
pub struct Shared {
    client: Client,
    connection: Option<MultiplexedConnection>,
    /// What all keys begin with: replicas share if they read the same source and speak the same version.
    scope: String,
    every: Duration,
    /// After a failure Redis is left alone until then.
    rests_until: Option<Instant>,
    metrics: Arc<Metrics>,
}

impl Shared {
    /// Of the replicas that read `source` every `every`.
    pub fn new(client: Client, source: &str, every: Duration, metrics: Arc<Metrics>) -> Self {
        let what = format!("{source}\n{}\n{every:?}", env!("CARGO_PKG_VERSION"));
        Self {
            client,
            connection: None,
            scope: format!("berth:serving:{}", &runtime::files::sha256(what.as_bytes())[..16]),
            every,
            rests_until: None,
            metrics,
        }
    }

    /// What another replica fetched, or what `fetch` brings.
    pub async fn get<T: Shareable>(
        &mut self,
        times: &Range<i64>,
        step: i64,
        fetch: impl Future<Output = anyhow::Result<T>>,
    ) -> anyhow::Result<T> {
        let key = format!("{}:{}:{}:{}:{step}", self.scope, T::KIND, times.start, times.end);
        if let Some(found) = self.found(&key, times).await {
            self.metrics.polled("redis");
            return Ok(found);
        }
        let fetched = fetch.await?;
        self.metrics.polled("prometheus");
        self.file(&key, &fetched).await;
        Ok(fetched)
    }

    /// What is filed, once it is there; `None` when this replica is the one to fetch it.
    async fn found<T: Shareable>(&mut self, key: &str, times: &Range<i64>) -> Option<T> {
        // A third of the time between two refreshes is what freshness can spare.
        let patience = self.every / 3;
        let (mut get, mut claim) = (cmd("GETRANGE"), cmd("SET"));
        // One byte more than is read tells that there is more. A key that is absent gives no bytes.
        get.arg(key).arg(0).arg(LONGEST);
        claim.arg(format!("{key}:claim")).arg("taken").arg("NX").arg("PX").arg(patience.as_millis().max(1) as u64);
        let began = Instant::now();
        loop {
            let bytes = self.ask::<Vec<u8>>(&get).await?;
            if !bytes.is_empty() {
                let read = checked_length(bytes.len()).and_then(|()| T::unpack(&bytes, times));
                return read
                    .inspect_err(|error| {
                        self.metrics.redis_failed();
                        tracing::warn!(error = format!("{error:#}"), key, "what Redis holds is left aside");
                    })
                    .ok();
            }
            let is_ours = self.ask::<Option<String>>(&claim).await?.is_some();
            if is_ours || began.elapsed() >= patience {
                return None;
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    async fn file<T: Shareable>(&mut self, key: &str, fetched: &T) {
        match fetched.pack().and_then(|bytes| checked_length(bytes.len()).map(|()| bytes)) {
            Ok(bytes) => {
                let mut set = cmd("SET");
                set.arg(key).arg(bytes).arg("PX").arg((self.every * KEPT).as_millis() as u64);
                // A failure is counted there, and the next refresh begins anew.
                let _: Option<redis::Value> = self.ask(&set).await;
            }
            Err(error) => tracing::warn!(error = format!("{error:#}"), "what was fetched cannot be shared"),
        }
    }

    /// `None` while Redis is away.
    async fn ask<T: FromRedisValue>(&mut self, command: &Cmd) -> Option<T> {
        if self.rests_until.is_some_and(|until| Instant::now() < until) {
            return None;
        }
        match self.try_ask(command).await {
            Ok(answer) => {
                if self.rests_until.take().is_some() {
                    tracing::info!("Redis is back, replicas share what is fetched");
                }
                Some(answer)
            }
            Err(error) => {
                self.metrics.redis_failed();
                if self.rests_until.is_none() {
                    tracing::warn!(%error, "Redis is away, this replica polls by itself");
                }
                self.connection = None;
                self.rests_until = Some(Instant::now() + self.every / 2);
                None
            }
        }
    }

    async fn try_ask<T: FromRedisValue>(&mut self, command: &Cmd) -> redis::RedisResult<T> {
        let connection = match &mut self.connection {
            Some(connection) => connection,
            None => {
                let config = AsyncConnectionConfig::new()
                    .set_connection_timeout(Some(ANSWER))
                    .set_response_timeout(Some(ANSWER));
                let connection = self.client.get_multiplexed_async_connection_with_config(&config).await?;
                self.connection.insert(connection)
            }
        };
        command.query_async(connection).await
    }
}

/// What replicas share.
pub trait Shareable: Sized {
    /// As in keys.
    const KIND: &'static str;

    /// As bytes.
    ///
    /// # Errors
    /// None that is known.
    fn pack(&self) -> anyhow::Result<Vec<u8>>;

    /// From bytes that another replica wrote.
    ///
    /// # Errors
    /// When they are something else, or not of these times.
    fn unpack(bytes: &[u8], times: &Range<i64>) -> anyhow::Result<Self>;
}

fn checked_length(bytes: usize) -> anyhow::Result<()> {
    ensure!(bytes <= LONGEST, "it has more than {LONGEST} bytes, the most that replicas share at once");
    Ok(())
}

fn packed(value: &impl Serialize) -> anyhow::Result<Vec<u8>> {
    Ok(rmp_serde::to_vec(value)?)
}

fn unpacked<T: DeserializeOwned>(bytes: &[u8]) -> anyhow::Result<T> {
    rmp_serde::from_slice(bytes).context("it is no MessagePack of this version")
}

impl Shareable for Samples {
    const KIND: &'static str = "samples";

    fn pack(&self) -> anyhow::Result<Vec<u8>> {
        let values = |samples: &[NodeSample]| samples.iter().map(|sample| (sample.ts, sample.values)).collect();
        let lines: Vec<(&NodeName, Vec<(i64, [f64; NodeMetric::COUNT])>)> =
            self.iter().map(|(node, samples)| (node, values(samples))).collect();
        packed(&lines)
    }

    fn unpack(bytes: &[u8], times: &Range<i64>) -> anyhow::Result<Self> {
        let lines: Vec<(NodeName, Vec<(i64, [f64; NodeMetric::COUNT])>)> = unpacked(bytes)?;
        super::keeper::check_nodes(lines.len())?;
        let mut all = Self::with_capacity(lines.len());
        for (node, samples) in lines {
            let strange = samples.iter().find(|(ts, _)| !times.contains(ts));
            ensure!(strange.is_none(), "it has a sample of another time than {times:?}");
            let samples = samples.into_iter().map(|(ts, values)| NodeSample { ts, values }).collect();
            all.push((node, samples));
        }
        Ok(all)
    }
}

impl Shareable for Vec<BadMoments> {
    const KIND: &'static str = "bad_moments";

    fn pack(&self) -> anyhow::Result<Vec<u8>> {
        packed(self)
    }

    fn unpack(bytes: &[u8], _: &Range<i64>) -> anyhow::Result<Self> {
        unpacked(bytes)
    }
}

impl Shareable for PodFacts {
    const KIND: &'static str = "pods";

    fn pack(&self) -> anyhow::Result<Vec<u8>> {
        packed(self)
    }

    fn unpack(bytes: &[u8], _: &Range<i64>) -> anyhow::Result<Self> {
        unpacked(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_come_back_and_those_of_another_time_do_not() {
        let mut sample = NodeSample::empty(60_000);
        sample.set(NodeMetric::CpuUsed, 1.5);
        let samples: Samples = vec![(NodeName::new("n1"), vec![sample])];
        let bytes = samples.pack().expect("bytes");
        let back = Samples::unpack(&bytes, &(60_000..90_000)).expect("samples");
        let (got, wanted) = (&back[0].1[0], &samples[0].1[0]);
        assert_eq!((got.ts, got.get(NodeMetric::CpuUsed)), (wanted.ts, 1.5));
        assert!(got.get(NodeMetric::Load1).is_nan(), "missing stays missing");
        assert!(format!("{:#}", Samples::unpack(&bytes, &(0..60_000)).expect_err("earlier")).contains("another time"));
        assert!(Samples::unpack(&bytes[1..], &(60_000..90_000)).is_err());
    }

    #[test]
    fn a_password_is_read_from_its_file_and_told_to_nobody() {
        let folder = tempfile::tempdir().expect("temporary folder");
        let file = folder.path().join("password");
        std::fs::write(&file, "secret-word\n").expect("written");
        let args = |redis: Option<&str>| RedisArgs {
            redis: redis.map(str::to_owned),
            redis_password_file: Some(file.clone()),
            redis_ca_file: None,
        };
        let client = args(Some("redis://127.0.0.1:6379/0")).client().expect("a client").expect("one is named");
        assert_eq!(client.get_connection_info().redis_settings().password(), Some("secret-word"));
        assert!(args(None).client().is_err());
        let error = format!("{:#}", args(Some("secret-word")).client().expect_err("no address"));
        assert!(!error.contains("secret-word"), "{error}");
        // Every user of a machine can read its command lines.
        let error =
            format!("{:#}", args(Some("redis://:secret-word@127.0.0.1:6379/0")).client().expect_err("a password"));
        assert!(!error.contains("secret-word") && error.contains("--redis-password-file"), "{error}");
        let plain = RedisArgs { redis_ca_file: Some(file.clone()), ..args(Some("redis://127.0.0.1:6379/0")) };
        let error = plain.client().expect_err("certificates for nothing").to_string();
        assert!(error.contains("rediss://"), "{error}");
    }
}
