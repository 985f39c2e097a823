import json
import os
import shutil
import signal
import subprocess
import sys
import time

import pytest
from omegaconf import OmegaConf

from kidney_lab.composition.search_path import config_folder
from kidney_lab.data.dataset import Dataset
from kidney_lab.errors import InputError
from kidney_lab.tasks.download import download

FILES = ["imaging.nii.gz", "segmentation.nii.gz"]


@pytest.fixture(autouse=True)
def _without_proxy(monkeypatch):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")


@pytest.fixture
def config(challenge, tmp_path):
    """What `task=download data=kits23` composes, with the local server in the place of the challenge's."""
    config = OmegaConf.create({"download": OmegaConf.load(config_folder() / "task" / "download.yaml").download})
    config.download.update(timeout=0.3, pause=0.001)
    config.data = {"name": "kits23", "root": str(tmp_path / "kits"), "cases": None, "source": challenge}
    return config


def everything(root):
    return sorted(path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file())


def test_a_dataset_arrives_in_the_layout_that_is_read(config, server, tmp_path, capsys, scan):
    download(config)

    root = tmp_path / "kits"
    assert everything(root) == [*(f"case_{n:05d}/{name}" for n in range(3) for name in FILES), "kits.json"]
    total = sum(map(len, server.files.values()))
    assert f"kits23: 3 cases, 7 files, {total / 1e6:.1f} MB into {root}\n" in capsys.readouterr().out
    dataset = Dataset("kits23", str(root), ["kidney"], ["tumor"], ["segmentation.nii.gz"])
    assert [(case.image.name, case.label.name) for case in dataset.cases.values()] == [tuple(FILES)] * 3


def test_a_second_run_has_nothing_to_do_and_asks_for_nothing(config, server, tmp_path, capsys):
    download(config)
    server.requests.clear()
    capsys.readouterr()
    download(config)

    assert capsys.readouterr().out == f"nothing to do: 3 cases with 7 files in {tmp_path / 'kits'}\n"
    assert server.requests == []


def test_the_chosen_cases_alone_are_fetched(config, tmp_path):
    config.data.cases = "1"
    download(config)

    assert everything(tmp_path / "kits") == [*(f"case_00001/{name}" for name in FILES), "kits.json"]


def test_failures_are_listed_and_the_next_run_fetches_what_is_missing(config, server, tmp_path, capsys):
    server.faults = {"/images/case_00001.nii.gz": ["404"], "/references/case_00002/segmentation.nii.gz": ["500"] * 5}
    with pytest.raises(InputError) as raised:
        download(config)

    heading, *listed = str(raised.value).splitlines()
    assert heading == "2 files could not be fetched; the others are kept, run again for the rest:"
    assert sorted(listed) == [
        f"  - case_00001/imaging.nii.gz from {server.url}/images/case_00001.nii.gz: 404 Not Found.",
        f"  - case_00002/segmentation.nii.gz from {server.url}/references/case_00002/segmentation.nii.gz: "
        "500 Internal Server Error; 5 attempts brought nothing more.",
    ]
    assert len(everything(tmp_path / "kits")) == 5

    capsys.readouterr()
    download(config)
    assert "kits23: 3 cases, 2 files, " in (out := capsys.readouterr().out)
    assert "(beside 5 files already there)" in out
    assert "2 files fetched" in out


def test_what_does_not_fit_is_refused_before_anything_is_fetched(config, server, tmp_path, monkeypatch):
    free = shutil.disk_usage(tmp_path)._replace(free=1_000_000)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: free)
    with pytest.raises(InputError, match=r"needs 5.3 MB for 7 files, but its disk has 1.0 MB free"):
        download(config)

    assert {request.method for request in server.requests} == {"HEAD"}


def test_broken_files_are_fetched_anew_on_request(config, tmp_path, scan):
    download(config)
    broken = tmp_path / "kits" / "case_00001" / "imaging.nii.gz"
    broken.write_bytes(scan[:-100])
    download(config)
    assert broken.read_bytes() == scan[:-100]

    config.download.verify = True
    download(config)
    assert broken.read_bytes() == scan


