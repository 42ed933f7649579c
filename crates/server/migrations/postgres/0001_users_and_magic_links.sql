-- Kept in step with migrations/sqlite: same tables, columns and constraints.

CREATE TABLE users (
    id                uuid PRIMARY KEY NOT NULL,
    email             text UNIQUE,
    name              text,
    avatar_url        text,
    role              text NOT NULL DEFAULT 'user' CHECK (role IN ('user', 'admin')),
    created_at        timestamptz NOT NULL,
    email_verified_at timestamptz,
    -- An address stands here only after its owner has proved it.
    CHECK ((email IS NULL) = (email_verified_at IS NULL))
);

CREATE TABLE magic_links (
    id           uuid PRIMARY KEY NOT NULL,
    email        text NOT NULL,
    token_hash   bytea NOT NULL UNIQUE CHECK (length(token_hash) = 32),
    code_hash    bytea CHECK (length(code_hash) = 32),
    visitor_hash bytea CHECK (length(visitor_hash) = 32),
    wrong_codes  integer NOT NULL DEFAULT 0,
    created_at   timestamptz NOT NULL,
    expires_at   timestamptz NOT NULL,
    used_at      timestamptz,
    device       text NOT NULL,
    ip           text NOT NULL
);

-- At most one unused link per address: a newer one takes the row of the older.
CREATE UNIQUE INDEX magic_links_open ON magic_links (email) WHERE used_at IS NULL;
CREATE INDEX magic_links_visitor ON magic_links (visitor_hash) WHERE used_at IS NULL;
CREATE INDEX magic_links_expires_at ON magic_links (expires_at);
