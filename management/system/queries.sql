-- name: is_installation
-- Whether account $1 is the installation's own. The view below asks the same of the transaction's setting.
SELECT EXISTS (SELECT FROM installation WHERE owner = $1);

-- name: books_totals
-- All streams. `unbalanced` adds up without sign, so that no difference hides another one.
SELECT now() AS as_of, count(*) AS streams, coalesce(sum(last_seq), 0)::bigint AS last_seq,
       coalesce(sum(opening), 0)::bigint AS opening, coalesce(sum(stored), 0)::bigint AS stored,
       coalesce(sum(repeated), 0)::bigint AS repeated, coalesce(sum(dead_lettered), 0)::bigint AS dead_lettered,
       coalesce(sum(lost), 0)::bigint AS lost,
       coalesce(sum(parked), 0)::bigint AS parked, coalesce(sum(in_journal), 0)::bigint AS in_journal,
       coalesce(sum(difference), 0)::bigint AS difference, coalesce(sum(missing_rows), 0)::bigint AS missing_rows,
       coalesce(sum(declared_losses), 0)::bigint AS declared_losses,
       coalesce(sum(abs(difference) + coalesce(abs(missing_rows) + abs(missing_letters) + abs(missing_lost), 0)), 0)
           ::bigint AS unbalanced,
       min(checked_at) AS checked_at
FROM installation_books;

-- name: discards
SELECT reason, sum(records::bigint)::bigint AS records
FROM installation_books, jsonb_each_text(discards) AS discard (reason, records)
WHERE discarded > 0
GROUP BY reason;

-- name: books_page
-- Newest first; ($1, $2) is the line before the page, $3 how many.
SELECT *
FROM installation_books
WHERE $1::timestamptz IS NULL OR (begun_at, stream) < ($1, $2::bytea)
ORDER BY begun_at DESC, stream DESC
LIMIT $3;

-- name: books_difference
SELECT records, rows, lost FROM books_difference;
