-- Kept in step with migrations/postgres: same tables, columns and constraints.

-- Set while only a provider that does not run the mailbox has vouched for the address.
ALTER TABLE users ADD COLUMN email_vouched_by TEXT CHECK (email_vouched_by IN ('google', 'github'));

CREATE TABLE identities (
    provider  TEXT NOT NULL CHECK (provider IN ('google', 'github', 'steam')),
    issuer    TEXT NOT NULL,
    subject   TEXT NOT NULL CHECK (length(subject) BETWEEN 1 AND 255),
    user_id   BLOB NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    linked_at TEXT NOT NULL,
    PRIMARY KEY (provider, issuer, subject)
) STRICT;

CREATE UNIQUE INDEX identities_of_user ON identities (user_id, provider);

CREATE TABLE auth_transactions (
    state_hash   BLOB PRIMARY KEY NOT NULL CHECK (length(state_hash) = 32),
    browser_hash BLOB NOT NULL CHECK (length(browser_hash) = 32),
    provider     TEXT NOT NULL,
    -- Both set when the transaction links to an account instead of signing in.
    user_id      BLOB REFERENCES users (id) ON DELETE CASCADE,
    session_hash BLOB CHECK (length(session_hash) = 32),
    nonce        TEXT NOT NULL,
    verifier     TEXT NOT NULL,
    expires_at   TEXT NOT NULL,
    CHECK ((user_id IS NULL) = (session_hash IS NULL))
) STRICT;

CREATE INDEX auth_transactions_expires_at ON auth_transactions (expires_at);

CREATE TABLE steam_nonces (
    nonce_hash BLOB PRIMARY KEY NOT NULL CHECK (length(nonce_hash) = 32),
    expires_at TEXT NOT NULL
) STRICT;

CREATE INDEX steam_nonces_expires_at ON steam_nonces (expires_at);

-- One pending address per account; a newer one takes its row.
CREATE TABLE email_changes (
    user_id    BLOB PRIMARY KEY NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    token_hash BLOB NOT NULL UNIQUE CHECK (length(token_hash) = 32),
    email      TEXT NOT NULL,
    expires_at TEXT NOT NULL
) STRICT;

-- Rows are added and, after 90 days, removed; never changed.
CREATE TABLE security_events (
    id          INTEGER PRIMARY KEY NOT NULL,
    user_id     BLOB NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    kind        TEXT NOT NULL,
    method      TEXT,
    device      TEXT NOT NULL,
    device_hash BLOB CHECK (length(device_hash) = 32),
    ip          TEXT NOT NULL,
    at          TEXT NOT NULL
) STRICT;

CREATE INDEX security_events_of_user ON security_events (user_id, id);
CREATE INDEX security_events_at ON security_events (at);
