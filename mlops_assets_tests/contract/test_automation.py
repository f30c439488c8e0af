"""The section ``automation``: what can be said, what is told of the rest, and that none of it makes anything stale."""

from pathlib import Path

import pytest

from mlops_assets.assets.graph import Graph, digest
from mlops_assets.contract.load import load_contract
from mlops_assets.contract.model import Alerts, Arrivals, Automation, Freshness, Releases, Sample
from mlops_assets.errors import ContractError
from mlops_assets_tests.datasets import write_contract

WHOLE = """\
automation:
  enabled: false
  arrivals: {settle: 1m, marker: "{file}.done", attempts: 5}
  releases: {when: schedule, cron: "0  6 * * mon"}
  freshness:
    raw/visits: {fail: 36h, warn: 26h}
    trained_model: {fail: 8d}
  sample: {share: 0.1, by: [shop], cron: "30 1 * * *"}
  verify: off
  limit: 50
  alerts:
    command: [notify-send, "a run failed"]
    webhook: ALERTS_URL
    email: SMTP_URL
    recipients: [ann@example.org, bob@example.org]
"""


def write(tmp_path: Path, text: str, **more: str) -> Path:
    folder = write_contract(tmp_path, **more)
    contract = folder / "dataset.yaml"
    contract.write_text(contract.read_text() + text)
    return folder


def read(tmp_path: Path, text: str) -> Automation:
    return load_contract(write(tmp_path, text)).automation


def told(tmp_path: Path, text: str) -> list[str]:
    """What is wrong, without the file and its lines before the section."""
    folder = write(tmp_path, text)
    before = (folder / "dataset.yaml").read_text().count("\n") - text.count("\n")
    with pytest.raises(ContractError) as caught:
        load_contract(folder)
    found = []
    for sentence in caught.value.sentences:
        _, line, problem = sentence.removeprefix(f"{folder}/").split(":", 2)
        found.append(f"{int(line) - before}:{problem}")
    return found


def test_everything_that_can_be_said(tmp_path: Path) -> None:
    found = read(tmp_path, WHOLE)
    assert found == Automation(
        enabled=False,
        arrivals=Arrivals(60, "{file}.done", 5),
        releases=Releases("schedule", "0 6 * * mon", line=found.line + 2),
        freshness={"raw/visits": Freshness(129600, 93600), "trained_model": Freshness(691200)},
        sample=Sample(0.1, ("shop",), "30 1 * * *"),
        verify=None,
        limit=50,
        alerts=Alerts(
            ("notify-send", "a run failed"), "ALERTS_URL", "SMTP_URL", ("ann@example.org", "bob@example.org")
        ),
        line=found.line,
    )


@pytest.mark.parametrize("text", ["", "automation:\n", "automation: {}\n"])
def test_nothing_need_be_said(tmp_path: Path, text: str) -> None:
    found = read(tmp_path, text)
    assert found == Automation(line=found.line)
    assert (found.enabled, found.verify, found.sample) == (True, "0 3 * * 0", None)


@pytest.mark.parametrize(
    ("written", "releases"),
    [
        ("every_batch", Releases("every_batch")),
        ("hand", Releases("hand")),
        ("{when: hand}", Releases("hand")),
        ('{when: schedule, cron: "0 6 1 * *"}', Releases("schedule", "0 6 1 * *")),
        (
            "{when: drift, checks: [features/filled, raw/visits/volume]}",
            Releases("drift", checks=("features/filled", "raw/visits/volume")),
        ),
    ],
)
def test_when_releases_are_asked_for(tmp_path: Path, written: str, releases: Releases) -> None:
    found = read(tmp_path, f"automation: {{releases: {written}}}\n").releases
    assert (found.when, found.cron, found.checks) == (releases.when, releases.cron, releases.checks)


def test_a_sample_with_nothing_said_is_the_usual_one(tmp_path: Path) -> None:
    assert read(tmp_path, "automation: {sample: }\n").sample == Sample(0.05, (), "0 2 * * *")


def test_with_a_marker_nothing_need_settle(tmp_path: Path) -> None:
    assert read(tmp_path, 'automation: {arrivals: {settle: 0s, marker: "_{file}"}}\n').arrivals.settle == 0


