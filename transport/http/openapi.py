"""The OpenAPI document: made of the same table as the routes."""

from __future__ import annotations

from collections.abc import Iterable
from http import HTTPStatus
from typing import Any, Final, cast

from pydantic import BaseModel

from .operations import Nothing, Operation
from .problems import MEDIA_TYPE, schema

VALUE: Final[dict[str, Any]] = {
    "description": "Params and results: what JSON can hold, integers of 64 bits.",
    "anyOf": [
        {"type": "null"},
        {"type": "boolean"},
        {"type": "integer", "minimum": -(2**63), "maximum": 2**63 - 1},
        {"type": "number", "minimum": -1.7976931348623157e308, "maximum": 1.7976931348623157e308},
        {"type": "string"},
        {"type": "array", "items": {"$ref": "#/components/schemas/Value"}},
        {"type": "object", "additionalProperties": {"$ref": "#/components/schemas/Value"}},
    ],
}

_REFERENCES: Final = "#/components/schemas/{model}"


def document(operations: Iterable[Operation], version: str, *, open: bool) -> dict[str, Any]:
    """The whole document.

    Args:
        operations: What there is.
        version: Of this package.
        open: Whether reading needs no token.
    """
    paths: dict[str, dict[str, Any]] = {}
    schemas: dict[str, Any] = {"Problem": schema(), "Value": dict(VALUE)}
    for operation in operations:
        described = _described(operation, schemas, open=open)
        paths.setdefault("/api" + operation.path.replace(":path}", "}"), {})[operation.method.lower()] = described
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "WorkerHost",
            "version": version,
            "description": "A pool of workers: tasks, types and hosts. The documents are those of the command line's "
            "--json: times are ISO 8601 in UTC, durations are seconds, and fields are only ever added.",
        },
        "paths": paths,
        "components": {
            "schemas": schemas,
            "securitySchemes": {
                "token": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "`workerhost up` prints it behind the # of the dashboard's address.",
                }
            },
        },
    }


def _described(operation: Operation, schemas: dict[str, Any], *, open: bool) -> dict[str, Any]:
    well: dict[str, Any] = {
        "description": operation.summary,
        "content": {"application/json": {"schema": dict(operation.answer) or {"type": "object"}}},
    }
    if operation.location:
        well["headers"] = {"Location": {"schema": {"type": "string"}, "description": "Where it is."}}
    statuses = {403, 421, 503, 504, *operation.problems}
    statuses |= {422} if operation.query is not Nothing or operation.changes else set()
    statuses |= {404} if operation.parts is not Nothing else set()
    guarded = operation.changes or operation.secret or not open
    statuses |= {401} if guarded else set()
    statuses |= {400, 408, 413, 415} if operation.changes else set()
    described: dict[str, Any] = {
        "operationId": operation.name,
        "summary": operation.summary,
        "parameters": [*_parameters(operation.parts, "path", schemas), *_parameters(operation.query, "query", schemas)],
        "responses": {str(operation.status): well, **{str(one): _problem(one) for one in sorted(statuses)}},
    }
    if guarded:
        described["security"] = [{"token": []}]
    if operation.body is not None:
        required = any(one.is_required() for one in operation.body.model_fields.values())
        described["requestBody"] = {
            "required": required,
            "content": {"application/json": {"schema": _schema(operation.body, schemas)}},
        }
    return described


def _problem(status: int) -> dict[str, Any]:
    return {
        "description": HTTPStatus(status).phrase,
        "content": {MEDIA_TYPE: {"schema": {"$ref": _REFERENCES.format(model="Problem")}}},
    }


def _parameters(model: type[BaseModel], where: str, schemas: dict[str, Any]) -> list[dict[str, Any]]:
    found = _schema(model, schemas)
    required = cast("list[str]", found.get("required", []))
    return [
        {
            "name": name,
            "in": where,
            "required": name in required,
            "description": part.pop("description", ""),
            "schema": _without_null(part),
        }
        for name, part in cast("dict[str, dict[str, Any]]", found.get("properties", {})).items()
    ]


def _without_null(part: dict[str, Any]) -> dict[str, Any]:
    """A parameter is left out, not null."""
    kinds = [kind for kind in part.get("anyOf", ()) if kind != {"type": "null"}]
    rest = {key: value for key, value in part.items() if key not in ("anyOf", "default", "title")}
    return {**rest, **kinds[0]} if len(kinds) == 1 else {key: value for key, value in part.items() if key != "title"}


def _schema(model: type[BaseModel], schemas: dict[str, Any]) -> dict[str, Any]:
    """A model's JSON Schema; what it refers to joins `schemas`."""
    found = model.model_json_schema(ref_template=_REFERENCES)
    for part in found.get("properties", {}).values():
        if part.get("title") in schemas:  # what pydantic has no word for is named by its title
            part["$ref"] = _REFERENCES.format(model=part.pop("title"))
        if part.get("default", "") is None:  # what is left out is not null
            del part["default"]
    schemas.update(found.pop("$defs", {}))
    return found
