DROP TABLE periodic;
DROP TABLE job_attempts;
DROP TABLE jobs;
