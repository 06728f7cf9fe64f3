-- How long after the end of a period a credit is given by itself, and how long one may be decided upon; and whether
-- charges are handed over only after a person has approved them. An empty text is not set.
ALTER TABLE provider ADD COLUMN credit_window TEXT NOT NULL DEFAULT '';
ALTER TABLE provider ADD COLUMN claim_window TEXT NOT NULL DEFAULT '';
ALTER TABLE provider ADD COLUMN approval TEXT NOT NULL DEFAULT '';
