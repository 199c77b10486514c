-- What fold looks openings up by, and conversions as of this instant.

-- A visitor opens at most once a day, so this index has one entry where click_labels may have a million rows of one
-- bot: every look-up of an opening is one step.
CREATE INDEX click_labels_opening ON click_labels (account_id, visitor_key) WHERE is_unique;

-- The time inside a click id (shared.ids): six bytes of milliseconds behind the key id.
CREATE FUNCTION click_time(click_id bytea) RETURNS timestamptz
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE AS $$
    SELECT timestamptz 'epoch' + interval '1 millisecond' * ('x' || encode(substr(click_id, 2, 6), 'hex'))::bit(48)::bigint
$$;
GRANT EXECUTE ON FUNCTION click_time(bytea) TO milepost_app, milepost_ingest;

-- Every conversion, also one whose first call fold has not reached yet: that call alone makes it, by the order and the
-- rules of management.fold.conversion_state. `folded` tells the two apart: what is not folded is in no roll-up.
CREATE VIEW conversions_current WITH (security_invoker = true) AS
SELECT account_id, id, number, campaign_id, click_id, event, transaction_id, status, original_status, payout, currency,
       cost, click_at, converted_at, class, fraud, outcome, attached, origin, created_at, updated_at, true AS folded
FROM conversions
UNION ALL
SELECT first.account_id, first.conversion_id, NULL::bigint, first.campaign_id, first.click_id, first.event,
       first.transaction_id, first.status, first.status, first.amount, first.currency,
       CASE WHEN first.status <> 'approved' OR click.cost_from = 1 THEN 0
            WHEN first.cost_model = 'cpa' THEN coalesce(first.cost_value, 0)
            WHEN first.cost_model = 'revshare' THEN coalesce(first.amount * first.cost_value * 0.01, 0)
            ELSE 0 END,
       click_time(first.click_id), first.happened_at,
       coalesce(click.class, 0::smallint), coalesce(click.fraud, 0::smallint), coalesce(click.outcome, 0::smallint),
       click.click_id IS NOT NULL, first.origin, first.ts, first.ts, false
FROM (
    SELECT DISTINCT ON (call.account_id, call.conversion_id)
           call.*, coalesce(call.event_time, call.ts) AS happened_at,
           coalesce(call.payout, call.default_payout, 0)::numeric(18, 6) AS amount
    FROM postback_deltas AS delta
    JOIN postbacks AS call ON call.account_id = delta.account_id AND call.id = delta.postback_id
    WHERE call.reason IN (0, 40, 41)
      AND (call.status IN ('pending', 'approved') OR (call.trusted AND call.status = 'rejected'))
      AND NOT EXISTS (SELECT FROM conversions AS made
                      WHERE made.account_id = delta.account_id AND made.id = delta.conversion_id)
    ORDER BY call.account_id, call.conversion_id, call.trusted DESC, coalesce(call.event_time, call.ts),
             array_position(ARRAY['pending', 'approved', 'rejected'], call.status), call.stream, call.seq
) AS first
LEFT JOIN clicks AS click ON click.account_id = first.account_id AND click.click_id = first.click_id
     AND click.ts = click_time(first.click_id) AND click.mode = 1;
GRANT SELECT ON conversions_current TO milepost_app;
