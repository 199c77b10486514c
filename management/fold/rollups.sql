-- name: add_conversions
-- Differences that changed conversions make in the roll-ups.
WITH quarters AS MATERIALIZED (
    SELECT * FROM unnest($1::integer[], $2::integer[], $3::timestamptz[], $4::smallint[], $5::smallint[],
                         $6::smallint[], $7::smallint[], $8::bigint[], $9::bigint[], $10::bigint[], $11::numeric[],
                         $12::numeric[], $13::numeric[], $14::numeric[])
         AS added (account_id, campaign_id, bucket, basis, class, fraud, outcome, conversions, pending_conversions,
                   rejected_conversions, revenue, pending_revenue, rejected_revenue, conversion_cost)
), counted AS (
    INSERT INTO r15 (account_id, campaign_id, bucket, basis, class, fraud, outcome, conversions, pending_conversions,
                     rejected_conversions, revenue, pending_revenue, rejected_revenue, conversion_cost)
    SELECT * FROM quarters
    ON CONFLICT (account_id, campaign_id, bucket, basis, class, fraud, outcome) DO UPDATE
    SET conversions = r15.conversions + excluded.conversions,
        revenue = r15.revenue + excluded.revenue,
        pending_conversions = r15.pending_conversions + excluded.pending_conversions,
        pending_revenue = r15.pending_revenue + excluded.pending_revenue,
        rejected_conversions = r15.rejected_conversions + excluded.rejected_conversions,
        rejected_revenue = r15.rejected_revenue + excluded.rejected_revenue,
        conversion_cost = r15.conversion_cost + excluded.conversion_cost
)
INSERT INTO account_sums AS sums (account_id, span, bucket, basis, class, fraud, outcome, conversions,
                                  pending_conversions, rejected_conversions, revenue, pending_revenue, rejected_revenue,
                                  conversion_cost)
SELECT account_id, span, date_bin(width, bucket, 'epoch'), basis, class, fraud, outcome, sum(conversions),
       sum(pending_conversions), sum(rejected_conversions), sum(revenue), sum(pending_revenue), sum(rejected_revenue),
       sum(conversion_cost)
FROM quarters CROSS JOIN (VALUES (15, interval '15 minutes'), (1440, interval '1 day')) AS spans (span, width)
GROUP BY 1, 2, 3, basis, class, fraud, outcome
ON CONFLICT (account_id, span, bucket, basis, class, fraud, outcome) DO UPDATE
SET conversions = sums.conversions + excluded.conversions,
    revenue = sums.revenue + excluded.revenue,
    pending_conversions = sums.pending_conversions + excluded.pending_conversions,
    pending_revenue = sums.pending_revenue + excluded.pending_revenue,
    rejected_conversions = sums.rejected_conversions + excluded.rejected_conversions,
    rejected_revenue = sums.rejected_revenue + excluded.rejected_revenue,
    conversion_cost = sums.conversion_cost + excluded.conversion_cost;
