"""The JSON Schema of `sweep` in a config: keys and options of which `dlrun sweep` takes several values."""

from __future__ import annotations

from typing import Any, get_origin

from dlrun.config.json_types import Schema, members_of, ref
from dlrun.config.reference import Reference

_SWEEP = (
    "The values of keys in `dlrun sweep`, such as {optimizer.lr: [0.1, 0.01]}; or a range, such as "
    "{optimizer.lr: 'log(1e-4,1e-1,7)'}."
)
_SWEPT: Schema = {"type": ["array", "string", "number", "boolean", "null"], "minItems": 1}
_SWEPT_ENTRIES: Schema = {"type": [*_SWEPT["type"], "object"], "minItems": 1, "minProperties": 1}
SWEPT = {"swept": _SWEPT, "swept-entries": _SWEPT_ENTRIES}  # definitions to which the schema refers


def sweep_schema(reference: Reference) -> Schema:
    """The schema of `sweep`: the values of each key and option, as `optimizer.lr` or `optimizer: {lr: …}`."""
    types = {key.option.name: [key.option.type] for key in reference.keys}
    for kind in reference.chosen:
        types[f"{kind.name}.name"] = [str]
        for option in [*kind.common, *(each for part in kind.parts for each in part.options.values())]:
            types.setdefault(f"{kind.name}.{option.name}", []).append(option.type)
    of_entries = [name for name, each in types.items() if any(map(_takes_mapping, each))]
    found = {name: ref("swept-entries" if name in of_entries else "swept") for name in types}
    for kind in reference.chosen:
        options = {
            name.partition(".")[2]: each for name, each in found.items() if name.startswith(f"{kind.name}.")
        }
        found[kind.name] = _SWEPT_ENTRIES | {"properties": options, "additionalProperties": False}
    entries = "|".join(name.replace(".", r"\.") for name in of_entries)
    return {
        "description": _SWEEP,
        "type": ["object", "null"],
        "properties": found,
        "patternProperties": {rf"^({entries})\..": ref("swept")},
        "additionalProperties": False,
    }


def _takes_mapping(kind: Any) -> bool:
    return any(get_origin(each) is dict for each in members_of(kind))
