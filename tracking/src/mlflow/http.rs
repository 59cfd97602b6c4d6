//! One request to an MLflow server, and what its answer means.

use crate::TrackingError;
use reqwest::{Method, RequestBuilder, Response, StatusCode};
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::time::Duration;
use url::Url;

/// Longer than this for one small request, and the server counts as away. Guess: on a loaded machine the slowest call, a
/// batch of 1000 metrics, took 0.6 s.
const ANSWER_LIMIT: Duration = Duration::from_secs(20);

/// For the bytes of one artifact. Guess: 64 MB took 0.6 s on one machine; this leaves room for slow networks.
const TRANSFER_LIMIT: Duration = Duration::from_secs(600);

pub(super) struct Http {
    base: Url,
    client: reqwest::Client,
    /// Address without secrets.
    pub(super) server: String,
}

impl Http {
    pub(super) fn new(base: Url, client: reqwest::Client) -> Self {
        let mut shown = base.clone();
        // A failure means that there is nothing to hide.
        let _ = shown.set_password(None);
        let _ = shown.set_username("");
        Self { base, client, server: shown.as_str().trim_end_matches('/').to_owned() }
    }

    fn url(&self, prefix: &str, path: &str) -> Url {
        let mut url = self.base.clone();
        // An `http` address always has a path, so this never fails.
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().extend(prefix.split('/')).extend(path.split('/'));
        }
        url
    }

    pub(super) async fn get<T: DeserializeOwned>(
        &self,
        doing: &str,
        path: &str,
        query: &[(&str, &str)],
    ) -> Result<T, TrackingError> {
        self.json(doing, self.request(Method::GET, path).query(query)).await
    }

    pub(super) async fn post<T: DeserializeOwned>(
        &self,
        doing: &str,
        path: &str,
        body: &Value,
    ) -> Result<T, TrackingError> {
        self.json(doing, self.request(Method::POST, path).json(body)).await
    }

    pub(super) async fn delete(&self, doing: &str, path: &str, body: &Value) -> Result<Value, TrackingError> {
        self.json(doing, self.request(Method::DELETE, path).json(body)).await
    }

    fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.client.request(method, self.url("api/2.0/mlflow", path)).timeout(ANSWER_LIMIT)
    }

    async fn json<T: DeserializeOwned>(&self, doing: &str, request: RequestBuilder) -> Result<T, TrackingError> {
        let response = self.send(doing, request).await?;
        let bytes = response.bytes().await.map_err(|error| self.away(doing, &error))?;
        serde_json::from_slice(&bytes).map_err(|error| TrackingError::Foreign {
            server: self.server.clone(),
            doing: doing.to_owned(),
            why: format!("{error}; it begins with `{}`. Is this the address of an MLflow server?", beginning(&bytes)),
        })
    }

    /// Sends the bytes of an artifact to the server's proxy.
    pub(super) async fn put_artifact(
        &self,
        doing: &str,
        path: &str,
        length: u64,
        body: reqwest::Body,
    ) -> Result<(), TrackingError> {
        let request = self.client.put(self.url("api/2.0/mlflow-artifacts/artifacts", path)).timeout(TRANSFER_LIMIT);
        let request = request.header(reqwest::header::CONTENT_LENGTH, length).body(body);
        self.send(doing, request).await.map(drop)
    }

    /// Checks that the server has a proxy for artifacts, before anything is computed whose artifacts it should keep.
    ///
    /// # Errors
    /// [`TrackingError::Refused`] when it was started without; [`TrackingError::Away`].
    pub(super) async fn artifacts_are_served(&self) -> Result<(), TrackingError> {
        // A file that does not exist: whatever is said about it, the proxy has said it.
        let path = format!("berth-{}", uuid::Uuid::new_v4());
        match self.get_artifact("look for its proxy of artifacts", &path).await {
            Err(TrackingError::Refused { message, .. }) if !serves_no_artifacts(message.as_bytes()) => Ok(()),
            other => other.map(drop),
        }
    }

    /// Fetches the bytes of an artifact from the server's proxy.
    pub(super) async fn get_artifact(&self, doing: &str, path: &str) -> Result<Vec<u8>, TrackingError> {
        let request = self.client.get(self.url("api/2.0/mlflow-artifacts/artifacts", path)).timeout(TRANSFER_LIMIT);
        let response = self.send(doing, request).await?;
        let bytes = response.bytes().await.map_err(|error| self.away(doing, &error))?;
        Ok(bytes.into())
    }

    /// Sends a request; an answer that is no success becomes an error.
    async fn send(&self, doing: &str, request: RequestBuilder) -> Result<Response, TrackingError> {
        let response = request.send().await.map_err(|error| self.away(doing, &error))?;
        let status = response.status();
        if status.is_success() {
            return Ok(response);
        }
        let bytes = response.bytes().await.map_err(|error| self.away(doing, &error))?;
        let away = [
            StatusCode::BAD_GATEWAY,
            StatusCode::SERVICE_UNAVAILABLE,
            StatusCode::GATEWAY_TIMEOUT,
            StatusCode::TOO_MANY_REQUESTS,
        ];
        // That one will not come back by itself.
        if away.contains(&status) && !serves_no_artifacts(&bytes) {
            let why = format!("it answers {status}: {}", beginning(&bytes));
            return Err(TrackingError::Away { server: self.server.clone(), doing: doing.to_owned(), why });
        }
        let (error_code, message) = words(status, &bytes);
        Err(TrackingError::Refused {
            server: self.server.clone(),
            doing: doing.to_owned(),
            status: status.as_u16(),
            error_code,
            message,
        })
    }

    fn away(&self, doing: &str, error: &reqwest::Error) -> TrackingError {
        let mut why = if error.is_timeout() { "no answer in time".to_owned() } else { error.to_string() };
        let mut cause = std::error::Error::source(error);
        while let Some(inner) = cause {
            why = inner.to_string();
            cause = inner.source();
        }
        TrackingError::Away { server: self.server.clone(), doing: doing.to_owned(), why }
    }
}

