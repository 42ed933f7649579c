-- Kept in step with migrations/postgres: same tables, columns and constraints.

-- One row per user: which import is in force, the import that is running, when the next may begin.
CREATE TABLE portfolios (
    user_id        BLOB PRIMARY KEY NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    -- The import whose items count. Rows of any other import are leftovers nobody reads.
    import_id      BLOB CHECK (length(import_id) = 16),
    imported_at    TEXT,
    reported_items INTEGER,
    lease_id       BLOB CHECK (length(lease_id) = 16),
    lease_until    TEXT,
    progress       TEXT,
    next_import_at TEXT,
    CHECK ((import_id IS NULL) = (imported_at IS NULL)),
    CHECK ((lease_id IS NULL) = (lease_until IS NULL))
) STRICT;

-- What has one name and one price.
CREATE TABLE portfolio_holdings (
    import_id        BLOB NOT NULL CHECK (length(import_id) = 16),
    user_id          BLOB NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    item_id          TEXT NOT NULL,
    market_hash_name TEXT NOT NULL,
    phase            TEXT NOT NULL,
    kind             TEXT NOT NULL,
    rarity           TEXT NOT NULL,
    rarity_color     TEXT NOT NULL,
    exterior         TEXT NOT NULL,
    quality          TEXT NOT NULL,
    icon             TEXT NOT NULL,
    quantity         INTEGER NOT NULL DEFAULT 0,
    locked           INTEGER NOT NULL DEFAULT 0,
    tradable         INTEGER NOT NULL DEFAULT 0,
    marketable       INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (import_id, item_id)
) STRICT;

CREATE INDEX portfolio_holdings_of_user ON portfolio_holdings (user_id, import_id);

-- Single assets.
CREATE TABLE portfolio_items (
    import_id   BLOB NOT NULL CHECK (length(import_id) = 16),
    user_id     BLOB NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    asset_id    INTEGER NOT NULL,
    item_id     TEXT NOT NULL,
    amount      INTEGER NOT NULL CHECK (amount > 0),
    wear        TEXT,
    pattern     INTEGER,
    paint_index INTEGER,
    name_tag    TEXT,
    tradable    INTEGER NOT NULL,
    marketable  INTEGER NOT NULL,
    locked      INTEGER NOT NULL,
    PRIMARY KEY (import_id, asset_id)
) STRICT;

CREATE INDEX portfolio_items_of_user ON portfolio_items (user_id, import_id);

-- What a portfolio was worth.
CREATE TABLE portfolio_snapshots (
    id             BLOB PRIMARY KEY NOT NULL CHECK (length(id) = 16),
    user_id        BLOB NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    taken_at       TEXT NOT NULL,
    -- The day it stands for; NULL when it was taken at an import.
    day            TEXT,
    total_cents    INTEGER NOT NULL,
    currency       TEXT NOT NULL,
    items          INTEGER NOT NULL,
    unpriced_items INTEGER NOT NULL,
    price_source   TEXT NOT NULL
) STRICT;

CREATE UNIQUE INDEX portfolio_snapshots_of_day ON portfolio_snapshots (user_id, day);
CREATE INDEX portfolio_snapshots_of_user ON portfolio_snapshots (user_id, taken_at);
