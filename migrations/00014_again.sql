-- +goose Up
ALTER TABLE jobs ADD COLUMN again boolean NOT NULL DEFAULT false;

-- +goose Down
ALTER TABLE jobs DROP COLUMN again;
