//! Which models serve, and how one takes the place of another without a request being dropped.
//!
//! A model is loaded by alias from the registry, or from a folder. Whatever is damaged, foreign or reads features that this
//! program does not build is refused and reported, and the old version stays. The version before stays in memory, so
//! that the way back costs nothing.

mod origin;
mod served;

use origin::Found;
pub use origin::Origin;
pub use served::{Algorithm, AllReadings, ServedModel};

use crate::metrics::Metrics;
use chrono::{SecondsFormat, Utc};
use clap::ValueEnum;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};

/// The models of the design.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ModelName {
    /// P50 and P90 of node CPU and memory at 1h, 2h and 4h
    LoadPredictor,
    /// One value per candidate node
    PlacementAgent,
    /// Score, severity and kind per row
    AnomalyDetector,
    /// The score of nodes for a pod, of all three
    Combined,
}

impl ModelName {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::LoadPredictor, Self::PlacementAgent, Self::AnomalyDetector, Self::Combined];
    /// Those that are trained and registered.
    pub const TRAINED: [Self; 3] = [Self::LoadPredictor, Self::PlacementAgent, Self::AnomalyDetector];

    /// As in paths and in the registry.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::LoadPredictor => models::artifact::LOAD_PREDICTOR,
            Self::PlacementAgent => models::artifact::PLACEMENT_AGENT,
            Self::AnomalyDetector => models::artifact::ANOMALY_DETECTOR,
            Self::Combined => "combined",
        }
    }

    /// The model of this name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|model| model.as_str() == name)
    }
}

/// A version that was not taken.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Refused {
    /// Which, as far as it is known.
    pub version: Option<String>,
    /// Why.
    pub reason: String,
    /// When it was tried last, RFC 3339.
    pub at: String,
}

/// How long a fresh fit is watched beside the model that was judged: each hour of the day once.
pub const WATCHED_FOR_MS: i64 = cluster::DAY_MS;

/// The model that was judged, in memory while a fresh fit of its recipe has its first day.
#[derive(Debug, Clone)]
pub struct Judged {
    /// The model.
    pub model: Arc<ServedModel>,
    /// When the fresh fit was registered, UTC milliseconds.
    pub since: i64,
}

/// What serves of one model.
#[derive(Debug, Clone, Default)]
pub struct Slot {
    /// Answers.
    pub current: Option<Arc<ServedModel>>,
    /// Answered before.
    pub previous: Option<Arc<ServedModel>>,
    /// What was not taken; absent once something newer was.
    pub refused: Option<Refused>,
    /// The registry answered that there is no such version.
    pub unregistered: bool,
    /// What was judged, where a fresh fit serves that is not a day old.
    pub judged: Option<Judged>,
    /// A version that was taken back here, whatever the registry's alias says.
    pub taken_back: Option<String>,
}

/// All models that this process serves.
#[derive(Debug)]
pub struct Registry {
    origins: RwLock<BTreeMap<ModelName, Origin>>,
    slots: RwLock<BTreeMap<ModelName, Slot>>,
    metrics: Arc<Metrics>,
    /// That there is no such version is nothing to speak of.
    optional: bool,
    /// Who answers for a model of which there is no version here.
    champions: Option<Arc<Registry>>,
}

impl Registry {
    /// Nothing is loaded yet.
    pub fn new(origins: BTreeMap<ModelName, Origin>, metrics: Arc<Metrics>) -> Self {
        let slots = origins.keys().map(|name| (*name, Slot::default())).collect();
        Self { origins: RwLock::new(origins), slots: RwLock::new(slots), metrics, optional: false, champions: None }
    }

    /// Models that may be there or not: challengers beside `champions`, who stand in for those that are not.
    pub fn beside(champions: Arc<Self>, origins: BTreeMap<ModelName, Origin>, metrics: Arc<Metrics>) -> Self {
        Self { optional: true, champions: Some(champions), ..Self::new(origins, metrics) }
    }

    /// The version that answers now. Whoever holds it may finish with it after another has taken its place.
    pub fn current(&self, name: ModelName) -> Option<Arc<ServedModel>> {
        let own = self.read().get(&name).and_then(|slot| slot.current.clone());
        own.or_else(|| self.champions.as_ref()?.current(name))
    }

    /// The version that answered before.
    pub fn previous(&self, name: ModelName) -> Option<Arc<ServedModel>> {
        self.read().get(&name)?.previous.clone()
    }

    /// Every slot.
    pub fn slots(&self) -> BTreeMap<ModelName, Slot> {
        self.read().clone()
    }

    /// What keeps this process from answering as it should, one sentence each. A model that was never registered is no
    /// reason to stay away, as long as another answers: its part is left out of scores.
    pub fn lacking(&self) -> Vec<String> {
        let slots = self.read();
        let answers = slots.values().any(|slot| slot.current.is_some());
        let lacks = slots.iter().filter(|(_, slot)| slot.current.is_none() && !(answers && slot.unregistered));
        lacks.map(|(name, _)| format!("no version of {} is loaded", name.as_str())).collect()
    }

    /// Other origins of the same models from now on; what is loaded stays.
    pub fn look_elsewhere(&self, origins: BTreeMap<ModelName, Origin>) {
        *self.origins.write().unwrap_or_else(PoisonError::into_inner) = origins;
    }

    /// Looks at every origin once and takes what is new.
    pub async fn refresh(&self) {
        let origins = self.origins.read().unwrap_or_else(PoisonError::into_inner).clone();
        for (name, origin) in &origins {
            if let Err((version, error)) = self.refresh_one(*name, origin).await {
                self.refuse(*name, version, &error);
            }
        }
    }

