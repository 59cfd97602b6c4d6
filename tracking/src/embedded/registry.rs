//! Registered models, versions, aliases, and the history of aliases.

use super::database::Database;
use super::rows;
use crate::TrackingError;
use crate::types::*;
use sqlx::Row;

pub(super) async fn register_model(
    database: &Database,
    name: &str,
    description: &str,
) -> Result<RegisteredModel, TrackingError> {
    crate::paths::check_model(name)?;
    let failed = database.error("register a model");
    let mut write = database.write().await.map_err(&failed)?;
    sqlx::query("INSERT INTO models (name, description, created_at) VALUES ($1, $2, $3) ON CONFLICT (name) DO NOTHING")
        .bind(name)
        .bind(description)
        .bind(now().timestamp_millis())
        .execute(write.connection())
        .await
        .map_err(&failed)?;
    write.commit().await.map_err(&failed)?;
    registered_model(database, name).await
}

pub(super) async fn registered_model(database: &Database, name: &str) -> Result<RegisteredModel, TrackingError> {
    let all = registered_models(database).await?;
    all.into_iter().find(|model| model.name == name).ok_or_else(|| TrackingError::not_found("registered model", name))
}

pub(super) async fn registered_models(database: &Database) -> Result<Vec<RegisteredModel>, TrackingError> {
    let failed = database.error("list registered models");
    let found =
        sqlx::query("SELECT name, description, created_at FROM models ORDER BY name").fetch_all(database.pool()).await;
    let mut models = Vec::new();
    for row in found.map_err(&failed)? {
        models.push(RegisteredModel {
            name: row.try_get("name").map_err(&failed)?,
            description: row.try_get("description").map_err(&failed)?,
            created_at: rows::time(&row, "created_at").map_err(&failed)?,
            aliases: Labels::new(),
        });
    }
    let aliases =
        sqlx::query("SELECT model, alias, number FROM aliases").fetch_all(database.pool()).await.map_err(&failed)?;
    for row in aliases {
        let name: String = row.try_get("model").map_err(&failed)?;
        if let Some(model) = models.iter_mut().find(|model| model.name == name) {
            let number: i64 = row.try_get("number").map_err(&failed)?;
            model.aliases.insert(row.try_get("alias").map_err(&failed)?, number.to_string());
        }
    }
    Ok(models)
}

/// The run and its files were checked by the caller.
pub(super) async fn create_version(database: &Database, version: NewVersion) -> Result<ModelVersion, TrackingError> {
    let failed = database.error("register a version");
    registered_model(database, &version.model).await?;
    let mut write = database.write().await.map_err(&failed)?;
    let created_at = now();
    let row = sqlx::query(
        "INSERT INTO versions (model, number, run_id, artifact_path, description, created_at) \
         SELECT $1, COALESCE(MAX(number), 0) + 1, $2, $3, $4, $5 FROM versions WHERE model = $1 RETURNING number",
    )
    .bind(&version.model)
    .bind(&version.run_id)
    .bind(&version.artifact_path)
    .bind(&version.description)
    .bind(created_at.timestamp_millis())
    .fetch_one(write.connection())
    .await
    .map_err(&failed)?;
    let number: i64 = row.try_get("number").map_err(&failed)?;
    for (key, value) in &version.tags {
        put_tag(&mut write, &version.model, number, key, value).await.map_err(&failed)?;
    }
    write.commit().await.map_err(&failed)?;
    Ok(ModelVersion {
        model: version.model,
        version: number.to_string(),
        run_id: version.run_id,
        artifact_path: version.artifact_path,
        description: version.description,
        created_at,
        tags: version.tags,
        aliases: Vec::new(),
    })
}

async fn put_tag(
    write: &mut super::database::Write<'_>,
    model: &str,
    number: i64,
    key: &str,
    value: &str,
) -> Result<(), sqlx::Error> {
    sqlx::query(
        "INSERT INTO version_tags (model, number, key, value) VALUES ($1, $2, $3, $4) \
         ON CONFLICT (model, number, key) DO UPDATE SET value = excluded.value",
    )
    .bind(model)
    .bind(number)
    .bind(key)
    .bind(value)
    .execute(write.connection())
    .await
    .map(drop)
}

pub(super) async fn version(database: &Database, model: &str, version: &str) -> Result<ModelVersion, TrackingError> {
    let found = versions(database, model).await?.into_iter().find(|known| known.version == version);
    found.ok_or_else(|| TrackingError::not_found("model version", format!("{model}/{version}")))
}

