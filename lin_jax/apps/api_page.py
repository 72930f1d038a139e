"""The documentation of the HTTP API as one page that loads nothing: /v1/docs."""

from collections.abc import Iterator, Mapping

from lin_jax.reporting import html

LEAD = (
    "Answers are JSON or recordings; what cannot be answered has a status of 4xx or 5xx and "
    '{"error": "one line"}. Programs read openapi.json beside this page.'
)


def render(schema: Mapping, root: str) -> str:
    """The page.

    Args:
        schema: of the API, in OpenAPI 3.1.
        root: where the API is, such as /v1.
    """
    sections = [
        html.Section(f"{method.upper()} {root}{path}", operation.get("description", ""), parts)
        for path, operations in schema["paths"].items()
        for method, operation in operations.items()
        for parts in [list(_parts(schema, f"{root}{path}", operation))]
    ]
    return html.render(f"lin_jax {schema['info']['version']}: HTTP API", sections, lead=LEAD)


def _parts(schema: Mapping, address: str, operation: Mapping) -> Iterator[str]:
    """What is sent, an example of it, and what comes back."""
    rows, options = [], []
    for parameter in operation.get("parameters", ()):
        name = parameter["name"]
        kind = _kind(parameter["schema"])
        rows.append((f"?{name}", kind, "yes" if parameter["required"] else ""))
    for media_type, content in operation.get("requestBody", {}).get("content", {}).items():
        body = _resolve(schema, content["schema"])
        required = body.get("required", ())
        for name, field in body["properties"].items():
            rows.append((name, _kind(field), "yes" if name in required else ""))
            if name in required and media_type == "multipart/form-data":
                example = field.get("examples", ["@clip.wav"])[0]
                options.append(f"-F {name}='{example}'")
        if media_type == "application/json":
            examples = {name: body["properties"][name]["examples"][0] for name in required}
            text = ", ".join(f'"{name}": "{value}"' for name, value in examples.items())
            options.append(f"--json '{{{text}}}'")
    if rows:
        yield html.table(("what is sent", "of which kind", "needed"), rows)
    answer = operation["responses"]["200"]
    kinds = answer.get("content", {})
    if "application/json" not in kinds:
        options.append("-o FILE")
    yield html.code(" ".join(["curl", *options, f"localhost:7860{address}"]))
    names = [_kind(node["schema"]) if "json" in kind else kind for kind, node in kinds.items()]
    yield html.table(("the answer",), [(" or ".join(names),)])
    for node in kinds.values():
        yield from _objects(schema, node["schema"])


def _objects(schema: Mapping, node: Mapping) -> Iterator[str]:
    """A table of the fields of each object within a schema."""
    for each in (node, node.get("items", {}), *node.get("anyOf", ())):
        if "$ref" in each:
            properties = _resolve(schema, each).get("properties", {})
            rows = [(name, _kind(field)) for name, field in properties.items()]
            yield html.table((f"in {_kind(each)}", "of which kind"), rows)


def _resolve(schema: Mapping, node: Mapping) -> Mapping:
    """What a reference refers to."""
    if "$ref" not in node:
        return node
    return schema["components"]["schemas"][node["$ref"].rpartition("/")[2]]


def _kind(node: Mapping) -> str:
    """A schema in words."""
    if "$ref" in node:
        return node["$ref"].rpartition("/")[2]
    if "enum" in node:
        return " or ".join(map(str, node["enum"]))
    if "const" in node:
        return str(node["const"])
    if "anyOf" in node:
        return " or ".join(dict.fromkeys(map(_kind, node["anyOf"])))
    if node.get("format") == "binary" or "contentMediaType" in node:
        return "a recording"
    if node.get("type") == "array":
        kind = _kind(node.get("items", {}))
        return "recordings" if kind == "a recording" else f"list of {kind}"
    if node.get("type") == "null":
        return "nothing"
    return str(node.get("type", "anything"))
