"""Which nodes of a dbt project a batch needs, and whether their compiled SQL is all there is to them.

What belongs here: looking at a manifest. What does not: dbt itself, running anything.

Compiled once, SQL is the same for every batch unless compiling asks something: a database, the environment, the clock.
And only of views and tables is it all that dbt does. Whatever may be otherwise is left to dbt's own run.
"""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from mlops_assets.dbtproject.shape import CLEANED

Node = Mapping[str, Any]

_STATIC = ("view", "table", "ephemeral")
_OWN_PACKAGES = ("dbt", "dbt_duckdb")
_PROFILE = frozenset({"type", "path", "threads", "schema"})
_JINJA = re.compile(r"\{\{.*?\}\}|\{%.*?%\}", re.DOTALL)
_ASKS = re.compile(
    r"\b(run_query|statement|load_result|load_relation|env_var|run_started_at|invocation_id|adapter|modules|graph"
    r"|execute|is_incremental|this|get_columns_in_\w+|get_filtered_columns\w*|get_relation\w*)\b"
)


def needed(manifest: Node) -> dict[str, Node]:
    """``cleaned``, what tests speak of, and all that those read, in an order in which they can be made.

    Models and what they stand on, without sources and tests; of the models alone those that become relations.
    """
    nodes = manifest["nodes"]
    tests = [each for each in nodes.values() if each["resource_type"] == "test"]
    roots = [name for name, each in nodes.items() if each["resource_type"] == "model" and each["name"] == CLEANED]
    roots += sorted(name for test in tests for name in test["depends_on"]["nodes"])
    found: dict[str, Node] = {}

    def visit(name: str) -> None:
        if name in found or name not in nodes:
            return
        for above in nodes[name]["depends_on"]["nodes"]:
            visit(above)
        if nodes[name]["config"]["materialized"] != "ephemeral":
            found[name] = nodes[name]

    for root in roots:
        visit(root)
    return found


def own_run(folder: Path, manifest: Node) -> str:
    """Why dbt must run the project itself, as a sentence's end; empty when compiled SQL is all there is to it."""
    return next(_reasons(folder, manifest), "")


def _reasons(folder: Path, manifest: Node) -> Iterator[str]:
    nodes = needed(manifest)
    tests = [each for each in manifest["nodes"].values() if each["resource_type"] == "test"]
    asked = {name: each for name, each in manifest["nodes"].items() if each["resource_type"] == "operation"}
    for each in asked.values():
        yield f"{each['name']} runs beside the models"
    for node in nodes.values():
        yield from _of_node(node)
    builtin = {each["name"] for each in manifest["macros"].values() if each["package_name"] in _OWN_PACKAGES}
    for macro in manifest["macros"].values():
        name = macro["name"]
        if macro["package_name"] not in _OWN_PACKAGES and name in builtin and not name.startswith("generate_"):
            yield f"{name} is a macro of dbt's that the project replaces"
    for node in (*nodes.values(), *tests, *_ephemeral(manifest)):
        for name, code in [(node["name"], node["raw_code"]), *_macros(manifest, node)]:
            found = _ASKS.search(" ".join(_JINJA.findall(code or "")))
            if found:
                yield f"{name} uses {found[1]}"
    yield from _profile(folder)


def _of_node(node: Node) -> Iterator[str]:
    name, config = node["name"], node["config"]
    if node["resource_type"] != "model":
        yield f"{name} is a {node['resource_type']}"
    elif node["language"] != "sql":
        yield f"{name} is written in {node['language']}"
    elif config["materialized"] not in _STATIC:
        yield f"{name} is {config['materialized']}"
    elif config.get("pre-hook") or config.get("post-hook"):
        yield f"{name} has hooks"
    elif (config.get("contract") or {}).get("enforced"):
        yield f"{name} has a contract of dbt's"
    elif config.get("sql_header"):
        yield f"{name} has an sql_header"


def _ephemeral(manifest: Node) -> list[Node]:
    return [
        each
        for each in manifest["nodes"].values()
        if each["resource_type"] == "model" and each["config"]["materialized"] == "ephemeral"
    ]


def _macros(manifest: Node, node: Node) -> Iterator[tuple[str, str]]:
    """The macros that a node uses, however far above, but for dbt's own."""
    waiting, seen = list(node["depends_on"]["macros"]), set()
    while waiting:
        name = waiting.pop()
        macro = manifest["macros"].get(name)
        if name in seen or macro is None or macro["package_name"] in _OWN_PACKAGES:
            continue
        seen.add(name)
        waiting += macro["depends_on"]["macros"]
        yield macro["name"], macro["macro_sql"]


def _profile(folder: Path) -> Iterator[str]:
    """What the profile asks of the database beyond being there."""
    profiles = yaml.safe_load((folder / "profiles.yml").read_text(encoding="utf-8"))
    for profile in profiles.values() if isinstance(profiles, dict) else ():
        for output in (profile.get("outputs") or {}).values() if isinstance(profile, dict) else ():
            for name in sorted(set(output) - _PROFILE):
                yield f"profiles.yml says {name}"
