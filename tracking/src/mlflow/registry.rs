//! Registered models, versions and aliases over REST.
//!
//! MLflow forgets where an alias pointed before. So every move is kept as a tag of the registered model, one tag per
//! move, named by time and id: nothing is ever overwritten, and two programs cannot lose each other's entry.

use super::http::meaning;
use super::runs::quoted;
use super::wire::*;
use super::{CLIENT_ID, Mlflow};
use crate::TrackingError;
use crate::types::*;
use serde_json::{Value, json};

const HISTORY: &str = "berth.alias.";
const MODELS_PER_PAGE: &str = "1000";
const VERSIONS_PER_PAGE: &str = "1000";

impl Mlflow {
    pub(super) async fn find_or_make_model(
        &self,
        name: &str,
        description: &str,
    ) -> Result<RegisteredModel, TrackingError> {
        crate::paths::check_model(name)?;
        let body = json!({ "name": name, "description": description });
        let reply = self.http.post::<ModelReply>("register a model", "registered-models/create", &body).await;
        match reply.map_err(|error| meaning(error, "registered model", name)) {
            Ok(reply) => Ok(reply.registered_model.into()),
            Err(TrackingError::AlreadyExists { .. }) => Ok(self.get_model(name).await?.into()),
            Err(error) => Err(error),
        }
    }

    pub(super) async fn get_model(&self, name: &str) -> Result<WireModel, TrackingError> {
        let reply =
            self.http.get::<ModelReply>("read a registered model", "registered-models/get", &[("name", name)]).await;
        Ok(reply.map_err(|error| meaning(error, "registered model", name))?.registered_model)
    }

    pub(super) async fn all_models(&self) -> Result<Vec<RegisteredModel>, TrackingError> {
        let (mut models, mut token) = (Vec::<RegisteredModel>::new(), String::new());
        loop {
            let query = [("max_results", MODELS_PER_PAGE), ("page_token", &token)];
            let query = &query[..1 + usize::from(!token.is_empty())];
            let reply =
                self.http.get::<ModelsReply>("list registered models", "registered-models/search", query).await?;
            models.extend(reply.registered_models.into_iter().map(RegisteredModel::from));
            token = reply.next_page_token;
            if token.is_empty() {
                models.sort_by(|a, b| a.name.cmp(&b.name));
                return Ok(models);
            }
        }
    }

    /// Registers a version that carries `client_id`, or finds the one that an earlier request with it made.
    pub(crate) async fn create_version_as(
        &self,
        client_id: &str,
        version: NewVersion,
    ) -> Result<ModelVersion, TrackingError> {
        crate::paths::check_version(&version)?;
        // The server would take a folder that is not there, and fail whoever loads the version.
        if self.list_artifacts(&version.run_id, &version.artifact_path).await?.is_empty() {
            return Err(TrackingError::not_found("artifact", format!("{}/{}", version.run_id, version.artifact_path)));
        }
        let source = crate::paths::join(&self.artifact_uri(&version.run_id).await?, &version.artifact_path);
        let mut tags = version.tags;
        tags.insert(CLIENT_ID.into(), client_id.to_owned());
        let body = json!({
            "name": version.model,
            "source": source.trim_end_matches('/'),
            "run_id": version.run_id,
            "description": version.description,
            "tags": pairs(&tags),
        });
        let reply = self.http.post::<VersionReply>("register a version", "model-versions/create", &body).await;
        Ok(reply.map_err(|error| meaning(error, "registered model", &version.model))?.model_version.into())
    }

    /// The version that an earlier request with this `client_id` made, if it reached the server.
    pub(crate) async fn version_of_client(
        &self,
        model: &str,
        client_id: &str,
    ) -> Result<Option<ModelVersion>, TrackingError> {
        let all = self.search_versions(model).await?;
        Ok(all.into_iter().find(|version| version.has_client_id(client_id)).map(ModelVersion::from))
    }

    pub(super) async fn get_version(&self, model: &str, version: &str) -> Result<ModelVersion, TrackingError> {
        let name = format!("{model}/{version}");
        // The server calls a version that is no number a wrong request; here it is one that does not exist.
        if version.parse::<u64>().is_err() {
            return Err(TrackingError::not_found("model version", name));
        }
        let query = [("name", model), ("version", version)];
        let reply = self.http.get::<VersionReply>("read a version", "model-versions/get", &query).await;
        Ok(reply.map_err(|error| meaning(error, "model version", &name))?.model_version.into())
    }

