"""How the rows of a release come to the comparison of its parts, and to the audit of it.

What belongs here: reading exact inputs, and those of the release before. What does not: the comparison
(``stages.parts``), the judgement (``checks.parts``).
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from mlops_assets.assets.graph import plain
from mlops_assets.assets.plan import Plan
from mlops_assets.checks.verdict import Verdict
from mlops_assets.errors import CorruptError, NotStoredError
from mlops_assets.stages.made import Made
from mlops_assets.stages.roles import bucket_ranges
from mlops_assets.store.manifest import Input, Manifest

if TYPE_CHECKING:
    import pyarrow as pa

    from mlops_assets.checks.parts import Before
    from mlops_assets.stages.parts import Part

STAGE = "split_report"
Value = Callable[[Input, Sequence[str] | None], Any]
"""Reads an exact input, or some columns of it."""


def preview(report: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The features of a split report for Dagster, those that moved most first."""
    ranked = sorted(report["features"].items(), key=lambda item: (-item[1]["drift"], item[0]))
    return [
        {"feature": name, "drift": round(of["drift"], 3), "by chance": round(of["chance"], 3), "alone": of["alone"]}
        for name, of in ranked
    ]


class Parting:
    """The rows of one release by their parts."""

    def __init__(self, plan: Plan, value: Value, release: str, inputs: Sequence[Input]) -> None:
        self._plan = plan
        self._contract = plan.graph.contract
        self._value = value
        self._release = release
        self._inputs = tuple(inputs)

    def make(self, threads: int) -> Made:
        """The split report."""
        from mlops_assets.stages.parts import compare

        return compare(self._contract, self._parts(), threads)

    def audit(self, report: Mapping[str, Any]) -> list[Verdict]:
        """The verdicts on a split report."""
        from mlops_assets.checks.parts import audit

        return audit(self._contract, report, self._parts, self._before)

    def _parts(self) -> "Mapping[str, Part]":
        from mlops_assets.stages.parts import known_columns, parts_of

        features, splits, cleaned = (self._of(stage, self._inputs) for stage in ("features", "splits", "cleaned"))
        columns = known_columns(self._contract)

        def read(batch: str) -> "tuple[pa.Table, pa.ChunkedArray, pa.Table]":
            known = self._value(cleaned[batch], columns)
            return self._value(features[batch], None), self._value(splits[batch], None)["bucket"], known

        roles = self._plan.release_roles(self._release).items()
        found = {role: [batch for batch in batches if batch in features] for role, batches in roles}
        return parts_of(self._contract, found, self._plan.calendar.sort, read)

    def _of(self, stage: str, inputs: Sequence[Input]) -> dict[str, Input]:
        asset = self._plan.graph.asset(stage)
        return {item.partition: item for item in inputs if item.asset == asset and item.manifest}

    def _before(self) -> "Before | None":
        """What became of the test rows of the release that was made before this one, where rows are split by hash."""
        earlier = self._earlier()
        if earlier is None:
            return None
        from mlops_assets.checks.parts import Before

        was, now = earlier.settings, self._settings()
        changed = tuple(name for name, value in was["split"].items() if value != now["split"].get(name))
        fitted = [self._again(earlier, batch) for batch in self._moved(earlier)]
        train, unread = sum(rows or 0 for rows in fitted), fitted.count(None)
        return Before(earlier.batch, earlier.when, int(earlier.facts["test_rows"]), train, unread, changed)

    def _earlier(self) -> Manifest | None:
        """The newest accepted report of this release from other rows or another split, or that of the one before."""
        store, asset, split = self._plan.store, self._plan.graph.asset(STAGE), self._settings()["split"]
        here = _versions(self._inputs)
        ours = (
            manifest
            for manifest in store.manifests(asset, self._release)
            if manifest.accepted and (_versions(manifest.inputs) != here or manifest.settings["split"] != split)
        )
        found = [manifest for manifest in [next(ours, None)] if manifest]
        found += [
            store.manifest(asset, head.batch, head.manifest) for head in self._plan.before(STAGE, self._release, 1)
        ]
        return max(found, key=lambda manifest: manifest.when, default=None)

    def _settings(self) -> Any:
        """The stage's settings now, as they are written."""
        return json.loads(json.dumps(self._plan.graph.stages[STAGE].settings))

    def _moved(self, earlier: Manifest) -> list[str]:
        """The batches of an earlier release in which a row can have moved: the others need not be read."""
        then, ours = self._of("splits", earlier.inputs), self._of("splits", self._inputs)
        split = earlier.settings["split"]
        if split["by"] == "time":
            return [earlier.batch] if earlier.batch in then and earlier.batch in ours else []
        same_range = self._test_from(split) >= self._test_from(plain(self._contract.split))
        return [
            batch
            for batch, item in then.items()
            if batch in ours and not (same_range and item.version == ours[batch].version)
        ]

    def _test_from(self, split: Mapping[str, Any]) -> int:
        """The first bucket of the test rows."""
        shares = replace(self._contract.split, validation=split["validation"], test=split["test"])
        return bucket_ranges(replace(self._contract, split=shares))["test"][0]

    def _again(self, earlier: Manifest, batch: str) -> int | None:
        """How many rows of a batch that tested the earlier release are fitted to now; None where that cannot be told.

        It cannot where rows were told apart otherwise, or are no longer in the store.
        """
        from mlops_assets.stages.parts import fitted_again

        split, key = earlier.settings["split"], list(self._contract.sources[self._contract.spine].key)
        then, now = (
            {stage: self._of(stage, inputs)[batch] for stage in ("splits", "cleaned")}
            for inputs in (earlier.inputs, self._inputs)
        )
        known, buckets = self._value(now["cleaned"], key), self._value(now["splits"], None)["bucket"]
        try:
            tested = self._value(then["cleaned"], key)
            if split["by"] == "hash":
                import pyarrow.compute as pc

                was = self._value(then["splits"], None)["bucket"]
                tested = tested.filter(pc.greater_equal(was, self._test_from(split)))
        except (NotStoredError, CorruptError):
            return None
        same_key = earlier.settings["key"] == key and known.schema == tested.schema
        return fitted_again(self._contract, tested, buckets, known) if same_key else None


def _versions(inputs: Sequence[Input]) -> list[tuple[str, str, str | None]]:
    return [(item.asset, item.partition, item.version) for item in inputs]
