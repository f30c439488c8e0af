"""Why what is published is not what would be made now: exactly, and in words.

What belongs here: for one stage of one batch the differences between what made its version and what would make it now,
and what further up has to be made first. What does not: whether something is out of date (``plan``), a whole dataset at
a glance (``survey``), and printing.

A head carries the digest of what its version follows from, and not what that was: that stands in its manifest. But a
guess can be proven without it. Once one manifest has told that the code was another one, the same is tried for each
other batch: if the old code with the batch's own inputs gives the digest that its head carries, then the code is all
that differs. So the reasons of ten thousand batches that one change made stale are known from one manifest.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from mlops_assets.assets.code import environment_digest
from mlops_assets.assets.graph import Stage
from mlops_assets.assets.plan import Plan, Resolution, recipe_of
from mlops_assets.assets.reasons import Above, Change, Explanation, Reason, State, short
from mlops_assets.checks.verdict import Check
from mlops_assets.contract.calendar import ALL
from mlops_assets.store.diff import differing_values
from mlops_assets.store.manifest import Manifest

UP_TO_DATE = Check("up_to_date", "warn", "The version is what its code, settings and inputs would make now.")
"""The check that every stage has; it is answered from the store's records alone, and never blocks."""

_MOST_READ = 200


@dataclass(frozen=True, slots=True)
class _Former:
    """How versions of a stage were made before: by other code or settings, or of other inputs that batches share.

    ``inputs`` are in the order of the recipe, each with how many batches back it is and the version of what all batches
    share; a version of None is that of the batch's own input or of an earlier batch's, whatever it is.
    """

    code: str
    inputs: tuple[tuple[str, int, str | None], ...]
    reasons: tuple[Reason, ...]

    def recipe(self, around: Sequence[str], now: Resolution) -> str | None:
        """The recipe of a version that was made so of what the batch stands on now.

        ``around`` are the batch's own key and those before it, newest first.
        """
        own = {(item.asset, item.partition): item.version for item in now.inputs if item.partition in around}
        inputs: list[tuple[str, str, str | None]] = []
        for asset, back, shared in self.inputs:
            if shared is not None:
                inputs.append((asset, ALL, shared))
            elif back < len(around) and (asset, around[back]) in own:
                inputs.append((asset, around[back], own[asset, around[back]]))
            else:
                return None
        return recipe_of(self.code, inputs, now.files)


