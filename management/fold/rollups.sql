-- name: add_conversions
-- Differences that changed conversions make in the roll-ups.
INSERT INTO r15 (account_id, campaign_id, bucket, basis, class, fraud, outcome, conversions,
                 pending_conversions, rejected_conversions, revenue, pending_revenue, rejected_revenue, conversion_cost)
SELECT * FROM unnest($1::integer[], $2::integer[], $3::timestamptz[], $4::smallint[], $5::smallint[], $6::smallint[],
                     $7::smallint[], $8::bigint[], $9::bigint[], $10::bigint[], $11::numeric[], $12::numeric[],
                     $13::numeric[], $14::numeric[])
ON CONFLICT (account_id, campaign_id, bucket, basis, class, fraud, outcome) DO UPDATE
SET conversions = r15.conversions + excluded.conversions,
    revenue = r15.revenue + excluded.revenue,
    pending_conversions = r15.pending_conversions + excluded.pending_conversions,
    pending_revenue = r15.pending_revenue + excluded.pending_revenue,
    rejected_conversions = r15.rejected_conversions + excluded.rejected_conversions,
    rejected_revenue = r15.rejected_revenue + excluded.rejected_revenue,
    conversion_cost = r15.conversion_cost + excluded.conversion_cost;
