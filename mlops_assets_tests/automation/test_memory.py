"""What sensors remember, and how often they try."""

from pathlib import Path

import pytest

from mlops_assets.automation.memory import Tries, keep, kept_in


def test_a_thing_is_tried_after_growing_pauses_and_then_no_more(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "tries.json"
    now, waited = 1000.0, []
    for _ in range(3):
        tries = Tries(path, most=3)
        assert tries.why_not("The batch x", "content", now) is None
        tries.asked("The batch x", "content", now)
        tries.save()
        began = now
        while Tries(path, most=3).why_not("The batch x", "content", now) and now - began < 1000:
            now += 1
        waited.append(now - began)
    assert waited == [10, 30, 1000]
    assert "was tried 3 times" in str(Tries(path, most=3).why_not("The batch x", "content", now))
    assert Tries(path, most=3).why_not("The batch x", "other content", now) is None
    assert Tries(path, most=3).why_not("The batch y", "content", now) is None


def test_a_clock_that_was_set_back_makes_nobody_wait(tmp_path: Path) -> None:
    tries = Tries(tmp_path / "tries.json", most=3)
    tries.asked("it", "content", 1000.0)
    assert tries.why_not("it", "content", 1.0) is None


def test_what_is_done_is_forgotten(tmp_path: Path) -> None:
    tries = Tries(tmp_path / "tries.json", most=3)
    assert [tries.asked("it", "content", 1.0), tries.asked("it", "content", 2.0)] == [1, 2]
    tries.done("it")
    assert tries.asked("it", "content", 3.0) == 1


@pytest.mark.parametrize("damage", [b"", b"{", b"[]", b"\xff\xfe"])
def test_damaged_memory_is_no_memory(tmp_path: Path, damage: bytes) -> None:
    path = tmp_path / "memory.json"
    keep(path, {"a": 1})
    assert kept_in(path) == {"a": 1}
    path.write_bytes(damage)
    assert kept_in(path) == {}
