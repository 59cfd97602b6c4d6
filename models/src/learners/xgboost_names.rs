//! Feature names inside XGBoost files.
//!
//! hessboost reads and writes the trees but leaves `learner.feature_names` empty. XGBoost compares these names with
//! those of the data it is given, so a model served with its columns in another order is refused instead of answering
//! nonsense. UBJ is <https://ubjson.org/type-reference/>; XGBoost writes every length as `L` and a big-endian int64.

const KEY: &[u8] = b"feature_names";

/// The names in a UBJ document, empty where there are none.
pub(super) fn read(ubj: &[u8]) -> Vec<String> {
    after_key(ubj).and_then(|(_, rest)| names(rest)).unwrap_or_default()
}

/// The names in a JSON document, empty where there are none.
pub(super) fn read_json(json: &[u8]) -> Vec<String> {
    #[derive(serde::Deserialize)]
    struct Document {
        learner: Learner,
    }
    #[derive(serde::Deserialize)]
    struct Learner {
        #[serde(default)]
        feature_names: Vec<String>,
    }
    serde_json::from_slice::<Document>(json).map(|document| document.learner.feature_names).unwrap_or_default()
}

/// The document with `names` in the place of its empty list.
pub(super) fn insert(ubj: &[u8], names: &[String]) -> Result<Vec<u8>, &'static str> {
    let (start, rest) = after_key(ubj).ok_or("the document has no `feature_names`")?;
    let empty = [b"[#".as_slice(), &length(0)].concat();
    let tail = rest.strip_prefix(empty.as_slice()).ok_or("the document's `feature_names` is not an empty list")?;
    let mut document = Vec::with_capacity(ubj.len() + names.iter().map(|name| name.len() + 10).sum::<usize>());
    document.extend_from_slice(&ubj[..start]);
    document.extend_from_slice(b"[#");
    document.extend_from_slice(&length(names.len()));
    for name in names {
        document.push(b'S');
        document.extend_from_slice(&length(name.len()));
        document.extend_from_slice(name.as_bytes());
    }
    document.extend_from_slice(tail);
    Ok(document)
}

/// Where the value of the key starts, and the bytes from there.
fn after_key(ubj: &[u8]) -> Option<(usize, &[u8])> {
    let key = [length(KEY.len()).as_slice(), KEY].concat();
    let start = ubj.windows(key.len()).position(|window| window == key)? + key.len();
    Some((start, &ubj[start..]))
}

fn names(value: &[u8]) -> Option<Vec<String>> {
    let (count, mut rest) = take_length(value.strip_prefix(b"[#")?)?;
    let mut names = Vec::new();
    for _ in 0..count {
        let (bytes, after) = take_length(rest.strip_prefix(b"S")?)?;
        names.push(String::from_utf8(after.get(..bytes)?.to_vec()).ok()?);
        rest = &after[bytes..];
    }
    Some(names)
}

fn length(count: usize) -> [u8; 9] {
    let mut bytes = [b'L'; 9];
    bytes[1..].copy_from_slice(&(count as i64).to_be_bytes());
    bytes
}

fn take_length(bytes: &[u8]) -> Option<(usize, &[u8])> {
    let (length, rest) = bytes.strip_prefix(b"L")?.split_first_chunk::<8>()?;
    Some((usize::try_from(i64::from_be_bytes(*length)).ok()?, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn document(value: &[u8]) -> Vec<u8> {
        [b"{".as_slice(), &length(KEY.len()), KEY, value, b"}"].concat()
    }

    #[test]
    fn names_go_in_and_come_out() {
        let empty = document(&[b"[#".as_slice(), &length(0)].concat());
        let names = ["cpu".to_owned(), "größe".to_owned()];
        let filled = insert(&empty, &names).expect("there is a place");
        assert_eq!(read(&filled), names);
        assert_eq!(filled.last(), Some(&b'}'));
        assert!(read(&empty).is_empty());
        assert_eq!(insert(&filled, &names), Err("the document's `feature_names` is not an empty list"));
    }

    #[test]
    fn cut_documents_do_not_panic() {
        let empty = document(&[b"[#".as_slice(), &length(0)].concat());
        let filled = insert(&empty, &["cpu".to_owned()]).expect("there is a place");
        for end in 0..filled.len() {
            let _ = read(&filled[..end]);
        }
        assert_eq!(read_json(br#"{"learner": {"feature_names": ["a"]}}"#), ["a"]);
        assert!(read_json(b"nonsense").is_empty());
    }
}
