ALTER TABLE projects DROP COLUMN on_disconnect;
