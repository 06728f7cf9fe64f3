-- A waiver may be of a part of a charge: amount of what is charged beyond another one. Both are the text of an import
-- file; without an amount all is waived.
ALTER TABLE decision ADD COLUMN amount TEXT NOT NULL DEFAULT '';
ALTER TABLE decision ADD COLUMN beyond TEXT NOT NULL DEFAULT '';
