//! TLS for a listener: certificate and key from files that may be replaced while it runs, and clients' certificates where
//! they are wanted.
//!
//! Mounted secrets are rotated by writing their files anew. They are looked at every second; connections that are open go on
//! with what they began with, the next one gets what is new. Files that do not fit together (half of a rotation) are left
//! aside, and what served goes on.

use crate::client_names::OnlyNamed;
use anyhow::{Context, ensure};
use clap::Args;
use runtime::WrongUse;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::ServerCertVerifier;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::{NoClientAuth, WebPkiClientVerifier, danger::ClientCertVerifier};
use rustls::{RootCertStore, ServerConfig};
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;

/// How often the files are looked at: a rotation is rare, and reading three small files costs less than a request.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// HTTP/2 first, as gRPC wants it.
const PROTOCOLS: [&[u8]; 2] = [b"h2", b"http/1.1"];

/// Where certificate and key are. None means plain HTTP.
#[derive(Debug, Clone, Default, PartialEq, Eq, Args, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TlsArgs {
    /// PEM file with this server's certificate, followed by those that signed it; with it, the server speaks TLS alone
    #[arg(long, env = "BERTH_TLS_CERT_FILE", value_name = "FILE")]
    pub tls_cert_file: Option<PathBuf>,
    /// PEM file with the certificate's private key
    #[arg(long, env = "BERTH_TLS_KEY_FILE", value_name = "FILE")]
    pub tls_key_file: Option<PathBuf>,
    /// PEM file with the authorities whose clients are let in; with it, clients without a certificate are not
    #[arg(long, env = "BERTH_TLS_CLIENT_CA_FILE", value_name = "FILE")]
    pub tls_client_ca_file: Option<PathBuf>,
    /// Name of a client that is let in, as common name or subject alternative name of its certificate; may be given for several. Without
    /// one, every client of these authorities is: that of a cluster has signed one for each kubelet
    #[arg(long, env = "BERTH_TLS_CLIENT_NAME", value_delimiter = ',', value_name = "NAME")]
    pub tls_client_name: Vec<String>,
}

impl TlsArgs {
    /// Reads the files; `None` where none is named.
    ///
    /// # Errors
    /// Files of which only some are named; a file that is absent or holds something else; a key of another certificate.
    pub fn load(&self) -> anyhow::Result<Option<Tls>> {
        let (certificate, key) = match (&self.tls_cert_file, &self.tls_key_file) {
            (Some(certificate), Some(key)) => (certificate.clone(), key.clone()),
            _ if self.tls_client_ca_file.is_none() && !self.tls_client_name.is_empty() => {
                let said = "`tls_client_name` is given without `tls_client_ca_file`, whose clients it names";
                return Err(WrongUse(said.to_owned()).into());
            }
            (None, None) if self.tls_client_ca_file.is_none() => return Ok(None),
            (None, None) => {
                return Err(WrongUse("`tls_client_ca_file` is given without `tls_cert_file`".to_owned()).into());
            }
            _ => {
                return Err(WrongUse(
                    "`tls_cert_file` and `tls_key_file` belong together: one of them is not given".to_owned(),
                )
                .into());
            }
        };
        let files = Files {
            certificate,
            key,
            client_authorities: self.tls_client_ca_file.clone(),
            client_names: self.tls_client_name.clone(),
        };
        let content = files.read()?;
        let current = watch::Sender::new(content.config(&files)?);
        Ok(Some(Tls { files, content, current }))
    }

    /// Looks at the certificate as a client does that trusts `authorities` (PEM) alone and has called `host`.
    ///
    /// # Errors
    /// What such a client would hang up for: another authority, another name, a time at which it is not valid.
    pub fn trusted_by(&self, authorities: &[u8], host: &str) -> anyhow::Result<()> {
        let path = self.tls_cert_file.as_deref().context("no certificate is given")?;
        let pem = std::fs::read(path).with_context(|| format!("failed to read `{}`", path.display()))?;
        let chain = certificates(&pem, path)?;
        let (own, between) = chain.split_first().context("the file holds no certificate")?;
        let mut roots = RootCertStore::empty();
        for authority in CertificateDer::pem_slice_iter(authorities) {
            let authority = authority.context("the authorities are no PEM")?;
            roots.add(authority).context("what is called an authority is none")?;
        }
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider)
            .build()
            .context("the authorities hold no certificate")?;
        let name = ServerName::try_from(host).with_context(|| format!("`{host}` is no host"))?;
        verifier.verify_server_cert(own, between, &name, &[], UnixTime::now())?;
        Ok(())
    }
}

#[derive(Debug)]
struct Files {
    certificate: PathBuf,
    key: PathBuf,
    client_authorities: Option<PathBuf>,
    client_names: Vec<String>,
}

