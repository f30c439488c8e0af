"""What CI types: the example of a workflow, the script that it and people call, and what the README says of both."""

import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from mlops_assets.cli import _parser
from mlops_assets_tests.assets.shop import DAYS, FEATURES, GATES, HASTE
from mlops_assets_tests.datasets import deliver_days, write_contract

ROOT = Path(__file__).parents[2]
WORKFLOW = ROOT / ".github" / "workflows" / "mlops-assets.yml"
SCRIPT = ROOT / "examples" / "ci" / "check.sh"
SAMPLE = "automation: {sample: {share: 0.6}}\n"


def workflow() -> dict[str, object]:
    found: dict[str, object] = yaml.safe_load(WORKFLOW.read_text())
    return found


def steps() -> list[dict[str, str]]:
    jobs = workflow()["jobs"]
    assert isinstance(jobs, dict)
    return [step for job in jobs.values() for step in job["steps"]]


def code_blocks(path: Path) -> str:
    return "\n".join(re.findall(r"^```\w*\n(.*?)^```", path.read_text(), re.DOTALL | re.MULTILINE))


def typed(text: str) -> Iterator[list[str]]:
    """Every call of ``mlops-assets`` in shell text, by hand or as the module, with some word for each variable."""
    text = re.sub(r"\\\n| # .*", " ", text)
    text = re.sub(r"\$\{3:\+(.*?)\}", r"\1", text)
    text = re.sub(r'"?\$\{?[A-Za-z_0-9]+(\[@\])?\}?"?', "word", text).replace("$(", "\n")
    called = r"(?:^|[\s(])(?:mlops-assets|python -m mlops_assets\.cli) ([^;|&<>)\n]*)"
    for call in re.findall(called, text, re.MULTILINE):
        yield shlex.split(re.sub(r"\d$", "", call.strip()))


def test_the_workflow_is_one() -> None:
    found = workflow()
    assert set(found[True]) == {"pull_request", "push"}  # type: ignore[index, call-overload] # YAML reads `on` so
    assert all(("run" in step) != ("uses" in step) for step in steps())
    named = [step["uses"] for step in steps() if "uses" in step]
    assert all(re.fullmatch(r"actions/[a-z-]+@v\d+", name) for name in named)


def test_what_others_can_name_is_never_part_of_a_script() -> None:
    """A pull request's title or branch in ``run`` would be a way to run anything; variables are not read as code."""
    assert not [step["run"] for step in steps() if "${{" in step.get("run", "")]


@pytest.mark.parametrize("text", [*(step["run"] for step in steps() if "run" in step)])
def test_every_line_of_the_workflow_is_a_command(text: str) -> None:
    known = {"mlops-assets", "if", "!", "fi", "echo", "cat", "gh", "examples/ci/check.sh", "tools/environment"}
    for line in filter(None, (line.strip() for line in text.splitlines())):
        assert line.split()[0] in known, line
    for words in typed(text):
        assert callable(_parser().parse_args(words).command), words


def test_the_files_that_the_workflow_names_are_there() -> None:
    assert os.access(SCRIPT, os.X_OK)
    assert os.access(ROOT / "tools" / "environment", os.X_OK)
    assert (ROOT / "requirements.lock").is_file()
    scripts = [words for step in steps() for words in step.get("run", "").split() if words.endswith(".sh")]
    assert scripts == ["examples/ci/check.sh"]


@pytest.mark.parametrize(
    ("path", "least"), [("examples/ci/check.sh", 5), ("README.md", 3), (".github/workflows/mlops-assets.yml", 5)]
)
def test_the_commands_that_are_written_can_be_typed(path: str, least: int) -> None:
    text = (ROOT / path).read_text() if not path.endswith(".md") else code_blocks(ROOT / path)
    calls = list(typed(text))
    assert len(calls) >= least
    for words in calls:
        assert callable(_parser().parse_args(words).command), words


def git(folder: Path, *words: str) -> None:
    who = ("-c", "user.name=ann", "-c", "user.email=ann@example.org")
    subprocess.run(["git", *who, *words], cwd=folder, check=True, capture_output=True)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A repository of a project with one dataset, at the commit that a pull request starts from."""
    dataset = write_contract(tmp_path / "project" / "data", **GATES, **HASTE)
    project = dataset.parents[1]
    (dataset / "features.py").write_text(FEATURES)
    (dataset / "dataset.yaml").write_text((dataset / "dataset.yaml").read_text() + SAMPLE)
    (project / ".gitignore").write_text(".mlops/\nlanding/\n")
    shutil.copytree(SCRIPT.parent, project / "examples" / "ci")
    git(project, "init", "--quiet", "--initial-branch", "main")
    git(project, "add", "--all")
    git(project, "commit", "--quiet", "--message", "all of it")
    deliver_days(dataset, range(len(DAYS)), rows=100)
    git(project, "switch", "--quiet", "--create", "calm")
    return project


def change(project: Path, old: str, new: str) -> None:
    path = project / "data" / "visits" / "dataset.yaml"
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new))


def check(project: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """The script as a person calls it, with this environment's programs."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("MLOPS_", "DAGSTER_", "MLFLOW_"))}
    return subprocess.run(
        ["examples/ci/check.sh", *words],
        cwd=project,
        env={
            **kept,
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "PYTHONPATH": str(ROOT),
            "BASE_COMMIT": "main",
            "OMP_NUM_THREADS": "1",
        },
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )


