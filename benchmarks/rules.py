"""The same ten rules in DuckDB, pandera, Great Expectations and dbt: CPU seconds, start-up apart.

usage: python benchmarks/rules.py [LANDING] [--only TOOL ...]
needs the project's environment; prints a Markdown table. LANDING has the flights (default: data/flights/landing).

Every tool has a process of its own and is given the same typed rows: January with 1 % of broken cells, the year with
1 % of broken cells, and the year with every row breaking every rule by a value of its own. It must find the same
number of rows for each rule, or the script ends with what differs. Start-up is imports, what a tool parses, and its
first run on 100 rows. ``pandera, distinct values`` is what the project does (``stages.rules``); the others are written
as their manuals say. CPU is user and system time of the process with one thread; compare ratios within one run. What
does not belong here: anything that asserts how fast something is.

On two shared cores, with the versions of requirements.lock:

==========================  ========  ============  ==============  ================  =======
CPU seconds                 start-up  January, 27k  the year, 337k  all broken, 337k  peak MB
==========================  ========  ============  ==============  ================  =======
DuckDB SQL, counts              0.09          0.01            0.07              0.05      281
pandera, whole columns          0.41          0.09            0.20              6.90    1,246
pandera, distinct values        0.44          0.06            0.09              0.90      312
Great Expectations, counts      3.19          0.17            1.30              1.56      526
dbt data tests                  3.98          0.22            0.29              0.28      330
==========================  ========  ============  ==============  ================  =======

What is chosen for what, and why
--------------------------------
row rules, accept or quarantine (``contract``)
    pandera on each column's distinct values. Cost follows the number of different values, patterns are Python's own,
    and a mask comes back, so that a row can be told all its reasons. On whole columns pandera spends seconds and a
    gigabyte on failure cases as soon as a delivery is bad throughout. DuckDB is quicker still, but counts: to say why
    each row is refused, ten rules become ten columns of SQL that somebody has to write and keep.
tables between our Python stages (``features``, ``splits``, requests)
    pandera on whole columns, of which one failure case and the mask are taken: the same generated checks, types and
    missing columns included, some twenty milliseconds for a month.
our SQL (``cleaned``)
    dbt data tests: they stand beside the model they test, cost the same for a month and for a year, and know how to
    select what failed. Start-up is the price, paid once in a process.
the supplier's data as a whole (``expectations.json``)
    Great Expectations: analysts write and read it, with severity and words of their own. Its start-up outweighs
    twenty months of rules, so it is loaded only where a suite exists, and never for a row rule.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

os.environ |= {
    "OMP_NUM_THREADS": "1",
    "OMP_WAIT_POLICY": "passive",
    "ARROW_DEFAULT_MEMORY_POOL": "system",
    "DBT_SEND_ANONYMOUS_USAGE_STATS": "false",
    "DO_NOT_TRACK": "1",
    "GX_ANALYTICS_ENABLED": "false",
}

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

HERE = Path(__file__).resolve().parent
LANDING = HERE.parent / "data" / "flights" / "landing"
MONTHS = [f"2013-{month:02}" for month in range(1, 13)]
PLACES = ("EWR", "JFK", "LGA")
RULES: Sequence[tuple[str, str, tuple[Any, ...]]] = (
    ("minute", "not_null", ()),
    ("time_hour", "not_null", ()),
    ("dep_delay", "between", (-120, 2880)),
    ("air_time", "between", (1, 1200)),
    ("distance", "between", (1, 12000)),
    ("sched_dep_time", "between", (0, 2359)),
    ("origin", "values", PLACES),
    ("carrier", "pattern", ("[A-Z0-9]{2}",)),
    ("tailnum", "pattern", ("[A-Z][0-9][A-Z0-9]{3,4}",)),
    ("dest", "pattern", ("[A-Z]{3}",)),
)
BROKEN: Mapping[str, Callable[[int], Any]] = {
    "minute": lambda _row: None,
    "time_hour": lambda _row: None,
    "dep_delay": lambda row: 1e5 + row,
    "air_time": lambda row: 1e5 + row,
    "distance": lambda row: -1.0 - row,
    "sched_dep_time": lambda row: 9999 + row,
    "origin": lambda row: f"origin {row}",
    "carrier": lambda row: f"carrier {row}",
    "tailnum": lambda row: f"tailnum {row}",
    "dest": lambda row: f"dest {row}",
}
Counts = list[int]
Run = Callable[[pa.Table, Path], Counts]


# ---- tools: what is returned has been started up


def duckdb_sql() -> Run:
    """One query that counts."""
    import duckdb

    connection = duckdb.connect(config={"threads": 1})
    sql = ", ".join(f"count(*) filter (not ({_sql(*rule)}))" for rule in RULES)

    def run(table: pa.Table, _file: Path) -> Counts:
        connection.register("rows", table)
        (found,) = connection.execute(f"select {sql} from rows").fetchall()  # noqa: S608
        return [int(count) for count in found]

    return run


def pandera_columns() -> Run:
    """One schema over whole columns, Arrow in pandas."""
    import pandas as pd
    import pandera.pandas as pandera
    from pandera.errors import SchemaErrors

    def whole(pattern: str) -> Any:
        return pandera.Check.str_matches(f"^(?:{pattern})$")

    def run(table: pa.Table, _file: Path) -> Counts:
        frame = table.to_pandas(types_mapper=pd.ArrowDtype)
        columns = {}
        for name, kind, words in RULES:
            checks = {
                "between": pandera.Check.in_range,
                "values": lambda *words: pandera.Check.isin(words),
                "pattern": whole,
            }
            asked = [checks[kind](*words)] if kind in checks else []
            columns[name] = pandera.Column(frame[name].dtype, asked, nullable=kind != "not_null")
        try:
            pandera.DataFrameSchema(columns).validate(frame, lazy=True, inplace=True)
        except SchemaErrors as errors:
            counts = errors.failure_cases.groupby("column").size().to_dict()
        else:
            counts = {}
        return [int(counts.get(name, 0)) for name, _, _ in RULES]

    return run


def pandera_distinct() -> Run:
    """What the project does: each column's distinct values, and masks."""
    from mlops_assets.contract.model import Column, FileFormat
    from mlops_assets.stages.rows import encode
    from mlops_assets.stages.rules import judge

    def run(table: pa.Table, _file: Path) -> Counts:
        counts = []
        for name, kind, words in RULES:
            distinct, places = encode(table[name])
            names = {"between": ("minimum", "maximum"), "values": ("values",), "pattern": ("pattern",)}.get(kind, ())
            said: dict[str, Any] = dict(zip(names, [words] if kind == "values" else words, strict=True))
            known: Any = {pa.int64(): "int64", pa.float64(): "float64", pa.string(): "string"}
            column = Column(name, known.get(table[name].type, "timestamp"), kind != "not_null", **said)
            found = judge("", column, FileFormat(missing=()), distinct).findings
            counts.append(sum(int(each.broken[places].sum()) for each in found))
        return counts

    return run


