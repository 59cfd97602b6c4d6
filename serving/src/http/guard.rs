//! Who may come in, how many at once, and for how long.

use super::App;
use crate::protocol::Refusal;
use axum::extract::{Request, State};
use axum::http::HeaderMap;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use score_api::{MAX_TIMEOUT_MILLIS, TIMEOUT_HEADER};
use server::gate::Admission;
use std::sync::Arc;
use std::time::Duration;

/// The same of a gRPC client.
const GRPC_TIMEOUT_HEADER: &str = "grpc-timeout";

/// Looks at the headers of a request before anything else of it is read. Its handler finds the [`Work`](server::gate::Work) that holds
/// the request's place among the extensions.
pub(super) async fn guard(State(app): State<Arc<App>>, mut request: Request, next: Next) -> Response {
    let admission = match admit(&app, request.headers()) {
        Ok(admission) => admission,
        Err(refusal) => return refusal.into_response(),
    };
    request.extensions_mut().insert(admission.work());
    match admission.within(next.run(request)).await {
        Ok(response) => response,
        Err(refusal) => refusal.into_response(),
    }
}

/// Lets a request in, or says why not.
pub(crate) fn admit(app: &App, headers: &HeaderMap) -> Result<Admission, Refusal> {
    if let Some(token) = &app.token {
        token.check(headers)?;
    }
    let limit = time_limit(app, headers)?;
    app.gate.admit(limit).inspect_err(|_| app.metrics.was_shed())
}

fn time_limit(app: &App, headers: &HeaderMap) -> Result<Duration, Refusal> {
    let asked = match (headers.get(TIMEOUT_HEADER), headers.get(GRPC_TIMEOUT_HEADER)) {
        (Some(value), _) => value.to_str().ok().and_then(millis),
        (None, Some(value)) => value.to_str().ok().and_then(grpc_timeout),
        (None, None) => return Ok(app.limits.time),
    };
    let wrong =
        || Refusal::bad(format!("header `{TIMEOUT_HEADER}` wants whole milliseconds, 1 to {MAX_TIMEOUT_MILLIS}"));
    Ok(app.limits.time.min(asked.ok_or_else(wrong)?))
}

fn millis(text: &str) -> Option<Duration> {
    let millis: u64 = text.trim().parse().ok()?;
    (1..=MAX_TIMEOUT_MILLIS).contains(&millis).then(|| Duration::from_millis(millis))
}

/// At most eight digits and a unit, as gRPC over HTTP/2 has it.
fn grpc_timeout(text: &str) -> Option<Duration> {
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    let count: u32 = digits.parse().ok()?;
    Some(match unit {
        "H" => Duration::from_secs(3_600 * u64::from(count)),
        "M" => Duration::from_secs(60 * u64::from(count)),
        "S" => Duration::from_secs(u64::from(count)),
        "m" => Duration::from_millis(u64::from(count)),
        "u" => Duration::from_micros(u64::from(count)),
        "n" => Duration::from_nanos(u64::from(count)),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_grpc_timeout_has_digits_and_a_unit() {
        assert_eq!(grpc_timeout("250m"), Some(Duration::from_millis(250)));
        assert_eq!(grpc_timeout("3S"), Some(Duration::from_secs(3)));
        for text in ["", "S", "3", "3x", "-1S", "1é"] {
            assert_eq!(grpc_timeout(text), None, "{text}");
        }
    }
}
