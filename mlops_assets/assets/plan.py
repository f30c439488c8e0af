"""What is out of date: exact inputs from the heads, and the recipe that a version would be made by.

A recipe is the digest of a stage's code version, settings and exact inputs. A head whose recipe is the one expected is
current, whatever any log says. What belongs here: resolving and comparing. What does not: doing the work (``publish``)
and telling Dagster (``events``). Nothing heavy is imported, so that "nothing to do" costs next to nothing.
"""

from bisect import bisect_left, insort
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

from mlops_assets.assets.code import code_version
from mlops_assets.assets.graph import Graph, Scope, Stage, Upstream, digest
from mlops_assets.assets.landing import Delivered, Landing
from mlops_assets.assets.sampling import require_sample
from mlops_assets.contract.calendar import Calendar
from mlops_assets.errors import RefusedError
from mlops_assets.stages.roles import roles
from mlops_assets.store.deliveries import Ledger
from mlops_assets.store.heads import Head
from mlops_assets.store.manifest import Input, Manifest
from mlops_assets.store.store import Store

State = Literal["current", "stale", "refused", "blocked"]


@dataclass(frozen=True, slots=True)
class Resolution:
    """What a stage of one batch would be made of now.

    ``recipe`` is the digest of code, settings and inputs, ``key`` adds the audit's rules: a head carries the key.
    ``notes`` are sentences about inputs that stand on a last good version.
    """

    inputs: tuple[Input, ...]
    files: tuple[Delivered, ...]
    recipe: str
    rules: str

    @property
    def key(self) -> str:
        """What a current head carries."""
        return f"{self.recipe}.{self.rules}"


@dataclass(frozen=True, slots=True)
class Standing:
    """How one batch of one stage stands. ``sentence`` says why, unless it is current."""

    state: State
    sentence: str = ""
    refusal: Manifest | None = None