@pytest.mark.parametrize(
    ("section", "problem"),
    [
        ("enable: true", "unknown key 'enable'; did you mean 'enabled'?"),
        ("enabled: yes", "'enabled' should be true or false, not 'yes'."),
        ("limit: 0", "'limit' should be at least 1, not 0."),
        (
            "verify: never",
            (
                "'verify' should be a cron expression of five fields like \"0 3 * * 0\" (minute, hour, day, "
                "month, weekday), not 'never'."
            ),
        ),
        (
            "arrivals: {settle: 4s}",
            (
                "arrivals: 'settle' should be at least 5s, or a file that is still being written "
                "looks complete; less is fine with a 'marker'."
            ),
        ),
        ("arrivals: {settle: soon}", "arrivals: 'settle' should be a time like 90m, 3h or 2d, not 'soon'."),
        ("arrivals: {attempts: 0}", "arrivals: 'attempts' should be at least 1, not 0."),
        (
            "arrivals: {marker: done}",
            (
                "arrivals: 'marker' is 'done'; it should be a file name in which {file} stands "
                'for the delivered file\'s, like "{file}.done".'
            ),
        ),
        (
            'arrivals: {marker: "../{file}"}',
            (
                "arrivals: 'marker' is '../{file}'; it should be a file name in which "
                '{file} stands for the delivered file\'s, like "{file}.done".'
            ),
        ),
        (
            'arrivals: {marker: "visits_{file}"}',
            (
                "arrivals: 'marker' is 'visits_{file}', and a marker of 'visits' would "
                "be taken for a delivered file; give it another ending."
            ),
        ),
        ("releases: schedule", "'releases' needs more than 'schedule'; write {when: schedule, cron: \"0 6 * * 1\"}."),
        ("releases: every_batsh", "'releases' cannot be 'every_batsh'; did you mean 'every_batch'?"),
        ("releases: {cron: 0 6 * * 1}", "releases: 'when' is missing; one of every_batch, schedule, drift, hand."),
        ("releases: {when: schedule}", "releases: 'cron' is missing; say when a release is asked for, in UTC."),
        (
            "releases: {when: drift}",
            ("releases: 'checks' is missing; name the warnings that ask for a release, as stage/check."),
        ),
        (
            "releases: {when: drift, checks: [features/filed]}",
            ("releases: there is no check 'features/filed'; did you mean 'features/filled'?"),
        ),
        (
            "releases: {when: drift, checks: [features/target]}",
            (
                "releases: the check 'features/target' refuses what fails it, so it cannot ask for a release; name "
                "warnings of batches."
            ),
        ),
        (
            "releases: {when: drift, checks: [evaluation_report/groups]}",
            (
                "releases: the check 'evaluation_report/groups' is not of a batch, so it cannot ask for a release; "
                "name warnings of batches."
            ),
        ),
        ("releases: {when: hand, checks: [features/filled]}", "releases: 'checks' goes with 'when: drift' only."),
        ("freshness: {raw/visit: {fail: 36h}}", "freshness: there is no stage 'raw/visit'; did you mean 'raw/visits'?"),
        (
            "freshness: {features: {warn: 26h}}",
            (
                "freshness of 'features': 'fail' is missing; say after what time "
                "without a new version it is late, like 36h."
            ),
        ),
        ("freshness: {features: {fail: 30s}}", "freshness of 'features': 'fail' should be at least a minute, not 30s."),
        ("freshness: {features: {fail: 2h, warn: 3h}}", "freshness of 'features': 'warn' should come before 'fail'."),
        ("sample: {share: 5}", "sample: 'share' should be a share between 0 and 1, not 5."),
        ("sample: {share: 0}", "sample: 'share' should be between 0 and 1, not 0: a part, not nothing or all."),
        ("sample: {by: [shops]}", "sample: the spine 'visits' has no column 'shops'; did you mean 'shop'?"),
        (
            "sample: {by: [size]}",
            (
                "sample: the spine 'visits' has no column 'size'; known are 'day', 'minutes', "
                "'pages', 'paid', 'shop', 'visit'."
            ),
        ),
        (
            "alerts: {command: []}",
            ("alerts: 'command' is empty; write a program and its arguments, like [notify-send, Failed]."),
        ),
        (
            "alerts: {webhook: https://example.org/secret}",
            ("alerts: 'webhook' should be the name of an environment variable, like ALERTS_URL; secrets stay outside."),
        ),
        ("alerts: {email: SMTP_URL}", "alerts: 'email' needs 'recipients' beside it."),
        ("alerts: {email: SMTP_URL, recipients: [ann]}", "alerts: 'recipients' has 'ann', which is no e-mail address."),
    ],
)
def test_what_is_told(tmp_path: Path, section: str, problem: str) -> None:
    between = ", " if problem.startswith(("arrivals:", "releases:", "freshness", "sample:", "alerts:")) else ": "
    assert f"2: Automation{between}{problem}" in told(tmp_path, f"automation:\n  {section}\n")


def test_every_mistake_has_its_line(tmp_path: Path) -> None:
    text = WHOLE.replace("enabled: false", "enabled: off").replace("raw/visits", "raw/visitors").replace("50", "many")
    assert told(tmp_path, text) == [
        "2: Automation: 'enabled' should be true or false, not 'off'.",
        "6: Automation, freshness: there is no stage 'raw/visitors'; did you mean 'raw/visits'?",
        "10: Automation: 'limit' should be a whole number, not 'many'.",
    ]


def test_mistakes_elsewhere_do_not_hide_those_of_form(tmp_path: Path) -> None:
    folder = write(tmp_path, "automation: {limit: 0, freshness: {nothing: {fail: 1h}}}\n", **{"[size]": "[sise]"})
    with pytest.raises(ContractError) as caught:
        load_contract(folder)
    assert [sentence.split(": ", 1)[1] for sentence in caught.value.sentences] == [
        "Join of 'shops': 'shops' has no column 'sise'; did you mean 'size'?",
        (
            "Features: 'size' is no column and no function of features.py; the source 'shops' has it: add it to the "
            "join's columns."
        ),
        "Automation: 'limit' should be at least 1, not 0.",
    ]


def test_it_changes_no_stage(tmp_path: Path) -> None:
    def described(folder: Path) -> dict[str, tuple[str, str, str]]:
        stages = Graph(load_contract(folder)).stages.values()
        return {s.name: (digest(s.settings), digest(s.rules), repr((s.modules, s.files, s.checks))) for s in stages}

    folder = write_contract(tmp_path)
    before = described(folder)
    assert "trained_model" in before
    assert described(write(tmp_path, WHOLE)) == before
