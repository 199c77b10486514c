"""The one catalogue of what the management side can answer instead of success: code, HTTP status, text.

The envelope is rendered by management.api.envelope; here is no HTTP framework, so that services can refuse too.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

Details = Mapping[str, Sequence[str]]


@dataclass(frozen=True, slots=True)
class ErrorKind:
    """One row of the catalogue. `retry_after` in seconds, where coming again helps."""

    code: str
    status: int
    text: str
    retry_after: int | None = None


VALIDATION: Final = ErrorKind("VALIDATION_ERROR", 400, "The request is invalid")
USE_CURSOR: Final = ErrorKind("USE_CURSOR", 400, "Pages this far back are read with the cursor of meta")
AUTHENTICATION: Final = ErrorKind("AUTHENTICATION_ERROR", 401, "A valid credential is needed")
AUTHORIZATION: Final = ErrorKind("AUTHORIZATION_ERROR", 403, "Your role does not allow this")
HTTPS_REQUIRED: Final = ErrorKind("HTTPS_REQUIRED", 403, "Credentials are taken over https only")
NOT_FOUND: Final = ErrorKind("NOT_FOUND", 404, "There is nothing at this address")
METHOD_NOT_ALLOWED: Final = ErrorKind("METHOD_NOT_ALLOWED", 405, "This address does not know the method")
CONFLICT: Final = ErrorKind("CONFLICT", 409, "The request contradicts the present state")
CLICK_EXPIRED: Final = ErrorKind("CLICK_EXPIRED", 410, "The click is older than the attribution window")
PAYLOAD_TOO_LARGE: Final = ErrorKind("PAYLOAD_TOO_LARGE", 413, "The body is larger than 1 MB")
UNSUPPORTED_MEDIA_TYPE: Final = ErrorKind("UNSUPPORTED_MEDIA_TYPE", 415, "The body must be application/json")
MISDIRECTED: Final = ErrorKind("MISDIRECTED", 421, "This host name is not served here")
INTERNAL: Final = ErrorKind("INTERNAL_ERROR", 500, "Something failed here; the log has the request id")
UNAVAILABLE: Final = ErrorKind("UNAVAILABLE", 503, "The service cannot answer right now", retry_after=1)

CATALOGUE: Final = (
    VALIDATION, USE_CURSOR, AUTHENTICATION, AUTHORIZATION, HTTPS_REQUIRED, NOT_FOUND, METHOD_NOT_ALLOWED, CONFLICT,
    CLICK_EXPIRED, PAYLOAD_TOO_LARGE, UNSUPPORTED_MEDIA_TYPE, MISDIRECTED, INTERNAL, UNAVAILABLE,
)  # fmt: skip


class Refusal(Exception):
    """The answer is an error of the catalogue; `details` names fields or, under `reason`, a reason code."""

    def __init__(
        self,
        kind: ErrorKind,
        message: str | None = None,
        details: Details | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message or kind.text)
        self.kind = kind
        self.message = message or kind.text
        self.details: Details = details or {}
        self.headers = headers or {}


def invalid(details: Details) -> Refusal:
    """400: `details` maps each bad field to its sentences; the first sentence is the message."""
    return Refusal(VALIDATION, next(iter(details.values()))[0], details)


def invalid_field(field: str, sentence: str) -> Refusal:
    """400 for one field."""
    return invalid({field: [sentence]})


def because(kind: ErrorKind, reason: str, message: str | None = None) -> Refusal:
    """An error whose `details` carries a reason code."""
    return Refusal(kind, message, {"reason": [reason]})


def not_found(what: str) -> Refusal:
    """404, the same for a foreign and for a missing id."""
    return Refusal(NOT_FOUND, f"{what} not found")
