-- Figures of account $1 are what three statements of one snapshot add up to: roll-ups, clicks that wait for fold and
-- conversions that do. $2: campaigns, or NULL for all. The days of clicks and labels are opened only for what waits.

-- name: waiting
-- The times of the clicks that wait, NULL when none does, and whether postbacks do.
SELECT min(ts) AS first_click, max(ts) AS last_click,
       EXISTS (SELECT FROM postback_deltas WHERE account_id = $1 AND ($2::integer[] IS NULL OR campaign_id = ANY ($2)))
           AS postbacks
FROM click_deltas
WHERE account_id = $1 AND ($2::integer[] IS NULL OR campaign_id = ANY ($2));

-- name: account_rolled_up
-- Roll-ups of the whole account by class. [$2, $3): whole quarter hours; $4: the basis that dates conversions.
SELECT class,
       coalesce(sum(clicks) FILTER (WHERE basis = 0), 0)::bigint AS clicks,
       coalesce(sum(unique_clicks) FILTER (WHERE basis = 0), 0)::bigint AS unique_clicks,
       coalesce(sum(click_cost) FILTER (WHERE basis = 0), 0) AS click_cost,
       coalesce(sum(conversions) FILTER (WHERE basis = $4), 0)::bigint AS conversions,
       coalesce(sum(pending_conversions) FILTER (WHERE basis = $4), 0)::bigint AS pending_conversions,
       coalesce(sum(rejected_conversions) FILTER (WHERE basis = $4), 0)::bigint AS rejected_conversions,
       coalesce(sum(revenue) FILTER (WHERE basis = $4), 0) AS revenue,
       coalesce(sum(pending_revenue) FILTER (WHERE basis = $4), 0) AS pending_revenue,
       coalesce(sum(rejected_revenue) FILTER (WHERE basis = $4), 0) AS rejected_revenue,
       coalesce(sum(conversion_cost) FILTER (WHERE basis = $4), 0) AS conversion_cost
FROM account_sums_between($1, $2, $3)
WHERE basis IN (0, $4)
GROUP BY class;

-- name: rolled_up
-- Roll-ups by campaign and class. [$3, $4): whole quarter hours; $5: the basis that dates conversions.
SELECT campaign_id, class,
       coalesce(sum(clicks) FILTER (WHERE basis = 0), 0)::bigint AS clicks,
       coalesce(sum(unique_clicks) FILTER (WHERE basis = 0), 0)::bigint AS unique_clicks,
       coalesce(sum(click_cost) FILTER (WHERE basis = 0), 0) AS click_cost,
       coalesce(sum(conversions) FILTER (WHERE basis = $5), 0)::bigint AS conversions,
       coalesce(sum(pending_conversions) FILTER (WHERE basis = $5), 0)::bigint AS pending_conversions,
       coalesce(sum(rejected_conversions) FILTER (WHERE basis = $5), 0)::bigint AS rejected_conversions,
       coalesce(sum(revenue) FILTER (WHERE basis = $5), 0) AS revenue,
       coalesce(sum(pending_revenue) FILTER (WHERE basis = $5), 0) AS pending_revenue,
       coalesce(sum(rejected_revenue) FILTER (WHERE basis = $5), 0) AS rejected_revenue,
       coalesce(sum(conversion_cost) FILTER (WHERE basis = $5), 0) AS conversion_cost
FROM r15
WHERE account_id = $1 AND ($2::integer[] IS NULL OR campaign_id = ANY ($2)) AND bucket >= $3 AND bucket < $4
  AND basis IN (0, $5)
GROUP BY campaign_id, class;

