//! How to reach the API server: as a pod with its service account, or by a kubeconfig file.

use super::ApiPath;
use anyhow::Context;
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue};
use reqwest::{Certificate, Client, Identity, Method, RequestBuilder, Response, StatusCode, Url};
use runtime::body::BodyError;
use serde::Deserialize;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Where a pod finds its service account.
const ACCOUNT: &str = "/var/run/secrets/kubernetes.io/serviceaccount";
/// One request that is no watch.
const REQUEST_LIMIT: Duration = Duration::from_secs(15);
/// Within a watch: bookmarks come about once a minute, and the watch itself ends after five.
const SILENCE_LIMIT: Duration = Duration::from_secs(330);
/// Most bytes of an answer that is read whole: a piece of a list has 500 objects, and etcd takes none of more than 1.5 MiB.
const MOST_BYTES: usize = 256 << 20;
/// Most bytes of an answer that says no.
const MOST_SAID: usize = 64 << 10;
/// A peer that is gone without a word is found out after this.
const PROBE: Duration = Duration::from_secs(15);

/// A request to the API server that failed.
#[derive(Debug, thiserror::Error)]
pub enum KubeError {
    /// It did not get through.
    #[error("failed to reach the API server for `{path}`")]
    Unreachable {
        /// What was asked.
        path: String,
        /// Why.
        source: reqwest::Error,
    },
    /// It was answered with another status than 2xx.
    #[error("the API server answered `{path}` with {status}: {message}")]
    Refused {
        /// What was asked.
        path: String,
        /// The answer's status.
        status: StatusCode,
        /// What it said.
        message: String,
    },
    /// Its answer was not whole, too large, or something else.
    #[error("failed to read the API server's answer for `{path}`")]
    Answer {
        /// What was asked.
        path: String,
        /// Why.
        source: BodyError,
    },
    /// A list that came as the beginning of a watch did not end.
    #[error("the list of `{path}` did not end within {limit:?}")]
    NoEnd {
        /// What was asked.
        path: String,
        /// How long it was waited for.
        limit: Duration,
    },
    /// A change, or our token, cannot be read.
    #[error("`{what}` cannot be read")]
    Unreadable {
        /// Of what.
        what: String,
        /// Why.
        source: anyhow::Error,
    },
}

impl KubeError {
    /// The wanted version is too old: the list must be read again.
    pub fn is_gone(&self) -> bool {
        matches!(self, Self::Refused { status: StatusCode::GONE, .. })
    }

    /// It does not know what it is asked for in this way, or takes it for something else.
    pub(super) fn is_unknown_way(&self) -> bool {
        let refuses = [StatusCode::BAD_REQUEST, StatusCode::UNPROCESSABLE_ENTITY, StatusCode::NOT_IMPLEMENTED];
        match self {
            Self::Refused { status, .. } => refuses.contains(status),
            Self::NoEnd { .. } => true,
            _ => false,
        }
    }

    /// There is no such object.
    pub fn is_absent(&self) -> bool {
        matches!(self, Self::Refused { status: StatusCode::NOT_FOUND, .. })
    }
}

/// Who we are.
#[derive(Debug, Clone)]
enum Token {
    /// By client certificate, or nobody.
    None,
    /// A fixed one.
    Fixed(String),
    /// A file, which is read each time, since Kubernetes rotates it every hour.
    File(PathBuf),
}

/// The API server.
#[derive(Debug, Clone)]
pub struct Api {
    client: Client,
    server: Url,
    token: Token,
}

/// The parts of a kubeconfig file that are used.
#[derive(Debug, Deserialize)]
struct Kubeconfig {
    #[serde(rename = "current-context", default)]
    current: String,
    #[serde(default)]
    contexts: Vec<Named>,
    #[serde(default)]
    clusters: Vec<Named>,
    #[serde(default)]
    users: Vec<Named>,
}

#[derive(Debug, Deserialize)]
struct Named {
    name: String,
    #[serde(flatten)]
    rest: serde_yaml_ng::Mapping,
}

impl Api {
    /// By the file, else as a pod; `None` outside of a cluster without a file.
    ///
    /// # Errors
    /// When the file is absent, lacks what is needed, or names a certificate that is none.
    pub fn connect(kubeconfig: Option<&Path>) -> anyhow::Result<Option<Self>> {
        runtime::http::install_crypto_provider();
        if let Some(path) = kubeconfig {
            return Self::by_file(path).with_context(|| format!("kubeconfig `{}`", path.display())).map(Some);
        }
        let (Ok(host), Ok(port)) = (std::env::var("KUBERNETES_SERVICE_HOST"), std::env::var("KUBERNETES_SERVICE_PORT"))
        else {
            return Ok(None);
        };
        let account = Path::new(ACCOUNT);
        let authority =
            std::fs::read(account.join("ca.crt")).context("failed to read the service account's `ca.crt`")?;
        let host = if host.contains(':') { format!("[{host}]") } else { host };
        Ok(Some(Self {
            client: trusting(Some(&authority))?.build()?,
            server: server_url(&format!("https://{host}:{port}"))?,
            token: Token::File(account.join("token")),
        }))
    }

