-- Kept in step with migrations/sqlite: same tables, columns and constraints.

-- What came of a link, a code or a provider's callback, for some seconds: the browser that presented
-- it and presents it again gets the same.
CREATE TABLE redemptions (
    proof_hash   bytea NOT NULL CHECK (length(proof_hash) = 32),
    browser_hash bytea NOT NULL CHECK (length(browser_hash) = 32),
    -- NULL while it goes on.
    outcome      text,
    user_id      uuid REFERENCES users (id) ON DELETE CASCADE,
    -- The public handle of the session that was made.
    session      text,
    return_to    text,
    expires_at   timestamptz NOT NULL,
    PRIMARY KEY (proof_hash, browser_hash)
);

CREATE INDEX redemptions_expires_at ON redemptions (expires_at);

-- The page that was wanted when the browser left for the provider.
ALTER TABLE auth_transactions ADD COLUMN return_to text;
