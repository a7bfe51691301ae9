DROP TABLE bitbucket_calls;
DROP TABLE kept_answers;
DROP TABLE rate_slots;
DROP TABLE rate_budgets;
