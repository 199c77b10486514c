-- Dead letters: what their limit counts, what the operator accepted, and the right to take letters away again.

ALTER TABLE dead_letters
    -- the record's, counted over all that were settled before it; what the window of the limit is measured by
    ADD COLUMN number   bigint  NOT NULL DEFAULT 0,
    -- the limit passes it over: the operator said so, or it was here before the limit was
    ADD COLUMN accepted boolean NOT NULL DEFAULT true;
ALTER TABLE dead_letters
    ALTER COLUMN number DROP DEFAULT,
    ALTER COLUMN accepted SET DEFAULT false;
CREATE INDEX dead_letters_counted ON dead_letters (number) WHERE NOT accepted;
CREATE INDEX dead_letters_created_at ON dead_letters (created_at, id);

-- One row: how many further letters the operator lets pass uncounted.
CREATE TABLE dead_letter_allowance (
    only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    letters  bigint  NOT NULL CHECK (letters >= 0)
);
INSERT INTO dead_letter_allowance (letters) VALUES (0);

GRANT UPDATE, DELETE ON dead_letters TO milepost_ingest;
GRANT SELECT, UPDATE ON dead_letter_allowance TO milepost_ingest;
