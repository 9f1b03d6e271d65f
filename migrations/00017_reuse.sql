-- +goose Up

-- What may stand for a job: a failure, too, for a later one takes an earlier pass back.
DROP INDEX jobs_reuse;
CREATE INDEX jobs_reuse ON jobs (static_key, ended_at DESC, id DESC)
    WHERE state IN ('passed', 'failed', 'not_applicable') AND reused_from IS NULL;

-- +goose Down
DROP INDEX jobs_reuse;
CREATE INDEX jobs_reuse ON jobs (static_key, id DESC) WHERE state IN ('passed', 'not_applicable') AND reused_from IS NULL;
