-- Facts as the edges journaled them, what fold makes of them, and the positions that make storing exact.

-- Facts: written once by ingest (postbacks also by the API), never updated by it again. ------------------------

CREATE TABLE clicks (
    account_id       integer     NOT NULL,
    campaign_id      integer     NOT NULL,
    click_id         bytea       NOT NULL,
    -- the click id's own time: the partition key, so that (click_id, ts) is unique exactly when click_id is
    ts               timestamptz NOT NULL,
    reported_at      timestamptz NOT NULL,
    mode             smallint    NOT NULL,
    outcome          smallint    NOT NULL,
    class            smallint    NOT NULL,
    fraud            smallint    NOT NULL,
    flags            integer     NOT NULL,
    score            smallint    NOT NULL,
    rules            smallint    NOT NULL,
    cost             bigint      NOT NULL,
    cost_from        smallint    NOT NULL,
    asn              bigint      NOT NULL,
    country          text        NOT NULL,
    device           text        NOT NULL,
    os               text        NOT NULL,
    browser          text        NOT NULL,
    ip               text        NOT NULL,
    visitor_key      bytea       NOT NULL,
    visitor_key_prev bytea       NOT NULL,
    address_key      bytea       NOT NULL,
    address_key_prev bytea       NOT NULL,
    stream           bytea       NOT NULL,
    seq              bigint      NOT NULL,
    details          jsonb       NOT NULL,
    -- ts first: one index is the wall against repeats and the order of an account's click list
    PRIMARY KEY (account_id, ts, click_id)
) PARTITION BY RANGE (ts);
CREATE INDEX clicks_campaign_ts ON clicks (campaign_id, ts, click_id);
CREATE INDEX clicks_ts ON clicks USING brin (ts);
COMMENT ON COLUMN clicks.cost IS 'nano-units (10^-9) of the account''s currency';

CREATE TABLE postbacks (
    account_id     integer     NOT NULL,
    campaign_id    integer     NOT NULL,
    id             bytea       NOT NULL,
    ts             timestamptz NOT NULL,
    click_id       bytea       NOT NULL,
    conversion_id  bytea       NOT NULL,
    event          text        NOT NULL,
    transaction_id text        NOT NULL,
    status         text        NOT NULL,
    payout         numeric(18, 6),
    default_payout numeric(18, 6),
    currency       text        NOT NULL,
    -- time= of the call; NULL: the arrival counts
    event_time     timestamptz,
    reason         smallint    NOT NULL,
    http_status    smallint    NOT NULL,
    security       text        NOT NULL,
    trusted        boolean     NOT NULL,
    duplicate_mode text        NOT NULL,
    cost_model     text,
    cost_value     numeric(18, 6),
    source_ip      text        NOT NULL,
    method         text        NOT NULL,
    query          text        NOT NULL,
    origin         text        NOT NULL,
    stream         bytea       NOT NULL,
    seq            bigint      NOT NULL,
    -- what fold decided, seen in the inbox; NULL until then, and for ever where the call was refused at arrival
    decided_reason smallint,
    PRIMARY KEY (account_id, id)
);
CREATE INDEX postbacks_conversion ON postbacks (account_id, conversion_id) WHERE reason IN (0, 40, 41);
CREATE INDEX postbacks_account_ts ON postbacks (account_id, ts);
-- Calls on the API's port have stream = 16 zero bytes and take their seq here.
CREATE SEQUENCE api_postback_seq;

-- Deltas: one narrow row per new fact, written in the fact's transaction, deleted by fold. ---------------------

CREATE TABLE click_deltas (
    id               bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    account_id       integer     NOT NULL,
    campaign_id      integer     NOT NULL,
    click_id         bytea       NOT NULL,
    ts               timestamptz NOT NULL,
    class            smallint    NOT NULL,
    fraud            smallint    NOT NULL,
    outcome          smallint    NOT NULL,
    flags            integer     NOT NULL,
    cost             bigint      NOT NULL,
    cost_from        smallint    NOT NULL,
    visitor_key      bytea       NOT NULL,
    visitor_key_prev bytea       NOT NULL
) WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 20000, autovacuum_vacuum_cost_delay = 0);

