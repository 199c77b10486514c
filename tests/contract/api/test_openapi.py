"""The document and the server say the same: routes, and the fields of every answer.

The samples themselves are test_samples.py.
"""

import time
from datetime import UTC, datetime
from typing import Any

import pytest
from fastapi.routing import APIRoute

from management.api.app import create_app
from shared.ids import KeyRing
from tests.api_server import PASSWORD, Answer, Api, settings
from tests.builders import Connection, click, store_clicks

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def test_every_served_route_is_documented_and_no_other(
    server: Api, database_url: str, redis_url: str, ring: KeyRing
) -> None:
    app = create_app(settings(database_url, redis_url), ring)
    served = {
        (method.lower(), route.path)
        for route in app.routes
        if isinstance(route, APIRoute)
        for method in route.methods or ()
    }
    assert len(served) == len(app.routes)
    document = (await server.get("/openapi.json")).body
    documented = {(method, path) for path, methods in document["paths"].items() for method in methods}
    assert served == documented


async def test_every_reference_in_the_document_leads_somewhere(server: Api) -> None:
    document = (await server.get("/openapi.json")).body
    names = set(document["components"]["schemas"])
    for name in _references(document):
        assert name.removeprefix("#/components/schemas/") in names, name


async def test_the_page_needs_nothing_from_elsewhere(server: Api) -> None:
    answer = await server.get("/docs")
    assert answer.headers["Content-Type"].startswith("text/html")
    text = answer.raw.decode()
    assert "/api/v1/campaigns/{id}/stats" in text
    assert "<script" not in text
    assert "src=" not in text


async def test_answers_have_the_documented_fields(api: Api, owner_connection: Connection) -> None:
    document = (await api.get("/openapi.json")).body
    campaign = (await api.call("POST", "/api/v1/campaigns", {"name": "x", "cost_model": "cpc", "cost_value": 0.5})).data
    row = click(api.ids, api.account_id, campaign["id"], datetime.now(UTC))
    await store_clicks(owner_connection, [row])
    click_id = (await api.get("/api/v1/clicks")).data[0]["id"]
    await owner_connection.execute("UPDATE installation SET owner = $1", api.account_id)
    await owner_connection.execute("INSERT INTO stream_positions (stream, next, lost) VALUES ($1, 4, 3)", b"s" * 16)
    await owner_connection.execute("INSERT INTO lost_records VALUES ($1, 1, 3, 'damaged')", b"s" * 16)
    conversion = {"click_id": click_id, "payout": 1.5}
    calls: list[tuple[str, str, str, Any]] = [
        ("post", "/api/v1/auth/token", "/api/v1/auth/token", {"email": api.email, "password": PASSWORD}),
        ("get", "/api/v1/account", "/api/v1/account", None),
        ("patch", "/api/v1/account", "/api/v1/account", {"company_name": "New"}),
        ("get", "/api/v1/campaigns", "/api/v1/campaigns", None),
        ("post", "/api/v1/campaigns", "/api/v1/campaigns", {"name": "y"}),
        ("get", "/api/v1/campaigns/{id}", f"/api/v1/campaigns/{campaign['id']}", None),
        ("put", "/api/v1/campaigns/{id}", f"/api/v1/campaigns/{campaign['id']}", {"name": "z"}),
        ("get", "/api/v1/campaigns/{id}/stats", f"/api/v1/campaigns/{campaign['id']}/stats", None),
        ("get", "/api/v1/stats", "/api/v1/stats", None),
        ("get", "/api/v1/clicks", "/api/v1/clicks", None),
        ("get", "/api/v1/clicks/{id}", f"/api/v1/clicks/{click_id}", None),
        ("post", "/api/v1/conversions", "/api/v1/conversions", conversion),
        ("post", "/api/v1/conversions", "/api/v1/conversions", conversion),
        ("get", "/api/v1/conversions", "/api/v1/conversions", None),
        ("get", "/api/v1/conversions/{id}", "/api/v1/conversions/conv_", None),
        ("get", "/api/v1/clicks/{id}", f"/api/v1/clicks/{click_id}", None),
        ("post", "/api/v1/conversions", "/api/v1/conversions", {"click_id": "x"}),
        ("delete", "/api/v1/campaigns/{id}", f"/api/v1/campaigns/{campaign['id']}", None),
        ("get", "/api/v1/campaigns/{id}", f"/api/v1/campaigns/{campaign['id']}", None),
        ("get", "/api/v1/system/reconciliation", "/api/v1/system/reconciliation", None),
    ]
    seen = set()
    made = {"id": ""}
    for method, template, path, body in calls:
        answer: Answer = await api.call(method.upper(), path + made["id"] if path.endswith("conv_") else path, body)
        if answer.status == 201 and "click_id" in answer.data:
            made["id"] = answer.data["id"].removeprefix("conv_")
        schema = document["paths"][template][method]["responses"][str(answer.status)]["content"]["application/json"]
        _assert_fits(answer.body, schema["schema"], document, f"{method} {path}")
        seen.add((method, template))
    enveloped = {path for path in document["paths"] if path.startswith("/api/")}
    assert seen == {(method, path) for path in enveloped for method in document["paths"][path]}


async def test_a_conversion_that_is_not_the_newest_is_shown_with_its_click(api: Api) -> None:
    campaign = (await api.call("POST", "/api/v1/campaigns", {"name": "x"})).data["id"]
    click_id = api.ids.issue(campaign, time.time_ns() // 1_000_000)
    made = await api.call("POST", "/api/v1/conversions", {"click_id": click_id})
    assert made.status == 201, "accepted while the click itself is on its way"
    assert (await api.get(f"/api/v1/clicks/{click_id}")).status == 404


def _references(node: Any) -> list[str]:
    if isinstance(node, dict):
        own = [node["$ref"]] if isinstance(node.get("$ref"), str) else []
        return own + [name for child in node.values() for name in _references(child)]
    return [name for child in node for name in _references(child)] if isinstance(node, list) else []


_TYPES: dict[str, tuple[type, ...]] = {
    "string": (str,), "integer": (int,), "number": (int, float), "boolean": (bool,), "null": (type(None),),
    "object": (dict,), "array": (list,),
}  # fmt: skip


def _assert_fits(value: Any, schema: dict[str, Any], document: dict[str, Any], where: str) -> None:
    """The part of JSON Schema that the document uses; objects may hold nothing undocumented."""
    if "$ref" in schema:
        schema = document["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
    if "anyOf" in schema:
        options = [option for option in schema["anyOf"] if _type_fits(value, option, document)]
        assert options, (where, value, schema)
        schema = options[0]
    assert _type_fits(value, schema, document), (where, value, schema)
    if "const" in schema:
        assert value == schema["const"], where
    if "enum" in schema:
        assert value in schema["enum"], (where, value)
    if isinstance(value, dict):
        properties = schema.get("properties", {})
        extra = schema.get("additionalProperties")
        for name in schema.get("required", ()):
            assert name in value or name in ("duplicate", "propagated"), (where, name)
        for name, child in value.items():
            assert name in properties or extra, f"{where}: {name} is not documented"
            _assert_fits(child, properties.get(name, extra), document, f"{where} {name}")
    if isinstance(value, list):
        for child in value:
            _assert_fits(child, schema["items"], document, where)


def _type_fits(value: Any, schema: dict[str, Any], document: dict[str, Any]) -> bool:
    if "$ref" in schema:
        schema = document["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
    names = schema.get("type", list(_TYPES))
    names = [names] if isinstance(names, str) else names
    if isinstance(value, bool):
        return "boolean" in names
    return any(isinstance(value, _TYPES[name]) for name in names)