def great_expectations() -> Run:
    """An ephemeral context and a suite; counts only."""
    import great_expectations as gx
    import pandas as pd

    context = gx.get_context(mode="ephemeral")
    context.variables.progress_bars = {"globally": False}
    said = [
        {"type": kind, "kwargs": {"column": column, **kwargs}, "meta": {"place": place}}
        for place, (column, kind, kwargs) in enumerate(_expectations())
    ]
    suite = context.suites.add(gx.ExpectationSuite(name="rules", expectations=said))
    asset = context.data_sources.add_pandas("rows").add_dataframe_asset("rows")
    batch = asset.add_batch_definition_whole_dataframe("rows")
    validation = context.validation_definitions.add(gx.ValidationDefinition(name="rules", data=batch, suite=suite))

    def run(table: pa.Table, _file: Path) -> Counts:
        frame = table.to_pandas(types_mapper=pd.ArrowDtype)
        done = validation.run(batch_parameters={"dataframe": frame}, result_format={"result_format": "BASIC"})
        # results come in another order than the suite has
        by_place = {each.expectation_config.meta["place"]: each for each in done.results}
        return [int(by_place[place].result["unexpected_count"]) for place in range(len(RULES))]

    return run


def dbt_tests() -> Run:
    """A dbt project of one source and its data tests, dbt running in this process."""
    folder = Path(tempfile.mkdtemp(dir=os.environ["RULES_FOLDER"]))
    _write_dbt(folder)
    os.environ["DBT_DUCKDB_PATH"] = str(folder / "batch.duckdb")
    import duckdb
    from dbt.cli.main import dbtRunner

    places = ["--project-dir", str(folder), "--profiles-dir", str(folder), "--target-path", str(folder / "target")]
    parsed = dbtRunner().invoke(["--log-level", "none", "parse", *places])
    if parsed.exception:
        raise parsed.exception
    manifest = parsed.result

    def run(_table: pa.Table, file: Path) -> Counts:
        with duckdb.connect(os.environ["DBT_DUCKDB_PATH"]) as connection:
            connection.execute("create schema if not exists raw")
            connection.execute(f"create or replace view raw.rows as select * from read_parquet('{file}')")  # noqa: S608
        done = dbtRunner(manifest=manifest).invoke(["--log-level", "none", "test", "--no-write-json", *places])
        if done.exception:
            raise done.exception
        failures = {result.node.name: int(result.failures or 0) for result in done.result}
        return [failures[f"rule_{place}"] for place in range(len(RULES))]

    return run


