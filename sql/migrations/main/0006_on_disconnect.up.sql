-- What becomes of an upstream's answer when the client has left: cancelled, or read to its end to learn its usage.
ALTER TABLE projects ADD COLUMN on_disconnect TEXT NOT NULL DEFAULT 'cancel' CHECK (on_disconnect IN ('cancel', 'drain'));
