-- name: commit_later
-- The commit of this transaction is not waited for until it is on disk; what commits behind it takes it along.
SET LOCAL synchronous_commit = off;

-- name: any_delta
-- Whether there is anything to fold; takes no lock and writes nothing, so that an idle process costs nothing. By the
-- index: behind a busy minute the table is long and empty.
SELECT (SELECT id FROM click_deltas ORDER BY id LIMIT 1) IS NOT NULL
    OR (SELECT id FROM postback_deltas ORDER BY id LIMIT 1) IS NOT NULL;
