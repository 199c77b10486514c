"""A request for a tracking link as the click path reads it: the few headers that matter, once. Pure."""

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from edge.classify.headers import is_prefetch
from edge.client_ip import ClientAddress, TrustedProxies
from edge.parse import header_text, language, referrer
from edge.recent import Recent

_REMEMBERED_HEADERS = 8_192
_LONGEST_REMEMBERED = 512
_NO_REFERRER = ("", "")


class ClickRequest(NamedTuple):
    """Header texts are printable and at most 1 KB; the two raw ones go into keyed digests only."""

    address: ClientAddress
    scheme: str
    user_agent: str
    raw_user_agent: bytes
    raw_accept_language: bytes
    language: str
    referrer: str
    referrer_domain: str
    prefetch: bool


class RequestReader:
    """Reads requests; remembers texts of headers that come again."""

    def __init__(self, proxies: TrustedProxies) -> None:
        self._proxies = proxies
        self._agents: Recent[bytes, str] = Recent(_REMEMBERED_HEADERS)
        self._referrers: Recent[bytes, tuple[str, str]] = Recent(_REMEMBERED_HEADERS)
        self._languages: Recent[bytes, tuple[str]] = Recent(_REMEMBERED_HEADERS)

    def address(self, scope: Mapping[str, Any], headers: Mapping[bytes, bytes]) -> ClientAddress:
        """The sender's address behind the trusted proxies."""
        client = scope.get("client")
        peer = client[0] if client else ""
        if b"x-forwarded-for" in headers:
            return self._proxies.visitor(peer, _all(scope["headers"], b"x-forwarded-for"))
        return self._proxies.visitor(peer)

    def read(self, scope: Mapping[str, Any], headers: Mapping[bytes, bytes]) -> ClickRequest:
        """`headers` is the scope's list as a mapping: of a repeated header the last."""
        scheme = scope["scheme"]
        if b"x-forwarded-proto" in headers:
            client = scope.get("client")
            scheme = self._proxies.scheme(
                client[0] if client else "", scheme, _all(scope["headers"], b"x-forwarded-proto")
            )
        agent = headers.get(b"user-agent", b"")
        accept_language = headers.get(b"accept-language", b"")
        page = headers.get(b"referer")
        referring_page, referring_domain = self._referrer(page) if page else _NO_REFERRER
        return ClickRequest(
            self.address(scope, headers),
            scheme,
            self._agent_text(agent),
            agent,
            accept_language,
            self._language(accept_language) if accept_language else "",
            referring_page,
            referring_domain,
            announces_prefetch(headers),
        )

    def _agent_text(self, raw: bytes) -> str:
        text = self._agents.get(raw)
        if text is None:
            text = header_text(raw)
            if len(raw) <= _LONGEST_REMEMBERED:
                self._agents.put(raw, text)
        return text

    def _referrer(self, raw: bytes) -> tuple[str, str]:
        known = self._referrers.get(raw)
        if known is None:
            known = referrer(raw)
            if len(raw) <= _LONGEST_REMEMBERED:
                self._referrers.put(raw, known)
        return known

    def _language(self, raw: bytes) -> str:
        known = self._languages.get(raw)
        if known is None:
            known = (language(raw.decode("latin-1")),)
            if len(raw) <= _LONGEST_REMEMBERED:
                self._languages.put(raw, known)
        return known[0]


def announces_prefetch(headers: Mapping[bytes, bytes]) -> bool:
    """Whether the browser asks ahead of its user."""
    if not (b"sec-purpose" in headers or b"purpose" in headers or b"x-moz" in headers or b"x-purpose" in headers):
        return False
    return is_prefetch(
        *(headers.get(name, b"").decode("latin-1") for name in (b"sec-purpose", b"purpose", b"x-moz", b"x-purpose"))
    )


def _all(headers: Iterable[tuple[bytes, bytes]], wanted: bytes) -> list[str]:
    return [value.decode("latin-1") for name, value in headers if name == wanted]
