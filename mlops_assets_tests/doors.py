"""The ways people and machines come in: the commands, and the web server with its daemon.

What belongs here: starting real processes on a home of their own, asking them as the UI does, stopping them, and a
single command in this process. What does not: any expectation about what they answer. Servers listen on loopback only
and live in a process group of their own, which is ended with them.
"""

import argparse
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeVar

import dagster as dg
import pytest

from mlops_assets.assets.dagster_private import latest_check
from mlops_assets.home import Home
from mlops_assets.store.branches import MAIN, Branch
from mlops_assets.store.store import Store, branch_path
from mlops_assets.ui.services import MODULE

T = TypeVar("T")

Versions = dict[str, dict[str, str]]
"""Data versions by asset and batch; the one batch of an unpartitioned asset is ``all``."""

_OVER = frozenset({"SUCCESS", "FAILURE", "CANCELED"})
_BACKFILL_OVER = frozenset({"COMPLETED", "COMPLETED_SUCCESS", "COMPLETED_FAILED", "FAILED", "CANCELED"})


class Room(Protocol):
    """A module of ``mlops_assets.commands``."""

    def add(self, commands: Any, /) -> None:
        """Register its subcommands."""


@dataclass(frozen=True)
class Called:
    """What came of a command; ``text`` is all that it printed."""

    code: int
    text: str


def home_at(root: Path, data: Path, branch: str) -> Home:
    """A home where nothing is made yet, but a branch other than main is started."""
    home = Home(root=root, data=data, branch=branch)
    if branch != MAIN:
        Store.open(home.store).backend.create(branch_path(branch), Branch(branch).encode())
    return home


@dataclass(frozen=True)
class Project:
    """A home and a data folder, and the commands that work on them."""

    home: Home

    @classmethod
    def at(cls, root: Path, data: Path, branch: str = "main") -> "Project":
        """A project whose home is ``root``; nothing is made yet."""
        return cls(home_at(root, data, branch))

    @property
    def environment(self) -> dict[str, str]:
        """As after ``eval "$(mlops-assets env)"`` in a shell that had none of these variables."""
        kept = {
            name: value for name, value in os.environ.items() if not name.startswith(("MLOPS_", "DAGSTER_", "MLFLOW_"))
        }
        return {**kept, **self.home.environment(), "OMP_NUM_THREADS": "1"}

    def command(self, *words: str) -> Called:
        """``mlops-assets``."""
        return self._call("mlops_assets.cli", *words)

    def dagster(self, *words: str) -> Called:
        """A bare ``dagster`` on the home that ``mlops-assets env`` names."""
        self.home.initialise_dagster()
        return self._call("dagster", *words)

    def materialize(self, dataset: str, stages: Sequence[str], *more: str) -> Called:
        """``dagster asset materialize`` of some stages."""
        keys = " or ".join(f'key:"{dataset}/{stage}"' for stage in stages)
        return self.dagster("asset", "materialize", "-m", "mlops_assets.definitions", "--select", keys, *more)

    def heads(self) -> Versions:
        """What the store says is published."""
        store = Store.open(self.home.store)
        branch = self.home.branch
        return {
            asset: {batch: head.version for batch, head in store.heads(branch, asset).items()}
            for asset in store.assets(branch)
        }

    def told(self) -> Versions:
        """What Dagster says was materialized last."""
        with self._instance() as instance:
            return {key.to_user_string(): _told(instance, key) for key in instance.all_asset_keys()}

    def verdict(self, asset: str, check: str, partition: str | None) -> str | None:
        """What Dagster says of a check on a partition."""
        with self._instance() as instance:
            found = latest_check(instance, dg.AssetCheckKey(dg.AssetKey(asset.split("/")), check), partition)
            return found.status.value if found else None

    @contextmanager
    def served(self) -> Iterator["Web"]:
        """``dagster dev``: web server, daemon and code location, until the end of the block."""
        self.home.initialise_dagster()
        port = _free_port()
        words = ["dagster", "dev", "-m", "mlops_assets.definitions", "-h", "127.0.0.1", "-p", str(port)]
        with (self.home.root / "dev.log").open("w") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", *words],
                env=self.environment,
                cwd=self.home.root,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        try:
            web = Web(f"http://127.0.0.1:{port}/graphql")
            wait(lambda: web.answers() or process.poll() is not None, 120, "the web server")
            assert process.poll() is None, (self.home.root / "dev.log").read_text()
            yield web
        finally:
            process.terminate()  # not SIGINT, which whoever was started in the background ignores
            with suppress(subprocess.TimeoutExpired):
                process.wait(30)
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait(30)

    @contextmanager
    def _instance(self) -> Iterator[dg.DagsterInstance]:
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("DAGSTER_HOME", str(self.home.dagster))
            with dg.DagsterInstance.from_config(str(self.home.dagster)) as instance:
                yield instance

    def _call(self, module: str, *words: str) -> Called:
        done = subprocess.run(
            [sys.executable, "-m", module, *words],
            env=self.environment,
            cwd=self.home.root.parent,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=600,
            check=False,
        )
        return Called(done.returncode, done.stdout)