CREATE TABLE postback_deltas (
    id            bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    account_id    integer NOT NULL,
    campaign_id   integer NOT NULL,
    postback_id   bytea   NOT NULL,
    conversion_id bytea   NOT NULL,
    click_id      bytea   NOT NULL
) WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000, autovacuum_vacuum_cost_delay = 0);

-- What fold makes: labels, conversions, roll-ups. fold is their only writer. -----------------------------------

-- A click's label by event time, apart from the immutable fact: a row here is small, and a late click that moves
-- labels touches no wide row. A click without a row is not folded yet.
CREATE TABLE click_labels (
    account_id       integer     NOT NULL,
    campaign_id      integer     NOT NULL,
    visitor_key      bytea       NOT NULL,
    ts               timestamptz NOT NULL,
    click_id         bytea       NOT NULL,
    visitor_key_prev bytea       NOT NULL,
    class            smallint    NOT NULL,
    fraud            smallint    NOT NULL,
    outcome          smallint    NOT NULL,
    flags            integer     NOT NULL,
    is_unique        boolean     NOT NULL,
    PRIMARY KEY (account_id, visitor_key, ts, click_id)
) PARTITION BY RANGE (ts);
CREATE INDEX click_labels_visitor_prev ON click_labels (account_id, visitor_key_prev, ts);

CREATE TABLE conversions (
    account_id      integer     NOT NULL,
    id              bytea       NOT NULL,
    number          bigint      GENERATED ALWAYS AS IDENTITY,
    campaign_id     integer     NOT NULL,
    click_id        bytea       NOT NULL,
    event           text        NOT NULL,
    transaction_id  text        NOT NULL,
    status          text        NOT NULL CHECK (status IN ('pending', 'approved', 'rejected', 'refunded', 'chargeback')),
    original_status text        NOT NULL,
    payout          numeric(18, 6) NOT NULL,
    currency        text        NOT NULL,
    -- what the conversion itself costs (cpa, revshare); 0 while it is not approved
    cost            numeric     NOT NULL,
    click_at        timestamptz NOT NULL,
    converted_at    timestamptz NOT NULL,
    -- of its click; 0 (unknown) until the click is here
    class           smallint    NOT NULL,
    fraud           smallint    NOT NULL,
    outcome         smallint    NOT NULL,
    attached        boolean     NOT NULL,
    origin          text        NOT NULL,
    created_at      timestamptz NOT NULL DEFAULT now(),
    updated_at      timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (account_id, id),
    UNIQUE (account_id, number)
);
CREATE INDEX conversions_account_time ON conversions (account_id, converted_at, id);
CREATE INDEX conversions_campaign_time ON conversions (campaign_id, converted_at, id);
CREATE INDEX conversions_click ON conversions (account_id, click_id);
CREATE INDEX conversions_waiting ON conversions (account_id, click_id) WHERE NOT attached;

-- Quarter hours, so that a day of any time zone is a sum of rows. basis 0: clicks and conversions at their own
-- time; basis 1: conversions at their click's time.
CREATE TABLE r15 (
    account_id           integer     NOT NULL,
    campaign_id          integer     NOT NULL,
    bucket               timestamptz NOT NULL,
    basis                smallint    NOT NULL,
    class                smallint    NOT NULL,
    fraud                smallint    NOT NULL,
    outcome              smallint    NOT NULL,
    clicks               bigint      NOT NULL DEFAULT 0,
    unique_clicks        bigint      NOT NULL DEFAULT 0,
    -- numeric: the sum of clicks at the highest cost would leave bigint after some thousands
    click_cost           numeric     NOT NULL DEFAULT 0,
    conversions          bigint      NOT NULL DEFAULT 0,
    pending_conversions  bigint      NOT NULL DEFAULT 0,
    rejected_conversions bigint      NOT NULL DEFAULT 0,
    revenue              numeric     NOT NULL DEFAULT 0,
    pending_revenue      numeric     NOT NULL DEFAULT 0,
    rejected_revenue     numeric     NOT NULL DEFAULT 0,
    conversion_cost      numeric     NOT NULL DEFAULT 0,
    PRIMARY KEY (account_id, campaign_id, bucket, basis, class, fraud, outcome)
) WITH (fillfactor = 70);
COMMENT ON COLUMN r15.click_cost IS 'nano-units (10^-9) of the account''s currency';

