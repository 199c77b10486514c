-- name: lock_books
-- One count at a time; false: another process is at it.
SELECT pg_try_advisory_lock(hashtext('milepost.books'));

-- name: unlock_books
SELECT pg_advisory_unlock(hashtext('milepost.books'));

-- name: units
-- What there is to count: each day of clicks (`first_day`), and two whole tables. `changes` moves with every row that is
-- inserted or deleted and with every TRUNCATE; the server's counters may follow some seconds later.
SELECT relation.relname AS unit,
       to_date(substring(relation.relname FROM '^clicks_([0-9]{8})$'), 'YYYYMMDD') AS day,
       concat_ws(' ', relation.oid, relation.relfilenode, pg_stat_get_tuples_inserted(relation.oid),
                 pg_stat_get_tuples_deleted(relation.oid)) AS changes,
       counted.changes AS counted_changes
FROM pg_class AS relation
LEFT JOIN counted_units AS counted ON counted.unit = relation.relname
WHERE relation.relnamespace = 'public'::regnamespace
  AND (relation.relname IN ('postbacks', 'strangers')
       OR relation.oid IN (SELECT inhrelid FROM pg_inherits WHERE inhparent = 'clicks'::regclass))
ORDER BY counted.counted_at NULLS FIRST, relation.relname;

-- name: forget_units
-- Those that are no more; their rows are missed, unless somebody booked them as expired.
DELETE FROM counted_units WHERE NOT unit = ANY($1::text[]);

-- name: begin_unit
WITH former AS (DELETE FROM counted_rows WHERE unit = $1)
INSERT INTO counted_units (unit, changes) VALUES ($1, $2)
ON CONFLICT (unit) DO UPDATE SET changes = excluded.changes, counted_at = now();

-- name: count_clicks
INSERT INTO counted_rows (unit, stream, rows)
SELECT $1, stream, count(*)
FROM clicks
WHERE ts >= $2::date::timestamp AT TIME ZONE 'UTC' AND ts < ($2::date + 1)::timestamp AT TIME ZONE 'UTC'
GROUP BY stream;

-- name: count_postbacks
-- Those of the API's own port belong to no stream.
INSERT INTO counted_rows (unit, stream, rows)
SELECT $1, stream, count(*) FROM postbacks WHERE stream <> '\x00000000000000000000000000000000' GROUP BY stream;

-- name: count_strangers
INSERT INTO counted_rows (unit, stream, rows)
SELECT $1, stream, count(*) FROM strangers GROUP BY stream;

-- name: compare
-- Each stream's columns with what the tables hold, all as of this transaction's snapshot. The first count of a stream
-- that is older than the books says how many rows it had before them.
SELECT position.stream, coalesce(counted.rows, 0)::bigint AS rows_found,
       coalesce(checked.opening_rows,
                CASE WHEN position.opening > 0
                     THEN coalesce(counted.rows, 0) - position.stored + coalesce(expired.rows, 0) ELSE 0 END
       )::bigint AS opening_rows,
       position.stored - coalesce(expired.rows, 0) AS rows_booked,
       position.dead_lettered - coalesce(letters.rows, 0) AS missing_letters,
       position.lost - coalesce(gaps.records, 0)::bigint AS missing_lost,
       coalesce(checked.missing_rows, 0) AS known_missing
FROM stream_positions AS position
LEFT JOIN (SELECT stream, sum(rows) AS rows FROM counted_rows GROUP BY stream) AS counted USING (stream)
LEFT JOIN (SELECT stream, count(*) AS rows FROM dead_letters GROUP BY stream) AS letters USING (stream)
LEFT JOIN (SELECT stream, sum(last_seq - first_seq + 1) AS records FROM lost_records GROUP BY stream) AS gaps
    USING (stream)
LEFT JOIN stream_expirations AS expired USING (stream)
LEFT JOIN book_checks AS checked USING (stream);

-- name: note_checks
INSERT INTO book_checks (stream, rows_found, opening_rows, missing_rows, missing_letters, missing_lost)
SELECT *
FROM unnest($1::bytea[], $2::bigint[], $3::bigint[], $4::bigint[], $5::bigint[], $6::bigint[])
ON CONFLICT (stream) DO UPDATE
SET rows_found = excluded.rows_found, opening_rows = excluded.opening_rows, missing_rows = excluded.missing_rows,
    missing_letters = excluded.missing_letters, missing_lost = excluded.missing_lost, checked_at = now();
