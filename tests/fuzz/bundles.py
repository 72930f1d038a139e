"""Bundles by strangers: settings that make no sense, under checksums that fit."""

import random

VALUES = (
    *(None, True, -1, 0, 1, 3, 0.5, 1e6, 1e300, 10**400, float("nan"), -(2**63)),
    *("", "x", "../..", [], {}, [[]], ["x"], [0, -1], {"x": 1}),
)


def edited(described: dict, rng: random.Random) -> tuple[dict, str]:
    """A bundle.json with one value replaced, dropped or added, and what was done."""
    described = _copied(described)
    where, path = described, []
    while True:
        key = rng.choice(list(where.keys() if isinstance(where, dict) else range(len(where))))
        path.append(key)
        inner = where[key]
        if not isinstance(inner, dict | list) or not inner or rng.random() < 0.25:
            break
        where = inner
    value = rng.choice([*VALUES, "dropped", "added"])
    if value == "dropped":
        del where[key]
    elif value == "added" and isinstance(where, dict):
        where["surplus"] = 1
    else:
        where[key] = value
    return described, f"{'/'.join(map(str, path))} = {str(value)[:30]}"


def _copied(value):
    if isinstance(value, dict):
        return {key: _copied(item) for key, item in value.items()}
    return [_copied(item) for item in value] if isinstance(value, list) else value
