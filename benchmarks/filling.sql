-- name: make_clicks
-- The clicks $2 … $3 of a run of $4 that begins at $1 and lasts $5 seconds, as ingest stores them; $2 counts from a
-- multiple of 4. Of four clicks the last is of the visitor of the third; no visitor comes on two days. So a click is
-- unique unless its number leaves 3 by 4. $6: account, $7: first campaign, $8: number of campaigns, which are hit evenly.
CREATE FUNCTION pg_temp.made(since timestamptz, first bigint, last bigint, run bigint, seconds integer,
                             account integer, campaign integer, campaigns integer, run_first bigint)
RETURNS TABLE (n bigint, account_id integer, campaign_id integer, click_id bytea, ts timestamptz, class smallint,
               fraud smallint, visitor_key bytea, visitor_key_prev bytea, is_unique boolean)
LANGUAGE sql STABLE AS $$
    SELECT n, account, campaign_id,
           '\x01'::bytea || substr(int8send(ms), 3, 6) || int4send(campaign_id) || decode(md5('id' || n), 'hex'),
           timestamptz 'epoch' + interval '1 millisecond' * ms,
           (CASE WHEN n % 25 < 3 THEN 2 WHEN n % 25 < 5 THEN 3 ELSE 1 END)::smallint,
           (CASE WHEN n % 25 < 3 THEN 1 WHEN n % 25 < 5 THEN 3 ELSE 0 END)::smallint,
           substr(visitor, 1, 12), substr(visitor, 5, 12), n % 4 <> 3
    FROM (
        SELECT n, campaign + (hashint8(n) & 2147483647) % campaigns AS campaign_id,
               (extract(epoch FROM since) * 1000)::bigint + (n - run_first) * seconds * 1000 / run AS ms,
               decode(md5('visitor' || CASE WHEN n % 4 = 3 THEN n - 1 ELSE n END), 'hex') AS visitor
        FROM generate_series(first, last) AS n
    ) AS numbered
$$;

-- name: fill_clicks
-- $10: details of a real click, in which `zone0` is replaced by a sub id that never repeats.
INSERT INTO clicks (
    account_id, campaign_id, click_id, ts, reported_at, mode, outcome, class, fraud, flags, score, rules, cost,
    cost_from, asn, country, device, os, browser, ip, visitor_key, visitor_key_prev, address_key, address_key_prev,
    stream, seq, details
)
SELECT account_id, campaign_id, click_id, ts, ts, 1, 1, class, fraud, 0, 10, 1, 500000000, 0, 64496,
       (ARRAY['US', 'DE', 'BR', 'IN', 'FR', 'GB', 'ID', 'MX', 'PL', 'ZZ'])[1 + n % 10],
       (ARRAY['mobile', 'desktop', 'tablet'])[1 + n % 3], (ARRAY['iOS', 'Android', 'Windows'])[1 + n % 3],
       (ARRAY['Safari', 'Chrome', 'Firefox'])[1 + n % 3], '81.2.' || n % 256 || '.0',
       visitor_key, visitor_key_prev, visitor_key, visitor_key_prev, decode(repeat('00', 15) || '01', 'hex'), n,
       replace($10::text, 'zone0', 'zone' || n)::json
FROM pg_temp.made($1, $2, $3, $4, $5, $6, $7, $8, $9);

-- name: fill_deltas
-- What ingest stores beside a click.
INSERT INTO click_deltas (account_id, campaign_id, click_id, ts, class, fraud, outcome, flags, cost, cost_from,
                          visitor_key, visitor_key_prev)
SELECT account_id, campaign_id, click_id, ts, class, fraud, 1, 0, 500000000, 0, visitor_key, visitor_key_prev
FROM pg_temp.made($1, $2, $3, $4, $5, $6, $7, $8, $9)
ORDER BY n;

-- name: fill_labels
-- What fold makes of that delta: its label …
INSERT INTO click_labels (account_id, campaign_id, visitor_key, ts, click_id, visitor_key_prev, class, fraud, outcome,
                          flags, is_unique)
SELECT account_id, campaign_id, visitor_key, ts, click_id, visitor_key_prev, class, fraud, 1, 0, is_unique
FROM pg_temp.made($1, $2, $3, $4, $5, $6, $7, $8, $9);

-- name: fill_rollups
-- … and its part of the roll-ups.
WITH quarters AS MATERIALIZED (
    SELECT account_id, campaign_id, date_bin('15 minutes', ts, 'epoch') AS bucket, class, fraud, count(*) AS clicks,
           count(*) FILTER (WHERE is_unique) AS unique_clicks, sum(500000000) AS click_cost
    FROM pg_temp.made($1, $2, $3, $4, $5, $6, $7, $8, $9)
    GROUP BY 1, 2, 3, class, fraud
), counted AS (
    INSERT INTO r15 (account_id, campaign_id, bucket, basis, class, fraud, outcome, clicks, unique_clicks, click_cost)
    SELECT account_id, campaign_id, bucket, 0, class, fraud, 1, clicks, unique_clicks, click_cost FROM quarters
    ON CONFLICT (account_id, campaign_id, bucket, basis, class, fraud, outcome) DO UPDATE
    SET clicks = r15.clicks + excluded.clicks, unique_clicks = r15.unique_clicks + excluded.unique_clicks,
        click_cost = r15.click_cost + excluded.click_cost
)
INSERT INTO account_sums AS sums (account_id, span, bucket, basis, class, fraud, outcome, clicks, unique_clicks,
                                  click_cost)
SELECT account_id, span, date_bin(width, bucket, 'epoch'), 0, class, fraud, 1, sum(clicks), sum(unique_clicks),
       sum(click_cost)
FROM quarters CROSS JOIN (VALUES (15, interval '15 minutes'), (1440, interval '1 day')) AS spans (span, width)
GROUP BY 1, 2, 3, class, fraud
ON CONFLICT (account_id, span, bucket, basis, class, fraud, outcome) DO UPDATE
SET clicks = sums.clicks + excluded.clicks, unique_clicks = sums.unique_clicks + excluded.unique_clicks,
    click_cost = sums.click_cost + excluded.click_cost;

-- name: make_campaigns
-- $2 campaigns of account $1; the first one's id is the least.
INSERT INTO campaigns (account_id, uuid, name, status, destination_url, cost_model, cost_value, bot_action,
                       attribution_window_hours, duplicate_mode, postback_security, routing_version)
SELECT $1, gen_random_uuid(), 'Campaign ' || number, 'active', 'https://shop.example/', 'cpc', 0.5, 'pass', 720,
       'ignore', 'open', 0
FROM generate_series(1, $2) AS number
RETURNING id;
