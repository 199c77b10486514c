"""Every answer of the edge that is no success: code, status, text. One catalogue, so that no two places disagree.

Codes are those of the API's envelope (api.md section 2); what a visitor of a link sees is plain text instead.
"""

from dataclasses import dataclass
from typing import Final

from shared import postback

RETRY_AFTER: Final = "2"
"""Seconds; longer than a worker takes to come back."""


@dataclass(frozen=True, slots=True)
class EdgeError:
    """`code` and `status` as the caller sees them; `retry` says that the same call may succeed later."""

    code: str
    status: int
    message: str
    retry: bool = False


NOT_FOUND = EdgeError("NOT_FOUND", 404, "Not found")
METHOD_NOT_ALLOWED = EdgeError("METHOD_NOT_ALLOWED", 405, "This path does not take this method")
MALFORMED_BODY = EdgeError("VALIDATION_ERROR", 400, "The body cannot be read")
CONTRADICTION = EdgeError("VALIDATION_ERROR", 400, "Query and body give different values for one field")
TOO_LARGE = EdgeError("PAYLOAD_TOO_LARGE", 413, "The body is larger than 16 KB")
UNSUPPORTED_TYPE = EdgeError("UNSUPPORTED_MEDIA_TYPE", 415, "The body must be a form or JSON")
NOT_READY = EdgeError("UNAVAILABLE", 503, "The edge has no routing table yet", retry=True)
NOT_DURABLE = EdgeError("UNAVAILABLE", 503, "The call could not be stored", retry=True)
UNAVAILABLE = EdgeError("UNAVAILABLE", 503, "The call could not be answered", retry=True)
OVER_RATE = EdgeError("UNAVAILABLE", 503, "Too many calls from this address", retry=True)
PREFETCHED = EdgeError("UNAVAILABLE", 503, "Not answered ahead of need", retry=True)
FUTURE_KEY = EdgeError("UNAVAILABLE", 503, "The click id was made with a key that is not known here yet", retry=True)

_STATUS_OF_REASON: Final = {
    postback.BAD_TOKEN: ("AUTHORIZATION_ERROR", 403),
    postback.ADDRESS_NOT_ALLOWED: ("AUTHORIZATION_ERROR", 403),
    postback.BAD_SIGNATURE: ("AUTHORIZATION_ERROR", 403),
    postback.CLICK_EXPIRED: ("CLICK_EXPIRED", 410),
}


def of_reason(reason: int) -> EdgeError:
    """The answer to a postback that is refused for `reason`, a number of shared.postback.REASONS."""
    code, status = _STATUS_OF_REASON.get(reason, ("VALIDATION_ERROR", 400))
    sentence = postback.REASONS[reason][1]
    return EdgeError(code, status, sentence[0].upper() + sentence[1:])
