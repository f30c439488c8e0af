"""What the experiment tracker is told of a release.

What belongs here: which facts of a release's manifests become parameters, metrics, datasets and files of one tracking
run. What does not: how MLflow is spoken to (``tracking``), or any decision: the store's record is the truth.
"""

from collections.abc import Mapping
from typing import Any

from mlops_assets.lifecycle.tracking import DatasetVersion, Tracking
from mlops_assets.store.manifest import Input, Manifest
from mlops_assets.store.store import Store


def track(store: Store, dataset: str, manifest: Manifest, roles: Mapping[str, str]) -> tuple[str, str]:
    """Write one tracking run for a release and return its id and link.

    ``manifest`` is that of ``trained_model``, or of a refused ``evaluation_report``; ``roles`` says for each batch what
    it was used for.
    """
    inputs = {item.asset.removeprefix(f"{dataset}/"): item for item in manifest.inputs}
    final = manifest.asset.endswith("trained_model")
    report = _manifest(store, inputs["evaluation_report"]) if final else manifest
    candidate = _manifest(store, inputs["candidate_model"])
    tags = {
        "dataset": dataset,
        "release": manifest.batch,
        "accepted": str(manifest.accepted and report.accepted).lower(),
        "evaluation_report": str(report.version),
        "candidate_model": str(candidate.version),
        "code_version": candidate.code_version,
        "git_commit": str(manifest.git.get("commit", "none")),
        "dagster_run_id": manifest.run_id,
    }
    if final:
        tags["trained_model"] = str(manifest.version)
    versions = [
        DatasetVersion(f"{item.asset}[{item.partition}]", str(item.version), _path(store, item), roles[item.partition])
        for item in manifest.inputs
        if item.asset == f"{dataset}/features" and item.version and item.partition in roles
    ]
    test = next((version for version in versions if version.role == "test"), None)
    metrics = dict(_metrics(report))
    name = f"{dataset} {manifest.batch}"
    with Tracking(experiment=dataset).run(name, tags, dagster_run_id=manifest.run_id) as run:
        run.params(_params(candidate))
        run.metrics(metrics)
        run.datasets(versions)
        run.file("report.html", store.bytes(report.attachments["report.html"]))
        if final and manifest.blob is not None:
            run.model(
                "trained_model",
                {"model.skops": store.bytes(manifest.blob)},
                metrics={name: value for name, value in metrics.items() if "/" not in name},
                on=test,
                tags={"version": str(manifest.version), "release": manifest.batch},
            )
    return run.id, run.link


def _manifest(store: Store, item: Input) -> Manifest:
    assert item.manifest is not None
    return store.manifest(item.asset, item.partition, item.manifest)


def _path(store: Store, item: Input) -> Any:
    return store.path(_manifest(store, item))


def _params(candidate: Manifest) -> dict[str, object]:
    """Settings of every model, and what the split was."""
    settings = candidate.settings
    found: dict[str, object] = {f"split.{name}": value for name, value in settings["split"].items()}
    for model in settings["models"]:
        found[f"{model['name']}.kind"] = model["kind"]
        found |= {f"{model['name']}.{name}": value for name, value in model["settings"].items()}
    return found | {"rows": candidate.facts["training"]["rows"]}


def _metrics(report: Manifest) -> Mapping[str, float]:
    """The candidate's metrics by name with their interval, the baselines' as ``metric/model``."""
    facts = report.facts
    found: dict[str, float] = {}
    for metric, span in facts["metrics"].items():
        for part, value in span.items():
            if value is not None:
                found[metric if part == "value" else f"{metric}_{part}"] = float(value)
    for model, metrics in facts["models"].items():
        if model != facts["candidate"]:
            found |= {f"{metric}/{model}": float(value) for metric, value in metrics.items() if value is not None}
    return found
