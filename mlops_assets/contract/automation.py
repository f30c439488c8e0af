"""The part of a contract that says what happens by itself: ``automation`` of ``dataset.yaml``.

What belongs here: reading that section into values of ``model``, and what may not be said together. What does not: when
anything is done (``mlops_assets.automation``). Nothing here changes a value, so none of it is part of any stage's
settings: editing it makes nothing stale.
"""

import re
from collections.abc import Mapping
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

import yaml

from mlops_assets.contract import yamlnodes as y
from mlops_assets.contract.cron import cron
from mlops_assets.contract.model import Alerts, Arrivals, Automation, Contract, Freshness, Releases, Sample, Source

if TYPE_CHECKING:
    from mlops_assets.assets.graph import Stage

_WHEN = ("every_batch", "schedule", "drift", "hand")
_SETTLE = 5.0  # seconds; file systems tell a file's time in steps of up to two
_SHORTEST = 60.0  # seconds; Dagster looks at freshness twice a minute
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_EMAIL = re.compile(r"[A-Za-z0-9._%+-]+@[A-Za-z0-9.-]+\.[A-Za-z]{2,}")


def read_automation(root: y.Section, contract: Contract) -> Automation:
    """The section ``automation``; every mistake is told to ``root.mistakes``.

    ``contract`` is what the rest of the file says, which may have mistakes itself; what is named here must be in it.
    """
    section = root.section("automation", "automation")
    if section is None:
        return Automation()
    default = Automation()
    stages = None
    if not root.mistakes and ("freshness" in section or "releases" in section):
        # No graph follows from a contract with mistakes, and every command would wait for one that nobody needs.
        stages = _stages(contract)
    automation = Automation(
        enabled=section.get("enabled", y.flag, default.enabled),
        arrivals=_arrivals(section, contract.sources),
        releases=_releases(section, stages),
        freshness=_freshness(section, stages),
        sample=_sample(section, contract),
        verify=section.get("verify", _cron_or_off, default.verify),
        limit=section.get("limit", y.positive, default.limit),
        alerts=_alerts(section),
        line=section.line,
    )
    section.finish()
    return automation


def _stages(contract: Contract) -> "Mapping[str, Stage]":
    from mlops_assets.assets.graph import Graph  # which stands on contracts itself

    return Graph(contract).stages


def _arrivals(root: y.Section, sources: Mapping[str, Source]) -> Arrivals:
    default = Arrivals()
    section = root.section("arrivals", "automation, arrivals")
    if section is None:
        return default
    settle = section.get("settle", y.duration, default.settle)
    marker = section.get("marker", y.text, default.marker)
    attempts = section.get("attempts", y.positive, default.attempts)
    section.finish()
    if marker is None and settle < _SETTLE:
        section.wrong(
            f"'settle' should be at least {_SETTLE:g}s, or a file that is still being written looks complete; "
            "less is fine with a 'marker'.",
            "settle",
        )
    if marker is not None:
        _check_marker(section, marker, sources)
    return Arrivals(settle, marker, attempts)


def _check_marker(section: y.Section, marker: str, sources: Mapping[str, Source]) -> None:
    rest = marker.replace("{file}", "", 1)
    if rest in ("", marker) or any(letter in rest for letter in "{}/\\"):
        section.wrong(
            f"'marker' is {marker!r}; it should be a file name in which {{file}} stands for the delivered file's, "
            'like "{file}.done".',
            "marker",
        )
        return
    names = [source.files.rpartition("/")[2] for source in sources.values()]
    for source, name in zip(sources.values(), names, strict=True):
        beside = marker.replace("{file}", name.replace("{batch}", "0").replace("*", "0"))
        if any(fnmatchcase(beside, other.replace("[", "[[]").replace("{batch}", "?*")) for other in names):
            section.wrong(
                f"'marker' is {marker!r}, and a marker of {source.name!r} would be taken for a delivered file; give "
                "it another ending.",
                "marker",
            )


