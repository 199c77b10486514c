-- The books: what became of every seq of every stream, so that the sum says whether one was lost without a word.

-- Each term is a column, moved in the transaction that moves `next`, so for every stream at every instant
--     next - 1 = opening + stored + repeated + dead_lettered + discarded + lost
-- `stored`: rows that were new. `repeated`: ids that were there already. `opening`: what was settled before the books.
ALTER TABLE stream_positions
    ADD COLUMN opening       bigint NOT NULL DEFAULT 0,
    ADD COLUMN stored        bigint NOT NULL DEFAULT 0,
    ADD COLUMN repeated      bigint NOT NULL DEFAULT 0,
    ADD COLUMN dead_lettered bigint NOT NULL DEFAULT 0,
    ADD COLUMN discarded     bigint NOT NULL DEFAULT 0,
    ADD COLUMN lost          bigint NOT NULL DEFAULT 0,
    ADD COLUMN begun_at      timestamptz NOT NULL DEFAULT now();
-- The two small tables say exactly what they hold; only rows are taken as they are found.
UPDATE stream_positions AS position
SET dead_lettered = (SELECT count(*) FROM dead_letters AS letter WHERE letter.stream = position.stream),
    lost = (SELECT coalesce(sum(last_seq - first_seq + 1), 0) FROM lost_records AS gap
            WHERE gap.stream = position.stream),
    begun_at = updated_at;
UPDATE stream_positions SET opening = next - 1 - dead_lettered - lost;
CREATE INDEX stream_positions_begun_at ON stream_positions (begun_at);

-- The terms of `discarded`, by reason.
CREATE TABLE stream_discards (
    stream  bytea  NOT NULL,
    reason  text   NOT NULL,
    records bigint NOT NULL,
    PRIMARY KEY (stream, reason)
);

-- What a stream's writer says of itself. Apart from its position: a stream is announced before its first record is
-- stored, and what is announced is no ground for a position.
CREATE TABLE stream_announcements (
    stream       bytea   PRIMARY KEY CHECK (length(stream) = 16),
    -- the last seq that it knows to be synced
    announced    bigint  NOT NULL,
    -- the writer is gone, and everything it left has been read
    finished     boolean NOT NULL,
    -- read beyond a gap, and held back until it is filled
    parked       bigint  NOT NULL,
    -- when any of it last changed
    announced_at timestamptz NOT NULL DEFAULT now()
);

-- Rows that a rule took away again, kept apart from the positions: two statements that lock several positions each
-- could wait for one another. Whoever deletes facts by a rule adds them here, by stream, in the same transaction.
CREATE TABLE stream_expirations (
    stream bytea  PRIMARY KEY,
    rows   bigint NOT NULL
);

-- What the sweep `books` counted. A unit is a day of clicks or a whole small table; `changes` is how the server's own
-- counters stood, so that a unit nobody touched need not be read again.
CREATE TABLE counted_units (
    unit       text PRIMARY KEY,
    changes    text NOT NULL,
    counted_at timestamptz NOT NULL DEFAULT now()
);
CREATE TABLE counted_rows (
    unit   text   NOT NULL REFERENCES counted_units (unit) ON DELETE CASCADE,
    stream bytea  NOT NULL,
    rows   bigint NOT NULL,
    PRIMARY KEY (unit, stream)
);
CREATE INDEX counted_rows_stream ON counted_rows (stream);
CREATE TABLE book_checks (
    stream          bytea  PRIMARY KEY,
    rows_found      bigint NOT NULL,
    -- rows of the time before the books, as they were found the first time
    opening_rows    bigint NOT NULL,
    missing_rows    bigint NOT NULL,
    missing_letters bigint NOT NULL,
    missing_lost    bigint NOT NULL,
    checked_at      timestamptz NOT NULL DEFAULT now()
);

-- A dead letter that was stored after all, was there already, or is given up for good changes its column. One call a
-- stream and transaction, in the transaction that takes the letters away.
CREATE FUNCTION book_letters(
    of_stream bytea, now_stored bigint, now_repeated bigint, now_discarded bigint DEFAULT 0, why text DEFAULT ''
) RETURNS void
LANGUAGE sql SET search_path = pg_catalog, public AS $$
    UPDATE stream_positions
    SET dead_lettered = dead_lettered - now_stored - now_repeated - now_discarded,
        stored = stored + now_stored,
        repeated = repeated + now_repeated,
        discarded = discarded + now_discarded
    WHERE stream = of_stream;
    INSERT INTO stream_discards AS known (stream, reason, records)
    SELECT of_stream, why, now_discarded WHERE now_discarded > 0
    ON CONFLICT (stream, reason) DO UPDATE SET records = known.records + excluded.records;
