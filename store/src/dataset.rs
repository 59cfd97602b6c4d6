//! Dataset versions: immutable, content-addressed snapshots of tables.

use crate::{Store, StoreError};
use chrono::{DateTime, NaiveDate, SecondsFormat, Utc};
use cluster::{NODE_METRICS, TableSchema};
use polars::prelude::{ParquetReader, SerReader};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};

/// Something that a dataset version was made from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DatasetInput {
    /// `dataset`, `prometheus`, `openmetrics`, `csv` or `synthetic`.
    pub kind: String,
    /// The dataset's id, the server's address, the file's name, or the generator's settings.
    pub name: String,
    /// Content hash where there is one.
    pub hash: Option<String>,
}

/// One file of a dataset version.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileEntry {
    /// Relative to the version's folder.
    pub path: String,
    /// SHA-256 of its bytes.
    pub sha256: String,
    /// Rows in it.
    pub rows: u64,
    /// Its size.
    pub bytes: u64,
}

/// What the maker of a version knows and the store does not.
#[derive(Debug, Clone, Default)]
pub struct VersionDraft {
    /// What it was made from.
    pub inputs: Vec<DatasetInput>,
    /// Figures of quality, by name.
    pub quality: BTreeMap<String, f64>,
    /// Which program made it, such as `collector 0.1.0`.
    pub code: String,
}

/// The manifest of a dataset version.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DatasetVersion {
    /// `<table>-<first twelve digits of the hash>`: the same content has the same id.
    pub id: String,
    /// SHA-256 over paths and hashes of its files.
    pub hash: String,
    /// When it was first made.
    pub created_at: String,
    /// Which program made it.
    pub code: String,
    /// What it was made from.
    pub inputs: Vec<DatasetInput>,
    /// Rows by table.
    pub rows: BTreeMap<String, u64>,
    /// First and last day.
    pub days: Option<(NaiveDate, NaiveDate)>,
    /// Column names and types by table.
    pub schema: BTreeMap<String, Vec<(String, String)>>,
    /// Figures of quality, by name.
    pub quality: BTreeMap<String, f64>,
    /// How far apart the samples of `raw/node_metrics` usually are, in milliseconds; see [`Store::sample_interval`].
    /// `None` where there are none, and in manifests of versions that did not note it.
    #[serde(default)]
    pub sample_interval_ms: Option<i64>,
    /// Its files in path order.
    pub files: Vec<FileEntry>,
}

/// What is wrong with a dataset version.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// Which file.
    pub path: String,
    /// What is wrong.
    pub problem: String,
}

const DATASETS: &str = "datasets";
const MANIFEST: &str = "manifest.json";

impl Store {
    /// Freezes the present content of `tables` as a version. The same content again gives the same version.
    ///
    /// # Errors
    /// When a file is damaged or cannot be linked, or when all tables are empty.
    pub fn freeze(&self, tables: &[&TableSchema], draft: VersionDraft) -> Result<DatasetVersion, StoreError> {
        let mut files = Vec::new();
        let mut rows = BTreeMap::new();
        let mut schema = BTreeMap::new();
        let mut all_days = Vec::new();
        for table in tables {
            for day in self.days(table)? {
                all_days.push(day);
                for part in self.parts(table, day)? {
                    let entry = self.entry(&part)?;
                    *rows.entry(table.name.to_owned()).or_insert(0) += entry.rows;
                    files.push(entry);
                }
            }
            let columns = table.columns.iter().map(|column| (column.name.to_owned(), format!("{:?}", column.kind)));
            schema.insert(table.name.to_owned(), columns.collect());
        }
        files.sort_by(|a: &FileEntry, b: &FileEntry| a.path.cmp(&b.path));
        let Some(first_table) = tables.first().filter(|_| !files.is_empty()) else {
            let table = tables.iter().map(|table| table.name).collect::<Vec<_>>().join(", ");
            return Err(StoreError::Empty { table, root: self.root().to_owned() });
        };
        let has_samples = tables.iter().any(|table| table.name == NODE_METRICS.name);
        let sample_interval_ms = if has_samples { self.sample_interval(&NODE_METRICS)? } else { None };
        let hash = content_hash(&files);
        let prefix = first_table.name.replace('/', "-");
        let version = DatasetVersion {
            id: format!("{prefix}-{}", &hash[..12]),
            hash,
            created_at: now(),
            code: draft.code,
            inputs: draft.inputs,
            rows,
            days: all_days.iter().min().copied().zip(all_days.iter().max().copied()),
            schema,
            quality: draft.quality,
            sample_interval_ms,
            files,
        };
        self.link(&version)
    }

    fn entry(&self, part: &Path) -> Result<FileEntry, StoreError> {
        let relative = part.strip_prefix(self.root()).unwrap_or(part);
        let file = File::open(part).map_err(|source| StoreError::io("open", part, source))?;
        let bytes = file.metadata().map_err(|source| StoreError::io("inspect", part, source))?.len();
        let rows = ParquetReader::new(file)
            .num_rows()
            .map_err(|source| StoreError::Read { path: part.to_owned(), source })? as u64;
        Ok(FileEntry {
            path: relative.to_string_lossy().into_owned(),
            sha256: runtime::files::sha256_file(part)?,
            rows,
            bytes,
        })
    }

