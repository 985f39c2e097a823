import pytest

from kidney_lab.composition.config_hash import config_hash, job_key

CONFIG = {"seed": 0, "init": None, "data": {"root": "here", "split": "cases.json", "fold": None}}


def changed(**values):
    return {**CONFIG, "data": {**CONFIG["data"], **values}}


@pytest.mark.parametrize("values", [{"root": "there"}, {"test_root": "there"}])
def test_the_hash_of_a_configuration_leaves_out_where_things_lie(values):
    assert config_hash(changed(**values)) == config_hash(CONFIG)


def test_where_data_is_downloaded_from_does_not_count_and_what_squares_are_cut_from_does():
    hosting = {"_target_": "kidney_lab.data.download.Source", "name": "kits19"}
    assert config_hash(changed(source=hosting)) == config_hash(CONFIG)

    full, resized = (config_hash({"stages": [{"view": {"source": source}}]}) for source in ("full", "resized"))
    assert full != resized


@pytest.mark.parametrize("values", [{"split": "auto"}, {"fold": 1}])
def test_the_hash_of_a_configuration_tells_what_is_learned_from_what(values):
    assert config_hash(changed(**values)) != config_hash(CONFIG)


@pytest.mark.parametrize(
    "values", [{"resume": "runs/3"}, {"sweep": {"resume": True, "job": "a"}}, {"hydra": {"job": {"num": 3}}}]
)
def test_how_a_run_was_started_is_no_part_of_its_name(values):
    assert config_hash(CONFIG | values) == config_hash(CONFIG)
    assert job_key(CONFIG | values) == job_key(CONFIG)


@pytest.mark.parametrize("values", [{"root": "there"}, {"test_root": "there"}])
def test_jobs_of_the_same_configuration_on_other_data_are_two_of_the_same_first_part(values):
    one, other = job_key(CONFIG), job_key(changed(**values))

    assert one != other
    assert one.split("-")[0] == other.split("-")[0]


def test_jobs_of_another_split_are_others_wherever_the_file_lies(tmp_path):
    files = [tmp_path / name for name in ("a.json", "b.json", "c.json")]
    for file, text in zip(files, ("[1]", "[2]", "[1]"), strict=True):
        file.write_text(text)
    one, other, copy = (job_key(changed(split=str(file))) for file in files)

    assert one.split("-")[0] != other.split("-")[0]
    assert one == copy


def test_jobs_that_begin_with_other_weights_are_others_wherever_these_lie(tmp_path):
    for run, weights in {"a": b"1", "b": b"2", "copy": b"1"}.items():
        (tmp_path / run / "stages" / "coarse").mkdir(parents=True)
        (tmp_path / run / "stages" / "coarse" / "best.ckpt").write_bytes(weights)
    one, other, copy = (job_key(CONFIG | {"init": str(tmp_path / run)}) for run in ("a", "b", "copy"))
    file = job_key(CONFIG | {"init": str(tmp_path / "a" / "stages" / "coarse" / "best.ckpt")})

    assert one == copy
    firsts = {key.split("-")[0] for key in (one, other, file, job_key(CONFIG))}
    assert len(firsts) == 4


@pytest.mark.parametrize(
    ("values", "same"),
    [
        ({"data": {"num_workers": 3}}, True),
        ({"prepare": {"workers": 2, "rebuild": True}}, True),
        ({"logger": None}, True),
        ({"trust": ["mine"]}, True),
        ({"experiment": {"compare": {"a": "b"}}}, True),
        ({"trainer": {"profiler": "simple"}}, True),
        ({"trainer": {"max_epochs": 3}}, False),
        ({"model": {"roi": {"source": "resized"}}}, False),
    ],
)
def test_a_job_is_known_by_what_decides_its_results(values, same):
    parts = ("data", "prepare", "experiment", "trainer", "model")
    before = {part: {} for part in parts} | CONFIG
    now = {
        **before,
        **{key: {**(before.get(key) or {}), **value} if key in parts else value for key, value in values.items()},
    }

    assert (job_key(now) == job_key(before)) is same
    assert (config_hash(now) == config_hash(before)) is same
