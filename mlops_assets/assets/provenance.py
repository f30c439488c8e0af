"""What made a version, gathered for the page that people read.

What belongs here: collecting from manifests and the contract. What does not: rendering (``report``), or deciding.
"""

from collections.abc import Iterator
from typing import Any

from mlops_assets.assets.parting import STAGE
from mlops_assets.assets.plan import Plan
from mlops_assets.report.page import Provenance
from mlops_assets.store.manifest import Input, Manifest


def provenance(plan: Plan, manifest: Manifest) -> Provenance:
    """The provenance of a release's report: its exact inputs, and every delivered file they stand on."""
    contract = plan.graph.contract
    candidate = next(item for item in manifest.inputs if item.asset == plan.graph.asset("candidate_model"))
    made = plan.store.manifest(candidate.asset, candidate.partition, str(candidate.manifest))
    return {
        "dataset": contract.name,
        "description": contract.description,
        "owners": contract.owners,
        "release": manifest.batch,
        "branch": plan.branch,
        "model": str(candidate.version),
        "git": manifest.git,
        "code_version": manifest.code_version,
        "environment": manifest.environment,
        "settings": {model.name: dict(model.settings) for model in (*contract.baselines, *contract.candidates)},
        "seed": made.seed if made.seed is not None else 0,
        "inputs": [
            {"asset": item.asset, "partition": item.partition, "version": item.version} for item in manifest.inputs
        ],
        "files": list(_files(plan, manifest.inputs)),
        "verdicts": [
            dict(verdict) | {"stage": plan.graph.stage_of(judged.asset)}
            for judged in (manifest, *_parted(plan, manifest))
            for verdict in judged.verdicts
        ],
        "notes": manifest.sentences if manifest.accepted else (),
        "run_id": manifest.run_id,
        "who": manifest.who,
        "when": manifest.when,
    }


def _parted(plan: Plan, manifest: Manifest) -> Iterator[Manifest]:
    """How the parts of the release compare, which was judged before the report was made."""
    for item in manifest.inputs:
        if item.asset == plan.graph.asset(STAGE):
            yield plan.store.manifest(item.asset, item.partition, str(item.manifest))


def _files(plan: Plan, inputs: tuple[Input, ...]) -> Iterator[dict[str, Any]]:
    """Every delivered file that the inputs stand on, once, by following recorded manifests up to ``raw``."""
    waiting, seen, told = list(reversed(inputs)), set(), set()
    while waiting:
        item = waiting.pop()
        if item.manifest is None or item in seen:
            continue
        seen.add(item)
        manifest = plan.store.manifest(item.asset, item.partition, item.manifest)
        source = plan.graph.stage_of(item.asset).removeprefix("raw/")
        for file in manifest.files:
            if (file["name"], file["sha256"]) in told:
                continue
            told.add((file["name"], file["sha256"]))
            yield {
                "name": file["name"],
                "size": file["size"],
                "sha256": file["sha256"],
                "source": source,
                "batch": item.partition,
            }
        waiting.extend(reversed(manifest.inputs))
