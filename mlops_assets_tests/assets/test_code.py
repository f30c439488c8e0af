"""Code versions: what changes them and what does not. Work on a copy of the package, as on a checkout."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import mlops_assets
from mlops_assets.assets.code import code_version, environment, environment_digest

PACKAGE = Path(mlops_assets.__file__).parent

VERSIONS = """
import json, pathlib, sys
sys.path.insert(0, sys.argv[1])
from mlops_assets.assets.code import code_version, remember_in
if len(sys.argv) > 2:
    remember_in(pathlib.Path(sys.argv[2]))
stages = "ingest", "sift", "clean", "split", "features", "train", "evaluate"
print(json.dumps({name: code_version([f"mlops_assets.stages.{name}"]) for name in stages}))
"""


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    shutil.copytree(PACKAGE, tmp_path / "checkout" / "mlops_assets", ignore=shutil.ignore_patterns("__pycache__"))
    return tmp_path / "checkout"


def versions(checkout: Path, cache: Path | None = None) -> dict[str, str]:
    words = [sys.executable, "-I", "-c", VERSIONS, str(checkout), *([str(cache)] if cache else [])]
    done = subprocess.run(words, capture_output=True, text=True, check=True, cwd=checkout)
    return dict(json.loads(done.stdout))


def changed(checkout: Path, module: str, old: str, new: str) -> set[str]:
    """The stages whose code version an edit changes."""
    before = versions(checkout)
    path = checkout / "mlops_assets" / module
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))
    after = versions(checkout)
    return {name for name in before if before[name] != after[name]}


def test_comments_docstrings_and_layout_change_nothing(checkout: Path) -> None:
    for path in (checkout / "mlops_assets").rglob("*.py"):
        text = path.read_text()
        path.write_text(
            "# A comment.\n\n" + text.replace('"""', '"""Otherwise said. ', 1).rstrip() + "\n\n\n# The end.\n"
        )
    assert versions(checkout) == versions(PACKAGE.parent)


def test_a_change_reaches_every_stage_that_imports_it_at_any_distance(checkout: Path) -> None:
    assert changed(checkout, "stages/cells.py", "import pyarrow as pa", "import pyarrow as pa\nTHRESHOLD = 1") >= {
        "sift"
    }
    assert changed(checkout, "stages/usercode.py", 'FILE = "features.py"', 'FILE = "feature.py"') == {"features"}


def test_what_a_stage_does_not_import_does_not_change_it(checkout: Path) -> None:
    assert changed(checkout, "report/page.py", "from ", "CONSTANT = 3\nfrom ") == set()
    assert changed(checkout, "assets/plan.py", "from ", "CONSTANT = 3\nfrom ") == set()
    assert changed(checkout, "store/store.py", "from ", "CONSTANT = 3\nfrom ") == set()


def test_shapes_of_the_contract_are_no_code(checkout: Path) -> None:
    assert changed(checkout, "contract/model.py", "from ", "CONSTANT = 3\nfrom ") == set()


def test_the_memory_is_only_memory(checkout: Path, tmp_path: Path) -> None:
    without = versions(checkout)
    cache = tmp_path / "cache"
    assert versions(checkout, cache) == without
    (kept,) = cache.iterdir()
    assert versions(checkout, cache) == without
    kept.write_text('{"broken')
    assert versions(checkout, cache) == without
    path = checkout / "mlops_assets" / "stages" / "split.py"
    path.write_text(path.read_text() + "\nCONSTANT = 3\n")
    assert {name for name, version in versions(checkout, cache).items() if version != without[name]} == {
        name for name, version in versions(checkout).items() if version != without[name]
    }
    assert versions(checkout, cache)["split"] != without["split"]


def test_a_dataset_s_own_file_counts_by_its_syntax_and_name(tmp_path: Path) -> None:
    code = tmp_path / "features.py"
    code.write_text("def haste(pages):\n    return pages\n")
    first = code_version(["mlops_assets.stages.features"], [code])
    assert first != code_version(["mlops_assets.stages.features"])
    code.write_text(
        '"""What a visit tells."""\n\n\ndef haste(pages):\n    """Pages."""\n    return (pages)  # as it is\n'
    )
    assert code_version(["mlops_assets.stages.features"], [code]) == first
    # Also in the process that has read it before.
    code.write_text("def haste(pages):\n    return pages + 1\n")
    assert code_version(["mlops_assets.stages.features"], [code]) != first


def test_the_environment_names_what_is_installed() -> None:
    import pyarrow as pa

    found = environment()
    assert found["pyarrow"] == pa.__version__
    assert found["python"] == ".".join(str(part) for part in sys.version_info[:3])
    assert len(environment_digest()) == 32
