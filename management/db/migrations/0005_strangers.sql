-- Requests that prove no campaign (shared.events, kind 3): they have no account, so no tenant may read them.

CREATE TABLE strangers (
    -- order of arrival here; the sweep in jobs counts from its end
    number     bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    id         bytea       NOT NULL UNIQUE,
    -- arrival at the edge, by the edge's clock; stored_at, by Postgres' clock, is what they are forgotten by
    ts         timestamptz NOT NULL,
    stored_at  timestamptz NOT NULL DEFAULT now(),
    reason     smallint    NOT NULL,
    method     text        NOT NULL,
    path       text        NOT NULL,
    query      text        NOT NULL,
    ip         text        NOT NULL,
    user_agent text        NOT NULL,
    referrer   text        NOT NULL,
    stream     bytea       NOT NULL,
    seq        bigint      NOT NULL
);
CREATE INDEX strangers_stored_at ON strangers (stored_at, number);

-- milepost_app has no right at all here.
GRANT SELECT, INSERT, DELETE ON strangers TO milepost_ingest;
