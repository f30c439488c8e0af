"""Audits of the batch stages: what blocks, what warns, and that no sentence holds a value."""

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mlops_assets.checks.batch import audit
from mlops_assets.checks.declared import checks, own
from mlops_assets.checks.verdict import Verdict
from mlops_assets.contract.model import Contract, EventTime, FileFormat, Join, Partitions, Target
from mlops_assets.stages.clean import clean, quarantine
from mlops_assets.stages.features import build_features
from mlops_assets.stages.made import Made
from mlops_assets.stages.split import assign_buckets
from mlops_assets_tests.stages.build import BATCH, HEADER, ROWS, column, contract, csv_text, read, sifted, source

if TYPE_CHECKING:
    from mlops_assets.stages.sift import Sifted

STAGES = ("raw/sales", "quarantine", "cleaned", "splits", "features")


def verdicts(stage: str, made: Made, rules: Contract | None = None, **more: Any) -> Mapping[str, Verdict]:
    rules = rules or contract()
    found = audit(rules, stage, made, batch=BATCH, **more)
    assert [verdict.check for verdict in found] == [check.name for check in own(rules, stage)]
    assert [verdict.severity for verdict in found] == [check.severity for check in own(rules, stage)]
    json.dumps([[verdict.sentence, verdict.n, verdict.failed, dict(verdict.details)] for verdict in found])
    return {verdict.check: verdict for verdict in found}


def failing(found: Mapping[str, Verdict]) -> set[str]:
    return {name for name, verdict in found.items() if not verdict.passed}


def cleaned(folder: Path, text: str, rules: Contract | None = None) -> Made:
    account = {"sales": sifted(folder, text, rules=rules)}
    return clean(rules or contract(), {"sales": account["sales"].accepted}, account)


def test_a_good_batch_passes_everything(tmp_path: Path) -> None:
    rules = contract(target=Target("t", "paid > 0", "binary"))
    raw = read(tmp_path, csv_text(*ROWS))
    account = {"sales": sifted(tmp_path, csv_text(*ROWS))}
    made = clean(rules, {"sales": account["sales"].accepted}, account)
    upstream = {"raw/sales": raw.facts, "cleaned": made.facts}
    values = (
        raw,
        quarantine(rules, account),
        made,
        assign_buckets(rules, made.value),
        build_features(rules, made.value),
    )
    for stage, value in zip(STAGES, values, strict=True):
        assert failing(verdicts(stage, value, rules, upstream=upstream)) == set()


def test_names_are_static_and_follow_the_contract() -> None:
    def names(rules: Contract, stage: str) -> list[str]:
        return [check.name for check in checks(rules, stage)]

    whole = contract(partitions=Partitions())
    assert names(contract(), "raw/sales") == ["readable", "complete", "final_newline", "columns", "in_batch", "volume"]
    assert "in_batch" not in names(whole, "raw/sales")
    assert "in_batch" not in names(contract(source(event_time=None)), "raw/sales")
    parquet = contract(source(format=FileFormat("parquet")))
    assert names(parquet, "raw/sales") == ["readable", "verified", "columns", "in_batch", "volume"]
    assert names(contract(source(), source(name="r", kind="reference")), "raw/r") == [
        "readable", "complete", "final_newline", "columns",
    ]  # fmt: skip
    joins = tuple(Join("r", (("id", "id"),), {}, kind=kind) for kind in ("left", "inner"))  # type: ignore[arg-type]
    assert {"matches", "required_matches"} <= set(names(contract(joins=joins), "cleaned"))
    assert not {"matches", "required_matches"} & set(names(contract(), "cleaned"))


# ---- raw


def test_a_truncated_file_blocks_and_names_the_line(tmp_path: Path) -> None:
    found = verdicts("raw/sales", read(tmp_path, csv_text(*ROWS) + "4,2024-0"))
    assert failing(found) == {"complete", "final_newline"}
    assert found["complete"].blocks
    assert found["complete"].examples == (
        "landing/sales_2024-01.csv line 5: the last record is cut off. Deliver the whole file.",
    )
    made = read(tmp_path, csv_text(*ROWS) + "4,2024-0")
    twice = verdicts("raw/sales", replace(made, facts={**made.facts, "files": made.facts["files"] * 2}))["complete"]
    assert twice.sentence == f"{found['complete'].examples[0]} The same goes for 1 more file."


