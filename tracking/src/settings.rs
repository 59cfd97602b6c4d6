//! Which tracking store, and how it is opened.

use crate::embedded::Embedded;
use crate::mlflow::Mlflow;
use crate::spool::Spooled;
use crate::{Tracker, TrackingError};
use clap::Args;
use runtime::http::{HttpArgs, SecretVariables};
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use url::Url;

/// Where experiments, runs and models are kept: the section `[tracking]`.
///
/// Secrets never stand here. A database's whole address may come from `BERTH_TRACKING_DATABASE_URL`; MLflow's
/// credentials from `MLFLOW_TRACKING_TOKEN` or `MLFLOW_TRACKING_PASSWORD`, as for MLflow's own client, or from files.
#[derive(Debug, Clone, Default, Args, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TrackingArgs {
    /// `http(s)://…` for an MLflow server, `postgres://user@host/database` for PostgreSQL
    /// [default: MLFLOW_TRACKING_URI, else SQLite below the data folder]
    #[arg(long = "tracking-uri", env = "BERTH_TRACKING_URI", value_name = "URI", help_heading = "Tracking")]
    pub uri: Option<String>,
    /// PEM file with the authority that signed the certificate of the MLflow server or the PostgreSQL server
    #[arg(long = "tracking-ca-file", env = "BERTH_TRACKING_CA_FILE", value_name = "FILE", help_heading = "Tracking")]
    pub ca_file: Option<PathBuf>,
    /// User name at the MLflow server; the password comes from --tracking-password-file or MLFLOW_TRACKING_PASSWORD
    #[arg(
        long = "tracking-username",
        env = "MLFLOW_TRACKING_USERNAME",
        value_name = "NAME",
        help_heading = "Tracking"
    )]
    pub username: Option<String>,
    /// File that holds the password at the MLflow server or the PostgreSQL server
    #[arg(
        long = "tracking-password-file",
        env = "BERTH_TRACKING_PASSWORD_FILE",
        value_name = "FILE",
        help_heading = "Tracking"
    )]
    pub password_file: Option<PathBuf>,
    /// File that holds a bearer token for the MLflow server (or set MLFLOW_TRACKING_TOKEN)
    #[arg(
        long = "tracking-token-file",
        env = "BERTH_TRACKING_TOKEN_FILE",
        value_name = "FILE",
        help_heading = "Tracking"
    )]
    pub token_file: Option<PathBuf>,
}

/// The secrets that MLflow's own client reads.
const SECRETS: SecretVariables =
    SecretVariables { password: "MLFLOW_TRACKING_PASSWORD", bearer_token: "MLFLOW_TRACKING_TOKEN" };

/// Longer than this for a connection, and a server counts as away. Guess: within a data centre one takes milliseconds.
const CONNECT_LIMIT: Duration = Duration::from_secs(3);

/// Opens the tracking store that the settings name.
///
/// The embedded store's files are below `<data_root>/tracking`. For an MLflow server nothing is asked yet, so this works
/// while it is away: writes are then kept below `<data_root>/tracking/spool` and sent later (see the crate's page).
///
/// # Errors
/// [`TrackingError::Settings`] when the address is of no known kind or has a secret in it, and what the database or the
/// folders answer.
pub async fn open(args: &TrackingArgs, data_root: &Path) -> Result<Box<dyn Tracker>, TrackingError> {
    let folder = data_root.join("tracking");
    match address(args)? {
        Address::Sqlite => Ok(Box::new(Embedded::sqlite(&folder.join("berth.db"), &folder.join("artifacts")).await?)),
        Address::Postgres(url) => {
            let url = secured(url, args.ca_file.as_deref())?;
            Ok(Box::new(Embedded::postgres(&url, &folder.join("artifacts")).await?))
        }
        Address::Mlflow(url) => {
            let remote = Mlflow::new(url, client(args)?);
            Ok(Box::new(Spooled::open(Arc::new(remote), &folder.join("spool")).await?))
        }
    }
}

