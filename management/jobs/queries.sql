-- name: routing_version
SELECT version FROM routing_version;

-- name: raise_routing_version
UPDATE routing_version SET version = version + 1 RETURNING version;

-- name: campaigns_for_edges
-- Every campaign that an edge must know: a deleted one answers postbacks until its attribution window ends.
SELECT * FROM campaigns
WHERE deleted_at IS NULL OR deleted_at > now() - make_interval(hours => attribution_window_hours)
ORDER BY id;

-- name: accounts_for_edges
SELECT id, routing_version, status, fallback_url, currency FROM accounts ORDER BY id;

-- name: changed_campaigns
-- Also those that ended: an edge must hear of it.
SELECT * FROM campaigns WHERE routing_version > $1 ORDER BY routing_version LIMIT $2;

-- name: changed_accounts
SELECT id, routing_version, status, fallback_url, currency FROM accounts
WHERE routing_version > $1 ORDER BY routing_version LIMIT $2;

-- name: salts
SELECT day, salt FROM salts ORDER BY day;

-- name: add_salt
INSERT INTO salts (day, salt) VALUES ($1, $2) ON CONFLICT DO NOTHING RETURNING day;

-- name: forget_salts
-- A salt serves its own day and, for clicks after midnight, the day after.
DELETE FROM salts WHERE day < $1 RETURNING day;

-- name: forget_strangers
-- Numbers and moments of arrival grow together, so what is too old or too much ends at one number. $1 rows may stay,
-- $2 is the age they may reach, $3 are deleted at once. The books learn which streams they were of.
WITH forgotten AS (
    DELETE FROM strangers
    WHERE number IN (
        SELECT number
        FROM strangers
        WHERE number <= greatest(
            (SELECT max(number) FROM strangers) - $1::bigint,
            (SELECT number FROM strangers
             WHERE stored_at < now() - $2::interval ORDER BY stored_at DESC, number DESC LIMIT 1)
        )
        ORDER BY number
        LIMIT $3
    )
    RETURNING stream
)
INSERT INTO stream_expirations AS known (stream, rows)
SELECT stream, count(*) FROM forgotten GROUP BY stream
ON CONFLICT (stream) DO UPDATE SET rows = known.rows + excluded.rows;

-- name: ensure_click_day
SELECT ensure_click_day($1);