def _releases(root: y.Section, stages: "Mapping[str, Stage] | None") -> Releases:
    default = Releases()
    if isinstance(root.node("releases"), yaml.ScalarNode):
        when = root.choose("releases", _WHEN, default.when)
        needed = {"schedule": '{when: schedule, cron: "0 6 * * 1"}', "drift": "{when: drift, checks: [stage/check]}"}
        if when in needed:
            root.wrong(f"'releases' needs more than {when!r}; write {needed[when]}.", "releases")
            return default
        return Releases(when, line=root.at("releases"))
    section = root.section("releases", "automation, releases")
    if section is None:
        return default
    when = section.choose("when", _WHEN, default.when, f"one of {', '.join(_WHEN)}.")
    releases = Releases(
        when, section.get("cron", cron, None), section.get("checks", y.list_of(y.text), ()), section.line
    )
    section.finish()
    for key, of in (("cron", "schedule"), ("checks", "drift")):
        if key in section and when != of:
            section.wrong(f"{key!r} goes with 'when: {of}' only.", key)
    if when == "schedule" and "cron" not in section:
        section.wrong("'cron' is missing; say when a release is asked for, in UTC.")
    if when == "drift" and not releases.checks and "checks" not in section:
        section.wrong("'checks' is missing; name the warnings that ask for a release, as stage/check.")
    known = {
        f"{stage.name}/{check.name}": (stage.scope, check.severity)
        for stage in (stages or {}).values()
        for check in stage.checks
    }
    asking = [name for name, kind in known.items() if kind == ("batch", "warn")]
    for name in releases.checks if known else ():
        if name not in known:
            section.wrong(f"there is no check {name!r}{y.suggest(name, asking)}", "checks")
        elif name not in asking:
            why = "is not of a batch" if known[name][0] != "batch" else "refuses what fails it"
            section.wrong(
                f"the check {name!r} {why}, so it cannot ask for a release; name warnings of batches.", "checks"
            )
    return releases


def _freshness(root: y.Section, stages: "Mapping[str, Stage] | None") -> dict[str, Freshness]:
    section = root.section("freshness", "automation, freshness")
    found: dict[str, Freshness] = {}
    for stage, part in section.sections("automation, freshness of") if section else ():
        if section and stages and stage not in stages:
            section.wrong(f"there is no stage {stage!r}{y.suggest(stage, stages)}", stage)
        fail = part.need("fail", _minutes, None, "say after what time without a new version it is late, like 36h.")
        warn = part.get("warn", _minutes, None)
        part.finish()
        if fail is not None and warn is not None and warn >= fail:
            part.wrong("'warn' should come before 'fail'.", "warn")
        if fail is not None:
            found[stage] = Freshness(fail, warn)
    return found


def _sample(root: y.Section, contract: Contract) -> Sample | None:
    section = root.section("sample", "automation, sample")
    if section is None:
        return None
    default = Sample()
    sample = Sample(
        section.get("share", _part, default.share),
        section.get("by", y.list_of(y.text), default.by),
        section.get("cron", cron, default.cron),
    )
    section.finish()
    spine = contract.sources.get(contract.spine)
    for name in sample.by if spine and spine.columns else ():
        if spine and name not in spine.columns:
            section.wrong(
                f"the spine {spine.name!r} has no column {name!r}{y.suggest(name, spine.columns)}",
                "by",
            )
    return sample


def _alerts(root: y.Section) -> Alerts:
    default = Alerts()
    section = root.section("alerts", "automation, alerts")
    if section is None:
        return default
    alerts = Alerts(
        section.get("command", y.list_of(y.text), default.command),
        section.get("webhook", _variable, default.webhook),
        section.get("email", _variable, default.email),
        section.get("recipients", y.list_of(_email), default.recipients),
    )
    section.finish()
    if "command" in section and (not alerts.command or not alerts.command[0]):
        section.wrong("'command' is empty; write a program and its arguments, like [notify-send, Failed].", "command")
    for key, other in (("email", "recipients"), ("recipients", "email")):
        if key in section and other not in section:
            section.wrong(f"{key!r} needs {other!r} beside it.", key)
    return alerts


# ---- readers


def _part(node: yaml.Node) -> float:
    value = y.share(node)
    if value in (0, 1):
        raise y.WrongError((y.line_of(node), f"should be between 0 and 1, not {value}: a part, not nothing or all."))
    return value


def _minutes(node: yaml.Node) -> float:
    value = y.duration(node)
    if value < _SHORTEST:
        raise y.WrongError((y.line_of(node), f"should be at least a minute, not {value:g}s."))
    return value


def _cron_or_off(node: yaml.Node) -> str | None:
    return None if y.text(node) == "off" else cron(node)


def _variable(node: yaml.Node) -> str:
    written = y.text(node)
    if not _VARIABLE.fullmatch(written):  # and is not repeated: it may well be the secret itself
        raise y.WrongError(
            (y.line_of(node), "should be the name of an environment variable, like ALERTS_URL; secrets stay outside.")
        )
    return written


def _email(node: yaml.Node) -> str:
    written = y.text(node)
    if not _EMAIL.fullmatch(written):
        raise y.WrongError((y.line_of(node), f"has {written!r}, which is no e-mail address."))
    return written