TOOLS: Mapping[str, tuple[str, Callable[[], Run]]] = {
    "duckdb": ("DuckDB SQL, counts", duckdb_sql),
    "pandera": ("pandera, whole columns", pandera_columns),
    "distinct": ("pandera, distinct values", pandera_distinct),
    "ge": ("Great Expectations, counts", great_expectations),
    "dbt": ("dbt data tests", dbt_tests),
}


# ---- the rules in the words of each tool


def _sql(column: str, kind: str, words: tuple[Any, ...]) -> str:
    """What must hold, as SQL; a missing value breaks ``not_null`` only."""
    match kind:
        case "not_null":
            return f"{column} is not null"
        case "between":
            test = f"{column} between {words[0]} and {words[1]}"
        case "values":
            test = f"{column} in {words}"
        case _:
            test = f"regexp_full_match({column}, '{words[0]}')"
    return f"{column} is null or {test}"


def _expectations() -> Iterator[tuple[str, str, dict[str, Any]]]:
    for column, kind, words in RULES:
        match kind:
            case "not_null":
                yield column, "expect_column_values_to_not_be_null", {}
            case "between":
                yield column, "expect_column_values_to_be_between", {"min_value": words[0], "max_value": words[1]}
            case "values":
                yield column, "expect_column_values_to_be_in_set", {"value_set": list(words)}
            case _:
                yield column, "expect_column_values_to_match_regex", {"regex": f"^(?:{words[0]})$"}


def _write_dbt(folder: Path) -> None:
    """A project: the ready-made tests where dbt has them, one general test for the others."""
    (folder / "tests" / "generic").mkdir(parents=True)
    (folder / "models").mkdir()
    (folder / "dbt_project.yml").write_text("name: rules\nconfig-version: 2\nprofile: rules\nmodel-paths: [models]\n")
    (folder / "profiles.yml").write_text(
        "rules:\n  target: batch\n  outputs:\n    batch: {type: duckdb, threads: 1, path: "
        "\"{{ env_var('DBT_DUCKDB_PATH') }}\"}\n"
    )
    (folder / "tests" / "generic" / "holds.sql").write_text(
        "{% test holds(model, column_name, sql) %}select * from {{ model }} where not ({{ sql }}){% endtest %}\n"
    )
    columns = []
    for place, (column, kind, words) in enumerate(RULES):
        test: dict[str, Any] = {"name": f"rule_{place}"}
        if kind == "not_null":
            tests = [{"not_null": test}]
        else:
            tests = [{"holds": test | {"arguments": {"sql": _sql(column, kind, words)}}}]
        columns.append({"name": column, "data_tests": tests})
    sources = [{"name": "raw", "schema": "raw", "tables": [{"name": "rows", "columns": columns}]}]
    (folder / "models" / "sources.yml").write_text(json.dumps({"sources": sources}))