class Plan:
    """One dataset on one branch, as the store and the landing folder have it now.

    Heads are read once per asset and kept; ``moved`` tells of a head that this process moved itself. ``entered_only``
    is said of the landing folder (see ``Landing``).
    """

    def __init__(self, graph: Graph, store: Store, branch: str, *, entered_only: bool = False) -> None:
        require_sample(graph.contract, branch)
        partitions = graph.contract.partitions
        self.graph = graph
        self.store = store
        self.branch = branch
        self._entered_only = entered_only
        self.calendar = Calendar(partitions.cadence, partitions.start, partitions.end)
        self.landing = self._look()
        self._heads: dict[str, dict[str, Head]] = {}
        self._ordered: dict[str, list[str]] = {}
        self._versions: dict[str, str] = {}
        self._rules: dict[str, str] = {}
        self._standings: dict[tuple[str, str], Standing] = {}

    def _look(self) -> Landing:
        ledger = Ledger(self.store, self.graph.contract.name)
        return Landing(self.graph.contract, self.calendar, ledger, entered_only=self._entered_only)

    def heads(self, stage: str) -> dict[str, Head]:
        """The heads of a stage by batch."""
        if stage not in self._heads:
            self._heads[stage] = dict(self.store.heads(self.branch, self.graph.asset(stage)))
        return self._heads[stage]

    def before(self, stage: str, batch: str, most: int) -> list[Head]:
        """The heads of the last batches before this one, oldest first. Keys of all cadences sort as text."""
        heads = self.heads(stage)
        if stage not in self._ordered:
            self._ordered[stage] = sorted(heads)
        place = bisect_left(self._ordered[stage], batch)
        return [heads[key] for key in self._ordered[stage][max(0, place - most) : place]]

    def moved(self, stage: str, head: Head) -> None:
        """Take note of a head that this process moved."""
        heads = self.heads(stage)
        if stage in self._ordered and head.batch not in heads:
            insort(self._ordered[stage], head.batch)
        heads[head.batch] = head
        self.judged(stage, head.batch)

    def judged(self, stage: str, batch: str) -> None:
        """Take note that a version of this batch was made or refused: what was said of it and below is void."""
        if self.graph.stages[stage].scope == "reference":
            self._standings.clear()
        for below in self.calendar.around(batch, after=self.graph.look_back):
            for name in self.graph.stages:
                self._standings.pop((name, below), None)

    def forget(self) -> None:
        """Read heads and the landing folder again at the next question."""
        self._heads.clear()
        self._ordered.clear()
        self._standings.clear()
        self.landing = self._look()
        self.__dict__.pop("batches", None)

    def keys(self, upstream: Upstream, batch: str) -> list[str]:
        """The batches of an input that a stage of a batch stands on, oldest first; of a release those up to it."""
        match upstream.window:
            case "whole":
                return [self.graph.whole]
            case "same":
                return [batch]
            case "back":
                return self.calendar.around(batch, before=self.graph.look_back)[:-1]
            case _:
                return self._calendar_keys(batch)

    def code_version(self, stage: Stage) -> str:
        """The digest of the source and the settings that the stage depends on."""
        if stage.name not in self._versions:
            source = code_version(stage.modules, stage.files)
            self._versions[stage.name] = f"{source}-{digest(stage.settings)}"
        return self._versions[stage.name]

    def rules_version(self, stage: Stage) -> str:
        """The digest of the source and the settings that the stage's audit depends on."""
        if stage.name not in self._rules:
            self._rules[stage.name] = digest([code_version(stage.auditors), stage.rules])[:16]
        return self._rules[stage.name]

    @cached_property
    def batches(self) -> list[str]:
        """Every batch of the spine that was delivered or has ever been published, in order."""
        spine = self.graph.contract.sources[self.graph.contract.spine]
        return sorted({*self.landing.batches(spine), *self.heads(f"raw/{spine.name}")})  # all keys sort as text

    @property
    def releases(self) -> list[str]:
        """The keys that a release can have: those of the batches."""
        return self.batches

    def resolve(self, stage: Stage, batch: str) -> Resolution:
        """The exact inputs of a stage for one batch, from the heads.

        Raises:
            RefusedError: something that the stage must stand on was never accepted, with a sentence.
        """
        files: tuple[Delivered, ...] = ()
        if stage.name.startswith("raw/"):
            files = self._files(stage, batch)
        inputs = tuple(self._inputs(stage, batch))
        if stage.scope == "batch" and inputs and all(item.version is None for item in inputs):
            raise RefusedError(f"{self._name(stage.name, batch)} has nothing to stand on: nothing was delivered.")
        recipe = recipe_of(
            self.code_version(stage), ((item.asset, item.partition, item.version) for item in inputs), files
        )
        return Resolution(inputs, files, recipe, self.rules_version(stage))

    def standing(self, stage: Stage, batch: str) -> Standing:
        """Whether the head is what would be made now; ``stale`` says that work is to be done."""
        known = self._standings.get((stage.name, batch))
        if known is None:
            known = self._standings[stage.name, batch] = self._judge(stage, batch)
        return known

    def _judge(self, stage: Stage, batch: str) -> Standing:
        head = self.heads(stage.name).get(batch)
        if head and stage.name.startswith("raw/") and not self._delivered(stage, batch):
            return Standing("current")
        try:
            resolution = self.resolve(stage, batch)
        except RefusedError as error:
            return Standing("blocked", str(error))
        if head and head.recipe == resolution.key:
            return Standing("current")
        # what is published was accepted, so that its record need not be read to find a refusal
        refusal = self.recorded(stage, batch, resolution, accepted=False, but=head.manifest if head else "")
        if refusal and refusal.key == resolution.key:
            return Standing("refused", " ".join(refusal.sentences), refusal)
        why = "was never made" if head is None else "is not what its code, settings and inputs would make now"
        return Standing("stale", f"{self._name(stage.name, batch)} {why}.")

    def due(self, scope: Scope, batch: str) -> list[Stage]:
        """The stages of a batch that are stale or stand on such, but for those that stand on nothing accepted."""
        due: list[Stage] = []
        stuck: set[str] = set()
        for stage in self.graph.of_scope(scope):
            above = {upstream.stage for upstream in stage.upstream}
            shared = {upstream.stage for upstream in stage.upstream if upstream.window == "whole"}
            state = self.standing(stage, batch).state
            lacking = any(self.graph.whole not in self.heads(name) for name in shared)
            if lacking or any(name in stuck and not self.optional(name, batch) for name in above):
                stuck.add(stage.name)
            elif state == "stale" or not above.isdisjoint(each.name for each in due):
                due.append(stage)
            elif state != "current" and batch not in self.heads(stage.name):
                stuck.add(stage.name)
        return due

    def optional(self, upstream: str, batch: str) -> bool:
        """A joined batch source may have no file for a batch; what was delivered must have been accepted."""
        stage = self.graph.stages[upstream]
        spine = f"raw/{self.graph.contract.spine}"
        return (
            stage.scope == "batch"
            and upstream.startswith("raw/")
            and upstream != spine
            and not self._delivered(stage, batch)
        )

    def recorded(
        self, stage: Stage, batch: str, resolution: Resolution, *, accepted: bool, but: str = ""
    ) -> Manifest | None:
        """The newest manifest made by this recipe; under the same rules first. ``but`` names one not to look at."""
        made = [
            manifest
            for manifest in self.store.manifests(self.graph.asset(stage.name), batch, resolution.recipe, but=but)
            if manifest.accepted == accepted
        ]
        same_rules = [manifest for manifest in made if manifest.rules == resolution.rules]
        return next(iter(same_rules or made), None)

    def notes(self, stage: Stage, batch: str) -> list[str]:
        """A sentence for each version that the stage stands on, however far above, of which a newer one was refused."""
        found: list[str] = []
        for upstream in stage.upstream:
            above = self.graph.stages[upstream.stage]
            for key in self.keys(upstream, batch):
                head = self.heads(above.name).get(key)
                standing = self.standing(above, key)
                if head and standing.state == "refused":
                    found.append(
                        f"Stands on the last good version {head.version[:15]} of {self._name(above.name, key)}; "
                        f"a newer one was refused: {standing.sentence}"
                    )
                elif upstream.window == "back" and head is None:
                    found += self._unknown(above, key, standing)
                elif upstream.window != "whole":
                    found += self.notes(above, key)
        return list(dict.fromkeys(found))

    def _unknown(self, above: Stage, key: str, standing: Standing) -> Iterator[str]:
        """What is to be said of an earlier batch that is absent: nothing where none was delivered."""
        spine = self.graph.stages[f"raw/{self.graph.contract.spine}"]
        if standing.state in ("refused", "blocked") and self._delivered(spine, key):
            yield (
                f"Knows nothing of {self._name(above.name, key)}, of which no version was ever accepted: "
                f"{standing.sentence}"
            )

    def unready(self, release: str) -> list[str]:
        """Why a release may not be made: delivered batches up to it that were not taken in, or never accepted."""
        problems = []
        for stage, batch, standing in self.held_up(release):
            name = self._name(stage.name, batch)
            if standing.state == "stale":
                what = "it" if batch == self.graph.whole else f"batch {batch}"
                problems.append(
                    f"{name} is not up to date: it{standing.sentence.removeprefix(name)} Bring {what} up to date first."
                )
            else:
                problems.append(
                    f"{name} was delivered but never accepted: {standing.sentence} "
                    f"Mend the delivery, or take it out of the landing folder."
                )
        return problems

    def held_up(self, release: str) -> Iterator[tuple[Stage, str, Standing]]:
        """Of each batch that keeps a release from being made, the first stage that does, and how it stands."""
        stages = [stage for stage in self.graph.of_scope("batch") if stage.name not in ("quarantine", "online")]
        accepted = self.heads("features")
        for batch in self.batches:
            if not self._up_to(batch, release):
                continue
            for stage in stages:
                standing = self.standing(stage, batch)
                if standing.state == "stale" or (standing.state in ("refused", "blocked") and batch not in accepted):
                    yield stage, batch, standing
                    break

    def release_roles(self, release: str) -> Mapping[str, list[str]]:
        """Which batches train, validate and test a release.

        Raises:
            RefusedError: the window is too short, with a sentence.
        """
        present = [batch for batch in self.batches if self._up_to(batch, release) and batch in self.heads("features")]
        return roles(self.graph.contract, present, release, self.calendar)

    def _inputs(self, stage: Stage, batch: str) -> Iterator[Input]:
        if stage.scope == "release":
            problems = self.unready(batch)
            if problems:
                raise RefusedError(*problems)
            if stage.name != "candidate_model":
                self.release_roles(batch)
        for upstream in stage.upstream:
            asset = self.graph.asset(upstream.stage)
            if upstream.window in ("through", "back"):
                for key in self._window(stage, upstream, batch):
                    head = self.heads(upstream.stage).get(key)
                    yield Input(asset, key, head.version if head else None, head.manifest if head else None)
                continue
            key = batch if upstream.window == "same" else self.graph.whole
            head = self.heads(upstream.stage).get(key)
            if head is None and not self.optional(upstream.stage, key):
                source = self.graph.stages[upstream.stage]
                reason = self.standing(source, key).sentence
                raise RefusedError(
                    f"{self._name(stage.name, batch)} stands on {self._name(upstream.stage, key)}, "
                    f"of which no version was ever accepted. {reason}".rstrip()
                )
            if stage.scope == self.graph.stages[upstream.stage].scope == "release":
                # of a release nothing goes on from a last good version: a model must not pass by another one's report
                above = self.standing(self.graph.stages[upstream.stage], key)
                if above.state in ("refused", "blocked"):
                    raise RefusedError(
                        f"{self._name(stage.name, batch)} stands on {self._name(upstream.stage, key)}, of which the "
                        f"newest was not accepted. {above.sentence}"
                    )
            yield Input(asset, key, head.version if head else None, head.manifest if head else None)

    def _window(self, stage: Stage, upstream: Upstream, batch: str) -> list[str]:
        """The batches that a stage sees, absent ones included: fitting a candidate must not see the test."""
        keys = self.keys(upstream, batch)
        if stage.name == "candidate_model":
            chosen = self.release_roles(batch)
            unseen = {*chosen["test"], *chosen["embargo"]} if self.graph.contract.split.by == "time" else set()
            keys = [key for key in keys if key not in unseen]
        return keys

    def _calendar_keys(self, release: str) -> list[str]:
        if self.calendar.cadence == "named":
            return self.batches
        return self.calendar.keys(release)

    def _up_to(self, batch: str, release: str) -> bool:
        return self.calendar.cadence == "named" or batch <= release  # keys of all cadences sort as text

    def _files(self, stage: Stage, batch: str) -> tuple[Delivered, ...]:
        files = self._delivered(stage, batch)
        if not files:
            source = self.graph.contract.sources[stage.name.removeprefix("raw/")]
            raise RefusedError(
                f"{self._name(stage.name, batch)}: nothing was delivered; "
                f"{(self.graph.contract.folder / source.files).as_posix()} matches no file."
            )
        return files

    def _delivered(self, stage: Stage, batch: str) -> tuple[Delivered, ...]:
        return self.landing.files(self.graph.contract.sources[stage.name.removeprefix("raw/")], batch)

    def _name(self, stage: str, batch: str) -> str:
        asset = self.graph.asset(stage)
        return asset if batch == self.graph.whole else f"{asset} [{batch}]"


def recipe_of(code: str, inputs: Iterable[tuple[str, str, str | None]], files: Iterable[Delivered]) -> str:
    """The digest of what a value follows from: a code version, exact inputs (asset, partition, version), and files."""
    return digest(
        {
            "code": code,
            "inputs": [list(item) for item in inputs],
            "files": [[file.name, file.sha256] for file in files],
        }
    )
