-- name: any_waiting
SELECT EXISTS (SELECT FROM conversions WHERE NOT attached);

-- name: attachable
-- Conversions that waited for one of the clicks with deltas $1 to $2.
SELECT waiting.account_id, waiting.id
FROM click_deltas AS delta
JOIN conversions AS waiting ON waiting.account_id = delta.account_id AND waiting.click_id = delta.click_id
WHERE NOT waiting.attached AND delta.id BETWEEN $1 AND $2;

-- name: take_postbacks
-- Drop the oldest $1 deltas; the conversions that their calls belong to.
WITH gone AS (
    DELETE FROM postback_deltas
    WHERE id IN (SELECT id FROM postback_deltas ORDER BY id LIMIT $1)
    RETURNING account_id, conversion_id
)
SELECT account_id, conversion_id, count(*) AS deltas FROM gone GROUP BY 1, 2;

-- name: calls
-- Every call that takes part in the state of the conversions ($1, $2).
SELECT call.*
FROM unnest($1::integer[], $2::bytea[]) AS wanted (account_id, conversion_id)
CROSS JOIN LATERAL (
    SELECT account_id, conversion_id, campaign_id, click_id, event, transaction_id, id,
           coalesce(event_time, ts) AS happened_at, ts AS arrived_at, stream, seq, status, payout, default_payout,
           currency, trusted, duplicate_mode, cost_model, cost_value, origin, reason, decided_reason
    FROM postbacks
    WHERE account_id = wanted.account_id AND conversion_id = wanted.conversion_id AND reason IN (0, 40, 41)
) AS call;

-- name: standing
-- The conversions ($1, $2) as they are in the roll-ups.
SELECT account_id, id, campaign_id, status, payout, cost, click_at, converted_at, class, fraud, outcome, attached
FROM unnest($1::integer[], $2::bytea[]) AS wanted (account_id, id)
JOIN conversions USING (account_id, id);

-- name: clicks_of
-- Those of the clicks ($1, $2), made at $3, that are stored; only clicks that count as clicks.
SELECT click.account_id, click.click_id, click.class, click.fraud, click.outcome, click.cost_from
FROM unnest($1::integer[], $2::bytea[], $3::timestamptz[]) AS wanted (account_id, click_id, ts)
CROSS JOIN LATERAL (
    SELECT account_id, click_id, class, fraud, outcome, cost_from FROM clicks
    WHERE account_id = wanted.account_id AND click_id = wanted.click_id AND ts = wanted.ts AND mode = 1
) AS click;

-- name: store_conversions
INSERT INTO conversions (account_id, id, campaign_id, click_id, event, transaction_id, status, original_status, payout,
                         currency, cost, click_at, converted_at, class, fraud, outcome, attached, origin, created_at)
SELECT * FROM unnest($1::integer[], $2::bytea[], $3::integer[], $4::bytea[], $5::text[], $6::text[], $7::text[],
                     $8::text[], $9::numeric[], $10::text[], $11::numeric[], $12::timestamptz[], $13::timestamptz[],
                     $14::smallint[], $15::smallint[], $16::smallint[], $17::boolean[], $18::text[], $19::timestamptz[])
ON CONFLICT (account_id, id) DO UPDATE
SET status = excluded.status, original_status = excluded.original_status, payout = excluded.payout,
    currency = excluded.currency, cost = excluded.cost, converted_at = excluded.converted_at, class = excluded.class,
    fraud = excluded.fraud, outcome = excluded.outcome, attached = excluded.attached, origin = excluded.origin,
    created_at = excluded.created_at, updated_at = now();

-- name: decide
-- What became of the calls ($1, $2), for the inbox.
UPDATE postbacks AS call SET decided_reason = decided.reason
FROM unnest($1::integer[], $2::bytea[], $3::smallint[]) AS decided (account_id, id, reason)
WHERE call.account_id = decided.account_id AND call.id = decided.id;
