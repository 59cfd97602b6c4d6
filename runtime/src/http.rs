//! One way to make an HTTP client: time limits, a custom CA, credentials from files or the environment.

use anyhow::Context;
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use clap::Args;
use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderName, HeaderValue};
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};
use std::sync::Once;
use std::time::Duration;

/// How to reach a server, and who we are to it. Secrets come from the environment or from mounted files, never from
/// flags.
#[derive(Debug, Clone, Default, Args, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HttpArgs {
    /// PEM file with the certificate authority that signed the server's certificate; no other is trusted then
    #[arg(long, env = "BERTH_CA_FILE", value_name = "FILE")]
    pub ca_file: Option<PathBuf>,
    /// User name for basic authentication; the password comes from --password-file or BERTH_PASSWORD
    #[arg(long, env = "BERTH_USERNAME")]
    pub username: Option<String>,
    /// File that holds the password for basic authentication
    #[arg(long, env = "BERTH_PASSWORD_FILE", value_name = "FILE")]
    pub password_file: Option<PathBuf>,
    /// File that holds a bearer token (or set BERTH_BEARER_TOKEN); wins over basic authentication
    #[arg(long, env = "BERTH_BEARER_TOKEN_FILE", value_name = "FILE")]
    pub bearer_token_file: Option<PathBuf>,
    /// PEM file with the certificate to show to servers that ask for one
    #[arg(long, env = "BERTH_CLIENT_CERT_FILE", value_name = "FILE")]
    pub client_cert_file: Option<PathBuf>,
    /// PEM file with the private key of --client-cert-file
    #[arg(long, env = "BERTH_CLIENT_KEY_FILE", value_name = "FILE")]
    pub client_key_file: Option<PathBuf>,
}

/// The environment variables that hold secrets where no file is named.
#[derive(Debug, Clone, Copy)]
pub struct SecretVariables {
    /// For basic authentication.
    pub password: &'static str,
    /// For a bearer token.
    pub bearer_token: &'static str,
}

impl Default for SecretVariables {
    fn default() -> Self {
        Self { password: "BERTH_PASSWORD", bearer_token: "BERTH_BEARER_TOKEN" }
    }
}

impl HttpArgs {
    /// Builds the client. `limit` bounds one request from connect to the last byte.
    ///
    /// # Errors
    /// When a file is missing or is no PEM, or when a credential holds a line break.
    pub fn client(&self, limit: Duration) -> anyhow::Result<reqwest::Client> {
        self.client_with(limit, &SecretVariables::default())
    }

    /// The same with other environment variables for the secrets, so that the secret of one server never reaches another.
    ///
    /// # Errors
    /// See [`HttpArgs::client`].
    pub fn client_with(&self, limit: Duration, variables: &SecretVariables) -> anyhow::Result<reqwest::Client> {
        let builder = self.builder(limit)?.default_headers(self.authorization(variables)?);
        builder.build().context("failed to build the HTTP client")
    }

    /// The same for a server whose answers are large and whose reader bounds what comes out of them: answers may be
    /// compressed, which the other clients do not ask for. `headers` are sent with every request.
    ///
    /// # Errors
    /// See [`HttpArgs::client`]; and when `headers` and the credentials both say who we are.
    pub fn compressed_client(&self, limit: Duration, mut headers: HeaderMap) -> anyhow::Result<reqwest::Client> {
        for (name, value) in self.authorization(&SecretVariables::default())? {
            anyhow::ensure!(
                name.is_none_or(|name| headers.insert(name, value).is_none()),
                "`Authorization` stands in the header file, and credentials are given as well. Keep one of the two"
            );
        }
        let builder = self.builder(limit)?.gzip(true).default_headers(headers);
        builder.build().context("failed to build the HTTP client")
    }

