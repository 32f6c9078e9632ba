"""/openapi.json from the endpoints and the models they take and give."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
from pydantic.json_schema import models_json_schema

from rowbank_server.retrieval.api.http.endpoints import Endpoint
from rowbank_server.retrieval.api.http.problems import ProblemDetails

_REF = "#/components/schemas/{model}"


def document(endpoints: Sequence[Endpoint], version: str) -> dict[str, Any]:
    """An OpenAPI 3.1 document."""
    taken_in = [one for endpoint in endpoints for one in (endpoint.body, endpoint.lines) if one is not None]
    bodies = list(dict.fromkeys(taken_in))
    _, taken = models_json_schema([(body, "validation") for body in bodies], ref_template=_REF)
    answers = list(dict.fromkeys(endpoint.answer for endpoint in endpoints if endpoint.answer is not None))
    _, given = msgspec.json.schema_components(
        [*answers, ProblemDetails], ref_template=_REF.replace("{model}", "{name}")
    )
    paths: dict[str, dict[str, Any]] = {}
    for endpoint in endpoints:
        paths.setdefault(endpoint.path, {})[endpoint.method.lower()] = endpoint.describe()
    return {
        "openapi": "3.1.0",
        "info": {"title": "Rowbank retrieval", "version": version},
        "paths": paths,
        "components": {"schemas": {**taken.get("$defs", {}), **given}},
    }


PAGE = """<!doctype html>
<html lang="en"><meta charset="utf-8"><title>Rowbank retrieval</title>
<style>
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 60rem; padding: 0 1rem }
code, pre { font: 13px/1.4 ui-monospace, monospace } pre { background: #8881; overflow: auto; padding: .75rem }
summary { cursor: pointer; padding: .3rem 0 } b { display: inline-block; min-width: 4.5rem }
</style>
<h1>Rowbank retrieval</h1><p>The same as <a href="openapi.json">openapi.json</a>, to read.</p><main></main>
<script>
fetch('openapi.json').then(answer => answer.json()).then(api => {
  const resolve = name => api.components.schemas[name.split('/').pop()];
  const show = content => {
    const schema = Object.values(content)[0].schema;
    return JSON.stringify(schema.$ref ? resolve(schema.$ref) : schema, null, 2);
  };
  for (const [path, methods] of Object.entries(api.paths)) for (const [method, operation] of Object.entries(methods)) {
    const box = document.createElement('details'), head = document.createElement('summary');
    const verb = document.createElement('b'), code = document.createElement('code');
    verb.textContent = method.toUpperCase(); code.textContent = path;
    head.append(verb, code, ' ' + operation.summary); box.append(head);
    const add = (title, text) => {
      const pre = document.createElement('pre'); pre.textContent = text; box.append(title, pre);
    };
    if (operation.requestBody) add('Body', show(operation.requestBody.content));
    for (const [status, answer] of Object.entries(operation.responses)) add(status, show(answer.content));
    document.querySelector('main').append(box);
  }
});
</script></html>
"""
