//! Who may come in, how many at once, and for how long.

use super::App;
use crate::protocol::Refusal;
use axum::extract::{Request, State};
use axum::http::header::AUTHORIZATION;
use axum::http::{HeaderMap, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use score_api::{MAX_TIMEOUT_MILLIS, TIMEOUT_HEADER};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::SemaphorePermit;

/// The same of a gRPC client.
const GRPC_TIMEOUT_HEADER: &str = "grpc-timeout";

pub(super) async fn guard(State(app): State<Arc<App>>, request: Request, next: Next) -> Response {
    let admission = match admit(&app, request.headers()) {
        Ok(admission) => admission,
        Err(refusal) => return refusal.into_response(),
    };
    match admission.within(next.run(request)).await {
        Ok(response) => response,
        Err(refusal) => refusal.into_response(),
    }
}

/// A request's place among those under way, and how long it may take.
#[derive(Debug)]
pub(crate) struct Admission<'a> {
    _place: SemaphorePermit<'a>,
    limit: Duration,
}

impl Admission<'_> {
    /// Runs the request for no longer than it may take.
    pub async fn within<T>(&self, work: impl Future<Output = T>) -> Result<T, Refusal> {
        let late = |_| Refusal::too_late(format!("not answered within {} ms", self.limit.as_millis()));
        tokio::time::timeout(self.limit, work).await.map_err(late)
    }
}

/// Lets a request in, or says why not.
pub(crate) fn admit<'a>(app: &'a App, headers: &HeaderMap) -> Result<Admission<'a>, Refusal> {
    authorize(app, headers)?;
    let limit = time_limit(app, headers)?;
    let place = app.gate.try_acquire().map_err(|_| {
        app.metrics.was_shed();
        Refusal::not_now(format!("{} requests are under way, the most at once: try again later", app.limits.concurrent))
    })?;
    Ok(Admission { _place: place, limit })
}

fn authorize(app: &App, headers: &HeaderMap) -> Result<(), Refusal> {
    let Some(token) = &app.token else { return Ok(()) };
    let given = headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok()?.strip_prefix("Bearer "));
    if given.is_some_and(|given| is_same(given.trim().as_bytes(), token.as_bytes())) {
        return Ok(());
    }
    Err(Refusal {
        status: StatusCode::UNAUTHORIZED,
        message: "a bearer token is wanted, and this is not it".to_owned(),
    })
}

/// Equality in a time that does not tell how much of it agrees.
fn is_same(left: &[u8], right: &[u8]) -> bool {
    left.len() == right.len() && left.iter().zip(right).fold(0, |differs, (left, right)| differs | (left ^ right)) == 0
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