@pytest.mark.parametrize(
    ("earlier", "passed", "sentence"),
    [
        (None, False, "5 of 5 columns have no page checksums in 1 of 1 file: damage may pass unseen. Ask for them"),
        ([], False, "5 of 5 columns have no page checksums in 1 of 1 file, unlike the batches before. Damage may pass"),
        (["id"], True, "5 of 5 columns have no page checksums in 1 of 1 file, as in most batches before: damage may"),
    ],
)
def test_parquet_that_cannot_be_verified_warns_unless_it_is_usual(
    tmp_path: Path, earlier: list[str] | None, passed: bool, sentence: str
) -> None:
    table = source(format=FileFormat("parquet"))
    rules = contract(table)
    columns = {name: ["1"] for name in table.columns}
    pq.write_table(pa.table(columns), tmp_path / "bare.parquet")
    made = read(tmp_path, (tmp_path / "bare.parquet").read_bytes(), table)
    before = [] if earlier is None else [{"unverified_columns": earlier, "rows": 1}] * 3
    found = {each.check: each for each in audit(rules, "raw/sales", made, batch=BATCH, earlier=before)}["verified"]
    assert (found.passed, found.severity) == (passed, "warn")
    assert found.sentence.startswith(sentence)
    pq.write_table(pa.table(columns), tmp_path / "sealed.parquet", write_page_checksum=True)
    made = read(tmp_path, (tmp_path / "sealed.parquet").read_bytes(), table)
    found = {each.check: each for each in audit(rules, "raw/sales", made, batch=BATCH)}["verified"]
    assert (found.passed, found.sentence) == (True, "Page checksums were verified in every column.")


def test_a_column_without_a_name_is_called_so(tmp_path: Path) -> None:
    text = csv_text(*(f"{row}," for row in ROWS), header=f"{HEADER},")
    found = verdicts("raw/sales", read(tmp_path, text))["columns"]
    assert found.sentence == "The contract does not know a column without a name; declare what is wanted."


def test_a_missing_line_end_warns_unless_it_is_usual(tmp_path: Path) -> None:
    made = read(tmp_path, csv_text(*ROWS).rstrip("\n"))
    found = verdicts("raw/sales", made, earlier=[{"final_newline": True, "rows": 3}] * 3)
    assert failing(found) == {"final_newline"}
    assert found["final_newline"].sentence == (
        "landing/sales_2024-01.csv ends without a line end, unlike the batches before: the end may be missing."
    )
    assert "may still lack a piece of its last value" in found["complete"].sentence
    usual = verdicts("raw/sales", made, earlier=[{"final_newline": False, "rows": 3}] * 3)
    assert usual["final_newline"].passed


def test_unknown_columns_are_told(tmp_path: Path) -> None:
    found = verdicts("raw/sales", read(tmp_path, csv_text(*(f"{row},x" for row in ROWS), header=f"{HEADER},note")))
    assert failing(found) == {"columns"}
    assert found["columns"].sentence == "The contract does not know note; declare what is wanted."


def test_rows_of_another_month_block(tmp_path: Path) -> None:
    text = csv_text(*ROWS, "4,2024-02-01,north,1,1", "5,2023-12-31,north,1,1", "6,rubbish,north,1,1")
    found = verdicts("raw/sales", read(tmp_path, text))["in_batch"]
    assert found.blocks
    assert (found.failed, found.n) == (2, 6)
    assert found.sentence == "2 rows of 6 belong to other batches than 2024-01 by day."
    assert found.examples == (
        "landing/sales_2024-01.csv line 5: day: '2024-02-01' belongs to 2024-02, not to 2024-01.",
        "landing/sales_2024-01.csv line 6: day: '2023-12-31' belongs to 2023-12, not to 2024-01.",
    )


def test_parts_of_a_time_are_judged_together(tmp_path: Path) -> None:
    table = source(
        column("id", "int64"), column("y", "int64"), column("m", "int64"),
        event_time=EventTime(("y", "m"), ("year", "month")),
    )  # fmt: skip
    made = read(tmp_path, "id,y,m\n1,2024,1\n2,2024,2\n3,2023,1\n4,2024,13\n", table)
    found = verdicts("raw/sales", made, contract(table))["in_batch"]
    assert found.failed == 2
    assert found.examples[0].endswith("line 3: y, m: '2024', '2' belongs to 2024-02, not to 2024-01.")


def test_a_sensitive_time_is_not_shown(tmp_path: Path) -> None:
    table = source()
    table = replace(
        table,
        columns={**table.columns, "day": replace(table.columns["day"], roles=frozenset({"time", "sensitive"}))},
    )
    made = read(tmp_path, csv_text("4,2024-02-01,north,1,1"), table)
    assert verdicts("raw/sales", made, contract(table))["in_batch"].examples == (
        "landing/sales_2024-01.csv line 2: day: a value does not belong to 2024-01.",
    )


@pytest.mark.parametrize(
    ("before", "passes"), [([3, 3], True), ([3, 4, 3], True), ([30, 40, 30], False), ([1] * 4, False)]
)
def test_volume_is_compared_with_the_batches_before(tmp_path: Path, before: list[int], passes: bool) -> None:
    found = verdicts("raw/sales", read(tmp_path, csv_text(*ROWS)), earlier=[{"rows": rows} for rows in before])
    assert found["volume"].passed is passes
    assert found["volume"].severity == "warn"


