DROP TABLE api_tokens;
DROP TABLE sessions;
DROP TABLE invitations;
DROP TABLE memberships;
DROP TABLE users;
DROP TABLE project_keys;
DROP TABLE projects;
DROP TABLE orgs;
