-- Kept in step with migrations/sqlite: same tables, columns and constraints.

-- Set while only a provider that does not run the mailbox has vouched for the address.
ALTER TABLE users ADD COLUMN email_vouched_by text CHECK (email_vouched_by IN ('google', 'github'));

CREATE TABLE identities (
    provider  text NOT NULL CHECK (provider IN ('google', 'github', 'steam')),
    issuer    text NOT NULL,
    subject   text NOT NULL CHECK (length(subject) BETWEEN 1 AND 255),
    user_id   uuid NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    linked_at timestamptz NOT NULL,
    PRIMARY KEY (provider, issuer, subject)
);

CREATE UNIQUE INDEX identities_of_user ON identities (user_id, provider);

CREATE TABLE auth_transactions (
    state_hash   bytea PRIMARY KEY NOT NULL CHECK (length(state_hash) = 32),
    browser_hash bytea NOT NULL CHECK (length(browser_hash) = 32),
    provider     text NOT NULL,
    -- Both set when the transaction links to an account instead of signing in.
    user_id      uuid REFERENCES users (id) ON DELETE CASCADE,
    session_hash bytea CHECK (length(session_hash) = 32),
    nonce        text NOT NULL,
    verifier     text NOT NULL,
    expires_at   timestamptz NOT NULL,
    CHECK ((user_id IS NULL) = (session_hash IS NULL))
);

CREATE INDEX auth_transactions_expires_at ON auth_transactions (expires_at);

CREATE TABLE steam_nonces (
    nonce_hash bytea PRIMARY KEY NOT NULL CHECK (length(nonce_hash) = 32),
    expires_at timestamptz NOT NULL
);

CREATE INDEX steam_nonces_expires_at ON steam_nonces (expires_at);

-- One pending address per account; a newer one takes its row.
CREATE TABLE email_changes (
    user_id    uuid PRIMARY KEY NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    token_hash bytea NOT NULL UNIQUE CHECK (length(token_hash) = 32),
    email      text NOT NULL,
    expires_at timestamptz NOT NULL
);

-- Rows are added and, after 90 days, removed; never changed.
CREATE TABLE security_events (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    user_id     uuid NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    kind        text NOT NULL,
    method      text,
    device      text NOT NULL,
    device_hash bytea CHECK (length(device_hash) = 32),
    ip          text NOT NULL,
    at          timestamptz NOT NULL
);

CREATE INDEX security_events_of_user ON security_events (user_id, id);
CREATE INDEX security_events_at ON security_events (at);
