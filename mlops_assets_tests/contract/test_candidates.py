"""The section ``models``: what is told of it."""

from pathlib import Path

from mlops_assets_tests.contract.parcels import each_mistake, placed, told_instead

MISTAKES = [
    (
        "boosted_trees: {max_iter: 50}",
        "boosted_trees: {max_itr: 50}",
        "Model 'boosted_trees': boosted_trees has no setting 'max_itr'; did you mean 'max_iter'?",
    ),
    (
        "boosted_trees: {max_iter: 50}",
        "boosted_trees: {max_iter: many}",
        "Model 'boosted_trees': 'max_iter' should be a whole number, not 'many'.",
    ),
    (
        "boosted_trees: {max_iter: 50}",
        "boosted_trees: {early_stopping: true}",
        (
            "Model 'boosted_trees': 'early_stopping' "
            "cannot be set: it is always off: it would hold back rows at random instead of by the split."
        ),
    ),
    (
        "    boosted_trees: {max_iter: 50}",
        "    boosted_tree: {max_iter: 50}",
        (
            "Model 'boosted_tree': its name is no kind of model; say 'kind: ' and one of 'prior', 'linear', "
            "'boosted_trees', "
            "'random_forest'; did you mean 'boosted_trees'?"
        ),
    ),
    (
        "kind: boosted_trees",
        "kind: boosted_tree",
        "Model 'deep': 'kind' cannot be 'boosted_tree'; did you mean 'boosted_trees'?",
    ),
    (
        "    deep: {",
        "    linear: {",
        ("47: Models: 'linear' is a baseline and a candidate; give one of them another name and a 'kind'."),
    ),
    ("    deep: {", "    de-ep: {", "Model 'de-ep': a model's name is a letter and then letters, digits or _."),
    (
        "{C: 0.5}",
        "{alpha: 0.5}",
        ("Model 'linear': linear has no setting 'alpha'; known are 'C', 'class_weight', 'max_iter', 'tol'."),
    ),
    (
        "models:\n",
        "model:\n",
        "1: 'models' is missing; name at least one candidate, like {candidates: {boosted_trees: {}}}.",
    ),
    (
        (
            "  candidates:\n    boosted_trees: {max_iter: 50}\n    deep: {kind: boosted_trees, max_depth: 12, "
            "learning_rate: 0.05}\n"
        ),
        "",
        "46: Models: there is no candidate; name at least one, like {candidates: {boosted_trees: {}}}.",
    ),
]


@each_mistake(MISTAKES)
def test_a_mistake(tmp_path: Path, old: str, new: str, sentence: str) -> None:
    assert placed(old, sentence) in told_instead(tmp_path, old, new)
