-- name: make_lease
-- A lease that nobody held yet names no backend: pid 0 never lives.
INSERT INTO leases (name, epoch, backend_pid, backend_start) VALUES ($1, 0, 0, 'epoch') ON CONFLICT DO NOTHING;

-- name: end_holder
-- The start time proves that the pid was not given to somebody else since; a backend of another role shows none.
-- $3, where given, is the epoch whose holder is meant: a newer one is left alone.
SELECT pg_terminate_backend(activity.pid, $2)
FROM leases JOIN pg_stat_activity AS activity USING (backend_start)
WHERE leases.name = $1 AND ($3::bigint IS NULL OR leases.epoch = $3)
  AND activity.pid = leases.backend_pid AND activity.pid <> pg_backend_pid();

-- name: lock_lease
SELECT epoch FROM leases WHERE name = $1 FOR UPDATE;

-- name: raise_epoch
UPDATE leases
SET epoch = epoch + 1,
    backend_pid = pg_backend_pid(),
    backend_start = (SELECT backend_start FROM pg_stat_activity WHERE pid = pg_backend_pid()),
    taken_at = now()
WHERE name = $1
RETURNING epoch;

-- name: share_lease
SELECT epoch FROM leases WHERE name = $1 FOR SHARE;

-- name: show_lease
SELECT epoch FROM leases WHERE name = $1;

-- name: holder_silent_for
-- Seconds since the holder's backend was last given, or finished, a statement; 0 while the server itself is at work
-- for it; no row: it is gone. Waiting for its client is what a frozen or vanished holder leaves behind.
SELECT CASE
    WHEN activity.state = 'active' AND activity.wait_event_type IS DISTINCT FROM 'Client' THEN 0
    ELSE extract(epoch FROM clock_timestamp() - coalesce(activity.state_change, leases.taken_at))
END::float8
FROM leases JOIN pg_stat_activity AS activity USING (backend_start)
WHERE leases.name = $1 AND activity.pid = leases.backend_pid AND activity.pid <> pg_backend_pid();
