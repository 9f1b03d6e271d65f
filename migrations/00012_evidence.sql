-- +goose Up

-- Blame with evidence: how a failed voting job does on its base without the item.
ALTER TABLE jobs ADD COLUMN evidence text NOT NULL DEFAULT ''
    CHECK (evidence IN ('', 'running', 'good', 'red', 'absent', 'unknown')); -- gate.Evidence
ALTER TABLE jobs ADD COLUMN evidence_job bigint REFERENCES jobs (id);      -- whose result says so
ALTER TABLE jobs ADD COLUMN red_since timestamptz;   -- red: the first run there that failed
ALTER TABLE jobs ADD COLUMN last_passed timestamptz; -- red: the last one that passed
-- A run on a base, for evidence: of no buildset, so that nothing it makes is ever
-- tested further or released. It is shown to those who may see whose failures it is for.
ALTER TABLE jobs ADD COLUMN base_of bigint REFERENCES buildsets (id);
CREATE INDEX jobs_evidence ON jobs (evidence_job) WHERE evidence_job IS NOT NULL;
CREATE INDEX jobs_of_tree ON jobs (name, (spec -> 'source' ->> 'tree'), id DESC) WHERE state = 'passed' OR base_of IS NOT NULL;

-- What it was tested on is not what is there now: for those that wait with a red base.
ALTER TABLE buildsets ADD COLUMN moved boolean NOT NULL DEFAULT false;

-- +goose Down
ALTER TABLE buildsets DROP COLUMN moved;
DROP INDEX jobs_of_tree, jobs_evidence;
DELETE FROM jobs WHERE base_of IS NOT NULL;
ALTER TABLE jobs DROP COLUMN base_of, DROP COLUMN last_passed, DROP COLUMN red_since, DROP COLUMN evidence_job, DROP COLUMN evidence;
