-- name: read_clicks
-- The oldest deltas. The transaction is repeatable read, so that fold_clicks deletes exactly what was read here.
SELECT id, account_id, ts, click_id, flags, visitor_key, visitor_key_prev
FROM click_deltas
ORDER BY id
LIMIT $1;

-- name: openings_before
-- What the labels of the deltas $1 to $2 of the day [$4, $5), the day before beginning at $3, depend on: the openings
-- of their visitors on both days. LATERAL keeps this an index look-up each, whatever the tables' sizes say.
WITH visitors AS MATERIALIZED (
    SELECT DISTINCT account_id, visitor_key, visitor_key_prev
    FROM click_deltas
    WHERE id BETWEEN $1 AND $2 AND ts >= $4 AND ts < $5
)
SELECT true AS same_day, visitor.account_id, visitor.visitor_key, opening.ts, opening.click_id
FROM visitors AS visitor
CROSS JOIN LATERAL (
    SELECT ts, click_id FROM click_labels
    WHERE account_id = visitor.account_id AND visitor_key = visitor.visitor_key AND is_unique
      AND ts >= $4 AND ts < $5
    LIMIT 1
) AS opening
UNION ALL
SELECT false, visitor.account_id, visitor.visitor_key_prev, opening.ts, opening.click_id
FROM visitors AS visitor
CROSS JOIN LATERAL (
    SELECT ts, click_id FROM click_labels
    WHERE account_id = visitor.account_id AND visitor_key = visitor.visitor_key_prev AND is_unique
      AND ts >= $3 AND ts < $4
    LIMIT 1
) AS opening;

-- name: openings
-- Openings of the visitors ($1, $2) on the day [$3, $4).
SELECT visitor.account_id, visitor.visitor_key, opening.ts, opening.click_id
FROM unnest($1::integer[], $2::bytea[]) AS visitor (account_id, visitor_key)
CROSS JOIN LATERAL (
    SELECT ts, click_id FROM click_labels
    WHERE account_id = visitor.account_id AND visitor_key = visitor.visitor_key AND is_unique
      AND ts >= $3 AND ts < $4
    LIMIT 1
) AS opening;

-- name: any_label
-- Whether any click of the day [$1, $2) has a label.
SELECT EXISTS (SELECT FROM click_labels WHERE ts >= $1 AND ts < $2);

-- name: reopened
-- Visitors of the day [$4, $5) whose key of the day before is one of $2, each with its first labelled click that is
-- not before $3 and no link preview ($6).
SELECT visitor.account_id, visitor.visitor_key, eligible.ts, eligible.click_id
FROM unnest($1::integer[], $2::bytea[], $3::timestamptz[]) AS moved (account_id, visitor_key_prev, not_before)
CROSS JOIN LATERAL (
    SELECT DISTINCT account_id, visitor_key FROM click_labels
    WHERE account_id = moved.account_id AND visitor_key_prev = moved.visitor_key_prev AND ts >= $4 AND ts < $5
) AS visitor
LEFT JOIN LATERAL (
    SELECT ts, click_id FROM click_labels
    WHERE account_id = visitor.account_id AND visitor_key = visitor.visitor_key
      AND ts >= greatest(moved.not_before, $4) AND ts < $5 AND flags & $6 = 0
    ORDER BY ts, click_id
    LIMIT 1
) AS eligible ON true;