def test_a_header_alone_warns_here_and_blocks_cleaned(tmp_path: Path) -> None:
    assert failing(verdicts("raw/sales", read(tmp_path, csv_text()))) == {"volume"}
    found = verdicts("cleaned", cleaned(tmp_path, csv_text()))
    assert failing(found) == {"not_empty"}
    assert found["not_empty"].sentence == "No row of the batch was accepted, or none was delivered."


# ---- quarantine and cleaned


def test_conservation_counts_again(tmp_path: Path) -> None:
    text = csv_text(*ROWS, ROWS[0], "x")
    made = quarantine(contract(), {"sales": sifted(tmp_path, text)})
    good = verdicts("quarantine", made, upstream={"raw/sales": read(tmp_path, text).facts})
    assert good["conservation"].sentence == "All 5 rows are accounted for."
    for wrong in (
        Made(made.value.slice(0, 0), made.facts),
        Made(made.value, {"sources": {"sales": {**made.facts["sources"]["sales"], "accepted": 2}}}),
    ):
        assert verdicts("quarantine", wrong)["conservation"].blocks
    found = verdicts("quarantine", made, upstream={"raw/sales": {"rows": 6}})["conservation"]
    assert found.sentence == ("sales: 6 raw rows, but 3 accepted + 1 quarantined (1 kept) + 1 exact duplicates.")


def test_a_third_of_broken_rows_blocks_with_reasons(tmp_path: Path) -> None:
    rows = [f"{n},2024-01-05,north,{'x' if n % 10 < 3 else '1'},1" for n in range(1, 101)]
    found = verdicts("cleaned", cleaned(tmp_path, csv_text(*rows)))
    assert failing(found) == {"rejected", "rejected_warn"}
    verdict = found["rejected"]
    assert verdict.blocks
    assert (verdict.n, verdict.failed, verdict.threshold, verdict.share) == (100, 30, 0.05, 0.3)
    assert verdict.sentence == (
        "30 of 100 rows of sales (30.00%) are quarantined; the limit is 5.00%. Most often: price: is not a number "
        "(30 rows)."
    )
    assert verdict.details["reasons"] == {"sales": {"price: is not a number": 30}}
    assert verdict.examples[0] == "landing/sales_2024-01.csv line 2: price: 'x' is not a number."


def test_a_few_broken_rows_warn(tmp_path: Path) -> None:
    rows = [f"{n},2024-01-05,north,{'x' if n == 7 else '1'},1" for n in range(1, 101)]
    assert failing(verdicts("cleaned", cleaned(tmp_path, csv_text(*rows)))) == {"rejected_warn"}


def test_a_share_equal_to_the_limit_passes(tmp_path: Path) -> None:
    rows = [f"{n},2024-01-05,north,{'x' if n <= 5 else '1'},1" for n in range(1, 101)]
    assert failing(verdicts("cleaned", cleaned(tmp_path, csv_text(*rows)))) == {"rejected_warn"}


def test_a_key_that_is_not_unique_blocks(tmp_path: Path) -> None:
    made = cleaned(tmp_path, csv_text(*ROWS))
    twice = Made(pa.concat_tables([made.value, made.value.slice(0, 1)]), made.facts)
    found = verdicts("cleaned", twice)
    assert failing(found) == {"unique_key", "fan_out"}
    assert found["unique_key"].sentence == "2 rows share their key (id)."
    assert found["fan_out"].sentence == "3 rows went into the joins and 4 came out."


def with_joins(*matched: int, kind: Any = "left", ambiguous: int = 0) -> tuple[Contract, Made]:
    joins = tuple(Join(f"s{n}", (("id", "id"),), {}, kind=kind, warn_below=0.9) for n in range(len(matched)))
    facts = [
        {"source": join.source, "kind": kind, "rows": 10, "matched": count, "ambiguous": ambiguous}
        for join, count in zip(joins, matched, strict=True)
    ]
    account = {"raw": 10, "accepted": 10, "quarantined": 0, "duplicates": 0, "reasons": {}}
    value = pa.table({"id": pa.array(range(10))})
    return contract(joins=joins), Made(
        value, {"rows": 10, "rows_in": 10, "sources": {"sales": account}, "joins": facts}
    )


def test_too_few_matches_warn() -> None:
    rules, made = with_joins(10, 8)
    found = verdicts("cleaned", made, rules)
    assert failing(found) == {"matches"}
    assert found["matches"].sentence == "8 of 10 rows (80.0%) have a match in s1; 90.0% are expected."
    assert found["matches"].details == {"matched": {"s0": 1.0, "s1": 0.8}}


