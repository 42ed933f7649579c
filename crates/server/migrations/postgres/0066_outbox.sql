-- Kept in step with migrations/sqlite: same tables, columns and constraints.

-- Mails that are neither sent nor given up, so that a restart loses none.
CREATE TABLE outbox (
    id            uuid PRIMARY KEY NOT NULL,
    -- Encrypted: a mail holds a link that opens an account.
    sealed        bytea NOT NULL,
    expires_at    timestamptz NOT NULL,
    -- Which process sends it, and until when others leave it to that one.
    owner         uuid NOT NULL,
    claimed_until timestamptz NOT NULL
);

CREATE INDEX outbox_expires_at ON outbox (expires_at);
CREATE INDEX outbox_claimed_until ON outbox (claimed_until);
