//! Artifacts through the server's proxy: no credentials of a bucket are needed here.

use super::Mlflow;
use super::http::meaning;
use super::runs::PROXY;
use super::wire::ArtifactsReply;
use crate::TrackingError;
use crate::types::*;
use std::path::Path;

impl Mlflow {
    pub(super) fn remember(&self, info: &RunInfo) {
        // A poisoned lock only means that another thread stopped while it held the map, which is still whole.
        let mut uris = self.artifact_uris.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        uris.insert(info.id.clone(), info.artifact_uri.clone());
    }

    pub(super) async fn artifact_uri(&self, run_id: &str) -> Result<String, TrackingError> {
        let known = self.artifact_uris.lock().unwrap_or_else(std::sync::PoisonError::into_inner).get(run_id).cloned();
        match known {
            Some(uri) => Ok(uri),
            None => Ok(self.get_run(run_id).await?.info.artifact_uri),
        }
    }

    /// Where an artifact is behind the proxy.
    async fn proxy_path(&self, run_id: &str, path: &str) -> Result<String, TrackingError> {
        let uri = self.artifact_uri(run_id).await?;
        // `mlflow-artifacts:/1/…` or, with a server named, `mlflow-artifacts://host:5000/1/…`.
        let inside = uri.strip_prefix(PROXY).map(|rest| match rest.strip_prefix("//") {
            Some(with_host) => with_host.split_once('/').map_or("", |(_, path)| path),
            None => rest.trim_start_matches('/'),
        });
        let inside = inside.ok_or_else(|| {
            let why = "it is not behind the server's proxy. Start `mlflow server` with --serve-artifacts, its default";
            TrackingError::invalid("artifact address", &uri, why)
        })?;
        Ok(crate::paths::join(inside, path))
    }

    pub(super) async fn upload(
        &self,
        run_id: &str,
        path: &str,
        length: u64,
        body: reqwest::Body,
    ) -> Result<(), TrackingError> {
        crate::paths::check_file(path)?;
        let to = self.proxy_path(run_id, path).await?;
        self.http.put_artifact("keep an artifact", &to, length, body).await
    }

    pub(super) async fn upload_file(&self, run_id: &str, path: &str, file: &Path) -> Result<(), TrackingError> {
        let failed = |source| TrackingError::io("read", file, source);
        let open = tokio::fs::File::open(file).await.map_err(failed)?;
        let length = open.metadata().await.map_err(failed)?.len();
        self.upload(run_id, path, length, open.into()).await
    }

    pub(super) async fn list_artifacts(&self, run_id: &str, path: &str) -> Result<Vec<Artifact>, TrackingError> {
        crate::paths::check(path)?;
        let (mut artifacts, mut token) = (Vec::<Artifact>::new(), String::new());
        loop {
            let mut query = vec![("run_id", run_id)];
            query.extend((!path.is_empty()).then_some(("path", path)));
            query.extend((!token.is_empty()).then_some(("page_token", token.as_str())));
            let reply = self.http.get::<ArtifactsReply>("list artifacts", "artifacts/list", &query).await;
            let reply = reply.map_err(|error| meaning(error, "run", run_id))?;
            artifacts.extend(reply.files.into_iter().map(Artifact::from));
            token = reply.next_page_token;
            if token.is_empty() {
                artifacts.sort_by(|a, b| a.path.cmp(&b.path));
                return Ok(artifacts);
            }
        }
    }

    pub(super) async fn download(&self, run_id: &str, path: &str) -> Result<Vec<u8>, TrackingError> {
        crate::paths::check_file(path)?;
        let from = self.proxy_path(run_id, path).await?;
        let reply = self.http.get_artifact("fetch an artifact", &from).await;
        reply.map_err(|error| meaning(error, "artifact", &format!("{run_id}/{path}")))
    }
}
