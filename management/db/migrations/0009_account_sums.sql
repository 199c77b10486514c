-- r15 summed over an account's campaigns, by quarter hour and by UTC day, so that what is asked of a whole account reads
-- days, and quarter hours only at the two ends. fold writes it in the statements that write r15.

CREATE TABLE account_sums (
    account_id           integer     NOT NULL,
    -- minutes: 15 or 1440; each holds everything
    span                 smallint    NOT NULL CHECK (span IN (15, 1440)),
    -- where the span begins, in UTC
    bucket               timestamptz NOT NULL,
    basis                smallint    NOT NULL,
    class                smallint    NOT NULL,
    fraud                smallint    NOT NULL,
    outcome              smallint    NOT NULL,
    clicks               bigint      NOT NULL DEFAULT 0,
    unique_clicks        bigint      NOT NULL DEFAULT 0,
    click_cost           numeric     NOT NULL DEFAULT 0,
    conversions          bigint      NOT NULL DEFAULT 0,
    pending_conversions  bigint      NOT NULL DEFAULT 0,
    rejected_conversions bigint      NOT NULL DEFAULT 0,
    revenue              numeric     NOT NULL DEFAULT 0,
    pending_revenue      numeric     NOT NULL DEFAULT 0,
    rejected_revenue     numeric     NOT NULL DEFAULT 0,
    conversion_cost      numeric     NOT NULL DEFAULT 0,
    PRIMARY KEY (account_id, span, bucket, basis, class, fraud, outcome)
-- A few rows that every batch writes anew: half a page of room, so that the index is left alone.
) WITH (fillfactor = 50);
COMMENT ON COLUMN account_sums.click_cost IS 'nano-units (10^-9) of the account''s currency';

-- The rows that add up to the account's [since, until), both on a quarter hour; NULL: no bound.
CREATE FUNCTION account_sums_between(account integer, since timestamptz, until timestamptz) RETURNS SETOF account_sums
LANGUAGE sql STABLE AS $$
    SELECT * FROM account_sums
    WHERE account_id = account AND span = 1440
      AND bucket >= coalesce(date_bin('1 day', since + interval '23:45', 'epoch'), '-infinity')
      AND bucket < coalesce(date_bin('1 day', until, 'epoch'), 'infinity')
    UNION ALL
    SELECT * FROM account_sums
    WHERE account_id = account AND span = 15
      AND bucket >= since AND bucket < least(until, date_bin('1 day', since + interval '23:45', 'epoch'))
    UNION ALL
    SELECT * FROM account_sums
    WHERE account_id = account AND span = 15
      AND bucket >= greatest(date_bin('1 day', since + interval '23:45', 'epoch'), date_bin('1 day', until, 'epoch'))
      AND bucket < until
$$;

-- The policies bind the owner too, who must see what is there. The lock also keeps fold away until this is committed.
ALTER TABLE r15 NO FORCE ROW LEVEL SECURITY;
INSERT INTO account_sums
SELECT account_id, span, date_bin(width, bucket, 'epoch'), basis, class, fraud, outcome, sum(clicks),
       sum(unique_clicks), sum(click_cost), sum(conversions), sum(pending_conversions), sum(rejected_conversions),
       sum(revenue), sum(pending_revenue), sum(rejected_revenue), sum(conversion_cost)
FROM r15 CROSS JOIN (VALUES (15, interval '15 minutes'), (1440, interval '1 day')) AS spans (span, width)
GROUP BY 1, 2, 3, basis, class, fraud, outcome;
ALTER TABLE r15 FORCE ROW LEVEL SECURITY;

ALTER TABLE account_sums ENABLE ROW LEVEL SECURITY;
ALTER TABLE account_sums FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON account_sums TO milepost_app
    USING (account_id = nullif(current_setting('milepost.account', true), '')::integer);
CREATE POLICY ingest ON account_sums TO milepost_ingest USING (true) WITH CHECK (true);
GRANT SELECT ON account_sums TO milepost_app;
GRANT SELECT, INSERT, UPDATE ON account_sums TO milepost_ingest;
REVOKE ALL ON FUNCTION account_sums_between(integer, timestamptz, timestamptz) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION account_sums_between(integer, timestamptz, timestamptz) TO milepost_app;
