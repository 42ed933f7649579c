-- Set when the user of a transaction only shows that it is still them.
ALTER TABLE auth_transactions ADD COLUMN confirms boolean NOT NULL DEFAULT false;
