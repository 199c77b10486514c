"""URLs that visitors are sent to, judged when they are saved: macros first, then as a browser reads them (X1)."""

import re
from typing import Annotated, Any

import ada_url
from pydantic import PlainValidator, WithJsonSchema

from management.api.fields import Unfit
from shared.macros import MAX_URL, MacroError, check_url

_AUTHORITY = re.compile(r"https?://([^/?#]*)", re.IGNORECASE)
_HOST = re.compile(r"((?:[a-z0-9_-]+\.)*[a-z0-9_-]+\.?|\[[0-9a-f:.]+\])(?::([0-9]{1,5}))?", re.IGNORECASE)
_MACRO = re.compile(r"\{[^{}]*\}")


def destination(value: Any) -> str:
    """The URL as it was written; raises Unfit for one that is no safe place to send a visitor."""
    if not isinstance(value, str):
        raise Unfit("must be a string")
    try:
        check_url(value)
    except MacroError as error:
        raise Unfit(f"is no usable URL: {error}") from None
    authority = _AUTHORITY.match(value)
    host = _HOST.fullmatch(authority[1]) if authority else None
    if host is None or (host[2] is not None and not 1 <= int(host[2]) <= 65535):
        raise Unfit("is no usable URL: The host or port is not valid")
    try:
        seen = ada_url.URL(_MACRO.sub("x", value))
    except ValueError:
        raise Unfit("is no usable URL: No browser can read it") from None
    # A host that browsers read as another one (0x7f.1 is 127.0.0.1) deceives whoever reviews the campaign.
    if seen.protocol not in ("http:", "https:") or seen.username or seen.password or not _same(seen.hostname, host[1]):
        raise Unfit("is no usable URL: Browsers read another host in it")
    return value


def _same(seen: str, written: str) -> bool:
    return seen == written.lower() or (written.startswith("[") and seen.startswith("["))


_SCHEMA: dict[str, Any] = {
    "type": "string",
    "format": "uri",
    "maxLength": MAX_URL,
    "description": "http or https; macros such as {clickid} behind the first / ? or # after the host",
    "examples": ["https://shop.example/landing?cid={clickid}"],
}
DestinationUrl = Annotated[str, PlainValidator(destination), WithJsonSchema(_SCHEMA)]
FallbackUrl = Annotated[
    str, PlainValidator(destination), WithJsonSchema({**_SCHEMA, "examples": ["https://shop.example/"]})
]
