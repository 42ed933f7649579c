-- Kept in step with migrations/postgres: same tables, columns and constraints.

-- Mails that are neither sent nor given up, so that a restart loses none.
CREATE TABLE outbox (
    id            BLOB PRIMARY KEY NOT NULL CHECK (length(id) = 16),
    -- Encrypted: a mail holds a link that opens an account.
    sealed        BLOB NOT NULL,
    expires_at    TEXT NOT NULL,
    -- Which process sends it, and until when others leave it to that one.
    owner         BLOB NOT NULL CHECK (length(owner) = 16),
    claimed_until TEXT NOT NULL
) STRICT;

CREATE INDEX outbox_expires_at ON outbox (expires_at);
CREATE INDEX outbox_claimed_until ON outbox (claimed_until);
