-- name: list_clicks
-- One page of account $1, newest first: walks the days from the newest, each by (account_id, ts, click_id) backwards.
-- $2 campaign, [$3, $4) instants, $5 class outside the cloaked outcomes $6, $7 cloaked alone, $8 country,
-- ($9, $10) the row before the page; each but $1 and $6 may be NULL.
SELECT account_id, campaign_id, click_id, ts, class, outcome, flags, country, device, os, browser, ip,
       details ->> 'city' AS city
FROM clicks
WHERE account_id = $1 AND mode = 1
  AND ($2::integer IS NULL OR campaign_id = $2)
  AND ($3::timestamptz IS NULL OR ts >= $3)
  AND ($4::timestamptz IS NULL OR ts < $4)
  AND ($5::smallint IS NULL OR (class = $5 AND outcome <> ALL ($6::smallint[])))
  AND (NOT $7::boolean OR outcome = ANY ($6::smallint[]))
  AND ($8::text IS NULL OR country = $8)
  AND ($9::timestamptz IS NULL OR (ts <= $9 AND (ts, click_id) < ($9, $10::bytea)))
ORDER BY ts DESC, click_id DESC
LIMIT $11 OFFSET $12;

-- name: count_rolled_up
-- All clicks of the same filters but country: roll-ups, and what is not folded yet. The account's own roll-ups where no
-- campaign is asked for: they have a row a day where r15 has one for each campaign and quarter hour.
SELECT (
    SELECT coalesce(sum(clicks), 0) FROM (
        SELECT clicks, basis, class, outcome FROM r15
        WHERE account_id = $1 AND campaign_id = $2
          AND ($3::timestamptz IS NULL OR bucket >= $3)
          AND ($4::timestamptz IS NULL OR bucket < $4)
        UNION ALL
        SELECT clicks, basis, class, outcome FROM account_sums_between($1, $3, $4)
        WHERE $2 IS NULL
    ) AS rolled_up
    WHERE basis = 0
      AND ($5::smallint IS NULL OR (class = $5 AND outcome <> ALL ($6::smallint[])))
      AND (NOT $7::boolean OR outcome = ANY ($6::smallint[]))
)::bigint + (
    SELECT count(*) FROM click_deltas
    WHERE account_id = $1
      AND ($2::integer IS NULL OR campaign_id = $2)
      AND ($3::timestamptz IS NULL OR ts >= $3)
      AND ($4::timestamptz IS NULL OR ts < $4)
      AND ($5::smallint IS NULL OR (class = $5 AND outcome <> ALL ($6::smallint[])))
      AND (NOT $7::boolean OR outcome = ANY ($6::smallint[]))
);

-- name: count_up_to
-- With a country no roll-up knows the number: rows are counted, at most $9 of them.
SELECT count(*) FROM (
    SELECT FROM clicks
    WHERE account_id = $1 AND mode = 1
      AND ($2::integer IS NULL OR campaign_id = $2)
      AND ($3::timestamptz IS NULL OR ts >= $3)
      AND ($4::timestamptz IS NULL OR ts < $4)
      AND ($5::smallint IS NULL OR (class = $5 AND outcome <> ALL ($6::smallint[])))
      AND (NOT $7::boolean OR outcome = ANY ($6::smallint[]))
      AND country = $8
    LIMIT $9
) AS found;

-- name: converted
-- Which of the clicks $2 have a conversion that is not rejected.
SELECT DISTINCT click_id FROM conversions_current
WHERE account_id = $1 AND click_id = ANY ($2::bytea[]) AND status <> 'rejected';

-- name: get_click
-- One click, by the time inside its id ($3), so that one day is read; labels where fold has reached it.
SELECT click.*, label.is_unique, coalesce(label.fraud, click.fraud) AS fraud_now, click.details ->> 'city' AS city
FROM clicks AS click
LEFT JOIN click_labels AS label
       ON label.account_id = click.account_id AND label.visitor_key = click.visitor_key
      AND label.ts = click.ts AND label.click_id = click.click_id
WHERE click.account_id = $1 AND click.click_id = $2 AND click.ts = $3 AND click.mode = 1;

-- name: conversions_of
SELECT id, event, transaction_id, status, payout, currency, converted_at
FROM conversions_current
WHERE account_id = $1 AND click_id = $2
ORDER BY converted_at, id;
