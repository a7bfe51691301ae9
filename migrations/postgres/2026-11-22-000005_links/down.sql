DROP TABLE repo_hooks;
DROP TABLE repos;
DROP TABLE oauth_flows;
DROP TABLE credentials;
DROP TABLE links;