    /// A client that shows its certificate to those who ask for one, and sends no credentials.
    ///
    /// # Errors
    /// When a file is missing or is no PEM.
    pub fn builder(&self, limit: Duration) -> anyhow::Result<reqwest::ClientBuilder> {
        install_crypto_provider();
        let mut builder = reqwest::Client::builder()
            .timeout(limit)
            .connect_timeout(limit.min(Duration::from_secs(10)))
            .gzip(false)
            .user_agent(concat!("berth/", env!("CARGO_PKG_VERSION")));
        if let Some(path) = &self.ca_file {
            let pem = std::fs::read(path).with_context(|| format!("failed to read CA file `{}`", path.display()))?;
            let authorities = reqwest::Certificate::from_pem_bundle(&pem)
                .with_context(|| format!("CA file `{}` is no PEM certificate", path.display()))?;
            anyhow::ensure!(!authorities.is_empty(), "CA file `{}` holds no certificate", path.display());
            // These alone, as client-go does: a named authority that came on top of the public ones would let any of
            // those speak for the server.
            builder = builder.tls_certs_only(authorities);
        }
        if let Some(identity) = self.identity()? {
            builder = builder.identity(identity);
        }
        Ok(builder)
    }

    fn identity(&self) -> anyhow::Result<Option<reqwest::Identity>> {
        let (certificate, key) = match (&self.client_cert_file, &self.client_key_file) {
            (Some(certificate), Some(key)) => (certificate, key),
            (None, None) => return Ok(None),
            _ => anyhow::bail!("`client_cert_file` and `client_key_file` belong together: one of them is not given"),
        };
        let mut pem = Vec::new();
        for path in [certificate, key] {
            pem.extend(std::fs::read(path).with_context(|| format!("failed to read `{}`", path.display()))?);
            pem.push(b'\n');
        }
        let identity = reqwest::Identity::from_pem(&pem).with_context(|| {
            format!("`{}` and `{}` are no certificate with its key as PEM", certificate.display(), key.display())
        })?;
        Ok(Some(identity))
    }

    fn authorization(&self, variables: &SecretVariables) -> anyhow::Result<HeaderMap> {
        let mut headers = HeaderMap::new();
        let value = if let Some(token) = secret(self.bearer_token_file.as_deref(), variables.bearer_token)? {
            Some(format!("Bearer {token}"))
        } else if let Some(username) = &self.username {
            let password = secret(self.password_file.as_deref(), variables.password)?.unwrap_or_default();
            Some(format!("Basic {}", BASE64.encode(format!("{username}:{password}"))))
        } else {
            None
        };
        if let Some(value) = value {
            let mut value =
                HeaderValue::from_str(&value).context("a credential holds characters that no HTTP header may have")?;
            value.set_sensitive(true);
            headers.insert(AUTHORIZATION, value);
        }
        Ok(headers)
    }
}

/// The headers of a file, a line `Name: value` for each; empty lines and lines that begin with `#` are none. No message
/// shows a value: it may be a secret.
///
/// # Errors
/// When the file cannot be read, or a line is not a valid header; the message has its number.
pub fn header_lines(path: &Path) -> anyhow::Result<HeaderMap> {
    let shown = path.display();
    let text = std::fs::read_to_string(path).with_context(|| format!("failed to read header file `{shown}`"))?;
    let mut headers = HeaderMap::new();
    for (at, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty() && !line.starts_with('#')) {
        let number = at + 1;
        let (name, value) = line.split_once(':').with_context(|| {
            format!("line {number} of header file `{shown}` is not a valid header: want `Name: value`")
        })?;
        let name = HeaderName::from_bytes(name.trim().as_bytes()).with_context(|| {
            format!("line {number} of header file `{shown}` does not begin with the name of a header")
        })?;
        let mut value = HeaderValue::from_str(value.trim()).with_context(|| {
            format!("the value in line {number} of header file `{shown}` holds characters that no HTTP header may have")
        })?;
        value.set_sensitive(true);
        headers.append(name, value);
    }
    Ok(headers)
}

fn secret(file: Option<&Path>, variable: &str) -> anyhow::Result<Option<String>> {
    let text = match file {
        Some(path) => Some(
            std::fs::read_to_string(path)
                .with_context(|| format!("failed to read secret file `{}`", path.display()))?,
        ),
        None => std::env::var(variable).ok(),
    };
    Ok(text.map(|text| text.trim().to_owned()).filter(|text| !text.is_empty()))
}

/// Makes ring the process's TLS implementation. Safe to call often.
pub fn install_crypto_provider() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        // An error means that the embedding program has chosen a provider already, which is as good.
        let _ = rustls::crypto::ring::default_provider().install_default();
    });
}
