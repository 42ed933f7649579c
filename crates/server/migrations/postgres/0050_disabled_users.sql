-- Nobody gets into an account while the operator has disabled it.
ALTER TABLE users ADD COLUMN disabled_at timestamptz;
