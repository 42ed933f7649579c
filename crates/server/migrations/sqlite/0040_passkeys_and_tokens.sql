-- Kept in step with migrations/postgres: same tables, columns and constraints.

-- Whether only passkeys and recovery codes open the account.
ALTER TABLE users ADD COLUMN passkey_only INTEGER NOT NULL DEFAULT 0 CHECK (passkey_only IN (0, 1));

-- Whether its owner was offered a passkey after a sign-in by mail.
ALTER TABLE users ADD COLUMN passkey_offered INTEGER NOT NULL DEFAULT 0 CHECK (passkey_offered IN (0, 1));

CREATE TABLE passkeys (
    id              BLOB PRIMARY KEY NOT NULL,
    user_id         BLOB NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    credential_id   BLOB NOT NULL UNIQUE CHECK (length(credential_id) BETWEEN 1 AND 1023),
    -- In the form of COSE.
    public_key      BLOB NOT NULL,
    counter         INTEGER NOT NULL,
    aaguid          BLOB NOT NULL CHECK (length(aaguid) = 16),
    name            TEXT NOT NULL,
    -- Separated by blanks.
    transports      TEXT NOT NULL,
    backup_eligible INTEGER NOT NULL CHECK (backup_eligible IN (0, 1)),
    backed_up       INTEGER NOT NULL CHECK (backed_up IN (0, 1)),
    created_at      TEXT NOT NULL,
    last_used_at    TEXT
) STRICT;

CREATE INDEX passkeys_of_user ON passkeys (user_id);

CREATE TABLE passkey_challenges (
    challenge_hash BLOB PRIMARY KEY NOT NULL CHECK (length(challenge_hash) = 32),
    browser_hash   BLOB NOT NULL CHECK (length(browser_hash) = 32),
    -- Whether a passkey is to be made rather than to sign.
    registers      INTEGER NOT NULL CHECK (registers IN (0, 1)),
    -- Both set when it is of somebody who is signed in.
    user_id        BLOB REFERENCES users (id) ON DELETE CASCADE,
    session_hash   BLOB CHECK (length(session_hash) = 32),
    expires_at     TEXT NOT NULL,
    CHECK ((user_id IS NULL) = (session_hash IS NULL)),
    CHECK (user_id IS NOT NULL OR registers = 0)
) STRICT;

CREATE INDEX passkey_challenges_expires_at ON passkey_challenges (expires_at);

CREATE TABLE recovery_codes (
    user_id   BLOB NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    code_hash BLOB NOT NULL CHECK (length(code_hash) = 32),
    PRIMARY KEY (user_id, code_hash)
) STRICT;

CREATE TABLE api_tokens (
    id           BLOB PRIMARY KEY NOT NULL,
    user_id      BLOB NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    token_hash   BLOB NOT NULL UNIQUE CHECK (length(token_hash) = 32),
    name         TEXT NOT NULL,
    -- Separated by blanks.
    scopes       TEXT NOT NULL,
    created_at   TEXT NOT NULL,
    expires_at   TEXT NOT NULL,
    last_used_at TEXT
) STRICT;

CREATE INDEX api_tokens_of_user ON api_tokens (user_id);
