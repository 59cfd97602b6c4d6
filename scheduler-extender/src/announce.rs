//! What changes for the whole process is told by events on its own pod: rules that are in force or refused, and whether scores are
//! trusted. `kubectl describe pod` shows them.

use crate::health::{Health, State};
use crate::kubernetes::{Api, Event};
use crate::rules::{Book, Mode};
use std::sync::Arc;
use std::time::Duration;

/// How often it is looked: what changes and changes back in between is told by metrics only.
const EVERY: Duration = Duration::from_secs(1);

/// The pod that this process runs in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OwnPod {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Its UID; may be empty.
    pub uid: String,
}

/// How it stands.
#[derive(Debug, Clone, PartialEq)]
struct Standing {
    mode: Mode,
    percent: f64,
    killed: bool,
    refused: Option<String>,
    state: State,
    concerns: String,
}

/// Something to tell.
#[derive(Debug, PartialEq)]
struct News {
    reason: &'static str,
    is_warning: bool,
    message: String,
}

impl Standing {
    fn of(book: &Book, health: &Health) -> Self {
        let (rules, report) = (book.rules(), health.report());
        Self {
            mode: rules.mode,
            percent: rules.percent,
            killed: book.is_killed(),
            refused: book.refused(),
            state: report.state,
            concerns: report.concerns.into_values().collect::<Vec<_>>().join("; "),
        }
    }

    fn since(&self, before: &Self) -> Vec<News> {
        let mut news = Vec::new();
        if (self.mode, self.percent, self.killed) != (before.mode, before.percent, before.killed) {
            let share =
                if self.mode == Mode::Canary { format!(", {} % of workloads", self.percent) } else { String::new() };
            let killed = if self.killed { ", but killed: all answers are neutral" } else { "" };
            let message = format!("In force: mode {}{share}{killed}", self.mode.as_str());
            news.push(News { reason: "RulesInForce", is_warning: self.killed, message });
        }
        if let Some(why) = self.refused.as_ref().filter(|_| self.refused != before.refused) {
            let message = format!("The rules file is refused, the old rules stay: {why}");
            news.push(News { reason: "RulesRefused", is_warning: true, message });
        }
        if self.state != before.state {
            let is_warning = self.state == State::Fallback;
            let message = match self.concerns.as_str() {
                "" => format!("The state is {}", self.state.as_str()),
                why => format!("The state is {}: {why}", self.state.as_str()),
            };
            news.push(News { reason: "StateChanged", is_warning, message });
        }
        news
    }
}

/// Tells for as long as the process lives. What cannot be told is logged.
pub async fn keep(api: Api, pod: OwnPod, book: Arc<Book>, health: Arc<Health>) {
    let mut before = Standing::of(&book, &health);
    let mut ticks = tokio::time::interval(EVERY);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let now = Standing::of(&book, &health);
        for news in now.since(&before) {
            let event = Event {
                kind: "Pod",
                namespace: &pod.namespace,
                name: &pod.name,
                uid: &pod.uid,
                reason: news.reason,
                is_warning: news.is_warning,
                message: &news.message,
            };
            if let Err(error) = api.tell(&event).await {
                tracing::debug!(error = format!("{error:#}"), reason = news.reason, "no event on our own pod");
            }
        }
        before = now;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_changed_is_told_and_nothing_else() {
        let before = Standing {
            mode: Mode::Shadow,
            percent: 5.0,
            killed: false,
            refused: None,
            state: State::Healthy,
            concerns: String::new(),
        };
        assert!(before.since(&before).is_empty());
        let canary = Standing { mode: Mode::Canary, ..before.clone() };
        let told = canary.since(&before);
        assert_eq!(told.len(), 1);
        assert_eq!(
            (told[0].reason, told[0].message.as_str()),
            ("RulesInForce", "In force: mode canary, 5 % of workloads")
        );
        let refused = Standing { refused: Some("`percent` is 101".to_owned()), ..canary.clone() };
        let told = refused.since(&canary);
        assert!(told[0].is_warning && told[0].message.contains("`percent` is 101"), "{told:?}");
        // Once, not every second.
        assert!(refused.since(&refused).is_empty());
        let fallen =
            Standing { state: State::Fallback, concerns: "samples are 300 s old".to_owned(), ..canary.clone() };
        let told = fallen.since(&canary);
        assert!(told[0].is_warning && told[0].message.ends_with("samples are 300 s old"), "{told:?}");
        assert!(!canary.since(&fallen)[0].is_warning);
    }
}