def test_an_inner_join_needs_every_match() -> None:
    rules, made = with_joins(9, kind="inner")
    found = verdicts("cleaned", made, rules)
    assert failing(found) == {"required_matches"}
    assert found["required_matches"].blocks


def test_a_match_that_is_not_one_blocks() -> None:
    rules, made = with_joins(9, ambiguous=1)
    found = verdicts("cleaned", made, rules)
    assert failing(found) == {"fan_out"}
    assert found["fan_out"].sentence == "1 row could meet several rows of s0 and met none."


# ---- splits and features


def test_buckets_must_fit_the_rows() -> None:
    made = assign_buckets(contract(), pa.table({"id": pa.array(range(1000))}))
    assert failing(verdicts("splits", made, upstream={"cleaned": {"rows": 1000}})) == set()
    assert failing(verdicts("splits", made, upstream={"cleaned": {"rows": 999}})) == {"aligned"}
    wrong = Made(pa.table({"bucket": pa.array([0, 10_000, None], pa.int16())}), {**made.facts, "rows": 3})
    found = verdicts("splits", wrong)
    assert failing(found) == {"schema"}
    assert found["schema"].sentence == "bucket has no value in 1 row. bucket is above the maximum 9999 in 1 row."
    assert found["schema"].blocks
    other = Made(pa.table({"bucket": pa.array([0, 1, 2], pa.int64())}), {**made.facts, "rows": 3})
    assert verdicts("splits", other)["schema"].sentence == "bucket holds int64 instead of int16."
    lumpy = Made(made.value, {**made.facts, "tenths": [200, 0, 100, 100, 100, 100, 100, 100, 100, 100]})
    assert verdicts("splits", lumpy)["buckets"].failed == 2


def features(folder: Path, *rows: str) -> Made:
    made = cleaned(folder, csv_text(*rows))
    return build_features(contract(), made.value)


def test_features_keep_their_types_and_rows(tmp_path: Path) -> None:
    made = features(tmp_path, *ROWS)
    for value, told in (
        (made.value.drop(["price"]), "price is not there."),
        (made.value.set_column(0, "price", pa.array([1, 2, 3])), "price holds int64 instead of double."),
        (made.value.set_column(0, "price", pa.array([1.0, None, float("inf")])), "price is not finite in 1 row."),
    ):
        found = verdicts("features", Made(value, made.facts))
        assert found["schema"].blocks
        assert found["schema"].sentence == told
    assert (
        verdicts("features", made, upstream={"cleaned": {"rows": 4}})["schema"].sentence == "4 cleaned rows became 3."
    )


def test_empty_and_stuck_features_warn(tmp_path: Path) -> None:
    made = features(tmp_path, *(f"{n},2024-01-05,north,,{n % 2}" for n in range(1, 9)))
    found = verdicts("features", made, earlier=[{"constant": []}] * 3)
    assert failing(found) == {"filled"}
    assert found["filled"].sentence == "Empty: price. Always the same, unlike before: shop."
    assert found["filled"].details["missing_share"] == {"price": 1.0}
    usual = verdicts("features", made, earlier=[{"constant": ["shop"]}] * 3)
    assert usual["filled"].sentence == "Empty: price."


def test_without_answers_nothing_can_be_learnt(tmp_path: Path) -> None:
    found = verdicts("features", features(tmp_path, *(f"{n},2024-01-05,north,{n}," for n in range(1, 4))))
    assert failing(found) == {"target"}
    assert found["target"].sentence == "No row has an answer: bought (paid > 0) is null everywhere."


def test_answers_that_are_all_the_same_warn(tmp_path: Path) -> None:
    made = features(tmp_path, *(f"{n},2024-01-05,north,{n},1" for n in range(1, 4)))
    assert failing(verdicts("features", made)) == {"classes"}
    rules = contract(target=Target("kind", "shop", "multiclass"))
    same = build_features(rules, cleaned(tmp_path, csv_text(*ROWS[:1])).value)
    found = verdicts("features", same, rules)
    assert found["classes"].sentence == "1 answers to kind, 1 different ones."


def test_no_sentence_or_detail_holds_a_value(tmp_path: Path) -> None:
    text = csv_text("1,2024-01-05,secret,1,1", "2,secret,north,1,1", "3,2024-02-02,north,secret,1", "secret", '"secret')
    account: dict[str, Sifted] = {"sales": sifted(tmp_path, text)}
    raw, made = read(tmp_path, text), clean(contract(), {"sales": account["sales"].accepted}, account)
    kept: list[Any] = [raw.facts, made.facts, quarantine(contract(), account).facts]
    for stage, value in (("raw/sales", raw), ("cleaned", made), ("quarantine", quarantine(contract(), account))):
        kept += [[each.sentence, dict(each.details)] for each in verdicts(stage, value).values()]
    assert "secret" not in json.dumps(kept)
