-- Which of several, in words for the owner: the session that was ended, the new address.
ALTER TABLE security_events ADD COLUMN about TEXT;
