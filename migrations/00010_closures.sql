-- +goose Up

-- What a patch set's packages make and what its jobs may read, by name, as far
-- as it was found out: by reading its tree, and then from what was built and
-- served. It only grows. A row without names is known too.
CREATE SEQUENCE closure_revision;
CREATE TABLE closures (
    change    text NOT NULL,                -- changes.id
    patch_set integer NOT NULL,
    provides  text[] NOT NULL,
    needs     text[] NOT NULL,
    revision  bigint NOT NULL DEFAULT nextval('closure_revision'),
    PRIMARY KEY (change, patch_set)
);

-- +goose Down
DROP TABLE closures;
DROP SEQUENCE closure_revision;
