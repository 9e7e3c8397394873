DROP TABLE request_minutes;
DROP TABLE request_bodies;
DROP TABLE requests;
