-- What customers are told and when; an empty text is not set.
ALTER TABLE provider ADD COLUMN notice_at TEXT NOT NULL DEFAULT '';
ALTER TABLE plan ADD COLUMN notice_at TEXT NOT NULL DEFAULT '';
ALTER TABLE service ADD COLUMN notice_at TEXT NOT NULL DEFAULT '';
ALTER TABLE provider ADD COLUMN notice_forecast TEXT NOT NULL DEFAULT '';
ALTER TABLE plan ADD COLUMN notice_forecast TEXT NOT NULL DEFAULT '';
ALTER TABLE service ADD COLUMN notice_forecast TEXT NOT NULL DEFAULT '';
ALTER TABLE provider ADD COLUMN notice_spike TEXT NOT NULL DEFAULT '';
ALTER TABLE plan ADD COLUMN notice_spike TEXT NOT NULL DEFAULT '';
ALTER TABLE service ADD COLUMN notice_spike TEXT NOT NULL DEFAULT '';
ALTER TABLE provider ADD COLUMN decide_within TEXT NOT NULL DEFAULT '';
ALTER TABLE plan ADD COLUMN decide_within TEXT NOT NULL DEFAULT '';
ALTER TABLE service ADD COLUMN decide_within TEXT NOT NULL DEFAULT '';
