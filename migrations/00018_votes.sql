-- +goose Up

-- The vote that a buildset's change gets while the submit ahead is under way:
-- '', 'begun', 'given', or 'void': nobody is to give it any more.
ALTER TABLE buildsets ADD COLUMN vote text NOT NULL DEFAULT '';

-- +goose Down
ALTER TABLE buildsets DROP COLUMN vote;