    async fn search_versions(&self, model: &str) -> Result<Vec<WireVersion>, TrackingError> {
        let filter = format!("name = {}", quoted(model)?);
        let (mut versions, mut token) = (Vec::new(), String::new());
        loop {
            let query = [("filter", filter.as_str()), ("max_results", VERSIONS_PER_PAGE), ("page_token", &token)];
            let query = &query[..2 + usize::from(!token.is_empty())];
            let reply = self.http.get::<VersionsReply>("list versions", "model-versions/search", query).await?;
            versions.extend(reply.model_versions);
            token = reply.next_page_token;
            if token.is_empty() {
                return Ok(versions);
            }
        }
    }

    pub(super) async fn all_versions(&self, model: &str) -> Result<Vec<ModelVersion>, TrackingError> {
        // A search does not tell aliases; the registered model does.
        let registered = RegisteredModel::from(self.get_model(model).await?);
        let mut versions: Vec<ModelVersion> =
            self.search_versions(model).await?.into_iter().map(ModelVersion::from).collect();
        for version in &mut versions {
            let aliases = registered.aliases.iter().filter(|(_, target)| **target == version.version);
            version.aliases = aliases.map(|(alias, _)| alias.clone()).collect();
        }
        versions.sort_by_key(|version| std::cmp::Reverse(version.version.parse::<u64>().unwrap_or(0)));
        Ok(versions)
    }

    pub(super) async fn get_alias(&self, model: &str, alias: &str) -> Result<ModelVersion, TrackingError> {
        let query = [("name", model), ("alias", alias)];
        let reply = self.http.get::<VersionReply>("read an alias", "registered-models/alias", &query).await;
        let version = reply.map_err(|error| meaning(error, "alias", &format!("{model}@{alias}")))?.model_version;
        Ok(version.into())
    }

    /// Moves an alias or takes it away. The history comes first: a move without an entry could not be explained, while
    /// an entry whose move was cut off is completed when the same move is made again.
    pub(crate) async fn move_alias(&self, model: &str, step: &AliasMove) -> Result<(), TrackingError> {
        crate::paths::check_alias(&step.alias)?;
        crate::paths::check_decision(&step.decision)?;
        if let Some(version) = &step.to {
            self.get_version(model, version).await?;
        }
        let registered = RegisteredModel::from(self.get_model(model).await?);
        let from = registered.aliases.get(&step.alias).cloned();
        if from == step.to {
            return Ok(());
        }
        let key = format!("{HISTORY}{}.{}", step.at.timestamp_millis(), step.id);
        let change = step.change(from);
        let body = json!({ "name": model, "key": key, "value": serde_json::to_string(&change).unwrap_or_default() });
        let reply = self.http.post::<Value>("keep the history of an alias", "registered-models/set-tag", &body).await;
        reply.map_err(|error| meaning(error, "registered model", model))?;
        let reply = match &step.to {
            Some(version) => {
                let body = json!({ "name": model, "alias": step.alias, "version": version });
                self.http.post::<Value>("set an alias", "registered-models/alias", &body).await
            }
            None => {
                self.http
                    .delete(
                        "delete an alias",
                        "registered-models/alias",
                        &json!({ "name": model, "alias": step.alias }),
                    )
                    .await
            }
        };
        reply.map(drop).map_err(|error| meaning(error, "model version", model))
    }

    pub(super) async fn history_of_aliases(&self, model: &str) -> Result<Vec<AliasChange>, TrackingError> {
        let tags = self.get_model(model).await?.tags;
        let entries = tags.into_iter().filter(|tag| tag.key.starts_with(HISTORY));
        // A tag that someone edited by hand is left out rather than hiding the rest.
        let mut changes: Vec<AliasChange> = entries.filter_map(|tag| serde_json::from_str(&tag.value).ok()).collect();
        changes.sort_by(|a, b| (a.at, &a.id).cmp(&(b.at, &b.id)));
        Ok(changes)
    }

    pub(super) async fn tag_version(
        &self,
        model: &str,
        version: &str,
        key: &str,
        value: &str,
    ) -> Result<(), TrackingError> {
        crate::paths::check_tag(key, value)?;
        // The server would take a tag for a version that is not there as a wrong request.
        self.get_version(model, version).await?;
        let body = json!({ "name": model, "version": version, "key": key, "value": value });
        let reply = self.http.post::<Value>("tag a version", "model-versions/set-tag", &body).await;
        reply.map(drop).map_err(|error| meaning(error, "model version", &format!("{model}/{version}")))
    }
}
