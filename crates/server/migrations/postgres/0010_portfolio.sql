-- Kept in step with migrations/sqlite: same tables, columns and constraints.

-- One row per user: which import is in force, the import that is running, when the next may begin.
CREATE TABLE portfolios (
    user_id        uuid PRIMARY KEY NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    -- The import whose items count. Rows of any other import are leftovers nobody reads.
    import_id      uuid,
    imported_at    timestamptz,
    reported_items bigint,
    lease_id       uuid,
    lease_until    timestamptz,
    progress       text,
    next_import_at timestamptz,
    CHECK ((import_id IS NULL) = (imported_at IS NULL)),
    CHECK ((lease_id IS NULL) = (lease_until IS NULL))
);

-- What has one name and one price.
CREATE TABLE portfolio_holdings (
    import_id        uuid NOT NULL,
    user_id          uuid NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    item_id          text NOT NULL,
    market_hash_name text NOT NULL,
    phase            text NOT NULL,
    kind             text NOT NULL,
    rarity           text NOT NULL,
    rarity_color     text NOT NULL,
    exterior         text NOT NULL,
    quality          text NOT NULL,
    icon             text NOT NULL,
    quantity         bigint NOT NULL DEFAULT 0,
    locked           bigint NOT NULL DEFAULT 0,
    tradable         bigint NOT NULL DEFAULT 0,
    marketable       bigint NOT NULL DEFAULT 0,
    PRIMARY KEY (import_id, item_id)
);

CREATE INDEX portfolio_holdings_of_user ON portfolio_holdings (user_id, import_id);

-- Single assets.
CREATE TABLE portfolio_items (
    import_id   uuid NOT NULL,
    user_id     uuid NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    asset_id    bigint NOT NULL,
    item_id     text NOT NULL,
    amount      bigint NOT NULL CHECK (amount > 0),
    wear        text,
    pattern     bigint,
    paint_index bigint,
    name_tag    text,
    tradable    boolean NOT NULL,
    marketable  boolean NOT NULL,
    locked      boolean NOT NULL,
    PRIMARY KEY (import_id, asset_id)
);

CREATE INDEX portfolio_items_of_user ON portfolio_items (user_id, import_id);

-- What a portfolio was worth.
CREATE TABLE portfolio_snapshots (
    id             uuid PRIMARY KEY NOT NULL,
    user_id        uuid NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    taken_at       timestamptz NOT NULL,
    -- The day it stands for; NULL when it was taken at an import.
    day            text,
    total_cents    bigint NOT NULL,
    currency       text NOT NULL,
    items          bigint NOT NULL,
    unpriced_items bigint NOT NULL,
    price_source   text NOT NULL
);

CREATE UNIQUE INDEX portfolio_snapshots_of_day ON portfolio_snapshots (user_id, day);
CREATE INDEX portfolio_snapshots_of_user ON portfolio_snapshots (user_id, taken_at);
