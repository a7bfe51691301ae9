-- Commits are listed by repository; nothing asks for those of an organization by their time.
DROP INDEX commits_org;
CREATE INDEX commits_list ON commits (repo_id, id);