$$;
REVOKE ALL ON FUNCTION book_letters(bytea, bigint, bigint, bigint, text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION book_letters(bytea, bigint, bigint, bigint, text) TO milepost_ingest;

-- One line a stream. A writer that is gone has nothing left in its journal, so what it announced beyond the position
-- is a difference: but only after a minute, because storing follows reading.
CREATE VIEW books AS
SELECT stream, begun_at, next - 1 + ahead AS last_seq, opening, stored, repeated, dead_lettered, discarded, lost,
       CASE WHEN ended THEN 0 ELSE least(parked, ahead) END AS parked,
       CASE WHEN ended THEN 0 ELSE ahead - least(parked, ahead) END AS in_journal,
       next - 1 - opening - stored - repeated - dead_lettered - discarded - lost
           + CASE WHEN ended THEN ahead ELSE 0 END AS difference,
       finished, announced_at, updated_at, rows_found, missing_rows, missing_letters, missing_lost, checked_at,
       coalesce((SELECT clicks FROM declared_losses AS declared WHERE declared.stream = line.stream), 0)
           AS declared_losses,
       (SELECT jsonb_object_agg(reason, records) FROM stream_discards AS discard WHERE discard.stream = line.stream)
           AS discards,
       (SELECT jsonb_agg(jsonb_build_object('first', first_seq, 'last', last_seq, 'reason', reason))
        FROM (SELECT first_seq, last_seq, reason FROM lost_records AS gap WHERE gap.stream = line.stream
              ORDER BY first_seq LIMIT 100) AS gaps) AS lost_ranges
FROM (
    SELECT stream, coalesce(position.next, 1) AS next, coalesce(position.opening, 0) AS opening,
           coalesce(position.stored, 0) AS stored, coalesce(position.repeated, 0) AS repeated,
           coalesce(position.dead_lettered, 0) AS dead_lettered, coalesce(position.discarded, 0) AS discarded,
           coalesce(position.lost, 0) AS lost, coalesce(said.parked, 0) AS parked,
           coalesce(said.finished, false) AS finished, said.announced_at,
           coalesce(position.begun_at, said.announced_at) AS begun_at,
           greatest(position.updated_at, said.announced_at) AS updated_at,
           greatest(coalesce(said.announced, 0) - coalesce(position.next, 1) + 1, 0) AS ahead,
           coalesce(said.finished AND said.announced_at < now() - interval '1 minute', false) AS ended,
           checked.rows_found, checked.missing_rows, checked.missing_letters, checked.missing_lost,
           checked.checked_at
    FROM stream_positions AS position
    FULL JOIN stream_announcements AS said USING (stream)
    LEFT JOIN book_checks AS checked USING (stream)
) AS line;

-- Who may see them: the account that was made first, which is the installation's own. -----------------------------

CREATE TABLE installation (
    only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    owner    integer NOT NULL
);
CREATE FUNCTION note_first_account() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public AS $$
BEGIN
    INSERT INTO installation (owner) VALUES (NEW.id) ON CONFLICT DO NOTHING;
    RETURN NULL;
END $$;
REVOKE ALL ON FUNCTION note_first_account() FROM PUBLIC;
CREATE TRIGGER note_first_account AFTER INSERT ON accounts FOR EACH ROW EXECUTE FUNCTION note_first_account();
-- The policies bind the owner of the tables too, who must see the accounts that are there already.
ALTER TABLE accounts NO FORCE ROW LEVEL SECURITY;
INSERT INTO installation (owner) SELECT min(id) FROM accounts HAVING min(id) IS NOT NULL;
ALTER TABLE accounts FORCE ROW LEVEL SECURITY;

-- The application has no right on the books themselves. No setting, or another account's: no rows.
CREATE VIEW installation_books AS
SELECT * FROM books
WHERE (SELECT owner FROM installation) = nullif(current_setting('milepost.account', true), '')::integer;
-- For the metrics of a process, which speaks for no account: sums alone.
CREATE VIEW books_difference AS
SELECT coalesce(sum(abs(difference)), 0)::bigint AS records,
       coalesce(sum(abs(missing_rows) + abs(missing_letters) + abs(missing_lost)), 0)::bigint AS rows,
       coalesce(sum(lost), 0)::bigint AS lost
FROM books;

GRANT SELECT ON installation, installation_books, books_difference TO milepost_app;
GRANT SELECT ON books TO milepost_ingest;
GRANT SELECT, INSERT, UPDATE ON stream_announcements, stream_discards, stream_expirations, book_checks TO milepost_ingest;
GRANT SELECT, INSERT, UPDATE, DELETE ON counted_units, counted_rows TO milepost_ingest;
