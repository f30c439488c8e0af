"""A dbt project compiled by dbt: run as a process of its own, because dbt takes seconds to import and changes globals.

What belongs here: from a folder and a contract's columns to the plain JSON of ``shape.SqlProject``, or to every mistake
as a sentence. What does not: when that is needed (``cache``), which SQL dbt must run itself (``static``).

``python -m mlops_assets.dbtproject.compiling OUT`` reads the request as JSON from its standard input.
"""

import json
import re
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from difflib import SequenceMatcher
from pathlib import Path
from typing import Any, Literal

from mlops_assets.dbtproject.invoke import dbt, failures
from mlops_assets.dbtproject.shape import CLEANED, TYPES, DataTest, Model, SqlProject
from mlops_assets.dbtproject.static import needed, own_run
from mlops_assets.errors import ContractError, RefusedError

Node = Mapping[str, Any]

_FEW = 8


def main(out: Path, request: Mapping[str, Any]) -> None:
    """Compile what the request names and write the answer: ``{"project": ...}`` or ``{"mistakes": [...]}``."""
    try:
        answer: dict[str, Any] = {"project": compiled(request).to_dict()}
    except (ContractError, RefusedError) as error:
        answer = {"mistakes": list(error.sentences)}
    out.write_text(json.dumps(answer), encoding="utf-8")


def compiled(request: Mapping[str, Any]) -> SqlProject:
    """The project of a request: its ``folder``, the types of ``raw`` by source and column and of ``cleaned`` by column
    as DuckDB calls them, the ``key`` of the spine, and the names of ``sensitive`` columns.

    Raises:
        ContractError: dbt cannot read the project, or it asks for what the contract does not have.
        RefusedError: SQL cannot be computed over tables of the contract's types.
    """
    folder = Path(request["folder"])
    with tempfile.TemporaryDirectory() as scratch:
        manifest, why = _manifest(folder, Path(scratch))
    nodes = needed(manifest)
    _require_known(folder, manifest, nodes, request)
    project = SqlProject(
        folder=folder,
        key="",
        models=tuple(_model(folder, nodes[name], why) for name in nodes if nodes[name]["resource_type"] == "model"),
        tests=tuple(_tests(folder, manifest, why)),
        sources=tuple(
            sorted(each["name"] for each in manifest["sources"].values() if each["unique_id"] in _read(nodes))
        ),
        code={},
        rules={},
        own_run=why,
        **_documented(manifest, nodes),
    )
    return project if why else _looked_through(project, nodes, request)


def _manifest(folder: Path, scratch: Path) -> tuple[dict[str, Any], str]:
    """What dbt makes of the project, and why it must run it itself; if it need not, all SQL is compiled."""
    # The database's name is part of the compiled SQL.
    database = scratch / "batch.duckdb"
    done = dbt(["parse"], folder, database)
    _require_done(done, folder)
    found = done.result
    manifest: dict[str, Any] = found.writable_manifest().to_dict(omit_none=False)
    why = own_run(folder, manifest)
    if not why:
        _require_done(dbt(["compile"], folder, database, found), folder)
        manifest = found.writable_manifest().to_dict(omit_none=False)
    return manifest, why


def _require_done(done: Any, folder: Path) -> None:
    trouble = failures(done, folder)
    if trouble:
        raise ContractError(*trouble)


def _require_known(folder: Path, manifest: Node, nodes: Mapping[str, Node], request: Mapping[str, Any]) -> None:
    """Refuse a project without ``cleaned``, and what reads anything but the contract's sources."""
    if not any(each["name"] == CLEANED for each in nodes.values()):
        raise ContractError(
            f"{folder / 'dbt_project.yml'}:1: The project has no model {CLEANED!r}, which gives the dataset its table "
            f"{CLEANED!r}: write models/{CLEANED}.sql, or take the folder away."
        )
    told = []
    for each in manifest["sources"].values():
        if each["unique_id"] not in _read(nodes):
            continue
        place = _place(folder, each["original_file_path"], each["name"])
        if (each["source_name"], each["schema"], each["identifier"]) != ("raw", "raw", each["name"]):
            told.append(f"{place}: The sources of a batch are called raw.NAME, not {each['relation_name']}.")
        elif each["name"] not in request["raw"]:
            known = ", ".join(request["raw"])
            told.append(f"{place}: The contract has no source {each['name']!r}; it has {known}.")
    for each in nodes.values():
        if each["resource_type"] == "snapshot":
            place = f"{folder / each['original_file_path']}:1"
            told.append(f"{place}: A snapshot keeps what earlier runs saw; a batch stands on its inputs alone.")
        elif each["resource_type"] == "model" and each["database"] != "batch":
            told.append(
                f"{folder / 'profiles.yml'}:1: The database is called {each['database']!r}; write the path "
                "\"{{ env_var('DBT_DUCKDB_PATH', ':memory:') }}\", so that every batch gets its own."
            )
            break
    if told:
        raise ContractError(*told)


