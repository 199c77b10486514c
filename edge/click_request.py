"""A request for a tracking link as the click path reads it: the few headers that matter, once. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from edge.classify.headers import is_prefetch
from edge.client_ip import ClientAddress, TrustedProxies
from edge.parse import header_text, language, referrer
from edge.recent import Known

_REMEMBERED_HEADERS = 8_192
_LONGEST_REMEMBERED = 512
_NO_REFERRER = ("", "")


@dataclass(slots=True)
class ClickRequest:
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
    """Reads requests; remembers texts of headers that come again.

    Headers are given twice: `pairs` are all of them in the order received, `headers` the same as a mapping, of a
    repeated header the last.
    """

    def __init__(self, proxies: TrustedProxies) -> None:
        self._proxies = proxies
        self._agents = Known(_REMEMBERED_HEADERS, header_text, _LONGEST_REMEMBERED)
        self._referrers = Known(_REMEMBERED_HEADERS, referrer, _LONGEST_REMEMBERED)
        self._languages = Known(_REMEMBERED_HEADERS, _language, _LONGEST_REMEMBERED)

    def address(self, peer: str, headers: Mapping[bytes, bytes], pairs: Sequence[tuple[bytes, bytes]]) -> ClientAddress:
        """The sender's address behind the trusted proxies; `peer` is the other end of the connection, "" where it
        has no address."""
        last = headers.get(b"x-forwarded-for")
        if last is None:
            return self._proxies.visitor(peer)
        if len(headers) == len(pairs):  # no header is repeated, so the last is the only one
            return self._proxies.visitor(peer, (last.decode("latin-1"),))
        return self._proxies.visitor(peer, _values(b"x-forwarded-for", pairs))

    def read(
        self, peer: str, scheme: str, headers: Mapping[bytes, bytes], pairs: Sequence[tuple[bytes, bytes]]
    ) -> ClickRequest:
        """What of a request the click path needs; `scheme` is the connection's."""
        if b"x-forwarded-proto" in headers:
            scheme = self._proxies.scheme(peer, scheme, _values(b"x-forwarded-proto", pairs))
        agent = headers.get(b"user-agent", b"")
        accept_language = headers.get(b"accept-language", b"")
        page = headers.get(b"referer")
        referring_page, referring_domain = self._referrers[page] if page else _NO_REFERRER
        return ClickRequest(
            self.address(peer, headers, pairs),
            scheme,
            self._agents[agent],
            agent,
            accept_language,
            self._languages[accept_language] if accept_language else "",
            referring_page,
            referring_domain,
            announces_prefetch(headers),
        )


def announces_prefetch(headers: Mapping[bytes, bytes]) -> bool:
    """Whether the browser asks ahead of its user."""
    if not (b"sec-purpose" in headers or b"purpose" in headers or b"x-moz" in headers or b"x-purpose" in headers):
        return False
    return is_prefetch(
        *(headers.get(name, b"").decode("latin-1") for name in (b"sec-purpose", b"purpose", b"x-moz", b"x-purpose"))
    )


def _language(raw: bytes) -> str:
    return language(raw.decode("latin-1"))


def _values(wanted: bytes, pairs: Sequence[tuple[bytes, bytes]]) -> list[str]:
    return [value.decode("latin-1") for name, value in pairs if name == wanted]
