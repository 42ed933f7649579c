-- An identity that is linked when the link is used in the browser that brought it. All four are
-- set, or none.
ALTER TABLE magic_links ADD COLUMN browser_hash BLOB CHECK (length(browser_hash) = 32);
ALTER TABLE magic_links ADD COLUMN identity_provider TEXT;
ALTER TABLE magic_links ADD COLUMN identity_issuer TEXT;
ALTER TABLE magic_links ADD COLUMN identity_subject TEXT;

-- Whether the sign-in began on a page of ours, rather than of another site.
ALTER TABLE auth_transactions ADD COLUMN is_own INTEGER NOT NULL DEFAULT 0 CHECK (is_own IN (0, 1));