def _read(nodes: Mapping[str, Node]) -> set[str]:
    return {name for each in nodes.values() for name in each["depends_on"]["nodes"]}


def _model(folder: Path, node: Node, why: str) -> Model:
    sql = "" if why else str(node["compiled_code"]).strip()
    kind: Literal["view", "table"] = "table" if node["config"]["materialized"] == "table" else "view"
    file = str(node["original_file_path"])
    return Model(
        node["name"], file, node["relation_name"] or "", node["schema"], kind, sql, 1, _lines(folder / file, sql)
    )


def _lines(file: Path, sql: str) -> tuple[int, ...]:
    """For each line of compiled SQL the line of the file that it comes from."""
    written, made = file.read_text(encoding="utf-8").splitlines(), sql.splitlines()
    found: list[int] = []
    for _, first, last, begin, end in SequenceMatcher(None, written, made, autojunk=False).get_opcodes():
        found += [max(1, min(first + step, last - 1) + 1) for step in range(end - begin)]
    return tuple(found)


def _tests(folder: Path, manifest: Node, why: str) -> Iterator[DataTest]:
    seen: dict[str, str] = {}
    for node in manifest["nodes"].values():
        if node["resource_type"] != "test":
            continue
        name, file, config = re.sub(r"\W", "_", node["name"]), str(node["original_file_path"]), node["config"]
        generic = node.get("test_metadata") or {}
        place = _place(folder, file, node["name"], str(generic.get("name", "")))
        if name in seen:
            raise ContractError(
                f"{place}: Two tests are called {name!r}, the other one in {seen[name]}; name one of them."
            )
        seen[name] = place
        above = node.get("attached_node") or (node["depends_on"]["nodes"] or [""])[0]
        about = {**manifest["nodes"], **manifest["sources"]}.get(above) if generic else None
        sql = "" if why else str(node["compiled_code"]).strip()
        cleaned = next(each for each in manifest["nodes"].values() if _is_cleaned(each))
        yield DataTest(
            name=name,
            id=node["unique_id"],
            file=file,
            severity="warn" if config["severity"].lower() == "warn" else "block",
            description=node["description"] or f"The dbt test {node['name']} finds no row.",
            about=(about or cleaned)["relation_name"],
            about_name=(about or cleaned)["name"],
            sql=sql,
            fail_calc=config["fail_calc"],
            warn_if=config["warn_if"],
            error_if=config["error_if"],
            limit=config["limit"],
            line=int(place.rpartition(":")[2]),
            lines=() if generic else _lines(folder / file, sql),
        )


def _is_cleaned(node: Node) -> bool:
    return bool(node["resource_type"] == "model" and node["name"] == CLEANED)


def _documented(manifest: dict[str, Any], nodes: Mapping[str, Node]) -> dict[str, Any]:
    """What dagster-dbt tells of the model: its translator is what other projects' assets are described by."""
    from dagster_dbt import DagsterDbtTranslator

    node = next(each for each in nodes.values() if _is_cleaned(each))
    spec = DagsterDbtTranslator().get_asset_spec(manifest, node["unique_id"], None)
    schema = spec.metadata.get("dagster/column_schema")
    tags = {name: value for name, value in spec.tags.items() if not name.startswith("dagster/")}
    return {
        "description": (spec.description or "").partition("\n\n#### Raw SQL:")[0].strip(),
        "owners": tuple(spec.owners),
        "tags": tags,
        "columns": {column.name: column.description or "" for column in schema.columns} if schema else {},
    }


