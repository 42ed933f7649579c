-- A browser that asked for a link waits for it to be used elsewhere.
CREATE INDEX magic_links_of_visitor ON magic_links (visitor_hash, created_at);