/// What the files hold.
#[derive(PartialEq, Eq)]
struct Content {
    certificate: Vec<u8>,
    key: Vec<u8>,
    client_authorities: Option<Vec<u8>>,
}

impl Files {
    fn read(&self) -> anyhow::Result<Content> {
        let read = |path: &Path| std::fs::read(path).with_context(|| format!("failed to read `{}`", path.display()));
        Ok(Content {
            certificate: read(&self.certificate)?,
            key: read(&self.key)?,
            client_authorities: self.client_authorities.as_deref().map(read).transpose()?,
        })
    }
}

impl Content {
    fn config(&self, files: &Files) -> anyhow::Result<Arc<ServerConfig>> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let chain = certificates(&self.certificate, &files.certificate)?;
        let key = PrivateKeyDer::from_pem_slice(&self.key)
            .with_context(|| format!("`{}` holds no private key as PEM", files.key.display()))?;
        let clients: Arc<dyn ClientCertVerifier> =
            match self.client_authorities.as_deref().zip(files.client_authorities.as_deref()) {
                None => Arc::new(NoClientAuth),
                Some((pem, path)) if files.client_names.is_empty() => verifier(pem, path, &provider)?,
                Some((pem, path)) => {
                    Arc::new(OnlyNamed::new(verifier(pem, path, &provider)?, files.client_names.clone()))
                }
            };
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_client_cert_verifier(clients)
            .with_single_cert(chain, key)
            .with_context(|| {
                format!("`{}` and `{}` do not fit together", files.certificate.display(), files.key.display())
            })?;
        config.alpn_protocols = PROTOCOLS.map(<[u8]>::to_vec).to_vec();
        Ok(Arc::new(config))
    }
}

fn certificates(pem: &[u8], path: &Path) -> anyhow::Result<Vec<CertificateDer<'static>>> {
    let all: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    let all = all.with_context(|| format!("`{}` is no PEM", path.display()))?;
    ensure!(!all.is_empty(), "`{}` holds no certificate as PEM", path.display());
    Ok(all)
}

fn verifier(pem: &[u8], path: &Path, provider: &Arc<CryptoProvider>) -> anyhow::Result<Arc<dyn ClientCertVerifier>> {
    let mut roots = RootCertStore::empty();
    for authority in certificates(pem, path)? {
        roots.add(authority).with_context(|| format!("`{}` holds what is no authority", path.display()))?;
    }
    let builder = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider));
    builder.build().with_context(|| format!("`{}` names no authority that can be used", path.display()))
}

/// TLS as a listener speaks it now.
pub struct Tls {
    files: Files,
    content: Content,
    current: watch::Sender<Arc<ServerConfig>>,
}

impl std::fmt::Debug for Tls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // The content holds a private key.
        f.debug_struct("Tls").field("files", &self.files).finish_non_exhaustive()
    }
}

impl Tls {
    /// Whether clients without a certificate are turned away.
    pub fn knows_clients(&self) -> bool {
        self.files.client_authorities.is_some()
    }

    /// Whether not every client that an authority has signed is let in.
    pub fn knows_names(&self) -> bool {
        !self.files.client_names.is_empty()
    }

    /// What the next handshakes are made with, whenever they are made.
    pub fn handshakes(&self) -> Handshakes {
        Handshakes(self.current.subscribe())
    }

    /// Looks at the files every second and takes what is new. It never ends; `looked` hears of every change: true when it
    /// was taken, false when it was left aside.
    pub async fn follow(mut self, looked: impl Fn(bool)) -> std::convert::Infallible {
        let mut ticks = tokio::time::interval(LOOK_EVERY);
        let mut refused: Option<String> = None;
        loop {
            ticks.tick().await;
            match self.look() {
                Ok(false) => refused = None,
                Ok(true) => {
                    tracing::info!(certificate = %self.files.certificate.display(), "new certificate files are in use");
                    refused = None;
                    looked(true);
                }
                Err(error) => {
                    let said = format!("{error:#}");
                    // The same every second is no news.
                    if refused.as_ref() != Some(&said) {
                        tracing::warn!(error = said, "certificate files are left aside, those in use stay");
                        looked(false);
                    }
                    refused = Some(said);
                }
            }
        }
    }

    /// Takes the files if they differ from those in use; tells whether they do.
    fn look(&mut self) -> anyhow::Result<bool> {
        let content = self.files.read()?;
        if content == self.content {
            return Ok(false);
        }
        self.current.send_replace(content.config(&self.files)?);
        self.content = content;
        Ok(true)
    }
}

/// Makes handshakes with the newest files.
#[derive(Debug, Clone)]
pub struct Handshakes(watch::Receiver<Arc<ServerConfig>>);

impl Handshakes {
    /// For one connection.
    pub fn acceptor(&self) -> TlsAcceptor {
        TlsAcceptor::from(Arc::clone(&self.0.borrow()))
    }
}
