-- Kept in step with migrations/sqlite: same tables, columns and constraints.

-- "This was not me" in a mail about a change. It works for seven days, once.
CREATE TABLE undo_links (
    token_hash bytea PRIMARY KEY NOT NULL CHECK (length(token_hash) = 32),
    user_id    uuid NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    -- The address it was mailed to, which the account had then.
    email      text NOT NULL,
    -- What was changed from then on is undone.
    since      timestamptz NOT NULL,
    expires_at timestamptz NOT NULL
);

CREATE INDEX undo_links_of_user ON undo_links (user_id);
CREATE INDEX undo_links_expires_at ON undo_links (expires_at);
