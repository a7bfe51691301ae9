DROP INDEX commits_list;
CREATE INDEX commits_org ON commits (org_id, committed_at);
