"""`task=export format=nnunet`: a dataset in our split for nnU-Net v2, so that it can stand in a table beside ours."""

import json
import logging
from pathlib import Path

from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf

from kidney_lab.data.dataset import Dataset
from kidney_lab.errors import InputError
from kidney_lab.export.nnunet import DATASET_FILE, SPLITS_FILE, NnunetDataset, claim_folder
from kidney_lab.export.nnunet_files import CaseFiles, write_cases
from kidney_lab.files import make_folder, write_text
from kidney_lab.tasks.prepare import prepare_dataset
from kidney_lab.tasks.screen import log_to_screen
from kidney_lab.wording import counted

log = logging.getLogger(__name__)


def export_nnunet(config: DictConfig) -> None:
    """Writes `data` into `output`, which is nnU-Net's folder `nnUNet_raw`, and prints what nnU-Net is to be told.

    Every case is checked before the first is written. What is there already is left alone.
    """
    if not OmegaConf.is_missing(config, "run"):
        raise InputError(f"run={config.run} goes with format=bundle, but format=nnunet exports data=: leave it out.")
    settings = config.nnunet
    dataset: Dataset = instantiate(config.data, _convert_="all")
    with log_to_screen():
        made = NnunetDataset.of(dataset, dataset_id=settings.dataset_id, name=settings.name, regions=settings.regions)
        output = Path(config.output)
        folder = claim_folder(made, output)
        prepare_dataset(dataset, config, [*made.training_cases, *made.test_cases])
        if dataset.synthesized:
            log.warning("The images of %s are SYNTHESIZED: its scores say nothing about patients.", dataset.name)
        # First, so that another dataset is kept out; nnU-Net refuses the folder until numTraining cases are in it.
        write_text(make_folder(folder) / DATASET_FILE, json.dumps(made.dataset_json(), indent=2) + "\n")
        first = dataset.annotation == "first"
        items = [CaseFiles(dataset.cases[case], "Tr", first_annotator=first) for case in made.training_cases]
        items += [CaseFiles(dataset.cases[case], "Ts") for case in made.test_cases]
        painted = Path(config.prepare.root) / "painted"
        # Not settings.copy, which is the method of that name.
        write_cases(items, folder, copy=settings["copy"], painted=painted, workers=config.prepare.workers)
        write_text(folder / SPLITS_FILE, json.dumps(made.splits(), indent=2) + "\n")
    print(
        f"dataset  {folder}: {counted(len(made.training_cases), 'case')} in imagesTr, {len(made.test_cases)} in "
        f"imagesTs; {counted(len(made.folds), 'fold')}"
    )
    print(f"next     nnUNet_raw={output} nnUNetv2_plan_and_preprocess -d {made.dataset_id} --verify_dataset_integrity")
    print(f"then     cp {folder / SPLITS_FILE} $nnUNet_preprocessed/{made.folder_name}/")
