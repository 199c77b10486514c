-- name: figures
-- Figures of account $1 by campaign and class: roll-ups, and what is not folded yet, in one snapshot. $2: campaigns, or
-- NULL for all; [$3, $4): whole quarter hours; $5: the basis that dates conversions;
-- $6: the flag of link previews.
-- Clicks that are not labelled yet are unique provisionally: the first of each visitor and day who has no opening on
-- that day, 24 hours after the opening of the day before.
WITH waiting AS MATERIALIZED (
    SELECT campaign_id, class, ts, click_id, cost, visitor_key, visitor_key_prev, flags & $6 = 0 AS opens
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
          AND ts >= visitor.day AND ts < visitor.day + interval '1 day'
        LIMIT 1
    ) AS today ON true
    LEFT JOIN LATERAL (
        SELECT ts FROM click_labels
        WHERE account_id = $1 AND visitor_key = visitor.visitor_key_prev AND is_unique
          AND ts >= visitor.day - interval '1 day' AND ts < visitor.day
        LIMIT 1
    ) AS yesterday ON true
    WHERE today.ts IS NULL
), newcomers AS (
    SELECT DISTINCT ON (visitor_key) campaign_id, class, ts
    FROM waiting JOIN visitors USING (visitor_key)
    WHERE opens AND (opened_yesterday IS NULL OR ts - opened_yesterday >= interval '24 hours')
    ORDER BY visitor_key, ts, click_id
), rows AS (
    SELECT campaign_id, class,
           CASE WHEN basis = 0 THEN clicks ELSE 0 END AS clicks,
           CASE WHEN basis = 0 THEN unique_clicks ELSE 0 END AS unique_clicks,
           CASE WHEN basis = 0 THEN click_cost ELSE 0 END AS click_cost,
           CASE WHEN basis = $5 THEN conversions ELSE 0 END AS conversions,
           CASE WHEN basis = $5 THEN pending_conversions ELSE 0 END AS pending_conversions,
           CASE WHEN basis = $5 THEN rejected_conversions ELSE 0 END AS rejected_conversions,
           CASE WHEN basis = $5 THEN revenue ELSE 0 END AS revenue,
           CASE WHEN basis = $5 THEN pending_revenue ELSE 0 END AS pending_revenue,
           CASE WHEN basis = $5 THEN rejected_revenue ELSE 0 END AS rejected_revenue,
           CASE WHEN basis = $5 THEN conversion_cost ELSE 0 END AS conversion_cost
    FROM r15
    WHERE account_id = $1 AND ($2::integer[] IS NULL OR campaign_id = ANY ($2)) AND bucket >= $3 AND bucket < $4
      AND basis IN (0, $5)
    UNION ALL
    SELECT campaign_id, class, 1, 0, cost, 0, 0, 0, 0, 0, 0, 0 FROM waiting WHERE ts >= $3 AND ts < $4
    UNION ALL
    SELECT campaign_id, class, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0 FROM newcomers WHERE ts >= $3 AND ts < $4
    UNION ALL
    SELECT campaign_id, class, 0, 0, 0,
           (status = 'approved')::integer, (status = 'pending')::integer, (status = 'rejected')::integer,
           CASE WHEN status = 'approved' THEN payout ELSE 0 END,
           CASE WHEN status = 'pending' THEN payout ELSE 0 END,
           CASE WHEN status = 'rejected' THEN payout ELSE 0 END,
           cost
    FROM conversions_current
    WHERE NOT folded AND account_id = $1 AND ($2::integer[] IS NULL OR campaign_id = ANY ($2))
      AND CASE WHEN $5 = 1 THEN click_at ELSE converted_at END >= $3
      AND CASE WHEN $5 = 1 THEN click_at ELSE converted_at END < $4
)
SELECT campaign_id, class, sum(clicks)::bigint AS clicks, sum(unique_clicks)::bigint AS unique_clicks,
       sum(click_cost) AS click_cost, sum(conversions)::bigint AS conversions,
       sum(pending_conversions)::bigint AS pending_conversions,
       sum(rejected_conversions)::bigint AS rejected_conversions, sum(revenue) AS revenue,
       sum(pending_revenue) AS pending_revenue, sum(rejected_revenue) AS rejected_revenue,
       sum(conversion_cost) AS conversion_cost
FROM rows
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