class Staleness:
    """Explains the batches of a plan as they stand now; a plan that moved on wants another one.

    ``read`` counts the manifests that were read, never more than ``most``.
    """

    def __init__(self, plan: Plan, most: int = _MOST_READ) -> None:
        self.plan = plan
        self.read = 0
        self._most = most
        self._roots: dict[tuple[str, str], tuple[tuple[str, str], ...]] = {}
        self._formers: dict[str, list[_Former]] = {}
        self._manifests: dict[str, Manifest] = {}

    def explain(self, stage: Stage, batch: str) -> Explanation:
        """How a stage of a batch stands; of what is current nothing is read.

        Raises:
            StoreError: a record cannot be read.
        """
        standing = self.plan.standing(stage, batch)
        roots = self._roots_of(stage, batch)
        state: State = standing.state
        reasons: tuple[Reason, ...] = ()
        if standing.state == "stale":
            reasons = self._differences(stage, batch)
        elif standing.refusal is not None:
            reasons = tuple(Reason("refused", text) for text in standing.refusal.sentences)
        elif roots and (standing.state == "current" or any(self._state(root) == "stale" for root in roots)):
            state = "waiting"
        elif standing.state == "blocked" and not roots:
            reasons = tuple(Reason("blocked", text) for text in standing.sentence.split("\n"))
        above = tuple(self._above(roots)) if roots else ()
        return Explanation(self.plan.graph.asset(stage.name), stage.name, batch, state, reasons, above)

    def in_full(self, stage: Stage, batch: str) -> Explanation:
        """As ``explain``, with notes: one more manifest is read, also of what is current."""
        found = self.explain(stage, batch)
        notes = self.plan.notes(stage, batch)
        manifest = self._manifest(stage, batch)
        if manifest and manifest.environment and manifest.environment != environment_digest():
            notes.append(
                f"It was made in another environment ({short(manifest.environment)}, now "
                f"{short(environment_digest())}: Python or a library has another release); that makes nothing stale."
            )
        return replace(found, notes=tuple(notes))

    def ranges(self, batches: Sequence[str]) -> tuple[tuple[str, str], ...]:
        """The longest runs of neighbours among the dataset's batches, as (first, last); names stand alone.

        A day that nothing was ever delivered for ends no run.
        """
        if len(batches) == 1 or not self.plan.calendar.timed:
            return tuple((batch, batch) for batch in sorted(batches))
        runs: list[tuple[str, str]] = []
        last = -2
        for place, batch in sorted((self._places.get(batch, -2), batch) for batch in batches):
            follows = runs and place == last + 1
            runs[-1:] = [(runs[-1][0], batch)] if follows else [*runs[-1:], (batch, batch)]
            last = place
        return tuple(runs)

    @cached_property
    def _places(self) -> dict[str, int]:
        return {batch: place for place, batch in enumerate(self.plan.batches)}

    # --- here ----------------------------------------------------------------------------------------------------

    def _differences(self, stage: Stage, batch: str) -> tuple[Reason, ...]:
        head = self.plan.heads(stage.name).get(batch)
        if head is None:
            return (Reason("never made"),)
        now = self.plan.resolve(stage, batch)
        recipe, _, rules = head.recipe.rpartition(".")
        judged = () if rules == now.rules else (Reason("rules", before=rules, after=now.rules),)
        if recipe == now.recipe:
            return judged
        around = self._around(batch)
        for former in self._formers.get(stage.name, ()):
            if former.recipe(around, now) == recipe:
                return former.reasons + judged
        manifest = self._manifest(stage, batch)
        if manifest is None:
            return (Reason("unread"), *judged)
        erased = [Reason("purged", manifest.facts["purged"]["purge"])] if "purged" in manifest.facts else []
        shared = tuple(self._shared(stage, manifest, now))
        own = (*_inputs(manifest, now, shared=False), *_files(manifest, now))
        if shared:
            self._learn(stage, batch, manifest, shared)
        return (*erased, *shared, *own, *judged) or (Reason("unknown"),)

    def _shared(self, stage: Stage, manifest: Manifest, now: Resolution) -> Iterator[Reason]:
        """The differences that other batches may have as well."""
        code, _, settings = manifest.code_version.rpartition("-")
        code_now, _, settings_now = self.plan.code_version(stage).rpartition("-")
        if code != code_now:
            yield Reason("code", before=code, after=code_now)
        if settings != settings_now:
            differing = list(_settings(manifest.settings, stage.settings))
            yield from differing or [Reason("setting", "(as a whole)", before=settings, after=settings_now)]
        yield from _inputs(manifest, now, shared=True)

    def _learn(self, stage: Stage, batch: str, manifest: Manifest, reasons: tuple[Reason, ...]) -> None:
        """Keep how this version was made, if the same can be said of other batches."""
        around = self._around(batch)
        if batch == ALL or any(item.partition not in (*around, ALL) for item in manifest.inputs):
            return
        inputs = tuple(
            (item.asset, 0, item.version) if item.partition == ALL else (item.asset, around.index(item.partition), None)
            for item in manifest.inputs
        )
        former = _Former(manifest.code_version, inputs, reasons)
        self._formers.setdefault(stage.name, []).append(former)

    def _around(self, batch: str) -> list[str]:
        """The batch and those that its stages look back at, newest first."""
        return self.plan.calendar.around(batch, before=self.plan.graph.look_back)[::-1]

    def _manifest(self, stage: Stage, batch: str) -> Manifest | None:
        """The record of what is published; None when there is none, or no more are to be read."""
        head = self.plan.heads(stage.name).get(batch)
        if head is None:
            return None
        if head.manifest not in self._manifests:
            if self.read >= self._most:
                return None
            self.read += 1
            self._manifests[head.manifest] = self.plan.store.manifest(head.asset, batch, head.manifest)
        return self._manifests[head.manifest]

    # --- further up ----------------------------------------------------------------------------------------------

    def _state(self, place: tuple[str, str]) -> State:
        stage, batch = place
        return self.plan.standing(self.plan.graph.stages[stage], batch).state

    def _roots_of(self, stage: Stage, batch: str) -> tuple[tuple[str, str], ...]:
        """Above a stage of a batch, the first of each line of descent that is not as it should be."""
        key = stage.name, batch
        if key not in self._roots:
            self._roots[key] = tuple(dict.fromkeys(self._find_roots(stage, batch)))
        return self._roots[key]

    def _find_roots(self, stage: Stage, batch: str) -> Iterator[tuple[str, str]]:
        graph = self.plan.graph
        for upstream in stage.upstream:
            if upstream.window == "through":
                continue
            for place in self.plan.keys(upstream, batch):
                for root in self._roots_at(graph.stages[upstream.stage], place):
                    # an earlier batch may be absent: only one that is to be made is waited for
                    if upstream.window != "back" or self._state(root) == "stale":
                        yield root
        if stage.scope == "release":
            yield from self._release_roots(batch)

    def _release_roots(self, release: str) -> tuple[tuple[str, str], ...]:
        """What keeps a release from being made; the same for all of its stages."""
        key = "", release
        if key not in self._roots:
            found = [root for stage, batch, _ in self.plan.held_up(release) for root in self._roots_at(stage, batch)]
            self._roots[key] = tuple(dict.fromkeys(found))
        return self._roots[key]

    def _roots_at(self, stage: Stage, batch: str) -> Iterator[tuple[str, str]]:
        standing = self.plan.standing(stage, batch)
        further = self._roots_of(stage, batch)
        if further or standing.state == "current":
            yield from further
        elif standing.state == "stale" or not (
            batch in self.plan.heads(stage.name) or self.plan.optional(stage.name, batch)
        ):
            yield stage.name, batch

    def _above(self, roots: Sequence[tuple[str, str]]) -> Iterator[Above]:
        together: dict[tuple[str, State], list[str]] = {}
        for stage, batch in roots:
            together.setdefault((stage, self._state((stage, batch))), []).append(batch)
        for (stage, state), batches in together.items():
            yield Above(self.plan.graph.asset(stage), state, tuple(batches), self.ranges(batches))


