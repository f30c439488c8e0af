"""A process that is killed anywhere leaves nothing that the next one does not put right."""

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from mlops_assets_tests.assets.shop import BATCH, RELEASE, Shop
from mlops_assets_tests.datasets import deliver_days

DAY = "2024-01-05"

# While a version is written, before its head moves, and after that before Dagster was told.
WRITTEN = [(stage, f"/data/visits/{stage}/p={DAY}/[^/]*$", "at") for stage in (*BATCH, *RELEASE)]
RECORDED = [(stage, f"/heads/main/visits/{stage}/{DAY}", "at") for stage in ("features", "trained_model")]
PUBLISHED = [
    (stage, f"/heads/main/visits/{stage}/{DAY}", "after") for stage in ("raw/visits", "features", "trained_model")
]
POINTS = {
    **{f"{stage} written": (stage, path, moment) for stage, path, moment in WRITTEN},
    **{f"{stage} recorded": (stage, path, moment) for stage, path, moment in RECORDED},
    **{f"{stage} published": (stage, path, moment) for stage, path, moment in PUBLISHED},
}

FEW = ["cleaned written", "features published", "trained_model recorded"]


@pytest.fixture(scope="module")
def undisturbed(built: Shop, tmp_path_factory: pytest.TempPathFactory) -> Shop:
    """One more day than was built, and its release."""
    made = built.copy(tmp_path_factory.mktemp("undisturbed"))
    deliver_days(made.folder, range(5), rows=100)
    assert not made.run().failed
    return made


Ends = dict[str, tuple[Shop, list[int]]]


@pytest.fixture(
    scope="module",
    params=[FEW, pytest.param([point for point in POINTS if point not in FEW], marks=pytest.mark.slow)],
    ids=["few", "others"],
)
def ends(request: pytest.FixtureRequest, built: Shop, tmp_path_factory: pytest.TempPathFactory) -> Ends:
    """For each point, the shop in which a process died there, and how that one and the next ended."""
    shops, attempts = {}, []
    for point in request.param:
        shops[point] = built.copy(tmp_path_factory.mktemp("killed"))
        deliver_days(shops[point].folder, range(5), rows=100)
        stage, pattern, moment = POINTS[point]
        # Where the release is not what dies, it is not made.
        words = ["run", "visits", *(["--partition", DAY] if stage in BATCH else [])]
        folder = str(shops[point].home.root.parent)
        attempts.append({"folder": folder, "pattern": pattern, "moment": moment, "words": words})
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-m", "mlops_assets_tests.assets.crash"],
        input=json.dumps(attempts),
        capture_output=True,
        text=True,
        check=False,
        cwd=Path(__file__).parent.parent.parent,
    )
    assert done.returncode == 0, done.stderr
    return dict(zip(shops, zip(shops.values(), json.loads(done.stdout), strict=True), strict=True))


def said(shop: Shop) -> str:
    """What both processes printed."""
    return (shop.home.root.parent / "said.txt").read_text()


def test_the_next_run_ends_where_an_undisturbed_one_does(ends: Ends, undisturbed: Shop) -> None:
    for point, (shop, codes) in ends.items():
        assert codes == [-signal.SIGKILL, 0], (point, said(shop)[-3000:])
        expected = undisturbed.heads()
        releases: tuple[str, ...] = ()
        if POINTS[point][0] in BATCH:
            for stage in RELEASE:
                del expected[f"visits/{stage}"][DAY]
        else:
            releases = (DAY,)
        assert shop.heads() == expected, point
        assert shop.told() == expected, point
        assert not [path for path in shop.home.unreported.rglob("*") if path.is_file()], point
        assert shop.run(releases=releases).outcomes == [], point
        # What was recorded is not made twice, and what was not is made.
        stage = POINTS[point][0]
        done = "computed" if "written" in point else "reused  "
        found = [line.split(",")[0] for line in said(shop).splitlines() if f" visits/{stage} [{DAY}]" in line]
        assert found == [f"{done} visits/{stage} [{DAY}]"], point