class Web:
    """A running web server, asked as its UI asks."""

    def __init__(self, url: str, location: str = MODULE) -> None:
        """``location`` is what the server calls the code location: its module, unless it was told another name."""
        self._url = url
        self._location = {"repositoryLocationName": location, "repositoryName": "__repository__"}

    def answers(self) -> bool:
        """Whether it is up, with the code location loaded."""
        query = "{workspaceOrError {... on Workspace {locationEntries {loadStatus}}}}"
        try:
            entries = self.ask(query)["workspaceOrError"]["locationEntries"]
        except OSError:
            return False
        return bool(entries) and all(entry["loadStatus"] == "LOADED" for entry in entries)

    def ask(self, query: str, **variables: Any) -> dict[str, Any]:
        """The data of a GraphQL answer."""
        body = json.dumps({"query": query, "variables": variables}).encode()
        request = urllib.request.Request(self._url, body, {"Content-Type": "application/json"})  # noqa: S310
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:  # noqa: S310
                found = json.load(answer)
        except urllib.error.HTTPError as error:
            raise AssertionError(error.read().decode()) from error
        assert "errors" not in found, json.dumps(found["errors"])[:5000]
        return dict(found["data"])

    def launch(self, dataset: str, stages: Sequence[str], tags: Mapping[str, str]) -> "Run":
        """Materialize some stages in one run, as the UI's button does, and wait for its end."""
        query = """
            mutation ($params: ExecutionParams!) {
              launchPipelineExecution(executionParams: $params) {
                __typename ... on LaunchRunSuccess {run {runId}} ... on PythonError {message}
                ... on RunConfigValidationInvalid {errors {message}} ... on InvalidSubsetError {message}
              }
            }"""
        params = {
            "selector": {**self._location, "pipelineName": "__ASSET_JOB", "assetSelection": _keys(dataset, stages)},
            "mode": "default",
            "runConfigData": {},
            "executionMetadata": {"tags": [{"key": key, "value": value} for key, value in tags.items()]},
        }
        launched = self.ask(query, params=params)["launchPipelineExecution"]
        assert launched["__typename"] == "LaunchRunSuccess", launched
        return self.run(launched["run"]["runId"])

    def run(self, run_id: str) -> "Run":
        """A run's status, steps and failures once it is over."""
        query = """query ($id: ID!) {runOrError(runId: $id) {... on Run {status stepStats {stepKey status}}}}"""

        def look() -> dict[str, Any] | None:
            found: dict[str, Any] = self.ask(query, id=run_id)["runOrError"]
            return found if found["status"] in _OVER else None

        found = wait(look, 300, f"run {run_id}")
        query = """
            query ($id: ID!) {
              logsForRun(runId: $id) {... on EventConnection {events {
                __typename ... on ExecutionStepFailureEvent {error {message}} ... on RunFailureEvent {error {message}}
              }}}
            }"""
        events = self.ask(query, id=run_id)["logsForRun"]["events"]
        sentences = "\n".join(event["error"]["message"] for event in events if event.get("error"))
        steps = {step["stepKey"]: step["status"] for step in found["stepStats"]}
        return Run(found["status"], steps, sentences)

    def backfill(self, dataset: str, stages: Sequence[str], partitions: Sequence[str]) -> str:
        """A backfill as the UI launches it, done by the daemon; its status once it is over."""
        query = """
            mutation ($params: LaunchBackfillParams!) {
              launchPartitionBackfill(backfillParams: $params) {
                __typename ... on LaunchBackfillSuccess {backfillId} ... on PythonError {message}
              }
            }"""
        params = {"assetSelection": _keys(dataset, stages), "partitionNames": list(partitions)}
        launched = self.ask(query, params=params)["launchPartitionBackfill"]
        assert launched["__typename"] == "LaunchBackfillSuccess", launched
        query = """
            query ($id: String!) {
              partitionBackfillOrError(backfillId: $id) {... on PartitionBackfill {status}}
            }"""

        def look() -> str | None:
            status = str(self.ask(query, id=launched["backfillId"])["partitionBackfillOrError"]["status"])
            return status if status in _BACKFILL_OVER else None

        return wait(look, 300, "the backfill")

    def shown(self, dataset: str, stages: Sequence[str], partitions: Sequence[str]) -> dict[str, "Shown"]:
        """What the UI shows of some partitioned assets."""
        query = """
            query ($keys: [AssetKeyInput!], $partitions: [String!]) {
              assetNodes(assetKeys: $keys) {
                assetKey {path}
                partitionStats {numMaterialized numFailed}
                assetPartitionStatuses {... on TimePartitionStatuses {ranges {startKey endKey status}}}
                staleStatusByPartition(partitions: $partitions)
                dataVersionByPartition(partitions: $partitions)
                assetChecksOrError {... on AssetChecks {checks {
                  name
                  blocking
                  partitionStatuses {... on AssetCheckTimePartitionStatuses {ranges {startKey endKey status}}}
                }}}
              }
            }"""
        nodes = self.ask(query, keys=_keys(dataset, stages), partitions=list(partitions))["assetNodes"]
        found = {}
        for node in nodes:
            checks = node["assetChecksOrError"].get("checks", [])
            found["/".join(node["assetKey"]["path"][1:])] = Shown(
                node["partitionStats"]["numMaterialized"],
                node["partitionStats"]["numFailed"],
                _spread(node["assetPartitionStatuses"]["ranges"], partitions),
                dict(zip(partitions, node["staleStatusByPartition"], strict=True)),
                dict(zip(partitions, node["dataVersionByPartition"], strict=True)),
                {check["name"]: _spread(check["partitionStatuses"]["ranges"], partitions) for check in checks},
                frozenset(check["name"] for check in checks if check["blocking"]),
            )
        return found


