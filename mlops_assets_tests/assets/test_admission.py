"""A person lets a refused row in: the batch is made again from what was delivered, and everybody can see it."""

from mlops_assets_tests.assets.shop import DAYS, Shop, edited

REASON = "minutes: is above the maximum"
SAID = """\
visits:
  - row: {{visit: {visit}}}
    reason: "{reason}"
    who: ann@example.org
    why: They stayed overnight.
"""


def test_a_row_that_a_person_let_in(shop: Shop) -> None:
    day, visits = DAYS[1], []

    def too_long(lines: list[str]) -> list[str]:
        cells = lines[2].split(",")
        visits.append(cells[0])
        return [*lines[:2], ",".join([*cells[:3], "601", *cells[4:]]), *lines[3:]]

    edited(shop.landing(day), too_long)
    assert shop.called("run", "visits", "--partition", day).code == 0
    before = shop.manifest("cleaned", day)
    assert shop.manifest("quarantine", day).rows == 1
    assert [verdict["check"] for verdict in before.verdicts if verdict["check"] == "admitted"] == []

    said = SAID.format(visit=visits[0], reason=REASON)
    (shop.folder / "admitted.yaml").write_text(said)
    shop.change("target: {", "admitted: admitted.yaml\ntarget: {")
    done = shop.called("run", "visits", "--partition", day)
    assert done.code == 0, done.text
    cleaned = shop.manifest("cleaned", day)
    assert (shop.manifest("quarantine", day).rows, cleaned.rows) == (0, (before.rows or 0) + 1)
    assert shop.manifest("features", day).accepted
    (verdict,) = (verdict for verdict in cleaned.verdicts if verdict["check"] == "admitted")
    assert (verdict["passed"], verdict["severity"]) == (False, "warn")
    assert verdict["sentence"] == f"Rows that people let in: 1 of visits despite '{REASON}' (ann@example.org)."
    assert visits[0] not in str(cleaned.settings)

    (shop.folder / "admitted.yaml").write_text("")
    assert shop.called("run", "visits", "--partition", day).code == 0
    assert shop.manifest("cleaned", day).version == before.version