    fn by_file(path: &Path) -> anyhow::Result<Self> {
        let file: Kubeconfig =
            serde_yaml_ng::from_str(&runtime::files::read_text(path)?).context("is no kubeconfig")?;
        let folder = path.parent().unwrap_or(Path::new("."));
        let find = |list: &[Named], kind: &str, name: &str| -> anyhow::Result<serde_yaml_ng::Value> {
            let entry = list.iter().find(|entry| entry.name == name);
            let entry = entry.with_context(|| format!("it has no {kind} named `{name}`"))?;
            entry.rest.get(kind).cloned().with_context(|| format!("its {kind} `{name}` is empty"))
        };
        let text = |value: &serde_yaml_ng::Value, key: &str| value.get(key)?.as_str().map(str::to_owned);
        // Each of these is given as a file or as base64 in place.
        let bytes = |value: &serde_yaml_ng::Value, key: &str| -> anyhow::Result<Option<Vec<u8>>> {
            if let Some(data) = text(value, &format!("{key}-data")) {
                return Ok(Some(BASE64.decode(data.trim()).with_context(|| format!("`{key}-data` is no base64"))?));
            }
            let Some(file) = text(value, key) else { return Ok(None) };
            let path = folder.join(file);
            Ok(Some(std::fs::read(&path).with_context(|| format!("failed to read `{}`", path.display()))?))
        };
        let context = find(&file.contexts, "context", &file.current)?;
        let named = |key: &str| text(&context, key).with_context(|| format!("its context names no {key}"));
        let cluster = find(&file.clusters, "cluster", &named("cluster")?)?;
        let user = find(&file.users, "user", &named("user")?)?;
        anyhow::ensure!(
            user.get("exec").is_none() && user.get("auth-provider").is_none(),
            "its user needs a program to sign in, which is not supported: use a token or a client certificate"
        );
        let server = text(&cluster, "server").context("its cluster names no server")?;
        let mut builder = trusting(bytes(&cluster, "certificate-authority")?.as_deref())?;
        if let (Some(mut pem), Some(key)) = (bytes(&user, "client-certificate")?, bytes(&user, "client-key")?) {
            pem.push(b'\n');
            pem.extend(key);
            builder = builder.identity(Identity::from_pem(&pem).context("its client certificate or key is no PEM")?);
        }
        let token = match (text(&user, "token"), text(&user, "tokenFile")) {
            (Some(token), _) => Token::Fixed(token),
            (None, Some(file)) => Token::File(folder.join(file)),
            (None, None) => Token::None,
        };
        Ok(Self { client: builder.build()?, server: server_url(&server)?, token })
    }

    /// Its address.
    pub fn server(&self) -> &str {
        self.server.as_str().trim_end_matches('/')
    }

    fn request(&self, method: Method, path: &ApiPath) -> Result<RequestBuilder, KubeError> {
        let request = self.client.request(method, path.at(&self.server));
        let unreadable = |source| KubeError::Unreadable { what: "our token".to_owned(), source };
        let token = match &self.token {
            Token::None => return Ok(request),
            Token::Fixed(token) => token.clone(),
            Token::File(path) => runtime::files::read_text(path).map_err(|error| unreadable(error.into()))?,
        };
        let value = HeaderValue::from_str(&format!("Bearer {}", token.trim()));
        let mut value = value.map_err(|error| unreadable(error.into()))?;
        value.set_sensitive(true);
        Ok(request.header(AUTHORIZATION, value))
    }

    /// Asks for a path, and lets the answer come in pieces.
    pub(super) async fn stream(&self, path: &ApiPath) -> Result<Response, KubeError> {
        answered(path, self.request(Method::GET, path)?.send().await).await
    }

    /// Asks for a path.
    ///
    /// # Errors
    /// When it cannot be reached, says no, or answers something else.
    pub async fn get<T: serde::de::DeserializeOwned>(&self, path: &ApiPath) -> Result<T, KubeError> {
        let response = answered(path, self.request(Method::GET, path)?.timeout(REQUEST_LIMIT).send().await).await?;
        read(path, response).await
    }

    /// Makes an object.
    ///
    /// # Errors
    /// See [`Api::get`].
    pub async fn create(&self, path: &ApiPath, object: &Value) -> Result<Value, KubeError> {
        let request = self.request(Method::POST, path)?.json(object).timeout(REQUEST_LIMIT);
        read(path, answered(path, request.send().await).await?).await
    }

