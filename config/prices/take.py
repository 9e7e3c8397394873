"""Takes a new snapshot of the prices out of a wheel of genai-prices. Not needed at run time.

    pip download genai-prices --no-deps
    python -m config.prices.take genai_prices-0.2.3-py3-none-any.whl 2026-11-22

Its table is Python source; it is read as a syntax tree and never run.
"""

import ast
import hashlib
import json
import sys
import zipfile
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any, Final

from config.prices.snapshot import FILE

_CLAUSES: Final = {
    "ClauseStartsWith": ("starts_with", "starts"),
    "ClauseEndsWith": ("ends_with", "ends"),
    "ClauseContains": ("contains", "contains"),
    "ClauseRegex": ("regex", "regex"),
}
_UNITS: Final = ("_mtok", "_kcount", "_hours")
"""Kinds of prices that we can use; those per character, pixel and page are left out: no reply tells their number."""


def main(wheel: str, taken: str) -> None:
    content = Path(wheel).read_bytes()
    with zipfile.ZipFile(wheel) as archive:
        table = ast.parse(archive.read("genai_prices/data.py"))
    assigned = next(node for node in table.body if isinstance(node, ast.AnnAssign))
    providers = _plain(assigned.value)
    head = {
        "source": " ".join(Path(wheel).name.split("-")[:2]).replace("_", "-"),
        "sha256": hashlib.sha256(content).hexdigest(),
        "taken": date.fromisoformat(taken).isoformat(),
        "providers": {p["id"]: _provider(p) for p in providers},
    }
    FILE.write_text("\n".join(_lines(head, providers)) + "\n", encoding="utf-8")


def _lines(head: dict[str, Any], providers: list[dict[str, Any]]) -> Iterator[str]:
    """JSON with a line for each model, so that two snapshots can be compared."""
    yield json.dumps(head, indent=1)[:-2] + ',\n "models": {'
    for at, provider in enumerate(providers):
        yield f"  {json.dumps(provider['id'])}: ["
        models = [json.dumps(_model(m), separators=(",", ":")) for m in provider["models"]]
        yield ",\n".join(f"   {model}" for model in models)
        yield "  ]" + ("," if at < len(providers) - 1 else "")
    yield " }\n}"


def _plain(node: ast.expr | None) -> Any:
    """A literal; a call is a dict: `Tier(start=1)` is `{"": "Tier", "args": [], "start": 1}`."""
    match node:
        case ast.List(elts=items):
            return [_plain(item) for item in items]
        case ast.Dict(keys=keys, values=values):
            return {_plain(key): _plain(value) for key, value in zip(keys, values, strict=True)}
        case ast.Call(func=func, args=args, keywords=named):
            name = func.id if isinstance(func, ast.Name) else ast.unparse(func).rpartition(".")[2]
            return {"": name, "args": [_plain(arg) for arg in args], **{k.arg or "": _plain(k.value) for k in named}}
        case ast.Attribute(attr=attr):
            return attr
        case ast.Constant(value=value):
            return value
    raise ValueError(f"unexpected in the table: {ast.dump(node) if node else None}")


def _provider(raw: dict[str, Any]) -> dict[str, Any]:
    names = raw.get("provider_match")
    told = {"urls": raw["api_pattern"], "names": _clause(names) if names else None}
    return told | {"fallback": raw.get("fallback_model_providers") or []}


def _model(raw: dict[str, Any]) -> dict[str, Any]:
    rows = raw["prices"] if isinstance(raw["prices"], list) else [{"prices": raw["prices"], "args": []}]
    told = {"match": _clause(raw["match"]), "prices": [_row(row) for row in rows]}
    variants = [_row(row) | {"when": row["when"]} for row in raw.get("price_variants") or []]
    return told | ({"variants": variants} if variants else {})


def _row(raw: dict[str, Any]) -> dict[str, Any]:
    row: dict[str, Any] = {"prices": _prices(raw["prices"])}
    constraint = raw.get("constraint") or next(iter(raw["args"]), None)
    if constraint is None:
        return row
    if constraint[""] == "StartDateConstraint":
        return row | {"from": date(*constraint["start_date"]["args"]).isoformat()}
    if constraint["start_time"]["tzinfo"] != "UTC" or constraint["end_time"]["tzinfo"] != "UTC":
        raise ValueError(f"a time of day that is not UTC: {constraint}")
    return row | {"minutes": [_minutes(constraint["start_time"]), _minutes(constraint["end_time"])]}


def _minutes(time: dict[str, Any]) -> int:
    hour, minute = time["args"]
    return int(hour) * 60 + int(minute)


def _prices(raw: dict[str, Any]) -> dict[str, Any]:
    return {key: _price(value) for key, value in raw.items() if key.endswith(_UNITS) and value is not None}


def _price(raw: dict[str, Any]) -> Any:
    """A number, or steps `[more than so many input tokens, price]`."""
    if raw[""] == "Decimal":
        return float(raw["args"][0])
    steps = sorted((tier["start"], _price(tier["price"])) for tier in raw["tiers"])
    return [[0, _price(raw["base"])], *map(list, steps)]


def _clause(raw: dict[str, Any]) -> Any:
    """A text is equality, a list is any of its parts."""
    kind = raw[""]
    if kind == "ClauseEquals":
        return raw["equals"]
    if kind == "ClauseOr":
        return [_clause(part) for part in raw["or_"]]
    if kind == "ClauseAnd":
        return {"all": [_clause(part) for part in raw["and_"]]}
    name, ours = _CLAUSES[kind]
    return {ours: raw[name]}


if __name__ == "__main__":
    main(*sys.argv[1:])
