-- The ingest processes that share the partitions of the events topic. Whether one is alive, its backend says.

CREATE TABLE ingest_members (
    member        bytea       PRIMARY KEY CHECK (length(member) = 16),
    backend_pid   integer     NOT NULL,
    backend_start timestamptz NOT NULL,
    -- the order in which partitions that cannot be shared evenly are dealt out
    joined_at     timestamptz NOT NULL DEFAULT now()
);
GRANT SELECT, INSERT, UPDATE, DELETE ON ingest_members TO milepost_ingest;
