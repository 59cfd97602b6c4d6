//! One way to make an HTTP client: time limits, a custom CA, credentials from files or the environment.

use anyhow::Context;
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use clap::Args;
use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderValue};
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};
use std::sync::Once;
use std::time::Duration;

/// How to reach a server, and who we are to it. Secrets come from the environment or from mounted files, never from
/// flags.
#[derive(Debug, Clone, Default, Args, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HttpArgs {
    /// PEM file with the certificate authority that signed the server's certificate
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

    /// A client that shows its certificate to those who ask for one, and sends no credentials.
    ///
    /// # Errors
    /// When a file is missing or is no PEM.
    pub fn builder(&self, limit: Duration) -> anyhow::Result<reqwest::ClientBuilder> {
        install_crypto_provider();
        let mut builder = reqwest::Client::builder()
            .timeout(limit)
            .connect_timeout(limit.min(Duration::from_secs(10)))
            .user_agent(concat!("berth/", env!("CARGO_PKG_VERSION")));
        if let Some(path) = &self.ca_file {
            let pem = std::fs::read(path).with_context(|| format!("failed to read CA file `{}`", path.display()))?;
            let authorities = reqwest::Certificate::from_pem_bundle(&pem)
                .with_context(|| format!("CA file `{}` is no PEM certificate", path.display()))?;
            anyhow::ensure!(!authorities.is_empty(), "CA file `{}` holds no certificate", path.display());
            builder = authorities.into_iter().fold(builder, reqwest::ClientBuilder::add_root_certificate);
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
