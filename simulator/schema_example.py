"""The smallest value that a JSON schema admits: what the simulator passes to tools. Pure.

Covers what tools and structured outputs use: types, enum, const, default, required properties,
anyOf/oneOf/allOf and local references. Patterns and formats are not honoured.
"""

from typing import Any

# Deeper schemas are recursive ones.
DEPTH_MAX = 12


def example(schema: Any, root: Any = None, depth: int = 0) -> Any:
    """Return a value for `schema`, the same one each time."""
    root = schema if root is None else root
    if not isinstance(schema, dict) or depth > DEPTH_MAX:
        return {} if depth == 0 else None
    if "$ref" in schema:
        return example(_resolve(schema["$ref"], root), root, depth + 1)
    if "const" in schema:
        return schema["const"]
    if schema.get("enum"):
        return schema["enum"][0]
    if "default" in schema:
        return schema["default"]
    for keyword in ("anyOf", "oneOf", "allOf"):
        if schema.get(keyword):
            return example(schema[keyword][0], root, depth + 1)
    return _typed(schema, root, depth)


def _typed(schema: dict[str, Any], root: Any, depth: int) -> Any:
    kind = schema.get("type")
    kind = kind[0] if isinstance(kind, list) and kind else kind
    if kind == "object" or (kind is None and "properties" in schema):
        properties = schema.get("properties") or {}
        required = schema.get("required") or []
        return {name: example(properties.get(name, {}), root, depth + 1) for name in required}
    if kind == "array":
        least = min(int(schema.get("minItems") or 0), 10)
        return [example(schema.get("items", {}), root, depth + 1) for _ in range(least)]
    if kind == "string" or kind is None:
        return "simulated".ljust(min(int(schema.get("minLength") or 0), 1000), ".")
    if kind in ("integer", "number"):
        return schema.get("minimum", 1)
    return False if kind == "boolean" else None


def _resolve(reference: Any, root: Any) -> Any:
    found = root
    for step in str(reference).removeprefix("#").strip("/").split("/"):
        found = found.get(step, {}) if isinstance(found, dict) else {}
    return found
