-- name: end_former_self
-- What may still live of this member is the process's own former connection.
SELECT pg_terminate_backend(activity.pid, $2)
FROM ingest_members AS former JOIN pg_stat_activity AS activity USING (backend_start)
WHERE former.member = $1 AND activity.pid = former.backend_pid AND activity.pid <> pg_backend_pid();

-- name: join_members
INSERT INTO ingest_members (member, backend_pid, backend_start)
SELECT $1, pid, backend_start FROM pg_stat_activity WHERE pid = pg_backend_pid()
ON CONFLICT (member) DO UPDATE SET backend_pid = excluded.backend_pid, backend_start = excluded.backend_start;

-- name: leave_members
DELETE FROM ingest_members WHERE member = $1;

-- name: forget_gone_members
DELETE FROM ingest_members AS gone
WHERE NOT EXISTS (
    SELECT FROM pg_stat_activity AS activity
    WHERE activity.pid = gone.backend_pid AND activity.backend_start = gone.backend_start
) AND gone.joined_at < now() - interval '1 minute';

-- name: living_members
-- In the order of joining; a silent one (see holder_silent_for in lease.sql) does not count, the asker does.
SELECT members.member
FROM ingest_members AS members JOIN pg_stat_activity AS activity USING (backend_start)
WHERE activity.pid = members.backend_pid
  AND (
    activity.pid = pg_backend_pid()
    OR activity.state = 'active' AND activity.wait_event_type IS DISTINCT FROM 'Client'
    OR clock_timestamp() - activity.state_change < make_interval(secs => $1)
  )
ORDER BY members.joined_at, members.member;

-- name: make_leases
INSERT INTO leases (name, epoch, backend_pid, backend_start)
SELECT name, 0, 0, 'epoch' FROM unnest($1::text[]) AS name
ON CONFLICT DO NOTHING;

-- name: show_leases
-- `alive`: its holder's backend is there and not silent.
SELECT leases.name, leases.epoch, activity.pid IS NOT NULL AND (
    activity.pid = pg_backend_pid()
    OR activity.state = 'active' AND activity.wait_event_type IS DISTINCT FROM 'Client'
    OR clock_timestamp() - coalesce(activity.state_change, leases.taken_at) < make_interval(secs => $2)
) AS alive
FROM leases LEFT JOIN pg_stat_activity AS activity
  ON activity.pid = leases.backend_pid AND activity.backend_start = leases.backend_start
WHERE leases.name = ANY($1::text[]);

-- name: share_leases
SELECT name, epoch FROM leases WHERE name = ANY($1::text[]) ORDER BY name FOR SHARE;

-- name: compare_leases
SELECT name, epoch FROM leases WHERE name = ANY($1::text[]);

-- name: let_go
-- Of nobody from now on, under an epoch that its former holder does not have.
UPDATE leases SET epoch = epoch + 1, backend_pid = 0, backend_start = 'epoch'
WHERE name = $1 AND epoch = $2;
