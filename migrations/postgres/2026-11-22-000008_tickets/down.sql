DROP TABLE ticket_defaults;
DROP TABLE ticket_comments;
DROP TABLE ticket_links;
DROP TABLE tickets;