/// What MLflow says, with 503, when it was started with --no-serve-artifacts: it names that flag, or (3.17) the one that is missing.
fn serves_no_artifacts(answer: &[u8]) -> bool {
    String::from_utf8_lossy(answer).contains("-serve-artifacts")
}

/// The server's own code and message. Some answers are plain text: those of its host check, and of proxies before it.
fn words(status: StatusCode, bytes: &[u8]) -> (String, String) {
    if let Ok(Value::Object(fields)) = serde_json::from_slice::<Value>(bytes) {
        let field =
            |name: &str| fields.get(name).map(|value| value.as_str().map_or_else(|| value.to_string(), str::to_owned));
        let message = field("message").or_else(|| field("detail")).unwrap_or_else(|| beginning(bytes));
        return (field("error_code").unwrap_or_else(|| status.to_string()), message);
    }
    let hint = match status {
        StatusCode::FORBIDDEN => {
            ". MLflow answers in plain text when it does not trust the `Host` of a request: start it with \
             --allowed-hosts 'localhost:*,127.0.0.1:*,<its name>:*', or reach it by a private address"
        }
        StatusCode::UNAUTHORIZED => {
            ". Give credentials: MLFLOW_TRACKING_TOKEN, or --tracking-username and MLFLOW_TRACKING_PASSWORD"
        }
        StatusCode::NOT_FOUND => ". Is this the address of an MLflow server?",
        _ => "",
    };
    (status.canonical_reason().unwrap_or("no reason").to_owned(), format!("{}{hint}", beginning(bytes)))
}

fn beginning(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(&bytes[..bytes.len().min(400)]);
    text.split_whitespace().collect::<Vec<_>>().join(" ").chars().take(200).collect()
}

