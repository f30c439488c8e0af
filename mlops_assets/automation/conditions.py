"""When Dagster asks for a stage of a batch by itself, because what stands above it has changed.

What belongs here: the condition, as Dagster evaluates it. What does not: what changed elsewhere than in the same batch
(a reference table, an earlier batch, code, settings: ``sweep``, which knows limits) and releases (``releases``), whose
newest batch no condition can name: Dagster's newest window is the calendar's, not that of what was delivered.
"""

from collections.abc import Sequence

import dagster as dg

from mlops_assets.automation.tags import CLAIM
from mlops_assets.contract.model import Contract

CASCADE = "cascade"
"""What claims the runs that the condition asks for."""


def on_changed_data(elsewhere: Sequence[dg.AssetKey]) -> dg.AutomationCondition[dg.AssetKey | dg.AssetCheckKey]:
    """An input of the same batch has another data version; the same version once more asks for nothing.

    Nor does a batch of which an input was never accepted: its run could only be refused. A refused version is never an
    event of its asset, so that it triggers nothing either. Inputs ``elsewhere`` are those that all batches share: one
    change of them would ask for everything in one tick. The sweep finds what this leaves out, and an update that lands
    while the stage is being made, which Dagster's conditions lose.
    """
    changed = dg.AutomationCondition.any_deps_match(dg.AutomationCondition.data_version_changed())
    if elsewhere:
        changed = changed.ignore(dg.AssetSelection.assets(*elsewhere))
    return (
        changed.since_last_handled()
        & ~dg.AutomationCondition.any_deps_missing()
        & ~dg.AutomationCondition.any_deps_in_progress()
        & ~dg.AutomationCondition.in_progress()
    ).with_label("an input's data changed")


def cascade(contracts: Sequence[Contract]) -> dg.AutomationConditionSensorDefinition:
    """The sensor that evaluates the condition for all datasets that are automated."""
    return dg.AutomationConditionSensorDefinition(
        CASCADE,
        target=dg.AssetSelection.groups(*(contract.name for contract in contracts)),
        run_tags={CLAIM: CASCADE},
        default_status=dg.DefaultSensorStatus.RUNNING,
        minimum_interval_seconds=10,
        description="Asks for the stages of a batch whose inputs have other data than they were made of.",
    )