# ---- the rows


def rows(landing: Path, months: Sequence[str]) -> pa.Table:
    """The columns of the rules, typed as the contract says."""
    from mlops_assets.contract.load import load_contract
    from mlops_assets.stages.cells import typed
    from mlops_assets.stages.ingest import Delivery, read_source
    from mlops_assets.stages.rows import one_chunk

    contract = load_contract(LANDING.parent)
    source = contract.sources[contract.spine]
    tables = []
    for month in months:
        file = landing / f"flights_{month}.csv"
        raw = read_source(contract, source, [Delivery(file.name, file)], month).value
        tables.append(
            pa.table(
                {name: typed(source.columns[name], source.format, one_chunk(raw[name]))[0] for name, _, _ in RULES}
            )
        )
    return pa.concat_tables(tables).combine_chunks()


def broken(table: pa.Table, every: int) -> pa.Table:
    """The table with one cell in ``every`` of each column broken, each by a value that no other row has."""
    columns = {}
    for place, name in enumerate(table.column_names):
        mask = pa.array([(row + place * 7) % every == 0 for row in range(table.num_rows)])
        wrong = pa.array([BROKEN[name](row) for row in range(table.num_rows)], table[name].type)
        columns[name] = pc.if_else(mask, wrong, table[name])
    return pa.table(columns)


# ---- processes


def child(tool: str, files: Sequence[Path]) -> None:
    """Start one tool up and run it on each file; prints one JSON line."""
    pa.set_cpu_count(1)
    tables = [pq.read_table(file) for file in files]
    small = files[0].with_name("small.parquet")
    seconds: list[float] = []
    counts: list[Counts] = []
    before = time.process_time()
    run = TOOLS[tool][1]()
    run(tables[0].slice(0, 100), small)
    seconds.append(time.process_time() - before)
    for table, file in zip(tables, files, strict=True):
        before = time.process_time()
        counts.append(run(table, file))
        seconds.append(time.process_time() - before)
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"seconds": seconds, "counts": counts, "memory": memory}))


def main() -> None:
    """Every tool in turn, then the table."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("landing", nargs="?", type=Path, default=LANDING)
    options.add_argument("--only", nargs="+", choices=list(TOOLS), default=list(TOOLS))
    options.add_argument("--child", nargs="+", help=argparse.SUPPRESS)
    args = options.parse_args()
    if args.child:
        child(args.child[0], [Path(file) for file in args.child[1:]])
        return
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        year = rows(args.landing, MONTHS)
        january = rows(args.landing, MONTHS[:1])
        tables = {"january": broken(january, 100), "year": broken(year, 100), "all": broken(year, 1)}
        for title, table in {**tables, "small": tables["january"].slice(0, 100)}.items():
            pq.write_table(table, folder / f"{title}.parquet")
        print("| | start-up | January, 27k | the year, 337k | all broken, 337k | peak MB |")
        print("|---|---|---|---|---|---|")
        expected: list[Counts] | None = None
        for tool in args.only:
            words = [sys.executable, __file__, "--child", tool, *(str(folder / f"{title}.parquet") for title in tables)]
            variables = {**os.environ, "RULES_FOLDER": name}
            done = subprocess.run(words, stdout=subprocess.PIPE, text=True, check=True, env=variables, cwd=HERE.parent)
            found = json.loads(done.stdout.splitlines()[-1])
            expected = expected or found["counts"]
            if found["counts"] != expected:
                raise SystemExit(f"{tool} finds {found['counts']}, others {expected}")
            cells = [f"{second:.2f}" for second in found["seconds"]]
            print(f"| {TOOLS[tool][0]} | {' | '.join(cells)} | {found['memory']:,.0f} |", flush=True)


if __name__ == "__main__":
    main()
