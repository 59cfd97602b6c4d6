-- One set of tables for SQLite and PostgreSQL: only types, keys and words that both know.
-- Times are milliseconds since 1970, UTC. A truth value is 0 or 1.
CREATE TABLE experiments (
    id BIGINT NOT NULL PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    created_at BIGINT NOT NULL
);

CREATE TABLE runs (
    id TEXT NOT NULL PRIMARY KEY,
    experiment_id BIGINT NOT NULL REFERENCES experiments (id),
    name TEXT NOT NULL,
    status TEXT NOT NULL,
    started_at BIGINT NOT NULL,
    ended_at BIGINT,
    parent_id TEXT REFERENCES runs (id)
);
CREATE INDEX runs_by_experiment ON runs (experiment_id, started_at);

CREATE TABLE params (
    run_id TEXT NOT NULL REFERENCES runs (id),
    key TEXT NOT NULL,
    value TEXT NOT NULL,
    PRIMARY KEY (run_id, key)
);

CREATE TABLE tags (
    run_id TEXT NOT NULL REFERENCES runs (id),
    key TEXT NOT NULL,
    value TEXT NOT NULL,
    PRIMARY KEY (run_id, key)
);

-- SQLite keeps NaN as NULL, so NaN is a column of its own and the value is then 0. The key holds the whole point: the
-- same point twice is one point.
CREATE TABLE metrics (
    run_id TEXT NOT NULL REFERENCES runs (id),
    key TEXT NOT NULL,
    step BIGINT NOT NULL,
    at BIGINT NOT NULL,
    value DOUBLE PRECISION NOT NULL,
    is_nan BIGINT NOT NULL,
    PRIMARY KEY (run_id, key, step, at, value, is_nan)
);

CREATE TABLE latest_metrics (
    run_id TEXT NOT NULL REFERENCES runs (id),
    key TEXT NOT NULL,
    step BIGINT NOT NULL,
    at BIGINT NOT NULL,
    value DOUBLE PRECISION NOT NULL,
    is_nan BIGINT NOT NULL,
    PRIMARY KEY (run_id, key)
);

CREATE TABLE models (
    name TEXT NOT NULL PRIMARY KEY,
    description TEXT NOT NULL,
    created_at BIGINT NOT NULL
);

CREATE TABLE versions (
    model TEXT NOT NULL REFERENCES models (name),
    number BIGINT NOT NULL,
    run_id TEXT NOT NULL REFERENCES runs (id),
    artifact_path TEXT NOT NULL,
    description TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    PRIMARY KEY (model, number)
);

CREATE TABLE version_tags (
    model TEXT NOT NULL,
    number BIGINT NOT NULL,
    key TEXT NOT NULL,
    value TEXT NOT NULL,
    PRIMARY KEY (model, number, key),
    FOREIGN KEY (model, number) REFERENCES versions (model, number)
);

CREATE TABLE aliases (
    model TEXT NOT NULL,
    alias TEXT NOT NULL,
    number BIGINT NOT NULL,
    PRIMARY KEY (model, alias),
    FOREIGN KEY (model, number) REFERENCES versions (model, number)
);

-- Only ever added to: who moved which alias, when and why.
CREATE TABLE alias_changes (
    model TEXT NOT NULL REFERENCES models (name),
    position BIGINT NOT NULL,
    id TEXT NOT NULL UNIQUE,
    alias TEXT NOT NULL,
    from_number BIGINT,
    to_number BIGINT,
    at BIGINT NOT NULL,
    who TEXT NOT NULL,
    why TEXT NOT NULL,
    evidence TEXT NOT NULL,
    PRIMARY KEY (model, position)
);