@pytest.mark.parametrize(("instances", "annotation"), [(True, "majority"), (None, "sampled")])
def test_masks_of_annotators_come_where_they_are_wanted(config, server, tmp_path, mask, instances, annotation):
    names = [f"instances/{kind}_instance-1_annotation-{n}.nii.gz" for kind in ("kidney", "tumor") for n in (1, 2, 3)]
    tree = [{"path": "dataset/case_00000", "type": "tree"}]
    for name in names:
        server.files[f"/references/case_00000/{name}"] = mask
        tree.append({"path": f"dataset/case_00000/{name}", "type": "blob", "size": len(mask)})
    server.files["/tree"] = json.dumps({"tree": tree}).encode()
    config.data.source.update(tree=f"{server.url}/tree", instances_folder="instances")
    config.data.annotation = annotation
    config.download.instances = instances
    download(config)

    assert [path for path in everything(tmp_path / "kits") if "instances" in path] == [f"case_00000/{n}" for n in names]
    assert not [request for request in server.requests if request.method == "HEAD" and "instance" in request.path]


def test_masks_of_annotators_stay_away_by_default(config, server):
    config.data.source.update(tree=f"{server.url}/tree", instances_folder="instances")
    download(config)

    assert not [request for request in server.requests if request.path.startswith("/tree")]


def refused(config, **changes):
    for key, value in changes.items():
        OmegaConf.update(config, key.replace("__", "."), value)
    with pytest.raises(InputError) as raised:
        download(config)
    return str(raised.value)


def test_a_final_answer_is_not_to_be_asked_for_again(config, server):
    server.faults = {"/images/case_00001.nii.gz": ["404"]}
    with pytest.raises(InputError, match=r"^1 file could not be fetched; the others are kept:\n"):
        download(config)


def test_wrong_settings_are_one_sentence(config, server):
    assert refused(config, download__verify="abc") == "download.verify=abc is no switch: give true or false."
    config.download.verify = False
    assert refused(config, download__instances=True).startswith(
        "download.instances=true asks for masks of single annotators, which kits23 does not hold"
    )
    assert "download.workers=0 must be a whole number, at least 1" in refused(config, download__workers=0)
    assert "data.cases=0-5 names case_00003, which kits23 does not give out" in refused(config, data__cases="0-5")
    assert refused(config, data__root=None) == (
        "task=download needs data.root=: name the folder that data=kits23 goes into."
    )
    assert refused(config, data__source=None, data__name="phantom") == (
        "data=phantom is not given out anywhere, so there is nothing to download: choose data=kits19, kits21 or kits23."
    )
    assert server.requests == []


def test_a_listing_that_cannot_be_had_is_one_sentence(config, server):
    config.data.source.update(tree=f"{server.url}/tree", instances_folder="instances")
    assert refused(config, download__instances=True) == f"The listing {server.url}/tree cannot be had: 404 Not Found."


def arguments(challenge, root):
    given = {**challenge, "name": "kits23"}
    return [
        *("task=download", "data=kits23", "++data.cases=0", f"data.root={root}", "download.timeout=20"),
        *(f"++data.source.{key}='{value}'" for key, value in given.items()),
    ]


def test_the_command_downloads(challenge, command, tmp_path):
    root = tmp_path / "a folder [1]"
    result = command(*arguments(challenge, root), cwd=tmp_path)

    assert everything(root) == [*(f"case_00000/{name}" for name in FILES), "kits.json"]
    assert result.stdout.splitlines()[-1] == f"3 files fetched and verified, in {root}"
    assert "100 %: " in result.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a folder [1]"]


def test_the_command_refuses_the_phantom(command, tmp_path):
    result = command("task=download", "data=phantom", cwd=tmp_path, check=False)

    assert result.returncode == 2
    assert result.stderr.startswith("kidney_lab: data=phantom is not given out anywhere")
    assert list(tmp_path.iterdir()) == []


def test_an_interrupt_ends_a_stalled_download_at_once_and_keeps_what_came(challenge, server, scan, command, tmp_path):
    server.faults["/images/case_00000.nii.gz"] = ["stall"]
    part = tmp_path / "kits" / "case_00000" / "imaging.nii.gz.part"
    program = [sys.executable, "-m", "kidney_lab", *arguments(challenge, tmp_path / "kits")]
    with subprocess.Popen(program, cwd=tmp_path, stderr=subprocess.PIPE, text=True, env={**os.environ}) as process:
        for _ in range(600):  # 30 s
            if part.exists() and part.stat().st_size:
                break
            time.sleep(0.05)
        began = time.monotonic()
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=15)

    assert process.returncode == 130
    assert time.monotonic() - began < 5  # the stall would have lasted 20 s
    assert "what has come is kept, and the same command goes on from there" in said
    there = part.stat().st_size
    assert 0 < there < len(scan)

    command(*arguments(challenge, tmp_path / "kits"), cwd=tmp_path)
    assert server.of("/images/case_00000.nii.gz")[-1].start == there
    assert part.with_suffix("").read_bytes() == scan
