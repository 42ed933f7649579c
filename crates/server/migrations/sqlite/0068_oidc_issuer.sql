-- One more provider. SQLite cannot change a CHECK, and rebuilding users would delete what
-- references it: there a new column takes the place of the old one.
ALTER TABLE users ADD COLUMN vouched_by TEXT
    CHECK (vouched_by IN ('google', 'github', 'oidc'));
UPDATE users SET vouched_by = email_vouched_by;
ALTER TABLE users DROP COLUMN email_vouched_by;
ALTER TABLE users RENAME COLUMN vouched_by TO email_vouched_by;

CREATE TABLE new_identities (
    provider  TEXT NOT NULL CHECK (provider IN ('google', 'github', 'steam', 'oidc')),
    issuer    TEXT NOT NULL,
    subject   TEXT NOT NULL CHECK (length(subject) BETWEEN 1 AND 255),
    user_id   BLOB NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    linked_at TEXT NOT NULL,
    PRIMARY KEY (provider, issuer, subject)
) STRICT;
INSERT INTO new_identities (provider, issuer, subject, user_id, linked_at)
    SELECT provider, issuer, subject, user_id, linked_at FROM identities;
DROP TABLE identities;
ALTER TABLE new_identities RENAME TO identities;
CREATE UNIQUE INDEX identities_of_user ON identities (user_id, provider);
