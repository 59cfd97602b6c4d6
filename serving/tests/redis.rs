//! Two replicas that share one poller by a real Redis, which hangs, dies and comes back.

#[path = "support/redis.rs"]
mod redis;
mod support;

use collector::testing::free_port;
use redis::{Redis, redis_server};
use support::{Cluster, Root, Server};

/// The value of a counter; 0 where it is not told yet.
async fn count(server: &Server, name: &str) -> u64 {
    let text = server.text("/metrics").await;
    let line = text.lines().find_map(|line| line.strip_prefix(&format!("berth_serving_{name} ")));
    line.map_or(0, |value| value.parse().expect("a number"))
}

const BY_REDIS: &str = "polls_total{source=\"redis\"}";
const BY_ITSELF: &str = "polls_total{source=\"prometheus\"}";
const REFRESHES: &str = "refreshes_total{outcome=\"ok\"}";

async fn grows(server: &mut Server, name: &str, by: u64) {
    let before = count(server, name).await;
    server.wait(&format!("{name} grows"), async |server| count(server, name).await >= before + by).await;
}

/// Waits until one of the two has read so many spans more that the other one fetched.
async fn shares(one: &mut Server, two: &Server, by: u64) {
    let sum = async |one: &Server, two: &Server| count(one, BY_REDIS).await + count(two, BY_REDIS).await;
    let before = sum(one, two).await;
    one.wait("they share", async |one| sum(one, two).await >= before + by).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_polls_for_all_and_all_poll_for_themselves_while_redis_is_away() {
    let Some(program) = redis_server() else { return };
    let (first, second) = (Root::with_models().await, Root::with_models().await);
    let now = chrono::Utc::now().timestamp() / 60 * 60;
    let Some(prometheus) = Cluster::new(1, now).serve(first.path()) else { return };
    let redis = Redis::start(&program, first.path(), free_port().expect("a port"));
    let (url, address) = (prometheus.url(), redis.url());
    let arguments = ["--prometheus", &url, "--warm", "1h", "--every", "3s", "--stale-after", "1h", "--redis", &address];
    let mut one = Server::start(first.path(), &arguments).await;
    let mut two = Server::start(second.path(), &arguments).await;
    for server in [&mut one, &mut two] {
        server.ready().await;
    }
    shares(&mut one, &two, 3).await;
    for server in [&mut one, &mut two] {
        grows(server, REFRESHES, 2).await;
    }
    // The same nodes are known, whoever asked for them.
    let nodes = async |server: &Server| server.get("/v1/nodes").await["nodes"].as_array().map(Vec::len);
    assert_eq!(nodes(&one).await, nodes(&two).await);

    // It hangs, and it dies: neither keeps a replica from being fresh.
    redis.signal("-STOP");
    for server in [&mut one, &mut two] {
        server.wait("that is seen", async |server| server.said().contains("Redis is away")).await;
        grows(server, BY_ITSELF, 2).await;
        grows(server, REFRESHES, 2).await;
    }
    redis.signal("-CONT");
    for server in [&mut one, &mut two] {
        server.wait("it is back", async |server| server.said().contains("Redis is back")).await;
    }
    let port = redis.port;
    drop(redis);
    for server in [&mut one, &mut two] {
        grows(server, "redis_failures_total", 1).await;
        grows(server, BY_ITSELF, 2).await;
        assert_eq!(count(server, "refreshes_total{outcome=\"failed\"}").await, 0);
    }
    let _again = Redis::start(&program, first.path(), port);
    shares(&mut one, &two, 2).await;

    // Whoever is left polls.
    assert_eq!(one.stop(), Some(0), "{}", one.said());
    grows(&mut two, BY_ITSELF, 2).await;
    grows(&mut two, REFRESHES, 2).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redis_that_was_never_there_costs_nothing_but_a_warning() {
    let root = Root::with_models().await;
    let now = chrono::Utc::now().timestamp() / 60 * 60;
    let Some(prometheus) = Cluster::new(1, now).serve(root.path()) else { return };
    let address = format!("redis://127.0.0.1:{}/0", free_port().expect("a port"));
    let url = prometheus.url();
    let arguments = ["--prometheus", &url, "--warm", "1h", "--every", "1s", "--stale-after", "1h", "--redis", &address];
    let mut server = Server::start(root.path(), &arguments).await;
    server.ready().await;
    grows(&mut server, REFRESHES, 2).await;
    assert!(server.said().contains("Redis is away"), "{}", server.said());
    assert!(!server.said().contains("Redis is back"));
    assert_eq!(server.stop(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redis_behind_tls_is_trusted_by_the_certificates_that_are_named() {
    let Some(program) = redis_server() else { return };
    let (first, second) = (Root::with_models().await, Root::with_models().await);
    let now = chrono::Utc::now().timestamp() / 60 * 60;
    let Some(prometheus) = Cluster::new(1, now).serve(first.path()) else { return };
    let signed = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).expect("a certificate");
    let (certificate, key) = (first.path().join("redis.crt"), first.path().join("redis.key"));
    std::fs::write(&certificate, signed.cert.pem()).expect("written");
    std::fs::write(&key, signed.signing_key.serialize_pem()).expect("written");
    let redis = Redis::behind_tls(&program, first.path(), &certificate, &key);
    let (url, address) = (prometheus.url(), redis.url().replace("redis://", "rediss://"));
    let plain = ["--prometheus", &url, "--warm", "1h", "--every", "3s", "--stale-after", "1h", "--redis", &address];
    let trusted = certificate.to_string_lossy();
    let arguments = [&plain[..], &["--redis-ca-file", &trusted]].concat();
    let mut one = Server::start(first.path(), &arguments).await;
    let two = Server::start(second.path(), &arguments).await;
    one.ready().await;
    shares(&mut one, &two, 3).await;
    assert!(!one.said().contains("Redis is away"), "{}", one.said());

    // The system's certificates do not vouch for it: the replica goes on by itself.
    let stranger = Root::with_models().await;
    let mut stranger = Server::start(stranger.path(), &plain).await;
    stranger.wait("it is not trusted", async |server| server.said().contains("Redis is away")).await;
    grows(&mut stranger, REFRESHES, 2).await;
}
