-- Kept in step with migrations/sqlite: same tables, columns and constraints.

-- Whether only passkeys and recovery codes open the account.
ALTER TABLE users ADD COLUMN passkey_only boolean NOT NULL DEFAULT false;

-- Whether its owner was offered a passkey after a sign-in by mail.
ALTER TABLE users ADD COLUMN passkey_offered boolean NOT NULL DEFAULT false;

CREATE TABLE passkeys (
    id              uuid PRIMARY KEY NOT NULL,
    user_id         uuid NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    credential_id   bytea NOT NULL UNIQUE CHECK (length(credential_id) BETWEEN 1 AND 1023),
    -- In the form of COSE.
    public_key      bytea NOT NULL,
    counter         bigint NOT NULL,
    aaguid          bytea NOT NULL CHECK (length(aaguid) = 16),
    name            text NOT NULL,
    -- Separated by blanks.
    transports      text NOT NULL,
    backup_eligible boolean NOT NULL,
    backed_up       boolean NOT NULL,
    created_at      timestamptz NOT NULL,
    last_used_at    timestamptz
);

CREATE INDEX passkeys_of_user ON passkeys (user_id);

CREATE TABLE passkey_challenges (
    challenge_hash bytea PRIMARY KEY NOT NULL CHECK (length(challenge_hash) = 32),
    browser_hash   bytea NOT NULL CHECK (length(browser_hash) = 32),
    -- Whether a passkey is to be made rather than to sign.
    registers      boolean NOT NULL,
    -- Both set when it is of somebody who is signed in.
    user_id        uuid REFERENCES users (id) ON DELETE CASCADE,
    session_hash   bytea CHECK (length(session_hash) = 32),
    expires_at     timestamptz NOT NULL,
    CHECK ((user_id IS NULL) = (session_hash IS NULL)),
    CHECK (user_id IS NOT NULL OR NOT registers)
);

CREATE INDEX passkey_challenges_expires_at ON passkey_challenges (expires_at);

CREATE TABLE recovery_codes (
    user_id   uuid NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    code_hash bytea NOT NULL CHECK (length(code_hash) = 32),
    PRIMARY KEY (user_id, code_hash)
);

CREATE TABLE api_tokens (
    id           uuid PRIMARY KEY NOT NULL,
    user_id      uuid NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    token_hash   bytea NOT NULL UNIQUE CHECK (length(token_hash) = 32),
    name         text NOT NULL,
    -- Separated by blanks.
    scopes       text NOT NULL,
    created_at   timestamptz NOT NULL,
    expires_at   timestamptz NOT NULL,
    last_used_at timestamptz
);

CREATE INDEX api_tokens_of_user ON api_tokens (user_id);
