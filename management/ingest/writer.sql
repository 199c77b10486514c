-- name: make_incoming
-- Filled by COPY before anything shared is waited for; emptied by every commit.
CREATE TEMPORARY TABLE incoming_clicks (
    account_id integer, campaign_id integer, mode smallint, outcome smallint, class smallint, fraud smallint,
    flags integer, score smallint, rules smallint, cost_from smallint, cost bigint, asn bigint, click_id bytea,
    ts timestamptz, reported_at timestamptz, visitor_key bytea, visitor_key_prev bytea, address_key bytea,
    address_key_prev bytea, stream bytea, seq bigint, country text, device text, os text, browser text, ip text,
    details json
) ON COMMIT DELETE ROWS;
CREATE TEMPORARY TABLE incoming_deltas (
    account_id integer, campaign_id integer, outcome smallint, class smallint, fraud smallint, flags integer,
    cost_from smallint, cost bigint, click_id bytea, ts timestamptz, visitor_key bytea, visitor_key_prev bytea
) ON COMMIT DELETE ROWS;
CREATE TEMPORARY TABLE incoming_postbacks (
    account_id integer, campaign_id integer, id bytea, ts timestamptz, click_id bytea, conversion_id bytea,
    reason smallint, http_status smallint, trusted boolean, stream bytea, seq bigint, event text,
    transaction_id text, status text, payout text, default_payout text, currency text, event_time timestamptz,
    security text, duplicate_mode text, cost_model text, cost_value text, source_ip text, method text, query text,
    origin text
) ON COMMIT DELETE ROWS;
CREATE TEMPORARY TABLE incoming_strangers (
    id bytea, ts timestamptz, reason smallint, stream bytea, seq bigint, method text, path text, query text, ip text,
    user_agent text, referrer text
) ON COMMIT DELETE ROWS;

-- name: positions
SELECT stream, next FROM stream_positions WHERE stream = ANY($1::bytea[]);

-- name: move_positions
-- Compare-and-set: a stream that stands elsewhere than expected is missing from the answer. The books move along.
WITH moves AS (
    SELECT *
    FROM unnest($1::bytea[], $2::bigint[], $3::bigint[], $4::boolean[], $5::bigint[], $6::bigint[], $7::bigint[])
        AS m (stream, expected, next, known, stored, dead, lost)
), moved AS (
    UPDATE stream_positions AS position
    SET next = moves.next, stored = position.stored + moves.stored,
        dead_lettered = position.dead_lettered + moves.dead, lost = position.lost + moves.lost, updated_at = now()
    FROM moves
    WHERE moves.known AND position.stream = moves.stream AND position.next = moves.expected
    RETURNING position.stream
), begun AS (
    INSERT INTO stream_positions (stream, next, opening, stored, dead_lettered, lost)
    SELECT stream, next, expected - 1, stored, dead, lost FROM moves WHERE NOT known
    ON CONFLICT DO NOTHING
    RETURNING stream
)
SELECT stream FROM moved UNION ALL SELECT stream FROM begun;

-- name: attached_days
-- How many of the tables $1 are days of clicks: what was copied into a table that was taken out is in no figure.
SELECT count(*) FROM pg_inherits
WHERE inhparent = 'clicks'::regclass AND NOT inhdetachpending
  AND inhrelid IN (SELECT to_regclass(name) FROM unnest($1::text[]) AS day (name));

-- name: store_deltas
-- Of clicks that were all new. The tenants' wall around deltas lets nobody copy into them.
INSERT INTO click_deltas (
    account_id, campaign_id, outcome, class, fraud, flags, cost_from, cost, click_id, ts, visitor_key, visitor_key_prev
)
SELECT
    account_id, campaign_id, outcome, class, fraud, flags, cost_from, cost, click_id, ts, visitor_key, visitor_key_prev
FROM incoming_deltas;

-- name: store_clicks
-- Only what was not there yet has an effect; HEAD and prefetch (mode 2, 3) are stored but in no figure.
WITH stored AS (
    INSERT INTO clicks (
        account_id, campaign_id, click_id, ts, reported_at, mode, outcome, class, fraud, flags, score, rules, cost,
        cost_from, asn, country, device, os, browser, ip, visitor_key, visitor_key_prev, address_key,
        address_key_prev, stream, seq, details
    )
    SELECT
        account_id, campaign_id, click_id, ts, reported_at, mode, outcome, class, fraud, flags, score, rules, cost,
        cost_from, asn, country, device, os, browser, ip, visitor_key, visitor_key_prev, address_key,
        address_key_prev, stream, seq, details
    FROM incoming_clicks
    ON CONFLICT DO NOTHING
    RETURNING account_id, campaign_id, click_id, ts, mode, class, fraud, outcome, flags, cost, cost_from,
        visitor_key, visitor_key_prev, stream
), effects AS (
    INSERT INTO click_deltas (
        account_id, campaign_id, click_id, ts, class, fraud, outcome, flags, cost, cost_from, visitor_key,
        visitor_key_prev
    )
    SELECT
        account_id, campaign_id, click_id, ts, class, fraud, outcome, flags, cost, cost_from, visitor_key,
        visitor_key_prev
    FROM stored
    WHERE mode = 1
)
SELECT stream, count(*) AS rows FROM stored GROUP BY stream;

