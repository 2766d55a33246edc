"""The description of the service: OpenAPI for programs, and a page for people."""

from __future__ import annotations

import html
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from trtmatte.serve.forms import FIELDS, MEDIA_TYPES
from trtmatte.version import __version__

__all__ = ["description", "page"]

_NUMBERS: Final = ("af", "ab", "ae", "quality")
_FLAGS: Final = ("a", "om", "ppm")
_REFUSALS: Final = {
    "400": "a field has a value that it cannot have",
    "401": "the token is missing or wrong",
    "403": "the page or the name that the request comes by is not allowed",
    "408": "the request did not arrive in time",
    "413": "the request or its picture is too large",
    "415": "the request is no form",
    "422": "the file is no picture, or a damaged one",
    "429": "too many pictures wait; Retry-After says when to try again",
    "503": "the model cannot be had now",
}


def description(models: Sequence[str]) -> dict[str, Any]:
    """The service in OpenAPI 3.1."""
    picture = {"description": "The picture", "content": {each: {} for each in MEDIA_TYPES.values()}}
    fields = {name: _schema(name, models) | {"description": text} for name, text in FIELDS.items()}
    parameters = [{"name": name, "in": "query", "schema": schema} for name, schema in fields.items()]
    form = {"file": {"type": "string", "format": "binary", "description": "a picture"}, **fields}
    properties = {"id": {}, "image": {"type": "string", "format": "byte"}}
    line = {"type": "object", "properties": properties}
    answered = {"type": "object", "properties": {**properties, "error": {"type": "string"}}}
    return {
        "openapi": "3.1.0",
        "info": {"title": "trtmatte", "version": __version__, "description": "Pictures without their background."},
        "paths": {
            "/api/remove": {
                "post": _operation(
                    "The picture of a form without its background",
                    picture,
                    parameters=parameters,
                    requestBody=_body(
                        "multipart/form-data", {"type": "object", "required": ["file"], "properties": form}
                    ),
                ),
                "get": _operation(
                    "The picture at an address without its background, if its host is allowed",
                    picture,
                    parameters=[
                        {"name": "url", "in": "query", "required": True, "schema": {"type": "string"}},
                        *parameters,
                    ],
                ),
            },
            "/api/batch": {
                "post": _operation(
                    "Lines of JSON with pictures in base64; the answers are lines in the order in which they are done",
                    {"description": "Lines", "content": {"application/x-ndjson": {"schema": answered}}},
                    parameters=parameters,
                    requestBody=_body("application/x-ndjson", line),
                )
            },
            "/api/about": {"get": _operation("The models, and what the server is", _json("About the server"))},
            "/healthz": {"get": _operation("The server runs", _json("It runs"), refusals=())},
            "/readyz": {
                "get": _operation("The server takes requests: 200, or 503", _json("It does"), refusals=("503",))
            },
            "/metrics": {"get": _operation("Counters for Prometheus", {"description": "Counters"}, refusals=("401",))},
        },
        "components": {"securitySchemes": {"token": {"type": "http", "scheme": "bearer"}}},
        "security": [{}, {"token": []}],
    }


def page(described: Mapping[str, Any]) -> str:
    """The description as a page."""
    return "\n".join(
        [
            '<!doctype html><html lang="en"><head><meta charset="utf-8"><title>trtmatte: the service</title>',
            '<meta name="viewport" content="width=device-width">',
            '<link rel="stylesheet" href="page/page.css"></head><body class="document"><main>',
            f"<h1>trtmatte {html.escape(__version__)}</h1>",
            '<p>The same for programs: <a href="openapi.json">openapi.json</a>. The live page: <a href="./">/</a>.</p>',
            *_operations(described),
            "</main></body></html>",
        ]
    )


def _operations(described: Mapping[str, Any]) -> Iterator[str]:
    for path, methods in described["paths"].items():
        for method, operation in methods.items():
            yield f"<h2><code>{method.upper()} {html.escape(path)}</code></h2>"
            yield f"<p>{html.escape(operation['summary'])}.</p>"
            if fields := _fields(operation):
                rows = (_row(name, each) for name, each in fields.items())
                yield f"<table><tr><th>field<th>kind<th>meaning</tr>{''.join(rows)}</table>"
            answers = operation["responses"].items()
            listed = (f"<li>{status}: {html.escape(each['description'])}" for status, each in answers)
            yield f"<ul>{''.join(listed)}</ul>"


def _fields(operation: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of an operation: those of its address, then those of its body."""
    found = {each["name"]: each["schema"] for each in operation.get("parameters", ())}
    for content in operation.get("requestBody", {}).get("content", {}).values():
        found |= content["schema"]["properties"]
    return found


def _row(name: str, schema: Mapping[str, Any]) -> str:
    cells = (name, schema.get("type", ""), schema.get("description", ""))
    return f"<tr>{''.join(f'<td>{html.escape(str(each))}' for each in cells)}</tr>"


def _operation(summary: str, answer: Any, refusals: Sequence[str] = tuple(_REFUSALS), **more: Any) -> dict[str, Any]:
    refused = {status: _json(_REFUSALS[status]) for status in refusals}
    return {"summary": summary, "responses": {"200": answer, **refused}, **more}


def _json(text: str) -> dict[str, Any]:
    return {"description": text, "content": {"application/json": {}}}


def _body(kind: str, schema: Mapping[str, Any]) -> dict[str, Any]:
    return {"required": True, "content": {kind: {"schema": schema}}}


def _schema(name: str, models: Sequence[str]) -> dict[str, Any]:
    if name == "model":
        return {"type": "string", "examples": list(models)}
    if name == "format":
        return {"type": "string", "enum": list(MEDIA_TYPES)}
    return {"type": "boolean" if name in _FLAGS else "integer" if name in _NUMBERS else "string"}