-- name: waiting_clicks
-- Clicks of [$3, $4) without a label, by campaign and class; $5: the flag of link previews. They are unique
-- provisionally: the first of each visitor and day who has no opening on that day, 24 hours after the opening of the
-- day before. [$6, $7): the days whose labels can matter to any that wait, as constants that the planner can prune by.
WITH waiting AS MATERIALIZED (
    SELECT campaign_id, class, ts, click_id, cost, visitor_key, visitor_key_prev, flags & $5 = 0 AS opens
    FROM click_deltas
    WHERE account_id = $1 AND ($2::integer[] IS NULL OR campaign_id = ANY ($2))
), visitors AS (
    SELECT visitor.visitor_key, yesterday.ts AS opened_yesterday
    FROM (
        SELECT DISTINCT visitor_key, visitor_key_prev, date_trunc('day', ts, 'UTC') AS day FROM waiting WHERE opens
    ) AS visitor
    LEFT JOIN LATERAL (
        SELECT ts FROM click_labels
        WHERE account_id = $1 AND visitor_key = visitor.visitor_key AND is_unique
          AND ts >= visitor.day AND ts < visitor.day + interval '1 day' AND ts >= $6 AND ts < $7
        LIMIT 1
    ) AS today ON true
    LEFT JOIN LATERAL (
        SELECT ts FROM click_labels
        WHERE account_id = $1 AND visitor_key = visitor.visitor_key_prev AND is_unique
          AND ts >= visitor.day - interval '1 day' AND ts < visitor.day AND ts >= $6 AND ts < $7
        LIMIT 1
    ) AS yesterday ON true
    WHERE today.ts IS NULL
), newcomers AS (
    SELECT DISTINCT ON (visitor_key) campaign_id, class, ts
    FROM waiting JOIN visitors USING (visitor_key)
    WHERE opens AND (opened_yesterday IS NULL OR ts - opened_yesterday >= interval '24 hours')
    ORDER BY visitor_key, ts, click_id
)
SELECT campaign_id, class, sum(clicks)::bigint AS clicks, sum(unique_clicks)::bigint AS unique_clicks,
       sum(click_cost) AS click_cost
FROM (
    SELECT campaign_id, class, ts, 1 AS clicks, 0 AS unique_clicks, cost AS click_cost FROM waiting
    UNION ALL
    SELECT campaign_id, class, ts, 0, 1, 0 FROM newcomers
) AS rows
WHERE ts >= $3 AND ts < $4
GROUP BY campaign_id, class;

-- name: waiting_conversions
-- Conversions that no roll-up knows yet, by campaign and class; dated in [$3, $4) by their click where $5 is 1.
SELECT campaign_id, class,
       count(*) FILTER (WHERE status = 'approved') AS conversions,
       count(*) FILTER (WHERE status = 'pending') AS pending_conversions,
       count(*) FILTER (WHERE status = 'rejected') AS rejected_conversions,
       coalesce(sum(payout) FILTER (WHERE status = 'approved'), 0) AS revenue,
       coalesce(sum(payout) FILTER (WHERE status = 'pending'), 0) AS pending_revenue,
       coalesce(sum(payout) FILTER (WHERE status = 'rejected'), 0) AS rejected_revenue,
       sum(cost) AS conversion_cost
FROM conversions_current
WHERE NOT folded AND account_id = $1 AND ($2::integer[] IS NULL OR campaign_id = ANY ($2))
  AND CASE WHEN $5 = 1 THEN click_at ELSE converted_at END >= $3
  AND CASE WHEN $5 = 1 THEN click_at ELSE converted_at END < $4
GROUP BY campaign_id, class;

-- name: clicks_and_conversions
-- Clicks of all classes and approved conversions of account $1, for each campaign $2 in its own range [$3, $4).
WITH wanted AS (
    SELECT * FROM unnest($2::integer[], $3::timestamptz[], $4::timestamptz[]) AS asked (campaign_id, since, until)
)
SELECT campaign_id, sum(clicks)::bigint AS clicks, sum(conversions)::bigint AS conversions
FROM (
    SELECT wanted.campaign_id, r15.clicks, r15.conversions
    FROM wanted JOIN r15 ON r15.account_id = $1 AND r15.campaign_id = wanted.campaign_id AND r15.basis = 0
         AND r15.bucket >= wanted.since AND r15.bucket < wanted.until
    UNION ALL
    SELECT wanted.campaign_id, 1, 0
    FROM wanted JOIN click_deltas AS delta ON delta.account_id = $1 AND delta.campaign_id = wanted.campaign_id
         AND delta.ts >= wanted.since AND delta.ts < wanted.until
    UNION ALL
    SELECT wanted.campaign_id, 0, 1
    FROM wanted JOIN conversions_current AS made ON made.account_id = $1 AND made.campaign_id = wanted.campaign_id
         AND NOT made.folded AND made.status = 'approved'
         AND made.converted_at >= wanted.since AND made.converted_at < wanted.until
) AS rows
GROUP BY campaign_id;
