use std::path::{Path, PathBuf};

/// What can go wrong with tracking.
#[derive(Debug, thiserror::Error)]
pub enum TrackingError {
    /// There is no such experiment, run, artifact, model, version or alias.
    #[error("no {what} `{name}`")]
    NotFound {
        /// `run`, `registered model`, …
        what: &'static str,
        /// What was asked for.
        name: String,
    },
    /// The name or key is taken by something else.
    #[error("{what} `{name}` exists already{detail}")]
    AlreadyExists {
        /// `parameter`, `registered model`, …
        what: &'static str,
        /// Which one.
        name: String,
        /// What it holds, as a clause that starts with a comma; may be empty.
        detail: String,
    },
    /// The caller's value is not acceptable; nothing was written.
    #[error("{what} `{value}` is not valid: {why}")]
    Invalid {
        /// `metric name`, `artifact path`, …
        what: &'static str,
        /// The value, shortened when long.
        value: String,
        /// The rule, with its limit.
        why: String,
    },
    /// The server got the request and said no.
    #[error("`{server}` refused to {doing}: {error_code} ({status}): {message}")]
    Refused {
        /// Which server.
        server: String,
        /// What was asked of it.
        doing: String,
        /// HTTP status.
        status: u16,
        /// MLflow's code, such as `INVALID_PARAMETER_VALUE`.
        error_code: String,
        /// The server's own words.
        message: String,
    },
    /// The server cannot be reached, or does not answer in time.
    #[error("`{server}` is away, so it cannot {doing}: {why}")]
    Away {
        /// Which server.
        server: String,
        /// What was asked of it.
        doing: String,
        /// What the network said.
        why: String,
    },
    /// The server answered something that is not MLflow.
    #[error("`{server}` answered the request to {doing} with something that is not MLflow's: {why}")]
    Foreign {
        /// Which server.
        server: String,
        /// What was asked of it.
        doing: String,
        /// What is odd.
        why: String,
    },
    /// The tracking database failed.
    #[error("tracking database `{database}` failed to {doing}{hint}")]
    Database {
        /// File or address, without secrets.
        database: String,
        /// What was being done.
        doing: &'static str,
        /// What to do about it, as a sentence; may be empty.
        hint: &'static str,
        /// The database's word on it.
        source: sqlx::Error,
    },
    /// The tables of the database could not be brought up to date.
    #[error("tracking database `{database}` cannot be brought up to this version's tables")]
    Migrate {
        /// File or address, without secrets.
        database: String,
        /// Why.
        source: sqlx::migrate::MigrateError,
    },
    /// A file could not be read or written.
    #[error(transparent)]
    File(#[from] runtime::files::FileError),
    /// The settings make no sense together.
    #[error("{0}")]
    Settings(String),
}

impl TrackingError {
    pub(crate) fn not_found(what: &'static str, name: impl Into<String>) -> Self {
        Self::NotFound { what, name: name.into() }
    }

    pub(crate) fn invalid(what: &'static str, value: &str, why: impl Into<String>) -> Self {
        const SHOWN: usize = 80;
        let shown = value.chars().count() > SHOWN;
        let value = if shown { value.chars().take(SHOWN).chain(['…']).collect() } else { value.to_owned() };
        Self::Invalid { what, value, why: why.into() }
    }

    pub(crate) fn io(doing: &'static str, path: &Path, source: std::io::Error) -> Self {
        Self::File(runtime::files::FileError { doing, path: PathBuf::from(path), source })
    }

    /// Whether the server could not be reached, so that the same call may work later.
    pub fn is_away(&self) -> bool {
        matches!(self, Self::Away { .. })
    }

    /// Whether the thing asked for does not exist.
    pub fn is_not_found(&self) -> bool {
        matches!(self, Self::NotFound { .. })
    }
}

/// Turns "there is none" into `None` and leaves every other error.
///
/// # Errors
/// All but [`TrackingError::NotFound`].
pub fn optional<T>(result: Result<T, TrackingError>) -> Result<Option<T>, TrackingError> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error) if error.is_not_found() => Ok(None),
        Err(error) => Err(error),
    }
}

/// Turns "the server is away" into `None` and leaves every other error.
pub(crate) fn optional_when_away<T>(result: Result<T, TrackingError>) -> Result<Option<T>, TrackingError> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error) if error.is_away() => Ok(None),
        Err(error) => Err(error),
    }
}
