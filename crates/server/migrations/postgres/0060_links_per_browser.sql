-- Kept in step with migrations/sqlite: same tables, columns and constraints.

-- An address may have several links alive, so that a request of somebody else ends none of them.
DROP INDEX magic_links_open;
-- The address without its tag, which is what links are counted by.
ALTER TABLE magic_links ADD COLUMN mailbox text NOT NULL DEFAULT '';
-- From which network it was asked, as wide as one customer can have it.
ALTER TABLE magic_links ADD COLUMN network text NOT NULL DEFAULT '';
-- Whether a browser asked that had signed in to the account before.
ALTER TABLE magic_links ADD COLUMN is_known boolean NOT NULL DEFAULT FALSE;

CREATE INDEX magic_links_of_mailbox ON magic_links (mailbox) WHERE used_at IS NULL;
CREATE INDEX magic_links_of_address ON magic_links (email);
