"""Bearer tokens: JWTs of one algorithm that name a user, an account and the user's credential version (X3)."""

import secrets
from dataclasses import dataclass
from typing import Final

import jwt

from management.errors import AUTHENTICATION, Refusal
from shared.ids import KeyRing

LIFETIME: Final = 86_400
"""Seconds."""
ALGORITHM: Final = "HS256"
ISSUER: Final = "milepost"
AUDIENCE: Final = "milepost-api"
_CLAIMS = ("exp", "iat", "sub", "aud", "iss", "jti", "acc", "ver")
_MAX_TOKEN = 1_024
_SKEW = 5
"""Seconds that the clocks of two API hosts may differ: for `iat` alone, `exp` is exact."""


@dataclass(frozen=True, slots=True)
class Credential:
    """What a proven token claims; whether it still holds is asked of Postgres in the request's own transaction."""

    user_id: int
    account_id: int
    version: int


class Tokens:
    """Issues and proves tokens with a subkey of each key of the ring."""

    def __init__(self, ring: KeyRing) -> None:
        self._keys = {str(number): key for number, key in ring.subkeys("api token").items()}
        self._signing = str(ring.signing.number)

    def issue(self, credential: Credential, now: int) -> str:
        """A token that ends after LIFETIME; `now` in seconds."""
        claims = {
            "iss": ISSUER,
            "aud": AUDIENCE,
            "iat": now,
            "exp": now + LIFETIME,
            "jti": secrets.token_urlsafe(16),
            "sub": str(credential.user_id),
            "acc": credential.account_id,
            "ver": credential.version,
        }
        return jwt.encode(claims, self._keys[self._signing], algorithm=ALGORITHM, headers={"kid": self._signing})

    def prove(self, token: str, now: float) -> Credential:
        """The credential behind `token`; raises Refusal (401), the same for every way of being wrong."""
        try:
            return self._prove(token, now)
        except (jwt.PyJWTError, ValueError, KeyError, RecursionError):
            raise Refusal(AUTHENTICATION, "The token is not valid or has ended") from None

    def _prove(self, token: str, now: float) -> Credential:
        if len(token) > _MAX_TOKEN or not token.isascii():
            raise ValueError("no token of ours is that long")
        header = jwt.get_unverified_header(token)
        kid = header.get("kid")
        if header.get("alg") != ALGORITHM or not isinstance(kid, str):
            raise ValueError("another algorithm")
        claims = jwt.decode(
            token,
            self._keys[kid],
            algorithms=[ALGORITHM],
            audience=AUDIENCE,
            issuer=ISSUER,
            leeway=_SKEW,
            options={"require": list(_CLAIMS), "strict_aud": True},
        )
        account_id, version = claims["acc"], claims["ver"]
        if type(account_id) is not int or type(version) is not int:
            raise ValueError("claims of the wrong kind")
        if not claims["iat"] < claims["exp"] <= claims["iat"] + LIFETIME or claims["exp"] <= now:
            raise ValueError("ended, or of a lifetime that is not ours")
        return Credential(int(claims["sub"]), account_id, version)