    /// Changes an object by a JSON merge patch.
    ///
    /// # Errors
    /// See [`Api::get`].
    pub async fn patch(&self, path: &ApiPath, change: &Value) -> Result<(), KubeError> {
        let request = self.request(Method::PATCH, path)?.body(change.to_string()).timeout(REQUEST_LIMIT);
        let request = request.header(CONTENT_TYPE, "application/merge-patch+json");
        answered(path, request.send().await).await.map(drop)
    }

    /// Whether we may do something: `group` is empty for the core API.
    ///
    /// # Errors
    /// See [`Api::get`].
    pub async fn may(&self, verb: &str, group: &str, resource: &str) -> Result<bool, KubeError> {
        let review = json!({
            "apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectAccessReview",
            "spec": { "resourceAttributes": { "verb": verb, "group": group, "resource": resource } },
        });
        let path = ApiPath::fixed(&["apis", "authorization.k8s.io", "v1", "selfsubjectaccessreviews"]);
        let said = self.create(&path, &review).await?;
        Ok(said["status"]["allowed"] == json!(true))
    }
}

fn trusting(authority: Option<&[u8]>) -> anyhow::Result<reqwest::ClientBuilder> {
    let builder = Client::builder()
        .connect_timeout(Duration::from_secs(10))
        .read_timeout(SILENCE_LIMIT)
        .tcp_keepalive(PROBE)
        .user_agent(concat!("berth-scheduler-extender/", env!("CARGO_PKG_VERSION")));
    let Some(pem) = authority else { return Ok(builder) };
    let authorities = Certificate::from_pem_bundle(pem).context("the certificate authority is no PEM certificate")?;
    anyhow::ensure!(!authorities.is_empty(), "the certificate authority holds no certificate");
    Ok(authorities.into_iter().fold(builder, reqwest::ClientBuilder::add_root_certificate))
}

/// The address of a server, which paths are laid below.
fn server_url(text: &str) -> anyhow::Result<Url> {
    let url: Url = text.parse().with_context(|| format!("server `{text}` is not a valid address"))?;
    let is_http = matches!(url.scheme(), "http" | "https");
    anyhow::ensure!(is_http && url.host().is_some(), "server `{text}` is not an address such as https://HOST:6443");
    Ok(url)
}

async fn answered(path: &ApiPath, response: Result<Response, reqwest::Error>) -> Result<Response, KubeError> {
    let response = response.map_err(|source| KubeError::Unreachable { path: path.to_string(), source })?;
    let status = response.status();
    if status.is_success() {
        return Ok(response);
    }
    // Kubernetes says why in a `Status`; whatever else answers is cut short.
    let text = runtime::body::beginning(response, MOST_SAID).await;
    let said =
        serde_json::from_str::<Value>(&text).ok().and_then(|said| Some(said.get("message")?.as_str()?.to_owned()));
    let message = said.unwrap_or_else(|| text.chars().take(200).collect());
    Err(KubeError::Refused { path: path.to_string(), status, message })
}

async fn read<T: serde::de::DeserializeOwned>(path: &ApiPath, response: Response) -> Result<T, KubeError> {
    let read = runtime::body::json(response, MOST_BYTES).await;
    read.map_err(|source| KubeError::Answer { path: path.to_string(), source })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(text: &str) -> anyhow::Result<Option<Api>> {
        let folder = tempfile::tempdir().expect("temporary folder");
        let path = folder.path().join("config");
        std::fs::write(&path, text).expect("written");
        Api::connect(Some(&path))
    }

    #[test]
    fn a_kubeconfig_names_server_and_token_and_says_what_it_lacks() {
        let text = "current-context: c\ncontexts: [{name: c, context: {cluster: k, user: u}}]\nclusters: [{name: k, cluster: {server: 'http://127.0.0.1:1/'}}]\nusers: [{name: u, user: {token: abc}}]\n";
        let api = file(text).expect("a connection").expect("by file");
        assert_eq!(api.server(), "http://127.0.0.1:1");
        assert!(matches!(api.token, Token::Fixed(token) if token == "abc"));
        for (from, to, said) in [
            ("current-context: c", "current-context: d", "no context named `d`"),
            ("token: abc", "exec: {}", "needs a program"),
            ("server: ", "sorver: ", "names no server"),
            ("http://127.0.0.1:1/", "127.0.0.1", "is not a valid address"),
            ("http://127.0.0.1:1/", "mailto:a@b", "is not an address such as"),
            ("server: ", "certificate-authority-data: '*', server: ", "no base64"),
            ("server: ", "certificate-authority: absent.pem, server: ", "absent.pem"),
        ] {
            let error = format!("{:#}", file(&text.replace(from, to)).expect_err(to));
            assert!(error.contains(said), "{error}");
        }
    }
}
