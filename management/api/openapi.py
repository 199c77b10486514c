"""The OpenAPI document, made of the routes table and the models that read and write the same fields."""

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from management.errors import CATALOGUE

if TYPE_CHECKING:
    from management.api.routes import Handler, Route

Schema = dict[str, Any]
_REF: Final = "#/components/schemas/{model}"
API_VERSION: Final = "1.0"
_ALWAYS = (400, 421, 503)
_WITH_TOKEN = (401, 403)

_ERROR: Final[Schema] = {
    "type": "object",
    "required": ["success", "error"],
    "properties": {
        "success": {"const": False},
        "error": {
            "type": "object",
            "required": ["code", "message", "details"],
            "properties": {
                "code": {"type": "string", "enum": sorted({kind.code for kind in CATALOGUE})},
                "message": {"type": "string"},
                "details": {
                    "type": "object",
                    "description": "Field → sentences, or `reason` → one reason code",
                    "additionalProperties": {"type": "array", "items": {"type": "string"}},
                },
            },
        },
    },
    "examples": [
        {
            "success": False,
            "error": {
                "code": "VALIDATION_ERROR",
                "message": "The name field is required",
                "details": {"name": ["The name field is required"]},
            },
        }
    ],
}
_PAGE_META: Final[Schema] = {
    "type": "object",
    "required": ["page", "per_page", "total"],
    "properties": {
        "page": {"type": "integer"},
        "per_page": {"type": "integer"},
        "total": {"type": "integer"},
        "total_is_lower_bound": {"type": "boolean", "description": "There may be more rows than `total`"},
        "next_cursor": {"type": ["string", "null"]},
        "ignored": {"type": "array", "items": {"type": "string"}, "description": "Query names that nobody reads"},
    },
    "examples": [{"page": 1, "per_page": 20, "total": 100}],
}


def document(routes: Sequence["Route"], plain: Sequence[tuple[str, "Handler", str]]) -> Schema:
    """The whole document, OpenAPI 3.1."""
    schemas = _schemas(routes)
    paths: dict[str, Schema] = {}
    for route in routes:
        paths.setdefault(route.path, {})[route.method.lower()] = _operation(route, schemas)
    for path, handler, summary in plain:
        paths[path] = {"get": _plain_operation(handler.__name__, summary)}
    return {
        "openapi": "3.1.0",
        "info": {"title": "milepost", "version": API_VERSION, "description": "Self-hosted click tracker"},
        "paths": paths,
        "components": {
            "schemas": schemas,
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"}},
        },
    }


def _schemas(routes: Sequence["Route"]) -> dict[str, Schema]:
    written = {(route.answer, "serialization") for route in routes}
    written |= {(route.meta, "serialization") for route in routes if route.meta}
    read = {(route.body, "validation") for route in routes if route.body}
    models: list[Any] = sorted(written | read, key=lambda pair: (pair[0].__name__, pair[1]))
    _, definitions = models_json_schema(models, ref_template=_REF)
    return {**definitions["$defs"], "Error": _ERROR, "PageMeta": _PAGE_META}


def _operation(route: "Route", schemas: dict[str, Schema]) -> Schema:
    operation: Schema = {
        "operationId": route.handler.__name__,
        "summary": route.summary,
        "tags": [route.path.split("/")[3]],
        "parameters": [*_path_parameters(route.path), *_query_parameters(route.query)],
        "responses": _responses(route),
    }
    if route.needs_token:
        operation["security"] = [{"token": []}]
    if route.body is not None:
        operation["requestBody"] = {"required": True, "content": _json(_ref(route.body.__name__))}
        assert route.body.__name__ in schemas
    return operation


def _responses(route: "Route") -> Schema:
    responses: Schema = {
        str(status): {"description": "Success", "content": _json(_success(route))} for status in route.statuses
    }
    errors = {*_ALWAYS, *route.also, *((401, 403) if route.bare else _WITH_TOKEN)}
    if "{id}" in route.path:
        errors.add(404)
    if route.body is not None:
        errors |= {413, 415}
    for status in sorted(errors):
        codes = ", ".join(kind.code for kind in CATALOGUE if kind.status == status)
        responses[str(status)] = {"description": codes, "content": _json(_ref("Error"))}
    return responses


def _success(route: "Route") -> Schema:
    answer = _ref(route.answer.__name__)
    if route.bare:
        return answer
    data = {"type": "array", "items": answer} if route.is_list else answer
    properties: Schema = {"success": {"const": True}, "data": data}
    if route.is_list:
        properties["meta"] = _ref("PageMeta")
    elif route.meta is not None:
        properties["meta"] = _ref(route.meta.__name__)
    return {"type": "object", "required": list(properties), "properties": properties}


def _path_parameters(path: str) -> list[Schema]:
    kinds = {"campaigns": "integer", "clicks": "string", "conversions": "string"}
    return [
        {"name": name, "in": "path", "required": True, "schema": {"type": kinds[path.split("/")[3]]}}
        for name in re.findall(r"\{(\w+)\}", path)
    ]


def _query_parameters(query: type[BaseModel] | None) -> list[Schema]:
    if query is None:
        return []
    schema = query.model_json_schema(ref_template=_REF)
    return [
        {"name": name, "in": "query", "required": name in schema.get("required", ()), "schema": value}
        for name, value in schema["properties"].items()
    ]


def _plain_operation(name: str, summary: str) -> Schema:
    return {
        "operationId": name,
        "summary": summary,
        "tags": ["service"],
        "responses": {
            "200": {"description": "Success"},
            "default": {"description": "Error", "content": _json(_ref("Error"))},
        },
    }


def _ref(name: str) -> Schema:
    return {"$ref": _REF.format(model=name)}


def _json(schema: Schema) -> Schema:
    return {"application/json": {"schema": schema}}
