//! Answers of other servers, read up to a limit: what they send may be compressed, and a few megabytes on the wire can stand for gigabytes.

use reqwest::Response;

/// An answer that was not read.
#[derive(Debug, thiserror::Error)]
pub enum BodyError {
    /// It has more bytes than are read.
    #[error("the answer of `{url}` is larger than {limit} bytes, the most that is read")]
    TooLarge {
        /// What was asked.
        url: String,
        /// The most that is read, uncompressed.
        limit: usize,
    },
    /// It ended before it was whole.
    #[error("the answer ended before it was whole")]
    Broken(#[source] reqwest::Error),
    /// It is something else than the JSON that was expected.
    #[error("the answer of `{url}` is not the JSON that was expected")]
    NotJson {
        /// What was asked.
        url: String,
        /// What is wrong with it.
        source: serde_json::Error,
    },
}

/// Reads a whole answer of at most `limit` bytes, counted after decompression.
///
/// # Errors
/// When it is larger, or ends too early.
pub async fn bytes(mut response: Response, limit: usize) -> Result<Vec<u8>, BodyError> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(BodyError::Broken)? {
        if body.len() + chunk.len() > limit {
            return Err(BodyError::TooLarge { url: shown(&response), limit });
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

/// Reads an answer of at most `limit` bytes as JSON.
///
/// # Errors
/// See [`bytes`]; and when it holds something else.
pub async fn json<T: serde::de::DeserializeOwned>(response: Response, limit: usize) -> Result<T, BodyError> {
    let url = shown(&response);
    let body = bytes(response, limit).await?;
    serde_json::from_slice(&body).map_err(|source| BodyError::NotJson { url, source })
}

/// The beginning of an answer, for a message: at most `limit` bytes, whatever they are.
pub async fn beginning(mut response: Response, limit: usize) -> String {
    let mut body = Vec::new();
    while body.len() < limit
        && let Ok(Some(chunk)) = response.chunk().await
    {
        body.extend_from_slice(&chunk[..chunk.len().min(limit - body.len())]);
    }
    String::from_utf8_lossy(&body).into_owned()
}

/// The address without what may be secret in it.
fn shown(response: &Response) -> String {
    let mut url = response.url().clone();
    // An address that cannot have them has none.
    let _ = url.set_password(None);
    let _ = url.set_username("");
    url.set_query(None);
    url.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};
    use std::net::TcpListener;

    /// Answers one request with these bytes, and tells where.
    fn answer(head: &'static str, body: Vec<u8>) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let url = format!("http://user:secret@{}/a?token=b", listener.local_addr().expect("an address"));
        std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().expect("a client");
            let mut request = [0; 4096];
            let _ = stream.read(&mut request);
            let head = format!("HTTP/1.1 200 OK\r\n{head}Content-Length: {}\r\nConnection: close\r\n\r\n", body.len());
            // A client that has had enough hangs up.
            let _ = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(&body));
        });
        url
    }

    async fn ask(url: &str) -> Response {
        crate::http::install_crypto_provider();
        reqwest::get(url).await.expect("an answer")
    }

    /// gzip of zeros: a block of the fixed code that says "a zero, then the last 258 bytes again" (RFC 1951) stands for a thousand times its
    /// own size.
    fn bomb(bytes: usize) -> Vec<u8> {
        let mut child = std::process::Command::new("gzip")
            .args(["-9", "-c"])
            .stdin(std::process::Stdio::piped())
            .stdout(std::process::Stdio::piped())
            .spawn()
            .expect("gzip");
        let mut input = child.stdin.take().expect("a pipe");
        let writing = std::thread::spawn(move || input.write_all(&vec![0; bytes]));
        let output = child.wait_with_output().expect("gzip ends");
        writing.join().expect("a thread").expect("written");
        output.stdout
    }

    #[tokio::test]
    async fn an_answer_is_counted_after_it_is_unpacked() {
        let packed = bomb(10_000_000);
        assert!(packed.len() < 20_000, "{} bytes on the wire", packed.len());
        let url = answer("Content-Encoding: gzip\r\n", packed.clone());
        let error = bytes(ask(&url).await, 1_000_000).await.expect_err("too large");
        let said = error.to_string();
        assert!(
            said.contains("larger than 1000000 bytes") && !said.contains("secret") && !said.contains("token"),
            "{said}"
        );
        let url = answer("Content-Encoding: gzip\r\n", packed);
        assert_eq!(bytes(ask(&url).await, 10_000_000).await.expect("at the limit").len(), 10_000_000);
    }

    #[tokio::test]
    async fn json_and_beginnings_are_read_up_to_the_limit() {
        let url = answer("", b"[1,2,3]".to_vec());
        assert_eq!(json::<Vec<u8>>(ask(&url).await, 7).await.expect("JSON"), [1, 2, 3]);
        let url = answer("", b"[1,2,3]".to_vec());
        assert!(matches!(json::<Vec<u8>>(ask(&url).await, 6).await, Err(BodyError::TooLarge { limit: 6, .. })));
        let url = answer("", b"<html>".to_vec());
        assert!(matches!(json::<Vec<u8>>(ask(&url).await, 100).await, Err(BodyError::NotJson { .. })));
        let url = answer("", b"sorry, this is long".to_vec());
        assert_eq!(beginning(ask(&url).await, 5).await, "sorry");
    }
}
