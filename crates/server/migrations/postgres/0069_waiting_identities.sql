-- An identity that is linked when the link is used in the browser that brought it. All four are
-- set, or none.
ALTER TABLE magic_links ADD COLUMN browser_hash bytea CHECK (length(browser_hash) = 32);
ALTER TABLE magic_links ADD COLUMN identity_provider text;
ALTER TABLE magic_links ADD COLUMN identity_issuer text;
ALTER TABLE magic_links ADD COLUMN identity_subject text;

-- Whether the sign-in began on a page of ours, rather than of another site.
ALTER TABLE auth_transactions ADD COLUMN is_own boolean NOT NULL DEFAULT false;
