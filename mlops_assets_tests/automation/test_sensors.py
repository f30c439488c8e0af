"""What new files make happen: which runs are asked for, and that nothing is lost or done twice."""

from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest

from mlops_assets.automation.memory import place
from mlops_assets.definitions import build_definitions
from mlops_assets_tests.assets.shop import BATCH, GATES, Shop
from mlops_assets_tests.automation.clockwork import Clockwork, asked, stages
from mlops_assets_tests.datasets import deliver_days, deliver_named, deliver_whole, write_contract, write_rows


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    made = Shop.in_folder(tmp_path)
    write_contract(made.home.data, **GATES)
    return made


@pytest.fixture
def works(shop: Shop) -> Iterator[Clockwork]:
    with Clockwork.of(shop) as found:
        yield found


def heads(shop: Shop, stage: str) -> set[str]:
    return set(shop.plan().heads(stage))


def test_files_become_one_run_for_each_range_of_batches(works: Clockwork) -> None:
    deliver_days(works.shop.folder, (0, 1, 2, 5, 6))
    assert works.tick()[0] == []
    (first,), _ = works.tick(5)
    assert (asked([first]), stages(first)) == (["all"], ["raw/shops"])
    assert works.do([first]) == [True]
    requests, _ = works.tick(5)
    assert asked(requests) == ["2024-01-01..2024-01-03", "2024-01-06..2024-01-07"]
    assert stages(requests[0]) == list(BATCH)
    assert works.do(requests) == [True, True]
    assert works.tick(5) == ([], [])
    assert heads(works.shop, "features") == {f"2024-01-0{day}" for day in (1, 2, 3, 6, 7)}


def test_what_stands_is_not_asked_for_again_when_all_memory_is_lost(works: Clockwork) -> None:
    deliver_days(works.shop.folder, (0, 1))
    works.quiet()
    for name in ("inbox", "wanted", "tries"):
        place(works.shop.home, "visits", name).unlink(missing_ok=True)
    assert works.settled() == ([], [])


def test_a_broken_file_is_refused_and_explained_until_it_is_mended(works: Clockwork) -> None:
    deliver_days(works.shop.folder, (0, 1))
    path = works.shop.landing("2024-01-02")
    whole = path.read_bytes()
    path.write_bytes(whole.replace(b"2024-01-02,north", b"2024-01-02,nowhere"))
    (sentence,) = works.quiet()
    assert sentence.startswith("Refused: visits/cleaned [2024-01-02] was refused by the check ")
    assert works.tick(5) == ([], [sentence])
    assert heads(works.shop, "features") == {"2024-01-01"}
    path.write_bytes(whole)
    requests, said = works.settled()
    assert asked(requests) == ["2024-01-02"]
    assert said[0] == "landing/visits_2024-01-02.csv holds other bytes than before (delivery 3, now 4)."
    assert works.do(requests) == [True]
    assert works.tick(5) == ([], [])
    assert heads(works.shop, "features") == {"2024-01-01", "2024-01-02"}


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("", "is empty"),
        ("visit,day,shop,minutes,pages,paid\n", "No row of the batch was accepted, or none was delivered"),
        ("<html>503</html>\n", "is an HTML or XML page"),
    ],
)
def test_a_file_without_data_is_refused_and_explained(works: Clockwork, content: str, reason: str) -> None:
    deliver_days(works.shop.folder, (0, 1))
    works.shop.landing("2024-01-02").write_text(content)
    (sentence,) = works.quiet()
    assert "2024-01-02" in sentence
    assert reason in sentence
    assert heads(works.shop, "features") == {"2024-01-01"}


def test_a_changed_file_makes_its_batch_anew_and_no_other(works: Clockwork) -> None:
    deliver_days(works.shop.folder, (0, 1, 2))
    works.quiet()
    path = works.shop.landing("2024-01-02")
    path.write_bytes(path.read_bytes().replace(b"north", b"south"))
    requests, _ = works.settled()
    assert asked(requests) == ["2024-01-02"]
    works.do(requests)
    assert works.tick(5) == ([], [])


def test_the_same_bytes_under_another_name_make_nothing(tmp_path: Path) -> None:
    shop = Shop.in_folder(tmp_path)
    write_contract(shop.home.data, **GATES, **{"landing/visits_{batch}": "landing/*visits_{batch}"})
    with Clockwork.of(shop) as works:
        deliver_days(shop.folder, (0, 1))
        works.quiet()
        before = shop.heads()
        again = shop.landing("2024-01-02")
        (again.parent / f"again-{again.name}").write_bytes(again.read_bytes())
        requests, said = works.settled()
        assert requests == []
        assert "holds the same bytes as landing/visits_2024-01-02.csv" in said[0]
        assert shop.heads() == before


