-- When an account goes for good, as its owner asked seven days before.
ALTER TABLE users ADD COLUMN delete_at timestamptz;

CREATE INDEX users_delete_at ON users (delete_at) WHERE delete_at IS NOT NULL;