-- name: fold_clicks
-- Everything that follows from the deltas $1 to $2; the number of them. $4: $3 are those that are unique; not $4: all
-- others are, so that the shorter list is sent.
WITH gone AS (
    DELETE FROM click_deltas WHERE id BETWEEN $1 AND $2 RETURNING *
), labelled AS MATERIALIZED (
    SELECT *, (id = ANY ($3::bigint[])) = $4::boolean AS is_unique FROM gone
), stored AS (
    INSERT INTO click_labels (account_id, campaign_id, visitor_key, ts, click_id, visitor_key_prev, class, fraud,
                              outcome, flags, is_unique)
    SELECT account_id, campaign_id, visitor_key, ts, click_id, visitor_key_prev, class, fraud, outcome, flags, is_unique
    FROM labelled
), quarters AS MATERIALIZED (
    SELECT account_id, campaign_id, date_bin('15 minutes', ts, 'epoch') AS bucket, class, fraud, outcome,
           count(*) AS clicks, count(*) FILTER (WHERE is_unique) AS unique_clicks, sum(cost) AS click_cost
    FROM labelled
    GROUP BY 1, 2, 3, class, fraud, outcome
), counted AS (
    INSERT INTO r15 (account_id, campaign_id, bucket, basis, class, fraud, outcome, clicks, unique_clicks, click_cost)
    SELECT account_id, campaign_id, bucket, 0, class, fraud, outcome, clicks, unique_clicks, click_cost
    FROM quarters
    ON CONFLICT (account_id, campaign_id, bucket, basis, class, fraud, outcome) DO UPDATE
    SET clicks = r15.clicks + excluded.clicks,
        unique_clicks = r15.unique_clicks + excluded.unique_clicks,
        click_cost = r15.click_cost + excluded.click_cost
), summed AS (
    INSERT INTO account_sums AS sums (account_id, span, bucket, basis, class, fraud, outcome, clicks, unique_clicks,
                                      click_cost)
    SELECT account_id, span, date_bin(width, bucket, 'epoch'), 0, class, fraud, outcome, sum(clicks),
           sum(unique_clicks), sum(click_cost)
    FROM (
        SELECT account_id, bucket, class, fraud, outcome, sum(clicks) AS clicks, sum(unique_clicks) AS unique_clicks,
               sum(click_cost) AS click_cost
        FROM quarters GROUP BY account_id, bucket, class, fraud, outcome
    ) AS sums CROSS JOIN (VALUES (15, interval '15 minutes'), (1440, interval '1 day')) AS spans (span, width)
    GROUP BY 1, 2, 3, class, fraud, outcome
    ON CONFLICT (account_id, span, bucket, basis, class, fraud, outcome) DO UPDATE
    SET clicks = sums.clicks + excluded.clicks,
        unique_clicks = sums.unique_clicks + excluded.unique_clicks,
        click_cost = sums.click_cost + excluded.click_cost
)
SELECT count(*) FROM labelled;

-- name: relabel
-- Labels of the day [$6, $7) that a late click changed, and the difference in the roll-ups; the number of them.
WITH changed AS (
    UPDATE click_labels AS label SET is_unique = wanted.is_unique
    FROM unnest($1::integer[], $2::bytea[], $3::timestamptz[], $4::bytea[], $5::boolean[])
         AS wanted (account_id, visitor_key, ts, click_id, is_unique)
    WHERE label.account_id = wanted.account_id AND label.visitor_key = wanted.visitor_key AND label.ts = wanted.ts
      AND label.click_id = wanted.click_id AND label.ts >= $6 AND label.ts < $7
      AND label.is_unique <> wanted.is_unique
    RETURNING label.*
), quarters AS MATERIALIZED (
    SELECT account_id, campaign_id, date_bin('15 minutes', ts, 'epoch') AS bucket, class, fraud, outcome,
           sum(CASE WHEN is_unique THEN 1 ELSE -1 END) AS unique_clicks
    FROM changed
    GROUP BY 1, 2, 3, class, fraud, outcome
), counted AS (
    INSERT INTO r15 (account_id, campaign_id, bucket, basis, class, fraud, outcome, unique_clicks)
    SELECT account_id, campaign_id, bucket, 0, class, fraud, outcome, unique_clicks
    FROM quarters
    ON CONFLICT (account_id, campaign_id, bucket, basis, class, fraud, outcome) DO UPDATE
    SET unique_clicks = r15.unique_clicks + excluded.unique_clicks
), summed AS (
    INSERT INTO account_sums AS sums (account_id, span, bucket, basis, class, fraud, outcome, unique_clicks)
    SELECT account_id, span, date_bin(width, bucket, 'epoch'), 0, class, fraud, outcome, sum(unique_clicks)
    FROM quarters CROSS JOIN (VALUES (15, interval '15 minutes'), (1440, interval '1 day')) AS spans (span, width)
    GROUP BY 1, 2, 3, class, fraud, outcome
    ON CONFLICT (account_id, span, bucket, basis, class, fraud, outcome) DO UPDATE
    SET unique_clicks = sums.unique_clicks + excluded.unique_clicks
)
SELECT count(*) FROM changed;
