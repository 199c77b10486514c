-- name: caller
-- Who a token speaks for, and the account as it is now: read first in every request's own transaction.
SELECT u.id AS user_id, u.role, u.credential_version, u.email,
       a.id AS account_id, a.public_id, a.company_name, a.status, a.time_zone, a.currency, a.fallback_url, a.plan,
       a.created_at, a.updated_at
FROM users u JOIN accounts a ON a.id = u.account_id
WHERE u.id = $1 AND u.account_id = $2;

-- name: set_login_email
-- Before a login the account is unknown: the policy `login` shows exactly the user with this e-mail.
SELECT set_config('milepost.login_email', $1, true);

-- name: set_account
SELECT set_config('milepost.account', $1, true);

-- name: login
SELECT id, account_id, password_hash, credential_version FROM users WHERE email = $1;

-- name: account_status
SELECT status FROM accounts WHERE id = $1;

-- name: raise_routing_version
-- Locks the one row until commit, so that versions are in commit order.
UPDATE routing_version SET version = version + 1 RETURNING version;

-- name: change_account
UPDATE accounts
SET company_name = $2, time_zone = $3, currency = $4, fallback_url = $5, routing_version = $6, updated_at = now()
WHERE id = $1
RETURNING *;

-- name: next_account_id
SELECT nextval('accounts_id_seq')::integer;

-- name: insert_account
INSERT INTO accounts (id, public_id, company_name, plan, routing_version) VALUES ($1, $2, $3, $4, $5);

-- name: insert_user
INSERT INTO users (account_id, email, name, role, password_hash) VALUES ($1, $2, $3, $4, $5);

-- name: has_accounts
SELECT EXISTS (SELECT FROM accounts);
