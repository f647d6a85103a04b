-- The table of the user's, and of the aggregates' what the queries read.
CREATE TABLE receipts (id text PRIMARY KEY, account_id text NOT NULL, amount bigint NOT NULL);
CREATE TABLE accounts (id text PRIMARY KEY, balance bigint);