def _looked_through(project: SqlProject, nodes: Mapping[str, Node], request: Mapping[str, Any]) -> SqlProject:
    """The project with what its SQL says: tried over empty tables, with lineage, digests and what may be shown."""
    import pyarrow as pa

    from mlops_assets.dbtproject.database import DATABASE, Database, difference
    from mlops_assets.dbtproject.lineage import Tracer, changing, digest
    from mlops_assets.stages.cells import TYPES as ARROW

    told = [
        f"{project.folder / each.file}:{each.line}: {each.name}: {what} says something else each time; "
        "what is made of a batch follows from its inputs alone."
        for each in _written(project)
        if (what := changing(each.sql))
    ]
    types = {TYPES[name]: kind for name, kind in ARROW.items()}
    tables = {
        name: pa.table({column: pa.array([], types[kind]) for column, kind in columns.items()})
        for name, columns in request["raw"].items()
    }
    database = Database(project)
    database.lay(tables)
    try:
        found = database.describe(project.cleaned)
        where = f"{project.folder / project.cleaned.file}:1"
        told += [
            f"{where}: {CLEANED} is not what the contract says: {each}."
            for each in difference(request["cleaned"], found)
        ]
        if told:
            raise ContractError(*told)
        outputs = {test.name: database.columns_of(test) for test in project.tests}
    finally:
        database.close()
    tracer = Tracer(project.models, request["raw"], DATABASE)
    lineage = tracer.trace(project.cleaned.sql)
    above = _above(nodes)
    return replace(
        project,
        tests=tuple(
            replace(test, shown=_shown(test, outputs[test.name], request, tracer)) for test in project.tests
        ),
        code={model.name: f"{model.kind} {digest(model.sql)}" for model in project.models if model.name in above},
        rules={test.name: digest(f"{test.severity} {test.fail_calc} {test.warn_if} {test.error_if} {test.limit} "
                                 f"{test.sql}") for test in project.tests},
        lineage={name: lineage[name] for name in found if name in lineage},
        unresolved=tuple(name for name in found if name not in lineage),
    )  # fmt: skip


def _written(project: SqlProject) -> Iterator[Model | DataTest]:
    yield from project.models
    yield from project.tests


def _above(nodes: Mapping[str, Node]) -> set[str]:
    """The names of ``cleaned`` and of what it reads, however far above."""
    waiting = [name for name, node in nodes.items() if _is_cleaned(node)]
    found: set[str] = set()
    while waiting:
        name = waiting.pop()
        if name in nodes:
            found.add(nodes[name]["name"])
            waiting += nodes[name]["depends_on"]["nodes"]
    return found


def _shown(test: DataTest, outputs: Sequence[str], request: Mapping[str, Any], tracer: Any) -> tuple[str, ...]:
    """Columns of failing rows for people: the key and what the test speaks of first, nothing that may be sensitive."""
    hidden = set(request["sensitive"])
    visible = list(outputs)
    if hidden:
        # Under another name, a column is sensitive still; one that cannot be traced may be.
        pairs = tracer.trace(test.sql)
        visible = [
            name
            for name in outputs
            if name not in hidden and name in pairs and not any(column in hidden for _, column in pairs[name])
        ]
    words = set(re.findall(r"\w+", test.sql))
    told = [name for name in request["key"] if name in visible]
    told += [name for name in visible if name in words and name not in told]
    return tuple(told if told and len(visible) > _FEW else visible)


def _place(folder: Path, file: str, *names: str) -> str:
    """``file:line`` of the first line of a file of the project that has a name in it, the first name that is found."""
    lines = (folder / file).read_text(encoding="utf-8").splitlines()
    found = [
        number
        for name in filter(None, names)
        for number, line in enumerate(lines, 1)
        if re.search(rf"(?<!\w){re.escape(name)}(?!\w)", line)
    ]
    return f"{folder / file}:{found[0] if found else 1}"


if __name__ == "__main__":
    main(Path(sys.argv[1]), json.load(sys.stdin))
