"""Every key of the config, in every form of its value, is used by a study that runs to its end."""

from config_forms import list_forms
from covering_studies import PLACES, build_studies
from memory_injections.config.study import parse_study

DUMMIES = dict.fromkeys(PLACES, 64 * "0") | {"git": "theirs", "git_commit": 40 * "0", "hub": "http://127.0.0.1"}


def test_every_form_of_every_key_is_in_a_study_that_runs() -> None:
    """tests/workflow/test_every_key.py runs them: whoever adds a key adds it to one of them."""
    studies = build_studies(DUMMIES)
    for study in studies.values():
        parse_study(study)
    used = set().union(*(list_forms(study) for study in studies.values()))
    assert list_forms() - used == set()
    assert used <= list_forms()


def test_forms_are_told_apart() -> None:
    forms = list_forms()
    assert {
        "injection<object>", "injection<array>", "injection.layers<all>", "injection.layers<array>",
        "injection.layers.step", "injection.magnitudes.relative", "models.*<pypi>.sha256", "precision=bfloat16",
        "controls<False>", "controls.sites.layer", "shards<object>", "shards<integer>", "walkthrough=True",
    } <= forms  # fmt: skip
    assert list_forms({"injection": {"layers": "all"}, "mechanisms": False}) == {
        "injection<object>", "injection.layers<all>", "injection.layers=all", "mechanisms<False>", "mechanisms=False",
        "injection.score=first_token", "outcome=first_token", "population=all", "precision=float32",
    }  # fmt: skip
