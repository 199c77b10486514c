"""The parameters of a postback request, query and body, under the limits that keep strangers' bodies small."""

from starlette.requests import ClientDisconnect, Request

from edge import errors
from edge.errors import EdgeError
from edge.postbacks import MAX_BODY, Pair, UnreadableBody, contradiction, form_pairs, json_pairs
from shared import postback

_FORM = "application/x-www-form-urlencoded"
_JSON = "application/json"


class BodyRefused(Exception):
    """The body cannot be taken; `error` is the answer."""

    def __init__(self, error: EdgeError) -> None:
        super().__init__(error.message)
        self.error = error


async def read_call(request: Request) -> tuple[list[Pair], dict[str, str]]:
    """Every parameter as sent, query first, and the fields they make (shared.postback.named). A GET's body is no
    parameter. Raises BodyRefused."""
    given = form_pairs(request.scope["query_string"])
    fields = postback.named(given)
    if request.method != "POST":
        return given, fields
    body = await _body(request)
    if not body:
        return given, fields
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    try:
        if kind == _FORM:
            sent = form_pairs(body)
        elif kind == _JSON:
            sent = json_pairs(body)
        else:
            raise BodyRefused(errors.UNSUPPORTED_TYPE)
    except UnreadableBody as error:
        raise BodyRefused(errors.MALFORMED_BODY) from error
    if contradiction(fields, postback.named(sent)) is not None:
        raise BodyRefused(errors.CONTRADICTION)
    given += sent
    return given, postback.named(given)


async def _body(request: Request) -> bytes:
    length = request.headers.get("content-length", "0")
    if length.isdigit() and int(length) > MAX_BODY:
        raise BodyRefused(errors.TOO_LARGE)
    body = bytearray()
    try:
        async for chunk in request.stream():
            body += chunk
            if len(body) > MAX_BODY:
                raise BodyRefused(errors.TOO_LARGE)
    except ClientDisconnect:
        raise BodyRefused(errors.MALFORMED_BODY) from None
    return bytes(body)
