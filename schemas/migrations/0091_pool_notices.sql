-- What the owner of a pool is told and when, as for services; an empty text is not set.
ALTER TABLE pool ADD COLUMN notice_at TEXT NOT NULL DEFAULT '';
ALTER TABLE pool ADD COLUMN notice_forecast TEXT NOT NULL DEFAULT '';
ALTER TABLE pool ADD COLUMN notice_spike TEXT NOT NULL DEFAULT '';
ALTER TABLE pool ADD COLUMN decide_within TEXT NOT NULL DEFAULT '';
