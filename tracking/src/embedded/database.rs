//! SQLite or PostgreSQL behind one set of statements: `$1` placeholders, `ON CONFLICT` and row values work in both.

use crate::TrackingError;
use sqlx::any::{AnyConnectOptions, AnyPoolOptions};
use sqlx::migrate::MigrateError;
use sqlx::{Any, AnyConnection, AnyPool, ConnectOptions, Connection, Executor, Transaction};
use std::path::Path;
use std::str::FromStr;
use std::time::Duration;
use tokio::sync::{Mutex, MutexGuard};
use url::Url;

/// How long one process waits for another's write. A write lasts milliseconds, so this is only met by a hung process.
const BUSY_LIMIT: Duration = Duration::from_secs(10);

/// Any number that no other program takes on this database: it makes writers take turns.
const WRITER_LOCK: i64 = 0x6265_7274_6801;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Sqlite,
    Postgres,
}

pub(crate) struct Database {
    pool: AnyPool,
    /// File or address without secrets, for messages.
    name: String,
    kind: Kind,
    /// Writers of this process take turns here, which costs less than meeting at the database's lock.
    turn: Mutex<()>,
}

/// A write: all of it or nothing. It is rolled back when dropped before [`Write::commit`].
pub(crate) struct Write<'a> {
    transaction: Transaction<'static, Any>,
    _turn: MutexGuard<'a, ()>,
}

impl Write<'_> {
    pub(crate) fn connection(&mut self) -> &mut AnyConnection {
        &mut self.transaction
    }

    pub(crate) async fn commit(self) -> Result<(), sqlx::Error> {
        self.transaction.commit().await
    }
}

impl Database {
    /// Opens a SQLite file, made when absent, with the tables of this version.
    pub(crate) async fn sqlite(file: &Path) -> Result<Self, TrackingError> {
        let folder = file.parent().unwrap_or(Path::new("."));
        std::fs::create_dir_all(folder).map_err(|source| TrackingError::io("create", folder, source))?;
        let name = file.display().to_string();
        // SQLite has no lock that covers bringing up the tables, so two first starts at once would collide.
        let lock = file.with_extension("lock");
        let _held = crate::lock::hold(&lock).await?;
        let absolute = std::path::absolute(file).map_err(|source| TrackingError::io("find", file, source))?;
        let url = sqlite_url(&absolute)?;
        Self::open(&url, name, Kind::Sqlite).await
    }

    /// Opens a PostgreSQL database, with the tables of this version.
    pub(crate) async fn postgres(url: &Url) -> Result<Self, TrackingError> {
        let mut shown = url.clone();
        // A failure means that there is no password to hide.
        let _ = shown.set_password(None);
        shown.set_query(None);
        Self::open(url.as_str(), shown.to_string(), Kind::Postgres).await
    }

    async fn open(url: &str, name: String, kind: Kind) -> Result<Self, TrackingError> {
        sqlx::any::install_default_drivers();
        runtime::http::install_crypto_provider();
        let failed = |source| database_error(&name, "open", source);
        let options = AnyConnectOptions::from_str(url).map_err(failed)?;
        // A pool tries again until its time limit when a connection cannot be set up; one connection says at once what
        // is wrong with the file or the server.
        let mut first: AnyConnection = options.connect().await.map_err(failed)?;
        set_up(&mut first, kind).await.map_err(failed)?;
        first.close().await.map_err(failed)?;
        let pool = AnyPoolOptions::new()
            .max_connections(4)
            .acquire_timeout(BUSY_LIMIT)
            .after_connect(move |connection, _| Box::pin(set_up(connection, kind)))
            .connect_with(options)
            .await
            .map_err(failed)?;
        sqlx::migrate!("./migrations").run(&pool).await.map_err(|error| match error {
            MigrateError::Execute(source) => database_error(&name, "open", source),
            source => TrackingError::Migrate { database: name.clone(), source },
        })?;
        Ok(Self { pool, name, kind, turn: Mutex::new(()) })
    }

    /// `SQLite .berth/tracking/berth.db` or `PostgreSQL postgres://…`.
    pub(crate) fn describe(&self) -> String {
        let kind = match self.kind {
            Kind::Sqlite => "SQLite",
            Kind::Postgres => "PostgreSQL",
        };
        format!("{kind} {}", self.name)
    }

    /// For reads.
    pub(crate) fn pool(&self) -> &AnyPool {
        &self.pool
    }

    /// Begins a write. One runs at a time, in this process and among all, so that what it reads stays true until it ends.
    pub(crate) async fn write(&self) -> Result<Write<'_>, sqlx::Error> {
        let turn = self.turn.lock().await;
        let transaction = match self.kind {
            // A transaction that begins by reading could not become a writer while another writes.
            Kind::Sqlite => self.pool.begin_with("BEGIN IMMEDIATE").await?,
            Kind::Postgres => {
                let mut transaction = self.pool.begin().await?;
                sqlx::query("SELECT pg_advisory_xact_lock($1)").bind(WRITER_LOCK).execute(&mut *transaction).await?;
                transaction
            }
        };
        Ok(Write { transaction, _turn: turn })
    }

    /// Makes the error of a statement tell what was being done.
    pub(crate) fn error(&self, doing: &'static str) -> impl Fn(sqlx::Error) -> TrackingError + '_ {
        move |source| database_error(&self.name, doing, source)
    }
}

async fn set_up(connection: &mut AnyConnection, kind: Kind) -> Result<(), sqlx::Error> {
    if kind == Kind::Sqlite {
        // Waiting first, because switching to the write-ahead log needs a lock itself. `FULL`: a commit is on the disk
        // when it returns.
        for pragma in ["busy_timeout = 10000", "journal_mode = WAL", "synchronous = FULL", "foreign_keys = ON"] {
            connection.execute(sqlx::AssertSqlSafe(format!("PRAGMA {pragma}"))).await?;
        }
    }
    Ok(())
}

/// The path as an address; letters that have a meaning in addresses are escaped.
fn sqlite_url(file: &Path) -> Result<String, TrackingError> {
    let url = Url::from_file_path(file)
        .map_err(|()| TrackingError::Settings(format!("`{}` is no usable path for a database", file.display())))?;
    Ok(format!("sqlite://{}?mode=rwc", url.path()))
}

fn database_error(name: &str, doing: &'static str, source: sqlx::Error) -> TrackingError {
    // SQLite's primary result codes (sqlite.org/rescode.html); an extended one has its primary in the low byte.
    let code = source.as_database_error().and_then(|error| error.code()).and_then(|code| code.parse::<u32>().ok());
    let hint = match code.map(|code| code & 0xff) {
        Some(5 | 6) => ". Another process has held it for over 10 s: let that end, or stop it",
        Some(8) => ". It is read-only",
        Some(11 | 26) => {
            ". The file is damaged or no SQLite database: restore it from a backup, or move it away to start a new one"
        }
        Some(13) => ". The disk is full: free some space and do it again",
        Some(14) => ". The file or its folder cannot be opened: check that both are there and writable",
        _ => "",
    };
    let hint = if name.contains("://") { "" } else { hint };
    TrackingError::Database { database: name.to_owned(), doing, hint, source }
}
