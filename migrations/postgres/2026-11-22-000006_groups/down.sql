DROP TABLE activities;
DROP TABLE events;
DROP TABLE group_unfixed;
DROP TABLE group_facets;
DROP TABLE group_users;
DROP TABLE group_hours;
DROP TABLE group_hashes;
DROP TABLE groups;
