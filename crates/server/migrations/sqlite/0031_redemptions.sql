-- Kept in step with migrations/postgres: same tables, columns and constraints.

-- What came of a link, a code or a provider's callback, for some seconds: the browser that presented
-- it and presents it again gets the same.
CREATE TABLE redemptions (
    proof_hash   BLOB NOT NULL CHECK (length(proof_hash) = 32),
    browser_hash BLOB NOT NULL CHECK (length(browser_hash) = 32),
    -- NULL while it goes on.
    outcome      TEXT,
    user_id      BLOB REFERENCES users (id) ON DELETE CASCADE,
    -- The public handle of the session that was made.
    session      TEXT,
    return_to    TEXT,
    expires_at   TEXT NOT NULL,
    PRIMARY KEY (proof_hash, browser_hash)
) STRICT;

CREATE INDEX redemptions_expires_at ON redemptions (expires_at);

-- The page that was wanted when the browser left for the provider.
ALTER TABLE auth_transactions ADD COLUMN return_to TEXT;