@pytest.mark.slow
def test_a_change_is_tried_and_told(project: Path) -> None:
    change(project, "size, haste]", "size, haste, calm]")
    features = project / "data" / "visits" / "features.py"
    features.write_text(
        features.read_text()
        + '\n\ndef calm(minutes):\n    """Minutes beyond ten."""\n    return (minutes - 10).clip(lower=0)\n'
    )
    git(project, "commit", "--quiet", "--all", "--message", "Calm")
    done = check(project, "sample/pr-1", "sample", "visits")
    assert done.returncode == 0, done.stderr
    assert "All code locations passed validation" in done.stderr
    assert "Making sample by the code of commit " in done.stderr
    said = done.stdout
    assert re.match(r"\*\*visits 2024-01-04: ROC AUC 0\.\d+ → 0\.\d+ \([+-]0\.\d+\), .+\.\*\*\n", said)
    assert "`branch sample` (boosted trees, 58 test rows) → `branch sample/pr-1` (boosted trees, 58 test rows)" in said
    assert said.endswith(
        "\n- Data: `features` (2024-01-01 to 2024-01-04, 4 partitions) columns `+calm`\n"
        "- Code: `data/visits/features.py` for `features`\n"
        "- Settings: `features[name=calm]` added\n"
        "- Environment: the same\n"
    )
    assert not list(project.glob("data/*/landing/landing"))
    worktrees = subprocess.run(["git", "worktree", "list"], cwd=project, capture_output=True, text=True, check=True)
    assert len(worktrees.stdout.splitlines()) == 1
    # once more, with a gate that nothing passes: the base stays, and what is refused is told
    change(project, "maximum: {roc_auc: 0.999}", "maximum: {roc_auc: 0.5}")
    done = check(project, "sample/pr-1")
    assert done.returncode == 1
    assert "Making sample" not in done.stderr
    assert done.stdout.startswith("**visits 2024-01-04: refused. ROC AUC 0.")
    assert "\n> visits/evaluation_report [2024-01-04] was refused by the check maximum: " in done.stdout


@pytest.mark.slow
def test_a_contract_with_a_mistake_is_told_before_anything_is_made(project: Path) -> None:
    change(project, "task: binary", "task: guess")
    done = check(project, "sample/pr-1")
    assert done.returncode == 1
    assert done.stdout == ""
    assert re.search(r"data/visits/dataset\.yaml:\d+: Target: 'task' cannot be 'guess'", done.stderr), done.stderr
    assert not list((project / ".mlops" / "store").glob("heads/*"))


@pytest.mark.slow
def test_the_change_that_names_a_sample_has_nothing_to_compare_with(project: Path) -> None:
    git(project, "switch", "--quiet", "main")
    change(project, SAMPLE, "")
    git(project, "commit", "--quiet", "--all", "--message", "no sample")
    git(project, "switch", "--quiet", "--create", "sampled")
    change(project, "\ngates:", f"\n{SAMPLE}gates:")
    done = check(project, "sample/pr-1")
    assert done.returncode == 0, done.stderr
    assert "the branch sample holds samples, and visits says nothing of one" in done.stderr
    first = done.stdout.splitlines()[0]
    assert re.fullmatch(
        r"\*\*visits 2024-01-04: ROC AUC 0\.\d+; `branch sample` shows no evaluation report to compare with\.\*\*",
        first,
    )


@pytest.mark.slow
def test_a_base_that_nobody_knows_is_asked_for(project: Path) -> None:
    git(project, "switch", "--quiet", "--orphan", "elsewhere")
    git(project, "checkout", "main", "--", ".")
    git(project, "commit", "--quiet", "--message", "no common commit")
    deliver_days(project / "data" / "visits", range(len(DAYS)), rows=100)
    done = check(project, "sample/pr-1")
    assert (done.returncode, done.stdout) == (1, "")
    assert "sample shows nothing, and its code is not known: set BASE_COMMIT" in done.stderr


def test_the_script_asks_for_a_branch() -> None:
    done = subprocess.run([str(SCRIPT)], capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert "name the branch, such as: examples/ci/check.sh sample/pr-12" in done.stderr
