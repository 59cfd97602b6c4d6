//! From the bytes of a file to text in UTF-8.

use flate2::bufread::MultiGzDecoder;
use std::io::{self, BufRead, BufReader, Cursor, Read};

/// What a file must be saved as.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum EncodingError {
    /// The byte order mark of UTF-16 or UTF-32 comes first.
    #[error("the text is {0}, as its byte order mark says. Save it as UTF-8")]
    Marked(&'static str),
    /// Every other byte is zero.
    #[error(
        "the text seems to be UTF-16 without a byte order mark: it begins with a zero byte in each character. Save it as UTF-8"
    )]
    Wide,
}

const UTF8_MARK: &[u8] = &[0xef, 0xbb, 0xbf];
/// The longer marks first: that of UTF-32 begins as that of UTF-16 does.
const OTHER_MARKS: [(&[u8], &str); 4] = [
    (&[0xff, 0xfe, 0, 0], "UTF-32"),
    (&[0, 0, 0xfe, 0xff], "UTF-32"),
    (&[0xff, 0xfe], "UTF-16"),
    (&[0xfe, 0xff], "UTF-16"),
];

/// The plain bytes of a stream that may be gzip, as its first two bytes tell.
///
/// # Errors
/// When it cannot be read.
pub fn unpacked(mut input: impl BufRead + 'static) -> io::Result<Box<dyn Read>> {
    if input.fill_buf()?.starts_with(&[0x1f, 0x8b]) {
        return Ok(Box::new(MultiGzDecoder::new(input)));
    }
    Ok(Box::new(input))
}

/// The same stream without the byte order mark of UTF-8. Whatever else is not UTF-8 is found where it is read.
///
/// # Errors
/// [`EncodingError`] for text of another encoding; what reading fails with.
pub fn utf8<R: Read + 'static>(mut input: R) -> io::Result<Box<dyn Read>> {
    let mut start = Vec::new();
    input.by_ref().take(4).read_to_end(&mut start)?;
    let refused = |error: EncodingError| Err(io::Error::new(io::ErrorKind::InvalidData, error));
    if let Some((_, name)) = OTHER_MARKS.iter().find(|(mark, _)| start.starts_with(mark)) {
        return refused(EncodingError::Marked(name));
    }
    if let [first, second, third, fourth] = start[..]
        && [(first, third), (second, fourth)].contains(&(0, 0))
    {
        return refused(EncodingError::Wide);
    }
    let skipped = if start.starts_with(UTF8_MARK) { UTF8_MARK.len() } else { 0 };
    start.drain(..skipped);
    Ok(Box::new(BufReader::new(Cursor::new(start).chain(input))))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(bytes: &[u8]) -> Result<Vec<u8>, String> {
        let mut text = Vec::new();
        let mut input = utf8(Cursor::new(bytes.to_vec())).map_err(|error| error.to_string())?;
        input.read_to_end(&mut text).expect("memory");
        Ok(text)
    }

    #[test]
    fn the_mark_of_utf_8_goes_and_other_encodings_are_named() {
        assert_eq!(read(b"\xef\xbb\xbfts,cpu\n"), Ok(b"ts,cpu\n".to_vec()));
        for text in [&b"ts,cpu\n"[..], b"", b"a", b"\xef\xbb", "äöü".as_bytes()] {
            assert_eq!(read(text), Ok(text.to_vec()));
        }
        for (bytes, named) in [
            (&b"\xff\xfet\0s\0"[..], "UTF-16"),
            (b"\xfe\xff\0t\0s", "UTF-16"),
            (b"\xff\xfe\0\0t\0\0\0", "UTF-32"),
            (b"t\0s\0,\0", "UTF-16 without"),
            (b"\0t\0s\0,", "UTF-16 without"),
        ] {
            let error = read(bytes).expect_err(named);
            assert!(error.contains(named) && error.contains("Save it as UTF-8"), "{error}");
        }
    }
}