@dataclass(frozen=True)
class Run:
    """A run that is over: its status, the status of each of its steps, and the sentences it failed with."""

    status: str
    steps: Mapping[str, str]
    sentences: str


@dataclass(frozen=True)
class Shown:
    """What the UI shows of an asset: counts, and by partition its status, staleness, version and checks."""

    materialized: int
    failed: int
    status: Mapping[str, str]
    stale: Mapping[str, str]
    version: Mapping[str, str]
    checks: Mapping[str, Mapping[str, str]]
    blocking: frozenset[str]

    def good(self, partitions: Sequence[str]) -> bool:
        """Whether each partition is materialized and fresh, and no blocking check of it failed."""
        return (
            self.status == dict.fromkeys(partitions, "MATERIALIZED")
            and self.stale == dict.fromkeys(partitions, "FRESH")
            and bool(self.checks)
            and all(self.checks[name] == dict.fromkeys(partitions, "SUCCEEDED") for name in self.blocking)
        )


def typed(room: Room, home: Home, *words: str) -> int:
    """The exit code of a command that ``room`` registers, in this process: what it raises arrives as it is."""
    parser = argparse.ArgumentParser()
    room.add(parser.add_subparsers())
    options = parser.parse_args(words)
    code: int = options.command(options, home)
    return code


def wait(look: Callable[[], T | None], seconds: float, what: str) -> T:
    """The first true answer within some seconds."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        found = look()
        if found:
            return found
        time.sleep(0.2)
    raise AssertionError(f"{what} was not there after {seconds} seconds")


def _keys(dataset: str, stages: Sequence[str]) -> list[dict[str, list[str]]]:
    return [{"path": [dataset, *stage.split("/")]} for stage in stages]


def _spread(ranges: Sequence[Mapping[str, str]], partitions: Sequence[str]) -> dict[str, str]:
    """The status of each of the partitions that lies in a range; keys of one cadence sort as text."""
    return {key: each["status"] for key in partitions for each in ranges if each["startKey"] <= key <= each["endKey"]}


def _told(instance: dg.DagsterInstance, key: dg.AssetKey) -> dict[str, str]:
    found: dict[str, str] = {}
    cursor: str | None = None
    while True:
        page = instance.fetch_materializations(key, limit=1000, cursor=cursor)  # newest first
        for record in page.records:
            materialization = record.asset_materialization
            assert materialization is not None
            tags = materialization.tags or {}
            found.setdefault(record.partition_key or "all", tags["dagster/data_version"])
        if not page.has_more:
            return found
        cursor = page.cursor


def _free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])
