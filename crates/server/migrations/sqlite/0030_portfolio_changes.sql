-- Kept in step with migrations/postgres: same tables, columns and constraints.

-- The import whose holdings a value is of; NULL where that is not known any more.
ALTER TABLE portfolio_snapshots ADD COLUMN import_id BLOB CHECK (length(import_id) = 16);

UPDATE portfolio_snapshots SET import_id = (
    SELECT p.import_id FROM portfolios p
    WHERE p.user_id = portfolio_snapshots.user_id AND p.imported_at <= portfolio_snapshots.taken_at
);

-- What a replaced import held: compressed names and amounts, for the changes since then.
CREATE TABLE portfolio_former (
    import_id   BLOB PRIMARY KEY NOT NULL CHECK (length(import_id) = 16),
    user_id     BLOB NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    replaced_at TEXT NOT NULL,
    amounts     BLOB NOT NULL
) STRICT;

CREATE INDEX portfolio_former_of_user ON portfolio_former (user_id, replaced_at);

-- Where the holdings in force come from: 'steam' or 'upload'.
ALTER TABLE portfolios ADD COLUMN source TEXT NOT NULL DEFAULT 'steam';

-- Empty for what was imported before types were noted.
ALTER TABLE portfolio_holdings ADD COLUMN item_type TEXT NOT NULL DEFAULT '';

ALTER TABLE portfolio_items ADD COLUMN locked_until TEXT;
ALTER TABLE portfolio_items ADD COLUMN inspect_link TEXT;
-- Stickers and charms as JSON; NULL without any.
ALTER TABLE portfolio_items ADD COLUMN attachments TEXT;
