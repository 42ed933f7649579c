-- What keeps the mail of a link from leaving, for the page that waits for it.
ALTER TABLE magic_links ADD COLUMN mail_trouble TEXT
    CHECK (mail_trouble IN ('delayed', 'given_up'));
