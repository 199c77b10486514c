"""`/openapi.json` and `/docs`: the document, and a page of it that needs nothing from other hosts."""

import html
from typing import Any

import orjson
from fastapi import Request, Response
from starlette.responses import HTMLResponse

from management.api import envelope

_STYLE = (
    "body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;color:#1b1b1b}"
    "code,pre{font:14px/1.45 ui-monospace,monospace;background:#f3f3f1}pre{padding:.8rem;overflow:auto}"
    "summary{cursor:pointer;padding:.3rem 0}details details{margin-left:1rem}b{display:inline-block;min-width:4.5rem}"
)


async def openapi(request: Request) -> Response:
    return envelope.answer(request.app.openapi())


async def page(request: Request) -> Response:
    return HTMLResponse(rendered(request.app.openapi()))


def rendered(document: dict[str, Any]) -> str:
    """Every operation with its parameters, body and answers, as plain HTML."""
    operations = "".join(
        _operation(method.upper(), path, operation)
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
    )
    schemas = "".join(
        f"<details id='{html.escape(name)}'><summary>{html.escape(name)}</summary>{_pre(schema)}</details>"
        for name, schema in document["components"]["schemas"].items()
    )
    title = html.escape(f"{document['info']['title']} {document['info']['version']}")
    return (
        f"<!doctype html><html lang='en'><head><meta charset='utf-8'><title>{title}</title><style>{_STYLE}</style>"
        f"</head><body><h1>{title}</h1><p>The same as <a href='/openapi.json'>/openapi.json</a>. Every call but the "
        "login takes <code>Authorization: Bearer …</code>; amounts are JSON numbers with up to 6 decimals.</p>"
        f"<h2>Calls</h2>{operations}<h2>Schemas</h2>{schemas}</body></html>"
    )


def _operation(method: str, path: str, operation: dict[str, Any]) -> str:
    parts = {name: operation[name] for name in ("parameters", "requestBody", "responses") if operation.get(name)}
    sections = "".join(f"<h4>{name}</h4>{_pre(part)}" for name, part in parts.items())
    return (
        f"<details><summary><b>{method}</b> <code>{html.escape(path)}</code> — {html.escape(operation['summary'])}"
        f"</summary>{sections}</details>"
    )


def _pre(content: object) -> str:
    return f"<pre>{html.escape(orjson.dumps(content, option=orjson.OPT_INDENT_2).decode())}</pre>"
