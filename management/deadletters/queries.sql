-- name: count_letters
-- The filter of all three: $1 … $2 streams, $3 seq, $4 kind, $5 the earliest moment; NULL takes every one. Messages that
-- named no record are of the stream 0.
SELECT count(*) AS letters, count(*) FILTER (WHERE accepted) AS accepted,
    count(*) FILTER (WHERE stream = '\x00000000000000000000000000000000') AS messages, max(id) AS last
FROM dead_letters
WHERE ($1::bytea IS NULL OR stream BETWEEN $1 AND $2::bytea) AND ($3::bigint IS NULL OR seq = $3)
  AND ($4::smallint IS NULL OR kind = $4) AND ($5::timestamptz IS NULL OR created_at >= $5);

-- name: newest_letters
-- $6: how many; $7: how many bytes of each payload.
SELECT id, created_at, stream, seq, kind, reason, accepted, substr(payload, 1, $7) AS payload
FROM dead_letters
WHERE ($1::bytea IS NULL OR stream BETWEEN $1 AND $2::bytea) AND ($3::bigint IS NULL OR seq = $3)
  AND ($4::smallint IS NULL OR kind = $4) AND ($5::timestamptz IS NULL OR created_at >= $5)
ORDER BY id DESC
LIMIT $6;

-- name: letters_after
-- Records in the order they were buried in; $6 and $7: behind the one, up to and with the other; $8: how many.
SELECT id, created_at, stream, seq, kind, reason, accepted, payload
FROM dead_letters
WHERE ($1::bytea IS NULL OR stream BETWEEN $1 AND $2::bytea) AND ($3::bigint IS NULL OR seq = $3)
  AND ($4::smallint IS NULL OR kind = $4) AND ($5::timestamptz IS NULL OR created_at >= $5)
  AND id > $6 AND id <= $7 AND stream <> '\x00000000000000000000000000000000'
ORDER BY id
LIMIT $8;

-- name: lock_letter
SELECT id FROM dead_letters WHERE id = $1 FOR UPDATE;

-- name: lock_position
-- Before any fact, as ingest does, so that the two never wait for each other crosswise.
SELECT next FROM stream_positions WHERE stream = $1 FOR NO KEY UPDATE;

-- name: take_out
DELETE FROM dead_letters WHERE id = $1;

-- name: book_letters
-- $2: letters stored; $3: letters that were there already.
SELECT book_letters($1, $2, $3);

-- name: set_reason
UPDATE dead_letters SET reason = $2 WHERE id = $1;

-- name: streams_with_old_letters
SELECT DISTINCT stream FROM dead_letters WHERE created_at < now() - $1::interval LIMIT $2;

-- name: forget_letters
-- One stream a statement: two that lock several positions each could wait for one another.
WITH forgotten AS (
    DELETE FROM dead_letters
    WHERE id IN (
        SELECT id FROM dead_letters WHERE stream = $1 AND created_at < now() - $2::interval
        ORDER BY id LIMIT $3 FOR UPDATE SKIP LOCKED
    )
    RETURNING 1
)
SELECT book_letters($1, 0, 0, (SELECT count(*) FROM forgotten), 'expired dead letter');

-- name: accept_letters
WITH accepted AS (UPDATE dead_letters SET accepted = true WHERE NOT accepted RETURNING 1)
SELECT count(*) FROM accepted;

-- name: allow_letters
UPDATE dead_letter_allowance SET letters = $1;
