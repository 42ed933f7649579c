-- Kept in step with migrations/sqlite: same tables, columns and constraints.

CREATE TABLE identities (
    provider  text NOT NULL,
    issuer    text NOT NULL,
    subject   text NOT NULL,
    user_id   uuid NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    linked_at timestamptz NOT NULL,
    PRIMARY KEY (provider, issuer, subject)
);