def test_a_run_that_broke_off_is_tried_again_alone_after_pauses_and_not_for_ever(works: Clockwork) -> None:
    deliver_days(works.shop.folder, (0, 1))
    works.do(works.settled()[0])
    requests, _ = works.tick(5)
    assert asked(requests) == ["2024-01-01..2024-01-02"]
    keys = [request.run_key for request in requests]
    assert works.tick(5)[1] == [f"The batch 2024-01-0{day} broke off and is tried again in 5 s." for day in (1, 2)]
    requests, _ = works.tick(5)
    assert asked(requests) == ["2024-01-01", "2024-01-02"]
    keys += [request.run_key for request in requests]
    assert works.tick(29)[0] == []
    requests, _ = works.tick(1)
    keys += [request.run_key for request in requests]
    assert len(set(keys)) == len(keys) == 5
    works.do(requests[:1])
    requests, said = works.tick(100_000)
    assert requests == []
    assert said[0].startswith("The batch 2024-01-02 was tried 3 times and broke off each time")
    path = works.shop.landing("2024-01-02")
    path.write_bytes(path.read_bytes().replace(b"north", b"south"))
    assert asked(works.settled()[0]) == ["2024-01-02"]


def test_what_is_being_made_is_waited_for_and_what_came_meanwhile_is_not_lost(works: Clockwork) -> None:
    deliver_days(works.shop.folder, (0, 1))
    works.do(works.settled()[0])
    (request,), _ = works.tick(5)
    job = build_definitions(works.shop.home).resolve_implicit_global_asset_job_def()
    run = works.instance.create_run_for_job(
        job,
        status=dg.DagsterRunStatus.STARTED,
        tags=dict(request.tags),
        asset_selection=frozenset(request.asset_selection or ()),
    )
    assert works.tick(60) == ([], ["2 batches being made: 2024-01-01, 2024-01-02."])
    works.do([request])
    path = works.shop.landing("2024-01-02")
    path.write_bytes(path.read_bytes().replace(b"north", b"south"))
    assert works.settled()[0] == []
    works.instance.report_run_failed(run)
    assert asked(works.tick(5)[0]) == ["2024-01-02"]


def test_a_run_takes_what_was_taken_in_and_not_what_still_grows(works: Clockwork) -> None:
    (path,) = deliver_days(works.shop.folder, (0,))
    works.do(works.settled()[0])
    requests, _ = works.tick(5)
    with path.open("a") as file:
        file.write("half a ro")
    assert works.do(requests) == [True]
    (head,) = works.shop.plan().heads("raw/visits").values()
    manifest = works.shop.plan().store.manifest(head.asset, head.batch, head.manifest)
    assert manifest.rows == 60


def test_what_comes_before_the_rows_it_belongs_to_waits_without_a_failed_run(works: Clockwork) -> None:
    (path,) = deliver_days(works.shop.folder, (0,))
    (path.parent / "shops.csv").rename(works.shop.folder / "shops.csv")
    requests, _ = works.settled()
    assert [stages(request) for request in requests] == [["raw/visits", "quarantine"]]
    assert works.do(requests) == [True]
    (said,) = works.tick(5)[1]
    assert "visits/raw/shops" in said
    (works.shop.folder / "shops.csv").rename(path.parent / "shops.csv")
    works.quiet()
    assert heads(works.shop, "raw/shops") == {"all"}


def test_a_named_batch_gets_its_partition_in_the_same_tick(tmp_path: Path) -> None:
    shop = Shop.in_folder(tmp_path)
    write_contract(shop.home.data, cadence="named", **GATES)
    deliver_named(shop.folder, ["spring", "autumn"])
    with Clockwork.of(shop) as works:
        repository = build_definitions(shop.home).get_repository_def()
        sensor = repository.get_sensor_def("visits_arrivals")
        works.do(works.settled()[0])
        with dg.build_sensor_context(instance=works.instance, repository_def=repository) as context:
            result = sensor(context)
        assert isinstance(result, dg.SensorResult)
        assert sorted(asked(result.run_requests or [])) == ["autumn", "spring"]
        (added,) = result.dynamic_partitions_requests or []
        assert isinstance(added, dg.AddDynamicPartitionsRequest)
        assert (added.partitions_def_name, list(added.partition_keys)) == ("visits_batches", ["autumn", "spring"])


def test_a_dataset_of_one_batch_is_made_from_its_file(tmp_path: Path) -> None:
    shop = Shop.in_folder(tmp_path)
    write_contract(shop.home.data, cadence="none", **GATES)
    deliver_whole(shop.folder)
    with Clockwork.of(shop) as works:
        assert works.quiet() == []
        assert heads(shop, "features") == {"all"}


def test_an_old_batch_that_comes_late_is_made_and_makes_no_old_release(works: Clockwork) -> None:
    deliver_days(works.shop.folder, (0, 1, 3))
    works.quiet()
    request = works.release()
    assert isinstance(request, dg.RunRequest)
    assert request.partition_key == "2024-01-04"
    assert works.do([request]) == [True]
    deliver_days(works.shop.folder, (2,))
    works.quiet()
    assert works.shop.plan().standing(works.shop.graph().stages["trained_model"], "2024-01-04").state == "stale"
    request = works.release()
    assert isinstance(request, dg.RunRequest)
    assert request.partition_key == "2024-01-04"


def test_rows_of_another_day_are_not_silently_in_the_wrong_batch(works: Clockwork) -> None:
    deliver_days(works.shop.folder, (0, 1))
    path = works.shop.landing("2024-01-02")
    write_rows(
        path, [*path.read_text().splitlines()[1:31], *works.shop.landing("2024-01-01").read_text().splitlines()[1:]]
    )
    (sentence,) = works.quiet()
    assert "2024-01-02" in sentence
    assert heads(works.shop, "features") == {"2024-01-01"}