    /// Puts the version's folder in place: built under a temporary name, then renamed.
    fn link(&self, version: &DatasetVersion) -> Result<DatasetVersion, StoreError> {
        let folder = self.version_folder(&version.id);
        if folder.join(MANIFEST).exists() {
            return self.same_version(version);
        }
        let building = self.root().join(DATASETS).join(format!(".{}.{}.tmp", version.id, uuid::Uuid::new_v4()));
        for file in &version.files {
            let (from, to) = (self.root().join(&file.path), building.join(&file.path));
            if let Some(parent) = to.parent() {
                std::fs::create_dir_all(parent).map_err(|source| StoreError::io("create", parent, source))?;
            }
            // A file system without hard links gets a copy.
            std::fs::hard_link(&from, &to)
                .or_else(|_| std::fs::copy(&from, &to).map(drop))
                .map_err(|source| StoreError::io("link", &to, source))?;
        }
        runtime::files::write_json(&building.join(MANIFEST), version)?;
        match std::fs::rename(&building, &folder) {
            Ok(()) => Ok(version.clone()),
            // Another process froze the same content first; its version is the same.
            Err(_) if folder.join(MANIFEST).exists() => {
                std::fs::remove_dir_all(&building).map_err(|source| StoreError::io("remove", &building, source))?;
                self.same_version(version)
            }
            Err(source) => Err(StoreError::io("rename", &folder, source)),
        }
    }

    /// The version that is there under the same id, where all of its hash agrees: an id has twelve digits of it.
    fn same_version(&self, version: &DatasetVersion) -> Result<DatasetVersion, StoreError> {
        let there = self.version(&version.id)?;
        if there.hash != version.hash {
            let (id, there, new) = (version.id.clone(), there.hash, version.hash.clone());
            return Err(StoreError::OtherContent { id, there, new });
        }
        Ok(there)
    }

    fn version_folder(&self, id: &str) -> PathBuf {
        self.root().join(DATASETS).join(id)
    }

    /// The tables as they were when the version was frozen.
    ///
    /// # Errors
    /// When there is no such version.
    pub fn open_version(&self, id: &str) -> Result<Store, StoreError> {
        self.version(id)?;
        Ok(Store::new(self.version_folder(id)))
    }

    /// The manifest of a version.
    ///
    /// # Errors
    /// When there is no such version or its manifest is damaged.
    pub fn version(&self, id: &str) -> Result<DatasetVersion, StoreError> {
        let path = self.version_folder(id).join(MANIFEST);
        // An id is one plain name; anything else would lead out of the folder.
        if !path.exists() || id.starts_with('.') || id.contains(['/', '\\']) {
            return Err(StoreError::UnknownVersion { id: id.to_owned(), root: self.root().to_owned() });
        }
        Ok(runtime::files::read_json(&path)?)
    }

    /// All versions, oldest first.
    ///
    /// # Errors
    /// When a manifest is damaged.
    pub fn versions(&self) -> Result<Vec<DatasetVersion>, StoreError> {
        let folder = self.root().join(DATASETS);
        let mut versions = Vec::new();
        let entries = match std::fs::read_dir(&folder) {
            Ok(entries) => entries,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(versions),
            Err(source) => return Err(StoreError::io("list", &folder, source)),
        };
        for entry in entries {
            let path = entry.map_err(|source| StoreError::io("list", &folder, source))?.path();
            // A freeze that was killed leaves its folder under a hidden name; that is no version.
            let hidden = path.file_name().is_some_and(|name| name.to_string_lossy().starts_with('.'));
            if !hidden && path.join(MANIFEST).exists() {
                versions.push(runtime::files::read_json::<DatasetVersion>(&path.join(MANIFEST))?);
            }
        }
        versions.sort_by(|a, b| a.created_at.cmp(&b.created_at).then_with(|| a.id.cmp(&b.id)));
        Ok(versions)
    }

    /// The newest version that holds `table`.
    ///
    /// # Errors
    /// When there is none.
    pub fn newest_version(&self, table: &TableSchema) -> Result<DatasetVersion, StoreError> {
        let newest = self.versions()?.into_iter().rev().find(|version| version.rows.contains_key(table.name));
        newest.ok_or_else(|| StoreError::Empty {
            table: format!("datasets of {}", table.name),
            root: self.root().to_owned(),
        })
    }

    /// The version that a command line names: an id, the path of a manifest, or `latest` for the newest one that holds
    /// `table`.
    ///
    /// # Errors
    /// When there is none, or its manifest is damaged.
    pub fn find_version(&self, name: &str, table: &TableSchema) -> Result<DatasetVersion, StoreError> {
        if name == "latest" {
            return self.newest_version(table);
        }
        let path = Path::new(name);
        if path.is_file() {
            let manifest: DatasetVersion = runtime::files::read_json(path)?;
            return self.version(&manifest.id);
        }
        self.version(name)
    }

    /// Reads every file of a version again and compares it with the manifest. An empty list means that all is well.
    ///
    /// # Errors
    /// When there is no such version.
    pub fn verify(&self, id: &str) -> Result<Vec<Problem>, StoreError> {
        let version = self.version(id)?;
        let folder = self.version_folder(id);
        let mut problems = Vec::new();
        for file in &version.files {
            let problem = match runtime::files::sha256_file(&folder.join(&file.path)) {
                Ok(hash) if hash == file.sha256 => continue,
                Ok(hash) => format!("hash is {hash}, the manifest says {}", file.sha256),
                Err(error) => format!("{error}: {}", error.source),
            };
            problems.push(Problem { path: file.path.clone(), problem });
        }
        if content_hash(&version.files) != version.hash {
            problems.push(Problem {
                path: MANIFEST.into(),
                problem: "the list of files does not match the content hash".into(),
            });
        }
        Ok(problems)
    }
}

fn content_hash(files: &[FileEntry]) -> String {
    let lines: String = files.iter().map(|file| format!("{} {}\n", file.sha256, file.path)).collect();
    runtime::files::sha256(lines.as_bytes())
}

fn now() -> String {
    DateTime::<Utc>::from(std::time::SystemTime::now()).to_rfc3339_opts(SecondsFormat::Millis, true)
}
