-- Clicks that an edge answered without a record because its disk was full, as its streams' loss pages say.

-- No account: a loss page counts, it does not say whose click it was.
CREATE TABLE declared_losses (
    stream     bytea  PRIMARY KEY,
    clicks     bigint NOT NULL CHECK (clicks > 0),
    updated_at timestamptz NOT NULL DEFAULT now()
);
GRANT SELECT, INSERT, UPDATE ON declared_losses TO milepost_ingest;
