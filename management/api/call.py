"""One request of the API, read at the border: proven credential, whole body, query. Handlers take it as `call`."""

import asyncio
from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from typing import Annotated, Any, Final, TypeVar
from urllib.parse import parse_qsl

from fastapi import Depends, Request
from starlette.requests import ClientDisconnect
from starlette.responses import Response

from management.api import envelope
from management.api.auth import WRITERS, Tenant, bearer, reading_tenant, writing_tenant
from management.api.client_address import stored
from management.api.fields import MAX_ID, Body, Query
from management.api.json_body import MAX_BODY, read_object, require_json
from management.api.pages import PageQuery, Total, page_meta
from management.api.services import Services
from management.api.tokens import Credential
from management.api.validation import parse
from management.db.pool import Reading, Writing
from management.errors import PAYLOAD_TOO_LARGE, VALIDATION, Refusal, invalid_field, not_found

BODY_SECONDS: Final = 20.0
_NAMED_IGNORED = 20

QueryModel = TypeVar("QueryModel", bound=Query)
BodyModel = TypeVar("BodyModel", bound=Body)


class Border:
    """What every request has, also one without a credential: services, clock, query and body."""

    def __init__(self, services: Services, request: Request, raw: bytes) -> None:
        self.services = services
        self.now = datetime.now(UTC)
        self._request = request
        self._raw = raw
        self._query = _first_values(request.scope["query_string"])
        self._known: frozenset[str] = frozenset()

    def query(self, model: type[QueryModel]) -> QueryModel:
        """The query as `model`; names it does not know are ignored, and told in `meta.ignored`."""
        self._known = frozenset(field.alias or name for name, field in model.model_fields.items())
        return parse(model, {name: value for name, value in self._query.items() if name in self._known})

    def fields(self) -> dict[str, Any]:
        """The names and values of the JSON body, not judged yet."""
        require_json(self._request.headers.get("content-type"))
        values = read_object(self._raw)
        for name, value in values.items():
            if name in self._query and not _same(self._query[name], value):
                raise invalid_field(name[:64], f"The {name[:64]} field differs between query and body")
        return values

    def body(self, model: type[BodyModel], fields: Mapping[str, Any] | None = None) -> BodyModel:
        """The body as `model`, or `fields` of it."""
        return parse(model, self.fields() if fields is None else fields)

    def answer(self, data: object, *, status: int = 200, meta: Mapping[str, Any] | None = None) -> Response:
        """Success, with `meta.ignored` where the query held names that nobody reads."""
        return envelope.success(data, status=status, meta={**(meta or {}), **self.ignored()})

    def listing(self, rows: list[Any], query: PageQuery, total: Total, **meta: Any) -> Response:
        return self.answer(rows, meta=page_meta(query, total, **meta))

    def ignored(self) -> dict[str, list[str]]:
        names = [name[:64] for name in self._query if name not in self._known]
        return {"ignored": names[:_NAMED_IGNORED]} if names else {}


class Call(Border):
    """A request with a proven credential. Its transaction begins with the check that the credential still holds."""

    def __init__(self, services: Services, request: Request, raw: bytes, credential: Credential) -> None:
        super().__init__(services, request, raw)
        self._credential = credential

    def reading(self) -> AbstractAsyncContextManager[Tenant[Reading]]:
        return reading_tenant(self.services.pool, self._credential)

    def writing(self, roles: frozenset[str] = WRITERS) -> AbstractAsyncContextManager[Tenant[Writing]]:
        return writing_tenant(self.services.pool, self._credential, roles)

    def number(self, what: str) -> int:
        """The `{id}` of the path; 404 where it can be no id, just as for a missing one."""
        text = self._request.path_params["id"]
        if not (text.isascii() and text.isdigit() and len(text) <= 10 and 1 <= int(text) <= MAX_ID):
            raise not_found(what)
        return int(text)

    def text_id(self) -> str:
        """The `{id}` of the path as it was sent."""
        text: str = self._request.path_params["id"]
        return text

    def source_ip(self) -> str:
        """The caller's address as MILEPOST_IP_STORAGE lets it be kept."""
        peer = self._request.client.host if self._request.client else ""
        address = self.services.proxies.caller(peer, self._request.headers.getlist("x-forwarded-for"))
        return stored(address, self.services.settings.ip_storage)


async def open_border(request: Request) -> Border:
    return Border(request.app.state.services, request, await _read(request))


async def open_call(request: Request) -> Call:
    services: Services = request.app.state.services
    credential = services.tokens.prove(bearer(request.headers), datetime.now(UTC).timestamp())
    return Call(services, request, await _read(request), credential)


OpenBorder = Annotated[Border, Depends(open_border)]
OpenCall = Annotated[Call, Depends(open_call)]


async def _read(request: Request) -> bytes:
    """The whole body, at most MAX_BODY bytes of it, before any transaction begins."""
    chunks: list[bytes] = []
    size = 0
    try:
        async with asyncio.timeout(BODY_SECONDS):
            async for chunk in request.stream():
                size += len(chunk)
                if size > MAX_BODY:
                    raise Refusal(PAYLOAD_TOO_LARGE, headers={"Connection": "close"})
                chunks.append(chunk)
    except TimeoutError:
        raise Refusal(VALIDATION, "The body did not arrive in time", headers={"Connection": "close"}) from None
    except ClientDisconnect:
        raise Refusal(VALIDATION, "The connection ended inside the body", headers={"Connection": "close"}) from None
    return b"".join(chunks)


def _first_values(query: bytes) -> dict[str, str]:
    """Parameters by name; the first of a name wins and `;` is text (X14). NUL and broken UTF-8 are refused later by
    every field's own check, as U+FFFD or as the character itself."""
    found: dict[str, str] = {}
    for name, value in parse_qsl(query.decode("latin-1"), keep_blank_values=True):
        found.setdefault(name, value)
    return found


def _same(text: str, value: object) -> bool:
    """Whether a query's text says the same as a value of the body."""
    if isinstance(value, bool) or value is None:
        return text == {True: "true", False: "false", None: ""}[value]
    if isinstance(value, int | Decimal):
        try:
            return Decimal(text) == value
        except InvalidOperation:
            return False
    return text == value
