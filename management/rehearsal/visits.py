"""One visitor's request for a tracking link, as a browser writes it. Pure."""

from dataclasses import dataclass
from typing import Final
from urllib.parse import quote

from management.rehearsal.access_log import LogClick

LANGUAGE: Final = "en-US,en;q=0.9"
_ACCEPT: Final = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"
_MAX_SUB: Final = 200


@dataclass(frozen=True, slots=True)
class Visit:
    """`address` travels as X-Forwarded-For; a `user_agent` of "" is not sent at all; `sub1` is a sub id of the link."""

    address: str
    user_agent: str
    referrer: str = ""
    sub1: str = ""
    language: str = LANGUAGE
    method: str = "GET"
    prefetch: bool = False

    @classmethod
    def of_log(cls, click: LogClick) -> "Visit":
        """The visit of a log's line. Its path, without the query, becomes the first sub id, so that reports tell the
        log's pages apart; a query may hold what a report should not."""
        path = click.path.partition("?")[0].strip()[:_MAX_SUB]
        return cls(click.ip, click.user_agent, click.referrer, path)

    def headers(self, host: str) -> dict[str, str]:
        """The request's headers; `host` is that of the tracking link, whatever address answers for it."""
        headers = {
            "Host": host,
            "X-Forwarded-For": self.address,
            "Accept": _ACCEPT,
            "Accept-Language": self.language,
            "Accept-Encoding": "gzip, deflate",
        }
        if self.user_agent:
            headers["User-Agent"] = self.user_agent
        if self.referrer:
            headers["Referer"] = self.referrer
        if self.prefetch:
            headers["Sec-Purpose"] = "prefetch"
        return headers

    @property
    def query(self) -> str:
        return f"?sub1={quote(self.sub1, safe='')}" if self.sub1 else ""
