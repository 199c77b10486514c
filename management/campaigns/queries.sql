-- name: count_campaigns
SELECT count(*) FROM campaigns WHERE account_id = $1 AND deleted_at IS NULL AND ($2::text IS NULL OR status = $2);

-- name: list_campaigns
SELECT * FROM campaigns
WHERE account_id = $1 AND deleted_at IS NULL AND ($2::text IS NULL OR status = $2)
ORDER BY id LIMIT $3 OFFSET $4;

-- name: get_campaign
SELECT * FROM campaigns WHERE account_id = $1 AND id = $2 AND deleted_at IS NULL;

-- name: lock_campaign
-- Two changes of one campaign follow each other, so that neither undoes fields the other sent.
SELECT * FROM campaigns WHERE account_id = $1 AND id = $2 AND deleted_at IS NULL FOR UPDATE;

-- name: raise_routing_version
UPDATE routing_version SET version = version + 1 RETURNING version;

-- name: insert_campaign
INSERT INTO campaigns (
    account_id, uuid, routing_version, name, status, traffic_source_id, cost_model, cost_value, destination_url,
    fallback_url, bot_action, time_zone, attribution_window_hours, default_payout, max_payout, max_click_cost,
    duplicate_mode, postback_security, postback_tokens, allowed_ips
) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20)
RETURNING *;

-- name: change_campaign
UPDATE campaigns SET
    routing_version = $3, name = $4, status = $5, traffic_source_id = $6, cost_model = $7, cost_value = $8,
    destination_url = $9, fallback_url = $10, bot_action = $11, time_zone = $12, attribution_window_hours = $13,
    default_payout = $14, max_payout = $15, max_click_cost = $16, duplicate_mode = $17, postback_security = $18,
    postback_tokens = $19, allowed_ips = $20, updated_at = now()
WHERE account_id = $1 AND id = $2 AND deleted_at IS NULL
RETURNING *;

-- name: delete_campaign
-- The row stays: its figures remain in reports, and postbacks are taken until the attribution window ends.
UPDATE campaigns SET routing_version = $3, deleted_at = now(), updated_at = now()
WHERE account_id = $1 AND id = $2 AND deleted_at IS NULL
RETURNING *;
