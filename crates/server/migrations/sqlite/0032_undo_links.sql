-- Kept in step with migrations/postgres: same tables, columns and constraints.

-- "This was not me" in a mail about a change. It works for seven days, once.
CREATE TABLE undo_links (
    token_hash BLOB PRIMARY KEY NOT NULL CHECK (length(token_hash) = 32),
    user_id    BLOB NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    -- The address it was mailed to, which the account had then.
    email      TEXT NOT NULL,
    -- What was changed from then on is undone.
    since      TEXT NOT NULL,
    expires_at TEXT NOT NULL
) STRICT;

CREATE INDEX undo_links_of_user ON undo_links (user_id);
CREATE INDEX undo_links_expires_at ON undo_links (expires_at);
