-- +goose Up

-- What Gerrit said, stored once, before it is acted on.
CREATE TABLE gerrit_events (
    id          bigserial PRIMARY KEY,
    gerrit      text NOT NULL,
    key         text NOT NULL,
    type        text NOT NULL,
    change      text,                       -- changes.id it is about, if it is about one
    raw         jsonb NOT NULL,
    received_at timestamptz NOT NULL DEFAULT now(),
    handled_at  timestamptz,
    error       text,
    UNIQUE (gerrit, key)
);
CREATE INDEX gerrit_events_unhandled ON gerrit_events (id) WHERE handled_at IS NULL;

CREATE SEQUENCE read_serial;

-- What was last read of each change. facts is gate.Change.
CREATE TABLE changes (
    id          text PRIMARY KEY,           -- 'main~1234'
    gerrit      text NOT NULL,
    number      integer NOT NULL,
    project     text NOT NULL,
    branch      text NOT NULL,
    change_key  text NOT NULL,              -- I0123…
    patch_set   integer NOT NULL,
    revision    text NOT NULL,
    subject     text NOT NULL,
    message     text NOT NULL,
    owner       text NOT NULL,
    author      text NOT NULL,              -- 'Name <mail>'
    author_date timestamptz NOT NULL,
    fetch_ref   text NOT NULL,
    status      text NOT NULL CHECK (status IN ('open', 'merged', 'abandoned', 'gone')),
    queue       text NOT NULL DEFAULT '',   -- '' where no gate is
    checked     boolean NOT NULL DEFAULT false, -- the site has its project and branch in a pipeline
    facts       jsonb NOT NULL,
    read_serial bigint NOT NULL,
    url         text NOT NULL,
    updated_at  timestamptz NOT NULL,       -- Gerrit's
    read_at     timestamptz NOT NULL DEFAULT now(),
    UNIQUE (gerrit, number)
);
CREATE INDEX changes_open ON changes (queue) WHERE status = 'open';
CREATE INDEX changes_project ON changes (gerrit, project, branch);
CREATE INDEX changes_key ON changes (gerrit, change_key);

