-- Kept in step with migrations/postgres: same tables, columns and constraints.

CREATE TABLE identities (
    provider  TEXT NOT NULL,
    issuer    TEXT NOT NULL,
    subject   TEXT NOT NULL,
    user_id   BLOB NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    linked_at TEXT NOT NULL,
    PRIMARY KEY (provider, issuer, subject)
) STRICT;
