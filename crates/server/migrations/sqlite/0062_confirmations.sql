-- Set when the user of a transaction only shows that it is still them.
ALTER TABLE auth_transactions ADD COLUMN confirms INTEGER NOT NULL DEFAULT 0 CHECK (confirms IN (0, 1));
