-- name: books_in_trouble
-- What somebody must look at: $1 is how long records may wait in a journal that does not move, $2 how many lines.
SELECT *, NOT finished AND in_journal > 0 AND updated_at < now() - $1::interval AS waits
FROM books
WHERE difference <> 0 OR missing_rows <> 0 OR missing_letters <> 0 OR missing_lost <> 0 OR lost > 0
   OR (NOT finished AND in_journal > 0 AND updated_at < now() - $1::interval)
ORDER BY begun_at DESC, stream DESC
LIMIT $2;