-- One row a queue; state is gate.State. A check is a queue of its own.
CREATE TABLE queues (
    name       text PRIMARY KEY,
    kind       text NOT NULL CHECK (kind IN ('dependent', 'independent')),
    change     text REFERENCES changes (id),
    version    bigint NOT NULL DEFAULT 0,
    state      jsonb NOT NULL,
    closed     boolean NOT NULL DEFAULT false, -- a check whose change is closed
    updated_at timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE items (
    id         bigserial PRIMARY KEY,
    queue      text NOT NULL REFERENCES queues (name),
    serial     bigint NOT NULL,
    changes    jsonb NOT NULL,              -- []gate.Ref
    entered_at timestamptz NOT NULL,
    left_at    timestamptz,
    result     text NOT NULL DEFAULT '',    -- gate.ReportKind of its final report
    reason     text NOT NULL DEFAULT '',
    UNIQUE (queue, serial)
);
CREATE INDEX items_changes ON items USING gin (changes jsonb_path_ops);
CREATE INDEX items_present ON items (queue) WHERE left_at IS NULL;

CREATE TABLE buildsets (
    id          bigserial PRIMARY KEY,
    queue       text NOT NULL,
    serial      bigint NOT NULL,
    item        bigint NOT NULL REFERENCES items (id),
    changes     jsonb NOT NULL,             -- []gate.Ref under test
    stack       jsonb NOT NULL,             -- []gate.Ref below them, in order, unlanded at the time
    stack_items bigint[] NOT NULL DEFAULT '{}', -- items.serial of the stack
    state       text NOT NULL DEFAULT 'preparing'
        CHECK (state IN ('preparing', 'testing', 'ended', 'conflict', 'broken', 'cancelled')),
    conflict    jsonb,
    broken      text NOT NULL DEFAULT '',
    findings    jsonb NOT NULL DEFAULT '[]', -- of planning: []job.Finding
    base        jsonb NOT NULL DEFAULT '{}',  -- engine.Base: trees, tips, publications, roots
    packages    jsonb NOT NULL DEFAULT '[]', -- engine.Subject: what is built
    created_at  timestamptz NOT NULL DEFAULT now(),
    prepared_at timestamptz,
    ended_at    timestamptz,
    landed_at   timestamptz,
    published_at timestamptz,
    UNIQUE (queue, serial),
    FOREIGN KEY (queue) REFERENCES queues (name)
);
CREATE INDEX buildsets_item ON buildsets (item);
CREATE INDEX buildsets_landed ON buildsets (id) WHERE landed_at IS NOT NULL AND published_at IS NULL;

CREATE TABLE jobs (
    id           bigserial PRIMARY KEY,
    buildset     bigint REFERENCES buildsets (id), -- NULL: a root
    name         text NOT NULL,
    stage        text NOT NULL CHECK (stage IN ('root', 'build', 'lint', 'publish', 'install', 'upgrade', 'systest')),
    package      text NOT NULL DEFAULT '',
    target       text NOT NULL,
    architecture text NOT NULL,
    voting       boolean NOT NULL DEFAULT true,
    state        text NOT NULL DEFAULT 'waiting'
        CHECK (state IN ('waiting', 'queued', 'running', 'passed', 'failed', 'error', 'cancelled', 'not_applicable')),
    waits_for    text NOT NULL DEFAULT '',  -- in words, while waiting
    labels       text[] NOT NULL DEFAULT '{}',
    priority     integer NOT NULL DEFAULT 0, -- smaller first
    spec         jsonb NOT NULL,            -- job.Spec as far as it is known at planning
    static_key   text NOT NULL DEFAULT '',
    result       jsonb,
    cause        text NOT NULL DEFAULT '',
    reused_from  bigint REFERENCES jobs (id),
    attempts     integer NOT NULL DEFAULT 0,
    max_attempts integer NOT NULL DEFAULT 3,
    restricted   boolean NOT NULL DEFAULT false,
    not_before   timestamptz,               -- of a retry
    created_at   timestamptz NOT NULL DEFAULT now(),
    started_at   timestamptz,
    ended_at     timestamptz,
    UNIQUE (buildset, name)
);
CREATE INDEX jobs_open ON jobs (state) WHERE state IN ('waiting', 'queued', 'running');
CREATE INDEX jobs_queued ON jobs (priority, id) WHERE state = 'queued';
CREATE INDEX jobs_same ON jobs (static_key) WHERE state IN ('queued', 'running') AND static_key <> '';
CREATE INDEX jobs_reuse ON jobs (static_key, id DESC) WHERE state IN ('passed', 'not_applicable') AND reused_from IS NULL;

CREATE TABLE job_needs (
    job   bigint NOT NULL REFERENCES jobs (id) ON DELETE CASCADE,
    needs bigint NOT NULL REFERENCES jobs (id),
    -- A job of the same buildset fails with what it needs; one of a buildset
    -- ahead only waits: the gate moves this buildset if that one fails.
    ahead boolean NOT NULL DEFAULT false,
    -- The same work under way elsewhere: waited for rather than done twice. The
    -- need goes when that ends, however it ends.
    joined boolean NOT NULL DEFAULT false,
    PRIMARY KEY (job, needs)
);
CREATE INDEX job_needs_of ON job_needs (needs);

-- An attempt is a lease: a worker's fenced right to one try.
CREATE TABLE attempts (
    id         bigserial PRIMARY KEY,
    job        bigint NOT NULL REFERENCES jobs (id) ON DELETE CASCADE,
    number     integer NOT NULL,
    lease      text NOT NULL UNIQUE,
    worker     text NOT NULL,
    state      text NOT NULL DEFAULT 'running' CHECK (state IN ('running', 'finished', 'lost', 'cancelled')),
    cancel     boolean NOT NULL DEFAULT false,
    claimed_at timestamptz NOT NULL DEFAULT now(),
    expires_at timestamptz NOT NULL,
    ended_at   timestamptz,
    result     jsonb,
    log_size   bigint NOT NULL DEFAULT 0,   -- bytes kept
    log_digest text NOT NULL DEFAULT '',    -- blob, once it has ended
    UNIQUE (job, number)
);
CREATE INDEX attempts_running ON attempts (expires_at) WHERE state = 'running';

CREATE TABLE log_chunks (
    attempt bigint NOT NULL REFERENCES attempts (id) ON DELETE CASCADE,
    start   bigint NOT NULL,                -- byte offset
    data    bytea NOT NULL,
    PRIMARY KEY (attempt, start)
);

CREATE TABLE artifacts (
    id           bigserial PRIMARY KEY,
    job          bigint NOT NULL REFERENCES jobs (id) ON DELETE CASCADE,
    name         text NOT NULL,
    kind         text NOT NULL,
    digest       text NOT NULL CHECK (digest ~ '^[0-9a-f]{64}$'),
    size         bigint NOT NULL,
    package      jsonb,                     -- engine.PackageInfo of a package
    UNIQUE (job, name)
);
CREATE INDEX artifacts_digest ON artifacts (digest);

CREATE TABLE test_repositories (
    buildset   bigint NOT NULL REFERENCES buildsets (id) ON DELETE CASCADE,
    target     text NOT NULL,
    manifest   text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    removed_at timestamptz,
    PRIMARY KEY (buildset, target)
);

CREATE TABLE repositories (
    name        text PRIMARY KEY,           -- 'juno/debian-12/production'
    target      text NOT NULL,
    channel     text NOT NULL,
    format      text NOT NULL CHECK (format IN ('deb', 'rpm')),
    publication bigint,                     -- the pointer
    UNIQUE (target, channel)
);

CREATE TABLE publications (
    id         bigserial PRIMARY KEY,
    repository text NOT NULL REFERENCES repositories (name),
    serial     integer NOT NULL,
    manifest   text NOT NULL,
    state      text NOT NULL,               -- blob: repo.Publication, to make the next one from
    packages   integer NOT NULL,
    who        text NOT NULL,
    why        text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    UNIQUE (repository, serial)
);
ALTER TABLE repositories ADD FOREIGN KEY (publication) REFERENCES publications (id);

-- Every move of a pointer; a pointer that is not the last row's target was moved by hand.
CREATE TABLE pointer_moves (
    id          bigserial PRIMARY KEY,
    repository  text NOT NULL REFERENCES repositories (name),
    publication bigint NOT NULL REFERENCES publications (id),
    at          timestamptz NOT NULL DEFAULT now(),
    who         text NOT NULL,
    why         text NOT NULL
);

-- What each repository holds, and held: a row is valid for serials in [added, removed).
CREATE TABLE repository_packages (
    repository   text NOT NULL REFERENCES repositories (name),
    added        integer NOT NULL,
    removed      integer,
    name         text NOT NULL,
    version      text NOT NULL,
    architecture text NOT NULL,
    source       text NOT NULL,
    source_version text NOT NULL,
    digest       text NOT NULL,             -- as published
    tested       text NOT NULL,             -- as tested: equal but for signatures
    payload      text NOT NULL DEFAULT '',
    size         bigint NOT NULL,
    file         text NOT NULL,             -- path in the repository
    kind         text NOT NULL,             -- job.ArtifactKind
    buildset     bigint NOT NULL REFERENCES buildsets (id),
    PRIMARY KEY (repository, name, version, architecture, kind, added)
);
CREATE INDEX repository_packages_now ON repository_packages (repository, name) WHERE removed IS NULL;
CREATE INDEX repository_packages_source ON repository_packages (repository, source, source_version);

CREATE TABLE roots (
    id         bigserial PRIMARY KEY,
    dist       text NOT NULL,
    kind       text NOT NULL,
    architecture text NOT NULL,
    recipe     text NOT NULL,               -- hash of the recipe
    job        bigint NOT NULL REFERENCES jobs (id),
    archive    text NOT NULL DEFAULT '',
    digest     text NOT NULL DEFAULT '',
    made_at    timestamptz,
    UNIQUE (job)
);
CREATE INDEX roots_now ON roots (dist, kind, architecture, recipe, id DESC);

-- A submit, decided once, done at least once, its outcome recorded once.
CREATE TABLE submissions (
    queue      text NOT NULL REFERENCES queues (name),
    item       bigint NOT NULL,             -- items.serial
    serial     integer NOT NULL,
    buildset   bigint NOT NULL REFERENCES buildsets (id),
    changes    jsonb NOT NULL,
    result     text CHECK (result IN ('landed', 'refused', 'moved')),
    outcome    jsonb,                       -- gate.SubmitOutcome
    created_at timestamptz NOT NULL DEFAULT now(),
    ended_at   timestamptz,
    PRIMARY KEY (queue, item, serial)
);

-- Effects that leave the service (comments, votes), as decided; River carries them out.
CREATE TABLE effects (
    id         bigserial PRIMARY KEY,
    queue      text NOT NULL REFERENCES queues (name),
    effect     jsonb NOT NULL,              -- gate.Effect
    created_at timestamptz NOT NULL DEFAULT now(),
    done_at    timestamptz,
    error      text NOT NULL DEFAULT '',
    message    text NOT NULL DEFAULT ''     -- what was said, for the page
);

CREATE TABLE commands (
    id          bigserial PRIMARY KEY,
    queue       text NOT NULL,
    verb        text NOT NULL,
    change      text NOT NULL DEFAULT '',
    who         text NOT NULL,
    why         text NOT NULL,
    at          timestamptz NOT NULL DEFAULT now(),
    answered_at timestamptz,
    answer      text NOT NULL DEFAULT '',
    refused     boolean NOT NULL DEFAULT false
);
CREATE INDEX commands_open ON commands (queue, id) WHERE answered_at IS NULL;

CREATE TABLE workers (
    name      text PRIMARY KEY,
    labels    text[] NOT NULL DEFAULT '{}',
    architectures text[] NOT NULL DEFAULT '{}',
    version   text NOT NULL DEFAULT '',
    seen_at   timestamptz NOT NULL DEFAULT now()
);

-- Small facts of the service itself: keys made at first start, stream states, proven label exemptions.
CREATE TABLE settings (
    name  text PRIMARY KEY,
    value jsonb NOT NULL
);

-- +goose Down
DROP TABLE settings, workers, commands, effects, submissions, roots, repository_packages, pointer_moves CASCADE;
DROP TABLE publications, repositories, test_repositories, artifacts, log_chunks, attempts, job_needs, jobs CASCADE;
DROP TABLE buildsets, items, queues, changes, gerrit_events CASCADE;
DROP SEQUENCE read_serial;
