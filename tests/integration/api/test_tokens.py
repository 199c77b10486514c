"""Login, tokens and roles: what proves a caller, and what ends the proof.

Shapes of bad login bodies are tests/contract/api/test_bad_input.py; other tenants' things are test_isolation.py.
"""

import asyncio
import base64
import json
import time
from typing import Any

import jwt
import pytest
from argon2 import PasswordHasher

from management.api import passwords
from management.api.passwords import MAX_WAITING, THREADS, Passwords
from management.api.routes import ROUTES
from management.api.tokens import ALGORITHM, AUDIENCE, ISSUER, LIFETIME, Tokens
from management.errors import Refusal
from shared.ids import KeyRing
from tests.api_server import PASSWORD, Answer, Api, caller
from tests.builders import Connection

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def log_in(api: Api, email: str, password: str = PASSWORD) -> Answer:
    return await api.anonymous().call("POST", "/api/v1/auth/token", {"email": email, "password": password})


async def test_a_login_opens_every_route_of_its_account(api: Api) -> None:
    token = (await log_in(api, api.email.upper())).body["token"]
    fresh = Api(api.url, api.session, api.ids, token)
    assert (await fresh.get("/api/v1/account")).data["company_name"] == "Example"


async def test_a_wrong_password_and_an_unknown_address_say_the_same(api: Api) -> None:
    wrong = await log_in(api, api.email, "not it")
    unknown = await log_in(api, "nobody@example.com")
    assert wrong.status == unknown.status == 401
    assert wrong.raw == unknown.raw
    assert wrong.error["code"] == "AUTHENTICATION_ERROR"


async def test_an_unknown_address_costs_a_whole_hash(monkeypatch: pytest.MonkeyPatch) -> None:
    checked: list[str] = []
    verify = passwords._verify

    def counted(stored: str, password: str) -> bool:
        checked.append(stored)
        return verify(stored, password)

    monkeypatch.setattr(passwords, "_verify", counted)
    hashes = passwords.Passwords()
    known = passwords.hash_password(PASSWORD)
    assert await hashes.matches(PASSWORD, known)
    assert not await hashes.matches("not it", known)
    assert not await hashes.matches(PASSWORD, None)
    hashes.close()
    parameters = {text.rpartition("$")[0].rpartition("$")[0] for text in checked}
    assert (len(checked), len(parameters)) == (3, 1), "the decoy must be as costly as a user's hash"


async def test_a_suspended_account_is_told_only_with_the_right_password(api: Api, owner_connection: Connection) -> None:
    await owner_connection.execute("UPDATE accounts SET status = 'suspended' WHERE id = $1", api.account_id)
    answer = await log_in(api, api.email)
    assert (answer.status, answer.error["details"]) == (403, {"reason": ["ACCOUNT_SUSPENDED"]})
    assert (await log_in(api, api.email, "not it")).status == 401
    for route in ROUTES:
        if not route.bare:
            answer = await api.call(route.method, route.path.replace("{id}", "1"), {} if route.body else None)
            assert (answer.status, answer.error["details"]) == (403, {"reason": ["ACCOUNT_SUSPENDED"]}), route.path
    await owner_connection.execute("UPDATE accounts SET status = 'active' WHERE id = $1", api.account_id)
    assert (await api.get("/api/v1/stats")).status == 200


async def test_a_new_credential_version_ends_every_token(api: Api, owner_connection: Connection) -> None:
    assert (await api.get("/api/v1/stats")).status == 200
    await owner_connection.execute(
        "UPDATE users SET credential_version = credential_version + 1 WHERE account_id = $1", api.account_id
    )
    assert (await api.get("/api/v1/stats")).status == 401


async def test_a_token_of_a_deleted_user_ends(api: Api, owner_connection: Connection) -> None:
    await owner_connection.execute("DELETE FROM users WHERE account_id = $1", api.account_id)
    assert (await api.get("/api/v1/stats")).status == 401