def _inputs(before: Manifest, now: Resolution, *, shared: bool) -> Iterator[Reason]:
    """Inputs that differ: those that all batches share, or the batch's own."""
    old, new = (
        {
            (item.asset, item.partition): item.version
            for item in side.inputs
            if (item.partition == ALL and before.batch != ALL) == shared
        }
        for side in (before, now)
    )
    for place in dict.fromkeys([*old, *new]):
        if old.get(place) != new.get(place) or (place in old) != (place in new):
            change: Change = "added" if place not in old else "removed" if place not in new else "changed"
            yield Reason("input", *place, change, old.get(place), new.get(place))


def _files(before: Manifest, now: Resolution) -> Iterator[Reason]:
    old = {str(file["name"]): str(file["sha256"]) for file in before.files}
    new = {file.name: file.sha256 for file in now.files}
    for name in dict.fromkeys([*old, *new]):
        if old.get(name) != new.get(name):
            change: Change = "added" if name not in old else "removed" if name not in new else "changed"
            yield Reason("file", name, change=change, before=old.get(name), after=new.get(name))


def _settings(before: Any, after: Mapping[str, Any]) -> Iterator[Reason]:
    # Compared backwards: what stands first names items of lists, and only the contract's own order says by what. Tuples
    # became lists when the settings were written.
    swapped: dict[str, Change] = {"added": "removed", "removed": "added", "changed": "changed"}
    for found in differing_values(json.loads(json.dumps(after)), before):
        yield Reason("setting", found.path, change=swapped[found.change], before=found.after, after=found.before)
