-- How long after the end of a period a charge is handed over without a person. An empty text is not set.
ALTER TABLE provider ADD COLUMN charge_window TEXT NOT NULL DEFAULT '';
