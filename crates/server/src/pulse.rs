//! What goes on on one connection: requests that are answered, and answers that are not read yet. By it a connection that only holds
//! its place, or the memory of its answers, is told from one that is used.

use crate::budget::Share;
use axum::body::{Body, Bytes, HttpBody};
use http_body::{Frame, SizeHint};
use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

/// The state of one connection.
#[derive(Debug)]
pub(crate) struct Pulse(Mutex<State>);

#[derive(Debug)]
struct State {
    began: Instant,
    requests: u64,
    under_way: usize,
    /// When the last request ended.
    quiet_since: Instant,
    /// Answers that are not read yet, in the order that they were made in, and since when each waits.
    unread: BTreeMap<u64, Instant>,
    answers: u64,
}

/// What is to become of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It goes on.
    Fine,
    /// It is not used: whatever is under way may end.
    Quiet,
    /// It has asked nothing since it was made.
    Silent,
    /// It does not read its answers.
    Unread,
}

impl Pulse {
    pub fn new() -> Arc<Self> {
        let now = Instant::now();
        let state =
            State { began: now, requests: 0, under_way: 0, quiet_since: now, unread: BTreeMap::new(), answers: 0 };
        Arc::new(Self(Mutex::new(state)))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A request has come; it is under way until the guard is dropped.
    pub fn request(self: &Arc<Self>) -> UnderWay {
        let mut state = self.state();
        state.requests += 1;
        state.under_way += 1;
        UnderWay(Arc::clone(self))
    }

    /// Looks at it: `first` is how long the first request may take to come, `idle` how long nothing may happen.
    pub fn look(&self, first: Duration, idle: Duration, now: Instant) -> Verdict {
        let state = self.state();
        let since = |moment: Instant| now.saturating_duration_since(moment);
        if state.unread.first_key_value().is_some_and(|(_, answered)| since(*answered) > idle) {
            Verdict::Unread
        } else if state.requests == 0 && since(state.began) > first {
            Verdict::Silent
        } else if state.under_way == 0 && state.unread.is_empty() && since(state.quiet_since) > idle {
            Verdict::Quiet
        } else {
            Verdict::Fine
        }
    }

    /// An answer whose bytes count as unread until the connection has let go of them.
    pub fn answer(self: &Arc<Self>, body: Body, under_way: UnderWay, shares: Option<[Share; 2]>) -> Answer {
        let mut state = self.state();
        let number = state.answers;
        state.answers += 1;
        state.unread.insert(number, Instant::now());
        drop(state);
        let unread = Arc::new(Unread { pulse: Arc::clone(self), number, _shares: shares });
        Answer { body, unread, _under_way: under_way }
    }
}

/// A request under way.
#[derive(Debug)]
pub(crate) struct UnderWay(Arc<Pulse>);

impl Drop for UnderWay {
    fn drop(&mut self) {
        let mut state = self.0.state();
        state.under_way -= 1;
        state.quiet_since = Instant::now();
    }
}

/// Bytes of an answer somewhere between here and the client.
#[derive(Debug)]
struct Unread {
    pulse: Arc<Pulse>,
    number: u64,
    /// What they take of the budgets: the server's and the client's.
    _shares: Option<[Share; 2]>,
}

impl Drop for Unread {
    fn drop(&mut self) {
        let mut state = self.pulse.state();
        state.unread.remove(&self.number);
        state.quiet_since = Instant::now();
    }
}

/// The body of an answer. Its pieces hold on to what they cost: HTTP/2 takes a body whole and keeps it until the client reads.
#[derive(Debug)]
pub(crate) struct Answer {
    body: Body,
    unread: Arc<Unread>,
    _under_way: UnderWay,
}

struct Piece {
    bytes: Bytes,
    _unread: Arc<Unread>,
}

impl AsRef<[u8]> for Piece {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl HttpBody for Answer {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(cx));
        let unread = &self.unread;
        let counted = |bytes: Bytes| Bytes::from_owner(Piece { bytes, _unread: Arc::clone(unread) });
        Poll::Ready(frame.map(|frame| frame.map(|frame| frame.map_data(counted))))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::budget::Budget;

    const FIRST: Duration = Duration::from_secs(5);
    const IDLE: Duration = Duration::from_secs(120);

    fn after(seconds: u64) -> Instant {
        Instant::now() + Duration::from_secs(seconds)
    }

    #[test]
    fn a_connection_that_asks_nothing_or_no_more_is_told_from_one_that_waits_for_its_answer() {
        let pulse = Pulse::new();
        assert_eq!(pulse.look(FIRST, IDLE, after(4)), Verdict::Fine);
        assert_eq!(pulse.look(FIRST, IDLE, after(6)), Verdict::Silent);
        let under_way = pulse.request();
        assert_eq!(pulse.look(FIRST, IDLE, after(600)), Verdict::Fine, "it is worked on");
        drop(under_way);
        assert_eq!(pulse.look(FIRST, IDLE, after(110)), Verdict::Fine);
        assert_eq!(pulse.look(FIRST, IDLE, after(130)), Verdict::Quiet);
    }

    #[tokio::test]
    async fn an_answer_counts_as_unread_until_its_bytes_are_let_go() {
        let (pulse, server, client) = (Pulse::new(), Budget::new(100), Budget::new(100));
        let shares = server.take(10).zip(client.take(10)).map(<[Share; 2]>::from);
        let mut answer = Box::pin(pulse.answer(Body::from("0123456789"), pulse.request(), shares));
        let frame = std::future::poll_fn(|cx| answer.as_mut().poll_frame(cx)).await.expect("a frame").expect("bytes");
        assert!(answer.is_end_stream());
        drop(answer);
        // HTTP/2 holds the bytes now, and the body is gone.
        assert_eq!((server.held(), client.held()), (10, 10));
        assert_eq!(pulse.look(FIRST, IDLE, after(130)), Verdict::Unread);
        assert_eq!(frame.into_data().expect("data")[..], b"0123456789"[..]);
        assert_eq!((server.held(), client.held()), (0, 0));
        assert_eq!(pulse.look(FIRST, IDLE, after(100)), Verdict::Fine);
    }
}
