//! A file is whole or absent: everything is written to a temporary name and renamed.

use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::ErrorKind::{InvalidInput, PermissionDenied, Unsupported};
use std::io::{self, BufWriter, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// A file could not be read or written.
#[derive(Debug, thiserror::Error)]
#[error("failed to {doing} `{path}`")]
pub struct FileError {
    /// `write`, `read`, …
    pub doing: &'static str,
    /// Which file.
    pub path: PathBuf,
    /// Why.
    pub source: io::Error,
}

impl FileError {
    /// Names what was being done to which file when `source` happened.
    pub fn new(doing: &'static str, path: &Path, source: io::Error) -> Self {
        Self { doing, path: path.to_owned(), source }
    }
}

/// Writes a file whole: to a temporary name beside it, synced to disk, then renamed. Missing folders are made. Who may read it follows from
/// the process's umask, as for any file.
///
/// # Errors
/// When the disk is full or not writable, or when `write` fails; the old file is then untouched.
pub fn write_atomic(path: &Path, write: impl FnOnce(&mut BufWriter<&File>) -> io::Result<()>) -> Result<(), FileError> {
    let fail = |source| FileError::new("write", path, source);
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    std::fs::create_dir_all(folder).map_err(fail)?;
    // Temporary files are private to their owner unless something else is said; the system takes away what the umask does.
    let permissions = std::fs::Permissions::from_mode(0o666);
    let mut builder = tempfile::Builder::new();
    let temporary = builder.prefix(".").suffix(".tmp").permissions(permissions).tempfile_in(folder).map_err(fail)?;
    let mut writer = BufWriter::new(temporary.as_file());
    write(&mut writer).and_then(|()| writer.flush()).map_err(fail)?;
    drop(writer);
    temporary.as_file().sync_all().map_err(fail)?;
    temporary.persist(path).map_err(|error| fail(error.error))?;
    // The name is in the folder, which has to reach the disk as well: else a machine that loses power may have neither file.
    match File::open(folder).and_then(|folder| folder.sync_all()) {
        // Not every file system can, and not everyone who may write a folder may open it.
        Err(error) if !matches!(error.kind(), InvalidInput | Unsupported | PermissionDenied) => Err(fail(error)),
        _ => Ok(()),
    }
}

/// Writes text whole.
///
/// # Errors
/// See [`write_atomic`].
pub fn write_text(path: &Path, text: &str) -> Result<(), FileError> {
    write_atomic(path, |writer| writer.write_all(text.as_bytes()))
}

/// Writes a value as indented JSON, whole.
///
/// # Errors
/// See [`write_atomic`].
pub fn write_json(path: &Path, value: &impl serde::Serialize) -> Result<(), FileError> {
    write_atomic(path, |writer| {
        serde_json::to_writer_pretty(&mut *writer, value)?;
        writer.write_all(b"\n")
    })
}

/// Reads a JSON file into `T`.
///
/// # Errors
/// When the file is absent or holds something else; the message has the path, the line and the reason.
pub fn read_json<T: serde::de::DeserializeOwned>(path: &Path) -> Result<T, FileError> {
    let text = read_text(path)?;
    serde_json::from_str(&text).map_err(|error| FileError::new("parse", path, error.into()))
}

/// Reads a text file whole.
///
/// # Errors
/// When it is absent or not UTF-8.
pub fn read_text(path: &Path) -> Result<String, FileError> {
    std::fs::read_to_string(path).map_err(|source| FileError::new("read", path, source))
}

/// The bytes of every file in a folder and below it, by its path from there, with `/`. Links to folders are passed over, which may lead
/// in a circle; links to files count where they stay inside, as those of a mounted ConfigMap do.
///
/// # Errors
/// When a file or folder cannot be read, or a link leads out of the folder.
pub fn read_folder(folder: &Path) -> Result<BTreeMap<String, Vec<u8>>, FileError> {
    let root = folder.canonicalize().map_err(|source| FileError::new("read", folder, source))?;
    let mut files = BTreeMap::new();
    let mut folders = vec![(folder.to_owned(), String::new())];
    while let Some((path, prefix)) = folders.pop() {
        let fail = |source| FileError::new("read", &path, source);
        for entry in std::fs::read_dir(&path).map_err(fail)? {
            let entry = entry.map_err(fail)?;
            let name = format!("{prefix}{}", entry.file_name().to_string_lossy());
            let fail = |source| FileError::new("read", &entry.path(), source);
            let kind = entry.file_type().map_err(fail)?;
            if kind.is_dir() {
                folders.push((entry.path(), format!("{name}/")));
                continue;
            }
            if kind.is_symlink() {
                let target = entry.path().canonicalize().map_err(fail)?;
                if !target.starts_with(&root) {
                    return Err(fail(io::Error::other("it is a link that leads out of the folder")));
                }
                if target.is_dir() {
                    continue;
                }
            }
            files.insert(name, std::fs::read(entry.path()).map_err(fail)?);
        }
    }
    Ok(files)
}

/// The SHA-256 of a file's bytes, in lower-case hex.
///
/// # Errors
/// When it cannot be read.
pub fn sha256_file(path: &Path) -> Result<String, FileError> {
    let fail = |source| FileError::new("read", path, source);
    let mut file = File::open(path).map_err(fail)?;
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; 1 << 16];
    loop {
        let count = file.read(&mut buffer).map_err(fail)?;
        if count == 0 {
            return Ok(hex(&hasher.finalize()));
        }
        hasher.update(&buffer[..count]);
    }
}

