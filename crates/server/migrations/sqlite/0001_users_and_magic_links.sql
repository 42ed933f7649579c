-- Kept in step with migrations/postgres: same tables, columns and constraints.

CREATE TABLE users (
    id                BLOB PRIMARY KEY NOT NULL CHECK (length(id) = 16),
    email             TEXT UNIQUE,
    name              TEXT,
    avatar_url        TEXT,
    role              TEXT NOT NULL DEFAULT 'user' CHECK (role IN ('user', 'admin')),
    created_at        TEXT NOT NULL,
    email_verified_at TEXT,
    -- An address stands here only after its owner has proved it.
    CHECK ((email IS NULL) = (email_verified_at IS NULL))
) STRICT;

CREATE TABLE magic_links (
    id           BLOB PRIMARY KEY NOT NULL CHECK (length(id) = 16),
    email        TEXT NOT NULL,
    token_hash   BLOB NOT NULL UNIQUE CHECK (length(token_hash) = 32),
    code_hash    BLOB CHECK (length(code_hash) = 32),
    visitor_hash BLOB CHECK (length(visitor_hash) = 32),
    wrong_codes  INTEGER NOT NULL DEFAULT 0,
    created_at   TEXT NOT NULL,
    expires_at   TEXT NOT NULL,
    used_at      TEXT,
    device       TEXT NOT NULL,
    ip           TEXT NOT NULL
) STRICT;

-- At most one unused link per address: a newer one takes the row of the older.
CREATE UNIQUE INDEX magic_links_open ON magic_links (email) WHERE used_at IS NULL;
CREATE INDEX magic_links_visitor ON magic_links (visitor_hash) WHERE used_at IS NULL;
CREATE INDEX magic_links_expires_at ON magic_links (expires_at);