def forged(ring: KeyRing, api: Api) -> dict[str, str]:
    """Tokens that must not open anything, by what is wrong with them."""
    assert api.token is not None
    now = int(time.time())
    key = ring.subkeys("api token")[1]
    head, body, tag = api.token.split(".")
    good = jwt.decode(api.token, options={"verify_signature": False})

    def signed(change: dict[str, Any], *, kid: object = "1", secret: bytes = key, algorithm: str = ALGORITHM) -> str:
        claims = {name: value for name, value in {**good, **change}.items() if value is not ...}
        headers = {} if kid is ... else {"kid": kid}
        return jwt.encode(claims, secret, algorithm=algorithm, headers=headers)

    def encoded(part: object) -> str:
        return base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=").decode()

    unsigned = encoded({"alg": "none", "typ": "JWT", "kid": "1"}) + "." + body + "."
    return {
        "nothing": "x",
        "three dots": "...",
        "no signature": unsigned,
        "none with a signature": unsigned + tag,
        "a changed body": f"{head}.{encoded({**good, 'acc': 1})}.{tag}",
        "a cut tag": api.token[:-4],
        "another key": signed({}, secret=b"k" * 32),
        "another purpose's key": signed({}, secret=ring.subkeys("click id")[1]),
        "the ring's key itself": signed({}, secret=ring.keys[0].secret),
        "HS384": signed({}, algorithm="HS384", secret=key + key),
        "HS512": signed({}, algorithm="HS512", secret=key + key),
        "no kid": signed({}, kid=...),
        "an unknown kid": signed({}, kid="2"),
        "a kid that is a path": signed({}, kid="../../etc/passwd"),
        "ended": signed({"exp": now - 1, "iat": now - 100}),
        "from the future": signed({"iat": now + 600, "exp": now + 700}),
        "too long a life": signed({"exp": good["iat"] + LIFETIME + 1}),
        "another issuer": signed({"iss": "elsewhere"}),
        "another audience": signed({"aud": "dashboard"}),
        "a list of audiences": signed({"aud": [AUDIENCE, "x"]}),
        **{f"without {claim}": signed({claim: ...}) for claim in ("exp", "iat", "sub", "aud", "iss", "jti", "acc", "ver")},
        "a text as account": signed({"acc": str(good["acc"])}),
        "a boolean as version": signed({"ver": True}),
        "a user that is no number": signed({"sub": "root"}),
        "another user of another account": signed({"sub": "999999"}),
        "a foreign account for the user": signed({"acc": good["acc"] + 1}),
        "a later version": signed({"ver": 2}),
        "deep nesting": base64.urlsafe_b64encode(b"[" * 600).decode() + "." + body + "." + tag,
        "a megabyte": "x" * 60_000,
    }  # fmt: skip


async def test_no_forged_token_opens_anything(api: Api, ring: KeyRing) -> None:
    assert jwt.decode(api.token or "", options={"verify_signature": False})["iss"] == ISSUER
    for case, token in forged(ring, api).items():
        answer = await Api(api.url, api.session, api.ids, token).get("/api/v1/stats")
        assert (answer.status, answer.error["code"]) == (401, "AUTHENTICATION_ERROR"), case
        assert answer.headers["WWW-Authenticate"] == "Bearer"


@pytest.mark.parametrize("given", ["", "Bearer", "Bearer ", "Basic dTpw", "bearer", "Token x", "Bearer a b"])
async def test_another_scheme_is_401_on_every_route(server: Api, given: str) -> None:
    for route in ROUTES:
        if not route.bare:
            path = route.path.replace("{id}", "1")
            answer = await server.call(
                route.method, path, raw=b"{" if route.body else None, headers={"Authorization": given}
            )
            assert answer.status == 401, route.path


async def test_a_token_in_the_query_is_no_credential(api: Api) -> None:
    assert (await api.anonymous().get(f"/api/v1/stats?token={api.token}&access_token={api.token}")).status == 401


async def test_two_authorization_headers_are_none(api: Api) -> None:
    headers = [("Authorization", f"Bearer {api.token}"), ("Authorization", f"Bearer {api.token}")]
    async with api.session.get(api.url + "/api/v1/stats", headers=headers) as answer:
        assert answer.status == 401


async def test_roles(api: Api, owner_connection: Connection, ring: KeyRing) -> None:
    for role, writes, administers in (
        ("owner", True, True),
        ("admin", True, True),
        ("manager", True, False),
        ("analyst", False, False),
    ):
        user = await caller(api, owner_connection, ring, role=role, of=api.account_id)
        for path in ("account", "campaigns", "stats", "clicks", "conversions"):
            assert (await user.get(f"/api/v1/{path}")).status == 200, (role, path)
        created = await user.call("POST", "/api/v1/campaigns", {"name": role})
        assert created.status == (201 if writes else 403), role
        for method, path in (("PUT", "campaigns/1"), ("DELETE", "campaigns/2000000000"), ("POST", "conversions")):
            answer = await user.call(method, f"/api/v1/{path}", {})
            assert (answer.status == 403) is not writes, (role, path)
        changed = await user.call("PATCH", "/api/v1/account", {"company_name": role})
        assert changed.status == (200 if administers else 403), role


async def test_a_token_of_an_older_key_holds_while_the_ring_has_it(ring: KeyRing, api: Api) -> None:
    rolled = KeyRing.from_text(f"2:{'ab' * 32},{ring.to_text()}:verify")
    assert api.token is not None
    assert Tokens(rolled).prove(api.token, time.time()).account_id == api.account_id
    with pytest.raises(Refusal):
        Tokens(KeyRing.generate()).prove(api.token, time.time())


async def test_a_crowd_of_logins_waits_in_a_bounded_queue() -> None:
    passwords = Passwords()
    stored = PasswordHasher(time_cost=1, memory_cost=64, parallelism=1).hash("right")
    crowd = [asyncio.create_task(passwords.matches("right", stored)) for _ in range(MAX_WAITING + THREADS + 5)]
    outcomes = await asyncio.gather(*crowd, return_exceptions=True)
    refused = [outcome for outcome in outcomes if isinstance(outcome, Refusal)]
    assert [refusal.kind.status for refusal in refused] == [503] * 5
    assert outcomes.count(True) == MAX_WAITING + THREADS
    assert await passwords.matches("wrong", stored) is False
    passwords.close()