/// The SHA-256 of some bytes, in lower-case hex.
pub fn sha256(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

fn hex(digest: &[u8]) -> String {
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_write_leaves_the_old_file() {
        let folder = tempfile::tempdir().expect("temporary folder");
        let path = folder.path().join("deep/report.json");
        write_text(&path, "old").expect("first write");
        let error = write_atomic(&path, |writer| {
            writer.write_all(b"half")?;
            Err(io::Error::from(io::ErrorKind::StorageFull))
        })
        .expect_err("the disk is full");
        assert!(error.to_string().contains("report.json"), "{error}");
        assert_eq!(read_text(&path).expect("old file"), "old");
        let left = std::fs::read_dir(path.parent().expect("folder")).expect("listing").count();
        assert_eq!(left, 1, "the temporary file is gone");
    }

    #[test]
    fn json_comes_back_and_anything_else_is_named_with_its_line() {
        let folder = tempfile::tempdir().expect("temporary folder");
        let path = folder.path().join("manifest.json");
        write_json(&path, &vec![1, 2]).expect("written");
        assert_eq!(read_json::<Vec<u8>>(&path).expect("numbers"), [1, 2]);
        write_text(&path, "[1,\n2").expect("cut off");
        let error = anyhow::Error::new(read_json::<Vec<u8>>(&path).expect_err("cut off"));
        let message = format!("{error:#}");
        assert!(message.contains("manifest.json") && message.contains("line 2"), "{message}");
        let error = anyhow::Error::new(read_text(&folder.path().join("absent")).expect_err("absent"));
        assert!(format!("{error:#}").contains("failed to read `") && error.to_string().contains("absent"), "{error:#}");
    }

    /// A umask is that of a whole process, so this test runs itself again in another one.
    #[test]
    fn a_process_that_hides_its_files_hides_these_too() {
        const FOLDER: &str = "BERTH_TEST_UMASK_FOLDER";
        const NAME: &str = "files::tests::a_process_that_hides_its_files_hides_these_too";
        if let Ok(folder) = std::env::var(FOLDER) {
            return write_text(&Path::new(&folder).join("secret"), "x").expect("written");
        }
        let folder = tempfile::tempdir().expect("temporary folder");
        let program = std::env::current_exe().expect("this test");
        for (umask, wanted) in [("077", 0o600), ("027", 0o640), ("022", 0o644)] {
            let status = std::process::Command::new("/bin/sh")
                .args(["-c", &format!("umask {umask}; exec \"$0\" --exact {NAME}")])
                .arg(&program)
                .env(FOLDER, folder.path())
                .stdout(std::process::Stdio::null())
                .status()
                .expect("it runs");
            assert!(status.success());
            let mode = std::fs::metadata(folder.path().join("secret")).expect("metadata").permissions().mode();
            assert_eq!(mode & 0o777, wanted, "umask {umask}");
        }
    }

    #[test]
    fn a_finished_file_hashes_as_its_bytes() {
        let folder = tempfile::tempdir().expect("temporary folder");
        let path = folder.path().join("model.ubj");
        // Longer than the buffer that the hash is computed with.
        let bytes: Vec<u8> = (0..200_000_u32).map(|at| at as u8).collect();
        write_atomic(&path, |writer| writer.write_all(&bytes)).expect("written");
        assert_eq!(sha256_file(&path).expect("hash"), sha256(&bytes));
    }

    #[test]
    fn a_folder_that_cannot_be_made_is_an_error_that_names_the_file() {
        let folder = tempfile::tempdir().expect("temporary folder");
        write_text(&folder.path().join("file"), "not a folder").expect("written");
        let error = write_text(&folder.path().join("file/report.html"), "page").expect_err("no folder");
        assert!(error.to_string().contains("file/report.html"), "{error}");
    }

    #[test]
    fn a_folder_is_read_with_what_is_below_it() {
        let folder = tempfile::tempdir().expect("temporary folder");
        write_text(&folder.path().join("a"), "1").expect("written");
        write_text(&folder.path().join("deep/er/b"), "2").expect("written");
        let files = read_folder(folder.path()).expect("read");
        let names: Vec<(&str, &[u8])> = files.iter().map(|(name, bytes)| (name.as_str(), bytes.as_slice())).collect();
        assert_eq!(names, [("a", b"1".as_slice()), ("deep/er/b", b"2")]);
        assert!(read_folder(&folder.path().join("absent")).expect_err("absent").to_string().contains("absent"));
        // A circle, a file of the folder by another name, and one that is none of it.
        let link = |to: &Path, name: &str| std::os::unix::fs::symlink(to, folder.path().join(name)).expect("linked");
        link(folder.path(), "deep/circle");
        link(Path::new("a"), "same");
        let names: Vec<String> = read_folder(folder.path()).expect("read").into_keys().collect();
        assert_eq!(names, ["a", "deep/er/b", "same"]);
        link(Path::new("/etc/hostname"), "outside");
        let error = anyhow::Error::new(read_folder(folder.path()).expect_err("it leads out"));
        assert!(format!("{error:#}").contains("outside") && format!("{error:#}").contains("leads out"), "{error:#}");
    }

    #[test]
    fn sha256_agrees_with_the_published_vector() {
        // FIPS 180-4 example: SHA-256("abc").
        assert_eq!(sha256(b"abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    }
}