-- name: store_postbacks
-- 0, 40, 41: the reasons of arrival whose call takes part in a conversion (shared.postback).
WITH stored AS (
    INSERT INTO postbacks (
        account_id, campaign_id, id, ts, click_id, conversion_id, event, transaction_id, status, payout,
        default_payout, currency, event_time, reason, http_status, security, trusted, duplicate_mode, cost_model,
        cost_value, source_ip, method, query, origin, stream, seq
    )
    SELECT
        account_id, campaign_id, id, ts, click_id, conversion_id, event, transaction_id, status, payout::numeric,
        default_payout::numeric, currency, event_time, reason, http_status, security, trusted, duplicate_mode,
        cost_model, cost_value::numeric, source_ip, method, query, origin, stream, seq
    FROM incoming_postbacks
    ON CONFLICT DO NOTHING
    RETURNING account_id, campaign_id, id, conversion_id, click_id, reason, stream
), effects AS (
    INSERT INTO postback_deltas (account_id, campaign_id, postback_id, conversion_id, click_id)
    SELECT account_id, campaign_id, id, conversion_id, click_id
    FROM stored
    WHERE reason IN (0, 40, 41)
)
SELECT stream, count(*) AS rows FROM stored GROUP BY stream;

-- name: store_strangers
-- They belong to no account and have no effect; fold never sees them.
WITH stored AS (
    INSERT INTO strangers (id, ts, reason, method, path, query, ip, user_agent, referrer, stream, seq)
    SELECT id, ts, reason, method, path, query, ip, user_agent, referrer, stream, seq
    FROM incoming_strangers
    ON CONFLICT DO NOTHING
    RETURNING stream
)
SELECT stream, count(*) AS rows FROM stored GROUP BY stream;

-- name: store_dead_letters
-- What the operator allowed beforehand is used up by the letters that are accepted by it.
WITH letters AS (
    SELECT *
    FROM unnest($1::bytea[], $2::bigint[], $3::smallint[], $4::bytea[], $5::text[], $6::bigint[], $7::boolean[])
        AS letter (stream, seq, kind, payload, reason, number, accepted)
), allowance AS (
    UPDATE dead_letter_allowance SET letters = greatest(0, letters - (SELECT count(*) FROM letters WHERE accepted))
    WHERE EXISTS (SELECT FROM letters WHERE accepted)
), stored AS (
    INSERT INTO dead_letters (stream, seq, kind, payload, reason, number, accepted)
    SELECT stream, seq, kind, payload, reason, number, accepted FROM letters
    ON CONFLICT DO NOTHING
    RETURNING stream
)
SELECT stream, count(*) AS rows FROM stored GROUP BY stream;

-- name: correct_books
-- Every record was booked as a new row or letter when the positions moved; these were there already.
UPDATE stream_positions AS position
SET stored = position.stored - wrong.rows, dead_lettered = position.dead_lettered - wrong.dead,
    repeated = position.repeated + wrong.rows + wrong.dead
FROM unnest($1::bytea[], $2::bigint[], $3::bigint[]) AS wrong (stream, rows, dead)
WHERE position.stream = wrong.stream;

-- name: store_announced
-- What has not changed is not written: an idle stream costs nothing. An old word, said again, takes nothing back.
INSERT INTO stream_announcements AS known (stream, announced, finished, parked)
SELECT * FROM unnest($1::bytea[], $2::bigint[], $3::boolean[], $4::bigint[])
ON CONFLICT (stream) DO UPDATE
SET announced = greatest(known.announced, excluded.announced), finished = known.finished OR excluded.finished,
    parked = excluded.parked, announced_at = now()
WHERE known.announced < excluded.announced OR known.finished < excluded.finished OR known.parked <> excluded.parked;

-- name: store_lost
INSERT INTO lost_records (stream, first_seq, last_seq, reason)
SELECT * FROM unnest($1::bytea[], $2::bigint[], $3::bigint[], $4::text[])
ON CONFLICT DO NOTHING;

-- name: store_losses
INSERT INTO declared_losses AS stored (stream, clicks)
SELECT * FROM unnest($1::bytea[], $2::bigint[])
ON CONFLICT (stream) DO UPDATE SET clicks = excluded.clicks, updated_at = now()
WHERE stored.clicks < excluded.clicks;

-- name: ensure_click_day
SELECT ensure_click_day($1);
