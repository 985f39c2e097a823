import pytest
from hydra import compose, initialize_config_dir

from kidney_lab.composition.messages import USER_ERRORS, describe
from kidney_lab.composition.resolvers import register_resolvers
from kidney_lab.composition.search_path import config_folder, register_experiments


def told(wrong, *others):
    """What is said of a wrong override among those of the command line."""
    register_resolvers()
    register_experiments()
    with (
        pytest.raises(USER_ERRORS) as caught,
        initialize_config_dir(str(config_folder()), version_base="1.3"),
    ):
        compose("config", overrides=[wrong])
    return describe(caught.value, [*others, wrong])


def test_choices_of_an_unknown_key_are_those_of_the_chosen_options_in_a_sweep_too():
    assert "model.rio is unknown (did you mean roi?)" in told("model.rio=1", "model=msalds", "seed=0,1")


def test_a_misspelt_experiment_is_guessed():
    assert told("+experiments=msalds/tabel2").endswith("did you mean +experiments=msalds/table2?")
    assert "see --help" in told("+experiments=none/such")


def test_a_forgotten_plus_sign_is_named():
    assert "write +experiments=<paper>/<table>" in told("experiments=msalds/table2")
    assert "write +rows.nnU-Net.predictions=DIR" in told("rows.nnU-Net.predictions=x", "+experiments=msalds/table2")


def test_a_plus_sign_too_many_is_named():
    assert told("+seed=1") == "+seed= adds a key that is there already: leave out the plus sign."
