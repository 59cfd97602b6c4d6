//! What holds for every answer, whoever makes it: browsers are told to guess nothing, run nothing and frame nothing; errors are JSON.

use crate::ApiError;
use axum::body::to_bytes;
use axum::http::header::{
    CONTENT_SECURITY_POLICY, CONTENT_TYPE, HOST, HeaderName, ORIGIN, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS,
    X_FRAME_OPTIONS,
};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, Uri};
use axum::response::{IntoResponse, Response};

/// The pages are whole by themselves: inline styles, inline drawings, no script, nothing fetched.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";
const HEADERS: [(HeaderName, &str); 4] = [
    (X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (CONTENT_SECURITY_POLICY, POLICY),
    (X_FRAME_OPTIONS, "DENY"),
    (REFERRER_POLICY, "no-referrer"),
];
/// A sentence of axum is shorter.
const LONGEST_SENTENCE: usize = 4 << 10;

/// Refuses what a web page sends on behalf of whoever reads it: browsers say where a request that may change something comes from, and
/// neither kube-scheduler nor any client of a model server is one. Without this, any page could reach a server on the loopback
/// interface of the machine that shows it, by its address or by a name that it lets point there.
///
/// # Errors
/// 403 for a request with an origin that is not this server by its address.
pub(crate) fn check_origin(method: &Method, headers: &HeaderMap) -> Result<(), ApiError> {
    let Some(origin) = headers.get(ORIGIN).filter(|_| !method.is_safe()) else { return Ok(()) };
    let origin = origin.to_str().ok().and_then(|origin| origin.parse::<Uri>().ok());
    let authority = origin.as_ref().and_then(Uri::authority);
    let is_own = authority.is_some_and(|authority| {
        let host = authority.host().trim_matches(['[', ']']);
        let is_address = host == "localhost" || host.parse::<std::net::IpAddr>().is_ok();
        is_address && headers.get(HOST).is_some_and(|host| host.as_bytes() == authority.as_str().as_bytes())
    });
    if is_own {
        return Ok(());
    }
    Err(ApiError {
        status: StatusCode::FORBIDDEN,
        message: "requests that a web page sends (header `Origin`) are not answered".to_owned(),
    })
}

/// The answer with what every answer has.
pub(crate) async fn seal(response: Response) -> Response {
    let mut response = if is_plain_error(&response) { as_json(response).await } else { response };
    for (name, value) in HEADERS {
        response.headers_mut().entry(name).or_insert(HeaderValue::from_static(value));
    }
    response
}

/// Whether it is a refusal of axum itself, such as of a path that is no UTF-8.
fn is_plain_error(response: &Response) -> bool {
    let status = response.status();
    let kind = response.headers().get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    (status.is_client_error() || status.is_server_error()) && kind.starts_with("text/plain")
}

async fn as_json(response: Response) -> Response {
    let (parts, body) = response.into_parts();
    let text = to_bytes(body, LONGEST_SENTENCE).await.unwrap_or_default();
    ApiError { status: parts.status, message: String::from_utf8_lossy(&text).into_owned() }.into_response()
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::Json;

    #[tokio::test]
    async fn every_answer_tells_browsers_to_guess_nothing_and_errors_are_json() {
        let answer = seal((StatusCode::BAD_REQUEST, "invalid UTF-8 in `pod`").into_response()).await;
        assert_eq!(answer.headers()[CONTENT_TYPE], "application/json");
        for (name, value) in HEADERS {
            assert_eq!(answer.headers()[name], value);
        }
        let text = to_bytes(answer.into_body(), 1_000).await.expect("a body");
        assert_eq!(text[..], br#"{"error":"invalid UTF-8 in `pod`"}"#[..]);
        for (answer, kind) in [
            ("ok".into_response(), "text/plain; charset=utf-8"),
            ((StatusCode::BAD_REQUEST, Json(1)).into_response(), "application/json"),
        ] {
            assert_eq!(seal(answer).await.headers()[CONTENT_TYPE], kind);
        }
    }

    #[test]
    fn what_a_page_of_another_site_sends_is_refused() {
        let with = |method: Method, origin: &str, host: &str| {
            let headers = [(ORIGIN, origin), (HOST, host)].map(|(name, value)| (name, value.parse().expect("a value")));
            check_origin(&method, &headers.into_iter().collect()).is_ok()
        };
        let own = "127.0.0.1:8080";
        assert!(with(Method::POST, "http://127.0.0.1:8080", own) && with(Method::POST, "http://[::1]:80", "[::1]:80"));
        for (origin, host) in [
            ("https://example.com", own),
            ("null", own),
            // A name that its owner lets point to this machine.
            ("http://example.com:8080", "example.com:8080"),
            ("http://127.0.0.1:9999", own),
        ] {
            assert!(!with(Method::POST, origin, host), "{origin}");
        }
        assert!(with(Method::GET, "https://example.com", own), "reading changes nothing");
        assert!(check_origin(&Method::POST, &HeaderMap::new()).is_ok(), "whoever is no browser does not say");
    }
}