pub(super) async fn versions(database: &Database, model: &str) -> Result<Vec<ModelVersion>, TrackingError> {
    let failed = database.error("list versions");
    let select = "SELECT model, number, run_id, artifact_path, description, created_at FROM versions WHERE model = $1 ORDER BY number DESC";
    let found = sqlx::query(select).bind(model).fetch_all(database.pool()).await.map_err(&failed)?;
    let mut versions: Vec<_> = found.iter().map(rows::version).collect::<Result<_, _>>().map_err(&failed)?;
    let tags = sqlx::query("SELECT number, key, value FROM version_tags WHERE model = $1")
        .bind(model)
        .fetch_all(database.pool());
    for row in tags.await.map_err(&failed)? {
        if let Some(version) = owner(&mut versions, &row).map_err(&failed)? {
            version.tags.insert(row.try_get("key").map_err(&failed)?, row.try_get("value").map_err(&failed)?);
        }
    }
    let aliases = sqlx::query("SELECT number, alias FROM aliases WHERE model = $1 ORDER BY alias")
        .bind(model)
        .fetch_all(database.pool());
    for row in aliases.await.map_err(&failed)? {
        if let Some(version) = owner(&mut versions, &row).map_err(&failed)? {
            version.aliases.push(row.try_get("alias").map_err(&failed)?);
        }
    }
    Ok(versions)
}

fn owner<'a>(
    versions: &'a mut [ModelVersion],
    row: &sqlx::any::AnyRow,
) -> Result<Option<&'a mut ModelVersion>, sqlx::Error> {
    let number = row.try_get::<i64, _>("number")?.to_string();
    Ok(versions.iter_mut().find(|version| version.version == number))
}

pub(super) async fn set_version_tag(
    database: &Database,
    model: &str,
    version: &str,
    key: &str,
    value: &str,
) -> Result<(), TrackingError> {
    let failed = database.error("tag a version");
    let mut write = database.write().await.map_err(&failed)?;
    put_tag(&mut write, model, number(model, version)?, key, value).await.map_err(&failed)?;
    write.commit().await.map_err(failed)
}

fn number(model: &str, version: &str) -> Result<i64, TrackingError> {
    version.parse().map_err(|_| TrackingError::not_found("model version", format!("{model}/{version}")))
}

/// Moves an alias, or takes it away, and adds the move to the history: both or neither.
pub(super) async fn move_alias(database: &Database, model: &str, step: &AliasMove) -> Result<(), TrackingError> {
    crate::paths::check_alias(&step.alias)?;
    crate::paths::check_decision(&step.decision)?;
    let failed = database.error("move an alias");
    let (alias, decision) = (&step.alias, &step.decision);
    let to = step.to.as_deref().map(|version| number(model, version)).transpose()?;
    let mut write = database.write().await.map_err(&failed)?;
    let row = sqlx::query("SELECT number FROM aliases WHERE model = $1 AND alias = $2").bind(model).bind(alias);
    let row = row.fetch_optional(write.connection()).await.map_err(&failed)?;
    let from: Option<i64> = row.map(|row| row.try_get("number")).transpose().map_err(&failed)?;
    if from == to {
        return Ok(());
    }
    let change = match to {
        Some(number) => sqlx::query(
            "INSERT INTO aliases (model, alias, number) VALUES ($1, $2, $3) ON CONFLICT (model, alias) DO UPDATE SET number = excluded.number",
        )
        .bind(model)
        .bind(alias)
        .bind(number),
        None => sqlx::query("DELETE FROM aliases WHERE model = $1 AND alias = $2").bind(model).bind(alias),
    };
    change.execute(write.connection()).await.map_err(&failed)?;
    sqlx::query(
        "INSERT INTO alias_changes (model, position, id, alias, from_number, to_number, at, who, why, evidence) \
         SELECT $1, COALESCE(MAX(position), 0) + 1, $2, $3, $4, $5, $6, $7, $8, $9 FROM alias_changes WHERE model = $1",
    )
    .bind(model)
    .bind(&step.id)
    .bind(alias)
    .bind(from)
    .bind(to)
    .bind(step.at.timestamp_millis())
    .bind(&decision.who)
    .bind(&decision.why)
    .bind(decision.evidence.to_string())
    .execute(write.connection())
    .await
    .map_err(&failed)?;
    write.commit().await.map_err(failed)
}

pub(super) async fn alias_history(database: &Database, model: &str) -> Result<Vec<AliasChange>, TrackingError> {
    let failed = database.error("read the history of aliases");
    let select = "SELECT id, alias, from_number, to_number, at, who, why, evidence FROM alias_changes WHERE model = $1 ORDER BY position";
    let found = sqlx::query(select).bind(model).fetch_all(database.pool()).await.map_err(&failed)?;
    found.iter().map(rows::alias_change).collect::<Result<_, _>>().map_err(failed)
}

/// Forgets every model with its versions, aliases and history. Only for a copy that has been handed on.
pub(super) async fn forget(database: &Database) -> Result<(), TrackingError> {
    let failed = database.error("forget what was handed on");
    let mut write = database.write().await.map_err(&failed)?;
    for statement in [
        "DELETE FROM alias_changes",
        "DELETE FROM aliases",
        "DELETE FROM version_tags",
        "DELETE FROM versions",
        "DELETE FROM models",
    ] {
        sqlx::query(statement).execute(write.connection()).await.map_err(&failed)?;
    }
    write.commit().await.map_err(failed)
}
