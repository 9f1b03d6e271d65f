-- +goose Up

-- Set when the first try begins: only a second one has to ask Gerrit what the first one did.
ALTER TABLE submissions ADD COLUMN begun_at timestamptz;
ALTER TABLE effects ADD COLUMN begun_at timestamptz;

-- +goose Down
ALTER TABLE effects DROP COLUMN begun_at;
ALTER TABLE submissions DROP COLUMN begun_at;
