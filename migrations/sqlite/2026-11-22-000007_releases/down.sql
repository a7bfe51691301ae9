DROP TABLE group_links;
DROP TABLE branch_heads;
DROP TABLE commits;
