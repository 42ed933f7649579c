-- Kept in step with migrations/postgres: same tables, columns and constraints.

-- An address may have several links alive, so that a request of somebody else ends none of them.
DROP INDEX magic_links_open;
-- The address without its tag, which is what links are counted by.
ALTER TABLE magic_links ADD COLUMN mailbox TEXT NOT NULL DEFAULT '';
-- From which network it was asked, as wide as one customer can have it.
ALTER TABLE magic_links ADD COLUMN network TEXT NOT NULL DEFAULT '';
-- Whether a browser asked that had signed in to the account before.
ALTER TABLE magic_links ADD COLUMN is_known INTEGER NOT NULL DEFAULT 0 CHECK (is_known IN (0, 1));

CREATE INDEX magic_links_of_mailbox ON magic_links (mailbox) WHERE used_at IS NULL;
CREATE INDEX magic_links_of_address ON magic_links (email);