fn client(args: &TrackingArgs) -> Result<reqwest::Client, TrackingError> {
    let http = HttpArgs {
        ca_file: args.ca_file.clone(),
        username: args.username.clone(),
        password_file: args.password_file.clone(),
        bearer_token_file: args.token_file.clone(),
        ..HttpArgs::default()
    };
    http.client_with(CONNECT_LIMIT, &SECRETS).map_err(|error| TrackingError::Settings(format!("{error:#}")))
}

#[derive(Debug, PartialEq)]
enum Address {
    Sqlite,
    Postgres(Url),
    Mlflow(Url),
}

fn address(args: &TrackingArgs) -> Result<Address, TrackingError> {
    let variable = |name: &str| std::env::var(name).ok().filter(|text| !text.trim().is_empty());
    if let Some(text) = &args.uri {
        let address = parse(text)?;
        return with_password(address, args, text);
    }
    // Only this one may hold a password: it is read here and shown nowhere.
    if let Some(text) = variable("BERTH_TRACKING_DATABASE_URL") {
        return match parse(&text)? {
            Address::Postgres(url) => Ok(Address::Postgres(url)),
            _ => Err(TrackingError::Settings("`BERTH_TRACKING_DATABASE_URL` wants `postgres://…`".into())),
        };
    }
    variable("MLFLOW_TRACKING_URI").map_or(Ok(Address::Sqlite), |text| parse(&text))
}

fn parse(text: &str) -> Result<Address, TrackingError> {
    let kinds =
        "Give `http(s)://…` for an MLflow server or `postgres://…`, or nothing for SQLite below the data folder";
    let wrong = |why: &str| TrackingError::Settings(format!("tracking address is not usable: {why}. {kinds}"));
    // The address itself stays out of the message: it may hold a password.
    let url = Url::parse(text.trim()).map_err(|error| wrong(&error.to_string()))?;
    match url.scheme() {
        "http" | "https" => Ok(Address::Mlflow(url)),
        "postgres" | "postgresql" => Ok(Address::Postgres(url)),
        "postgresql+psycopg2" | "sqlite" | "mysql" | "mssql" | "file" => Err(wrong(&format!(
            "`{}:` is how MLflow itself reaches its database or files; Berth speaks with `mlflow server` over HTTP",
            url.scheme()
        ))),
        other => Err(wrong(&format!("`{other}:` is unknown"))),
    }
}

/// A database address that says how its connection is secured: by a certificate of the server's name, unless the address says otherwise
/// or leads to this very machine. The driver's own default sends the password to whoever answers, in the clear where that one says that
/// it knows no TLS.
fn secured(mut url: Url, ca_file: Option<&Path>) -> Result<Url, TrackingError> {
    let given = |wanted: &[&str]| {
        let found = url.query_pairs().find(|(name, _)| wanted.contains(&&**name));
        found.map(|(_, value)| value.into_owned())
    };
    let mode = given(&["sslmode", "ssl-mode"]).or_else(|| std::env::var("PGSSLMODE").ok());
    let authority = given(&["sslrootcert", "ssl-root-cert", "ssl-ca"]);
    let is_local = is_local(given(&["host"]).as_deref().or_else(|| url.host_str()).unwrap_or_default());
    match &mode {
        None if !is_local => drop(url.query_pairs_mut().append_pair("sslmode", "verify-full")),
        Some(mode) if !is_local && mode != "verify-full" => {
            tracing::warn!(mode, "the connection to PostgreSQL does not verify the server: sslmode=verify-full does");
        }
        _ => {}
    }
    if let Some(file) = ca_file.filter(|_| authority.is_none()) {
        let file = std::path::absolute(file).map_err(|source| TrackingError::io("find", file, source))?;
        url.query_pairs_mut().append_pair("sslrootcert", &file.to_string_lossy());
    }
    Ok(url)
}