    async fn refresh_one(&self, name: ModelName, origin: &Origin) -> Result<(), (Option<String>, anyhow::Error)> {
        let found = origin.find(name).await.map_err(|error| (None, error))?;
        self.change(name, |slot| slot.unregistered = found.is_none());
        let Some(found) = found else {
            if self.optional {
                self.change(name, |slot| slot.current = None);
                return Ok(());
            }
            // Whatever serves goes on: an alias that was taken away is no order to stop.
            return Err((None, anyhow::anyhow!("{origin:?} names no version of `{}`", name.as_str())));
        };
        let version = found.version.clone();
        let slot = self.read().get(&name).cloned().unwrap_or_default();
        if slot.taken_back.as_ref() == Some(&version) {
            // The alias is on its way back; what took its place serves.
            return Ok(());
        }
        let has = |model: &Option<Arc<ServedModel>>| model.as_ref().is_some_and(|model| model.version == version);
        if has(&slot.current) {
            self.settle(name);
            self.keep_judged(name, origin, &found).await;
            return Ok(());
        }
        let model = match slot.previous.filter(|previous| previous.version == version) {
            Some(previous) => previous,
            None => {
                let refused = |error| (Some(version.clone()), error);
                Arc::new(origin.fetch(name, &version).await.map_err(refused)?)
            }
        };
        self.swap(name, model);
        self.keep_judged(name, origin, &found).await;
        Ok(())
    }

    /// Keeps the judged model in memory while a fresh fit of it has its first day. Without it the fresh fit serves unwatched.
    async fn keep_judged(&self, name: ModelName, origin: &Origin, found: &Found) {
        // Whoever stands in for a challenger is watched as champion.
        let is_over = self.optional || Utc::now().timestamp_millis() - found.since > WATCHED_FOR_MS;
        let Some(hash) = found.fresh_fit_of.as_ref().filter(|_| !is_over) else {
            return self.change(name, |slot| slot.judged = None);
        };
        if self.read().get(&name).is_some_and(|slot| slot.judged.is_some()) {
            return;
        }
        let fetched = async {
            match origin.by_hash(name, hash).await? {
                Some(version) => anyhow::Ok(Some(origin.fetch(name, &version).await?)),
                None => Ok(None),
            }
        };
        match fetched.await {
            Ok(Some(model)) => {
                let (fresh, judged) = (&found.version, &model.version);
                tracing::info!(model = name.as_str(), fresh, judged, "watching a fresh fit beside the judged model");
                let judged = Judged { model: Arc::new(model), since: found.since };
                self.change(name, |slot| slot.judged = Some(judged));
            }
            Ok(None) => {
                let fresh = &found.version;
                tracing::warn!(
                    model = name.as_str(),
                    fresh,
                    "the judged model is not registered, the fresh fit is not watched"
                );
            }
            Err(error) => {
                let error = format!("{error:#}");
                tracing::warn!(
                    model = name.as_str(),
                    error,
                    "failed to load the judged model, the fresh fit is not watched yet"
                );
            }
        }
    }

    /// The judged model, while a fresh fit of it serves that is not a day old.
    pub fn judged(&self, name: ModelName) -> Option<Judged> {
        self.read().get(&name)?.judged.clone()
    }

    /// The judged model serves in place of its fresh fit from now on, whatever the alias says.
    pub fn take_back(&self, name: ModelName) {
        let judged = self.judged(name);
        let Some((judged, fresh)) = judged.zip(self.current(name)) else { return };
        self.swap(name, judged.model);
        self.change(name, |slot| slot.taken_back = Some(fresh.version.clone()));
    }

    /// Moves the registry's alias from a version that was taken back here to the one that serves. Whether it named that one still.
    ///
    /// # Errors
    /// What the registry answers.
    pub async fn give_back(
        &self,
        name: ModelName,
        versions: (&str, &str),
        decision: &tracking::Decision,
    ) -> anyhow::Result<bool> {
        let origin = self.origins.read().unwrap_or_else(PoisonError::into_inner).get(&name).cloned();
        match origin {
            Some(origin) => origin.give_back(name, versions, decision).await,
            None => Ok(false),
        }
    }

    fn swap(&self, name: ModelName, model: Arc<ServedModel>) {
        tracing::info!(model = name.as_str(), version = model.version, hash = model.short_hash(), "serves from now on");
        self.change(name, |slot| {
            slot.previous = slot.current.replace(model);
            slot.refused = None;
            slot.judged = None;
            slot.taken_back = None;
        });
        self.metrics.swapped(name);
    }

    /// What was refused before is of no interest once the origin names the version that serves.
    fn settle(&self, name: ModelName) {
        self.change(name, |slot| {
            slot.refused = None;
            slot.taken_back = None;
        });
    }

    fn refuse(&self, name: ModelName, version: Option<String>, error: &anyhow::Error) {
        let reason = format!("{error:#}");
        self.change(name, |slot| {
            // The same refusal every half a minute is no news.
            if slot.refused.as_ref().is_none_or(|known| known.reason != reason) {
                let serves = slot.current.as_ref().map_or("none", |model| &model.version);
                tracing::warn!(model = name.as_str(), version, serves, error = reason, "not taken, what serves stays");
            }
            slot.refused = Some(Refused { version, reason, at: Utc::now().to_rfc3339_opts(SecondsFormat::Secs, true) });
        });
        self.metrics.refused(name);
    }

    fn change(&self, name: ModelName, change: impl FnOnce(&mut Slot)) {
        change(self.slots.write().unwrap_or_else(PoisonError::into_inner).entry(name).or_default());
    }

    fn read(&self) -> std::sync::RwLockReadGuard<'_, BTreeMap<ModelName, Slot>> {
        self.slots.read().unwrap_or_else(PoisonError::into_inner)
    }
}
