"""What may not become a feature because of where it comes from."""

from pathlib import Path

from mlops_assets_tests.contract.parcels import FEATURES, PARCELS, told, write


def test_what_an_excluded_column_brings_is_excluded_too(tmp_path: Path) -> None:
    text = PARCELS.replace(
        "depot: string\n      number", "depot: string\n      last: {type: string, role: excluded}\n      number"
    )
    text = text.replace("on: [depot]", "on: {last: depot}")
    assert told(write(tmp_path / "parcels", text)) == [
        (
            "dataset.yaml:45: Features: 'city' comes by a join on 'last', which is known only after the event; "
            "it cannot be a feature."
        )
    ]


def test_an_outcome_that_is_not_the_target_is_refused_too(tmp_path: Path) -> None:
    text = PARCELS.replace("phone: {", "signed: {type: float64, role: excluded}\n      phone: {")
    text = text.replace("[weight, hour, rush]", "[signed, hour, rush]")
    code = FEATURES.replace("hour(sent:", "hour(signed:")
    assert told(write(tmp_path / "parcels", text, code)) == [
        "dataset.yaml:42: Features: 'signed' is known only after the event (role: excluded); it cannot be a feature.",
        "features.py:4: 'hour' uses 'signed', which is known only after the event (role: excluded).",
    ]