-- Where ingest stands, who may write, what could not be stored. ------------------------------------------------

-- `next` is the seq of the first record not stored yet; moved only by compare-and-set in the storing transaction.
CREATE TABLE stream_positions (
    stream     bytea  PRIMARY KEY CHECK (length(stream) = 16),
    next       bigint NOT NULL CHECK (next >= 0),
    updated_at timestamptz NOT NULL DEFAULT now()
);

-- A single writer: who takes over ends the old backend, then raises the epoch.
CREATE TABLE leases (
    name          text PRIMARY KEY,
    epoch         bigint NOT NULL,
    backend_pid   integer NOT NULL,
    backend_start timestamptz NOT NULL,
    taken_at      timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE dead_letters (
    id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    stream     bytea    NOT NULL,
    seq        bigint   NOT NULL,
    kind       smallint NOT NULL,
    payload    bytea    NOT NULL,
    reason     text     NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    UNIQUE (stream, seq)
);

-- Records that a damaged segment took, inside a stream that goes on behind them.
CREATE TABLE lost_records (
    stream    bytea  NOT NULL,
    first_seq bigint NOT NULL,
    last_seq  bigint NOT NULL,
    reason    text   NOT NULL,
    found_at  timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (stream, first_seq)
);

-- Rights: tenants see parents only; a partition does not inherit the policy. -----------------------------------

GRANT SELECT ON clicks, postbacks, click_deltas, postback_deltas, click_labels, conversions, r15 TO milepost_app;
GRANT INSERT ON postbacks, postback_deltas TO milepost_app;
GRANT USAGE ON SEQUENCE api_postback_seq TO milepost_app;
GRANT SELECT, INSERT ON clicks, click_deltas, postback_deltas TO milepost_ingest;
GRANT DELETE ON click_deltas, postback_deltas TO milepost_ingest;
GRANT SELECT, INSERT, UPDATE ON postbacks, click_labels, conversions, r15 TO milepost_ingest;
GRANT SELECT, INSERT, UPDATE ON stream_positions, leases TO milepost_ingest;
GRANT SELECT, INSERT ON dead_letters, lost_records TO milepost_ingest;

DO $$
DECLARE
    name text;
BEGIN
    FOREACH name IN ARRAY ARRAY['clicks', 'postbacks', 'click_deltas', 'postback_deltas', 'click_labels',
                                'conversions', 'r15'] LOOP
        EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', name);
        EXECUTE format('ALTER TABLE %I FORCE ROW LEVEL SECURITY', name);
        EXECUTE format('CREATE POLICY tenant ON %I TO milepost_app USING '
                       '(account_id = nullif(current_setting(''milepost.account'', true), '''')::integer)', name);
        EXECUTE format('CREATE POLICY ingest ON %I TO milepost_ingest USING (true) WITH CHECK (true)', name);
    END LOOP;
END $$;

-- Days: made on demand as a standalone table, then attached; no DEFAULT partition, which would have to be scanned
-- whenever a day is added.
CREATE FUNCTION ensure_click_day(day date) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public AS $$
DECLARE
    parent text;
    child  text;
    lower_bound timestamptz := day::timestamp AT TIME ZONE 'UTC';
    upper_bound timestamptz := (day + 1)::timestamp AT TIME ZONE 'UTC';
BEGIN
    PERFORM pg_advisory_xact_lock(hashtext('milepost.click_days'));
    FOREACH parent IN ARRAY ARRAY['clicks', 'click_labels'] LOOP
        child := parent || '_' || to_char(day, 'YYYYMMDD');
        IF to_regclass(quote_ident(child)) IS NULL THEN
            EXECUTE format('CREATE TABLE public.%I (LIKE public.%I INCLUDING DEFAULTS INCLUDING CONSTRAINTS)',
                           child, parent);
            EXECUTE format('ALTER TABLE public.%I ADD CHECK (ts >= %L AND ts < %L)', child, lower_bound, upper_bound);
            EXECUTE format('ALTER TABLE public.%I ATTACH PARTITION public.%I FOR VALUES FROM (%L) TO (%L)',
                           parent, child, lower_bound, upper_bound);
        END IF;
    END LOOP;
END $$;
REVOKE ALL ON FUNCTION ensure_click_day(date) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION ensure_click_day(date) TO milepost_ingest;
