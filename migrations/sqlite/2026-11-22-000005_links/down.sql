DROP TABLE repo_hooks;
DROP TABLE repos;
DROP TABLE links;