/// Whether a database is reached without a network: by the loopback interface, or by a socket in a folder.
fn is_local(host: &str) -> bool {
    let address = host.trim_matches(['[', ']']).parse::<std::net::IpAddr>();
    host.is_empty()
        || host == "localhost"
        || host.starts_with('/')
        || host.to_ascii_lowercase().starts_with("%2f")
        || address.is_ok_and(|address| address.is_loopback())
}

/// Lays the password from the file into a database address, and refuses one that stands in a flag or a file.
fn with_password(address: Address, args: &TrackingArgs, text: &str) -> Result<Address, TrackingError> {
    let (Address::Postgres(mut url) | Address::Mlflow(mut url)) = address else { return Ok(address) };
    if url.password().is_some() {
        return Err(TrackingError::Settings(
            "the tracking address has a password in it. Set the whole address of a database as `BERTH_TRACKING_DATABASE_URL`, \
             or name a file with --tracking-password-file"
                .into(),
        ));
    }
    if matches!(url.scheme(), "http" | "https") {
        return Ok(Address::Mlflow(url));
    }
    if let Some(file) = &args.password_file {
        let password = runtime::files::read_text(file)?;
        url.set_password(Some(password.trim()))
            .map_err(|()| TrackingError::Settings(format!("tracking address `{text}` has no host for a password")))?;
    }
    Ok(Address::Postgres(url))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(uri: &str) -> Result<Address, TrackingError> {
        address(&TrackingArgs { uri: Some(uri.to_owned()), ..TrackingArgs::default() })
    }

    #[test]
    fn addresses_choose_the_backend() {
        assert!(matches!(at("http://mlflow:5000").expect("mlflow"), Address::Mlflow(_)));
        assert!(matches!(at("postgresql://berth@db/berth").expect("postgres"), Address::Postgres(_)));
    }

    #[test]
    fn an_address_with_a_secret_or_of_another_kind_is_refused_without_showing_it() {
        for uri in ["postgres://berth:geheim@db/berth", "https://me:geheim@mlflow"] {
            let error = at(uri).expect_err(uri).to_string();
            assert!(error.contains("BERTH_TRACKING_DATABASE_URL") && !error.contains("geheim"), "{error}");
        }
        for uri in ["sqlite:///mlflow.db", "file:./mlruns", "./mlruns", "ftp://x"] {
            let error = at(uri).expect_err(uri).to_string();
            assert!(error.contains("http(s)://"), "{error}");
        }
    }

    #[test]
    fn a_database_elsewhere_has_to_show_a_certificate_of_its_name() {
        let query = |address: &str| {
            let url = secured(address.parse().expect("an address"), None).expect("secured");
            url.query().unwrap_or_default().to_owned()
        };
        for address in
            ["postgres://berth@db/berth", "postgres://berth@10.0.0.1:5432/berth", "postgres://b@[2001:db8::1]/b"]
        {
            assert_eq!(query(address), "sslmode=verify-full", "{address}");
        }
        assert_eq!(query("postgres://berth@db/berth?application_name=x"), "application_name=x&sslmode=verify-full");
        // Whoever says otherwise is believed, and this machine needs none.
        assert_eq!(query("postgres://berth@db/berth?sslmode=require"), "sslmode=require");
        for address in ["postgres://b@127.0.0.1/b", "postgres://b@localhost/b", "postgres://b@[::1]/b", "postgres:///b"]
        {
            assert_eq!(query(address), "", "{address}");
        }
        assert_eq!(query("postgres:///b?host=/var/run/postgresql"), "host=/var/run/postgresql");
        assert_eq!(query("postgres://b@127.0.0.1/b?host=db"), "host=db&sslmode=verify-full", "the last word counts");
        let url =
            secured("postgres://b@db/b".parse().expect("an address"), Some(Path::new("/etc/ca.crt"))).expect("secured");
        assert_eq!(url.query(), Some("sslmode=verify-full&sslrootcert=%2Fetc%2Fca.crt"));
    }
}
