-- +goose Up

-- Stages that run once per batch: what is planned of them waits in later until a
-- batch asks for it; batch are the items.serial that share the run on this one.
ALTER TABLE buildsets ADD COLUMN deferred boolean NOT NULL DEFAULT false; -- later is not asked for
ALTER TABLE buildsets ADD COLUMN later jsonb NOT NULL DEFAULT '[]';       -- []record.NewJob
ALTER TABLE buildsets ADD COLUMN batch bigint[] NOT NULL DEFAULT '{}';

-- +goose Down
ALTER TABLE buildsets DROP COLUMN batch, DROP COLUMN later, DROP COLUMN deferred;
