-- One more provider.
ALTER TABLE users DROP CONSTRAINT users_email_vouched_by_check;
ALTER TABLE users ADD CONSTRAINT users_email_vouched_by_check
    CHECK (email_vouched_by IN ('google', 'github', 'oidc'));

ALTER TABLE identities DROP CONSTRAINT identities_provider_check;
ALTER TABLE identities ADD CONSTRAINT identities_provider_check
    CHECK (provider IN ('google', 'github', 'steam', 'oidc'));