/// What an answer means when one certain thing was asked for.
pub(super) fn meaning(error: TrackingError, what: &'static str, name: &str) -> TrackingError {
    let TrackingError::Refused { status, error_code, message, .. } = &error else { return error };
    // An alias that is not there is no 404 but a 400 with these words.
    let no_alias =
        error_code == "INVALID_PARAMETER_VALUE" && message.contains("alias") && message.contains("not found");
    if error_code == "RESOURCE_DOES_NOT_EXIST" || no_alias || (*status == 404 && error_code == "NOT_FOUND") {
        TrackingError::not_found(what, name)
    } else if error_code == "RESOURCE_ALREADY_EXISTS" {
        TrackingError::AlreadyExists { what, name: name.to_owned(), detail: String::new() }
    } else if message.contains("Changing param values is not allowed") {
        TrackingError::AlreadyExists {
            what: "parameter",
            name: name.to_owned(),
            detail: format!(", with another value: {message}"),
        }
    } else {
        error
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use wiremock::matchers::any;
    use wiremock::{Mock, MockServer, ResponseTemplate};

    async fn ask(answer: ResponseTemplate) -> TrackingError {
        let server = MockServer::start().await;
        Mock::given(any()).respond_with(answer).mount(&server).await;
        let client = runtime::http::HttpArgs::default().client(Duration::from_secs(1)).expect("client");
        let http = Http::new(server.uri().parse().expect("address"), client);
        http.get::<Value>("read a run", "runs/get", &[]).await.expect_err("an error")
    }

    #[tokio::test]
    async fn the_host_check_is_explained() {
        let error =
            ask(ResponseTemplate::new(403)
                .set_body_string("Invalid Host header - possible DNS rebinding attack detected"))
            .await;
        let text = error.to_string();
        assert!(
            text.contains("403") && text.contains("Invalid Host header") && text.contains("--allowed-hosts"),
            "{text}"
        );
    }

    #[tokio::test]
    async fn the_servers_code_and_message_are_kept() {
        let body = serde_json::json!({"error_code": "INVALID_PARAMETER_VALUE", "message": "Invalid value 3 for parameter 'x'"});
        let text = ask(ResponseTemplate::new(400).set_body_json(body)).await.to_string();
        assert!(
            text.contains("INVALID_PARAMETER_VALUE (400): Invalid value 3") && text.contains("read a run"),
            "{text}"
        );
    }

    #[tokio::test]
    async fn a_missing_alias_is_not_found_although_the_server_says_400() {
        let body = serde_json::json!({"error_code": "INVALID_PARAMETER_VALUE", "message": "Registered model alias champion not found."});
        let error = meaning(ask(ResponseTemplate::new(400).set_body_json(body)).await, "alias", "load@champion");
        assert!(error.is_not_found(), "{error}");
    }

    #[tokio::test]
    async fn an_overloaded_or_half_started_server_is_away() {
        for status in [429, 502, 503, 504] {
            assert!(ask(ResponseTemplate::new(status)).await.is_away(), "{status}");
        }
        assert!(!ask(ResponseTemplate::new(500)).await.is_away());
    }

    #[tokio::test]
    async fn a_server_without_a_proxy_of_artifacts_is_no_server_that_is_away() {
        for said in [
            r#"{"detail":"Artifact serving is disabled. Run `mlflow server` with `--serve-artifacts` to enable."}"#,
            "Endpoint: /api/2.0/mlflow-artifacts/artifacts/<path:artifact_path> disabled due to the mlflow server running with `--no-serve-artifacts`.",
        ] {
            let error = ask(ResponseTemplate::new(503).set_body_string(said)).await;
            assert!(!error.is_away() && error.to_string().contains("serve-artifacts"), "{error}");
        }
    }

    #[tokio::test]
    async fn a_page_that_is_no_json_is_foreign() {
        let text = ask(ResponseTemplate::new(200).set_body_string("<html>Sign in</html>")).await.to_string();
        assert!(text.contains("Sign in") && text.contains("address of an MLflow server"), "{text}");
    }
}
