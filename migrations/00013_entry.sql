-- +goose Up

-- Gerrit's own word for the topic; facts name it only where Gerrit submits topics at once.
ALTER TABLE changes ADD COLUMN topic text NOT NULL DEFAULT '';
CREATE INDEX changes_together ON changes ((facts ->> 'topic')) WHERE status = 'open';

-- Where its comments were last looked at for commands: Gerrit's id of the last one.
ALTER TABLE changes ADD COLUMN heard text NOT NULL DEFAULT '';

-- Review comments that hold a command, each answered once.
CREATE TABLE comments (
    id          bigserial PRIMARY KEY,
    change      text NOT NULL REFERENCES changes (id),
    message     text NOT NULL,              -- Gerrit's id of it
    verb        text NOT NULL CHECK (verb IN ('recheck', 'why')),
    reason      text NOT NULL,              -- what was written behind it
    who         text NOT NULL,
    allowed     boolean NOT NULL,           -- the site lets them ask
    written_at  timestamptz NOT NULL,       -- Gerrit's
    heard_at    timestamptz NOT NULL DEFAULT now(),
    begun_at    timestamptz,
    command     bigint REFERENCES commands (id),
    answered_at timestamptz,
    answer      text NOT NULL DEFAULT '',
    UNIQUE (change, message, verb)
);
-- What was written before this service could hear it is not answered.
INSERT INTO settings (name, value) VALUES ('comments_since', to_jsonb(now())) ON CONFLICT (name) DO NOTHING;

-- What has moved, until the open changes whose checks read it are asked for a new check (R66).
CREATE TABLE moved (
    kind     text NOT NULL CHECK (kind IN ('branch', 'package', 'change')),
    place    text NOT NULL,                 -- 'GERRIT:PROJECT', a target, or changes.id
    name     text NOT NULL DEFAULT '',      -- of the branch, or the package
    first_at timestamptz NOT NULL DEFAULT now(),
    last_at  timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (kind, place, name)
);
CREATE SEQUENCE retest_serial;

-- Where the branches with open changes were when they were last asked for (G21).
CREATE TABLE heads (
    gerrit  text NOT NULL,
    project text NOT NULL,
    branch  text NOT NULL,
    head    text NOT NULL,
    PRIMARY KEY (gerrit, project, branch)
);

-- A check that is made again on what has merged since: its jobs come last.
ALTER TABLE buildsets ADD COLUMN recheck boolean NOT NULL DEFAULT false;

-- +goose Down
ALTER TABLE buildsets DROP COLUMN recheck;
DROP SEQUENCE retest_serial;
DROP TABLE heads, moved, comments;
DELETE FROM settings WHERE name = 'comments_since';
ALTER TABLE changes DROP COLUMN heard;
DROP INDEX changes_together;
ALTER TABLE changes DROP COLUMN topic;
