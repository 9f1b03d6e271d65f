-- +goose Up

-- +goose StatementBegin
-- Whether some of these refs, a list of gate.Ref, is of a change that not everybody may read (G25).
CREATE FUNCTION restricted(refs jsonb) RETURNS boolean LANGUAGE sql STABLE AS $$
    SELECT EXISTS (
        SELECT FROM jsonb_array_elements(refs) r JOIN changes c ON c.id = r ->> 'id'
        WHERE c.facts @> '{"restricted": true}')
$$;
-- +goose StatementEnd

-- +goose StatementBegin
-- Whether these refs hold each restricted change that is among those of another buildset:
-- what was made with a restricted change stands only where that is, too (G25).
CREATE FUNCTION within_circle(made_with jsonb, refs jsonb) RETURNS boolean LANGUAGE sql STABLE AS $$
    SELECT NOT EXISTS (
        SELECT FROM jsonb_array_elements(made_with) r JOIN changes c ON c.id = r ->> 'id'
        WHERE c.facts @> '{"restricted": true}' AND NOT refs @> jsonb_build_array(jsonb_build_object('id', c.id)))
$$;
-- +goose StatementEnd

-- What nobody can guess of the address of its test repositories. It is asked for while they are restricted.
ALTER TABLE buildsets ADD COLUMN key text NOT NULL DEFAULT replace(gen_random_uuid()::text, '-', '');

-- Whether a job is restricted follows from its buildset's changes, as they are now.
ALTER TABLE jobs DROP COLUMN restricted;

-- +goose Down
ALTER TABLE jobs ADD COLUMN restricted boolean NOT NULL DEFAULT false;
ALTER TABLE buildsets DROP COLUMN key;
DROP FUNCTION within_circle;
DROP FUNCTION restricted;
