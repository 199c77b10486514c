-- name: list_conversions
-- One page of account $1, newest first. $2 campaign, [$3, $4) instants, $5 status, ($6, $7) the row before the page;
-- each but $1 may be NULL.
SELECT id, number, campaign_id, click_id, event, transaction_id, status, original_status, payout, currency, click_at,
       converted_at, created_at, origin
FROM conversions_current
WHERE account_id = $1
  AND ($2::integer IS NULL OR campaign_id = $2)
  AND ($3::timestamptz IS NULL OR converted_at >= $3)
  AND ($4::timestamptz IS NULL OR converted_at < $4)
  AND ($5::text IS NULL OR status = $5)
  AND ($6::timestamptz IS NULL OR (converted_at <= $6 AND (converted_at, id) < ($6, $7::bytea)))
ORDER BY converted_at DESC, id DESC
LIMIT $8 OFFSET $9;

-- name: count_up_to
SELECT count(*) FROM (
    SELECT FROM conversions_current
    WHERE account_id = $1
      AND ($2::integer IS NULL OR campaign_id = $2)
      AND ($3::timestamptz IS NULL OR converted_at >= $3)
      AND ($4::timestamptz IS NULL OR converted_at < $4)
      AND ($5::text IS NULL OR status = $5)
    LIMIT $6
) AS found;

-- name: get_conversion
SELECT id, number, campaign_id, click_id, event, transaction_id, status, original_status, payout, currency, click_at,
       converted_at, created_at, origin
FROM conversions_current
WHERE account_id = $1 AND id = $2;

-- name: campaign_of_click
-- Deleted campaigns too: their clicks convert until the attribution window ends.
SELECT id, attribution_window_hours, default_payout, duplicate_mode, postback_security, cost_model, cost_value,
       deleted_at IS NOT NULL AS deleted
FROM campaigns WHERE account_id = $1 AND id = $2;

-- name: lock_key
-- Calls of one conversion follow each other, so that exactly one of them makes it.
SELECT pg_advisory_xact_lock($1);

-- name: calls
-- Every call that takes part in the state of one conversion (reasons of shared.postback).
SELECT id, coalesce(event_time, ts) AS happened_at, ts AS arrived_at, stream, seq, status, payout, default_payout,
       currency, trusted, duplicate_mode, cost_model, cost_value, origin
FROM postbacks
WHERE account_id = $1 AND conversion_id = $2 AND reason IN (0, 40, 41);

-- name: number
SELECT number FROM conversions WHERE account_id = $1 AND id = $2;

-- name: next_seq
SELECT nextval('api_postback_seq');

-- name: store_call
-- The fact and its delta, as ingest stores those of the edges.
WITH stored AS (
    INSERT INTO postbacks (
        account_id, campaign_id, id, ts, click_id, conversion_id, event, transaction_id, status, payout,
        default_payout, currency, reason, http_status, security, trusted, duplicate_mode, cost_model, cost_value,
        source_ip, method, query, origin, stream, seq
    ) VALUES (
        $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, true, $16, $17, $18, $19, 'POST', '', 'api',
        $20, $21
    )
    ON CONFLICT DO NOTHING
    RETURNING account_id, campaign_id, id, conversion_id, click_id
)
INSERT INTO postback_deltas (account_id, campaign_id, postback_id, conversion_id, click_id)
SELECT account_id, campaign_id, id, conversion_id, click_id FROM stored;
