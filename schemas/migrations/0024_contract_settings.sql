-- More settings of a contract; an empty text is not set.
ALTER TABLE provider ADD COLUMN missing TEXT NOT NULL DEFAULT '';
ALTER TABLE plan ADD COLUMN missing TEXT NOT NULL DEFAULT '';
ALTER TABLE service ADD COLUMN missing TEXT NOT NULL DEFAULT '';
