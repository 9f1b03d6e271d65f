-- +goose Up

-- What each queue decided, and from what, to be decided again: internal/history
-- knows what is in data. Rows of a queue follow each other by their version.
CREATE TABLE history (
    queue   text NOT NULL REFERENCES queues (name),
    version bigint NOT NULL,                -- queues.version after the decision
    at      timestamptz NOT NULL,
    whole   boolean NOT NULL,               -- holds all facts and the state before: a replay can begin here
    data    bytea NOT NULL,
    PRIMARY KEY (queue, version)
);
ALTER TABLE history ALTER COLUMN data SET STORAGE EXTERNAL; -- it is compressed already
CREATE INDEX history_whole ON history (queue, at) WHERE whole;

-- +goose Down
DROP TABLE history;
