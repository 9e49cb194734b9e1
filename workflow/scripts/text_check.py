"""What a model reads of a data set: the tokens of every prompt pair, checked before anything is computed with them."""

import logging
from pathlib import Path
from typing import Any

from _job import start_job
from memory_injections.atomic_files import replace_file
from memory_injections.data.prompt_pairs import name_pairs, read_pairs
from memory_injections.models.checkpoints import hold_model
from memory_injections.models.text_check import check_texts, describe_bos


def write_text_check(inputs: Any, model: str, dataset: str, output: Path) -> None:
    """Check the texts of a data set, say what was found, and write the table."""
    checkpoint = Path(inputs.checkpoint)
    with hold_model(checkpoint, Path(inputs.manifest), weights=False):
        table, bos = check_texts(checkpoint, read_pairs(Path(inputs.pairs))), describe_bos(checkpoint)
    if bos:
        logging.warning("%s", bos)
    for check, found in table.select_dtypes(bool).items():
        if found.any():
            logging.info("%s: %d, %s", check, found.sum(), name_pairs(table.loc[found, "prompt_id"].tolist()))
    with replace_file(output) as path:
        table.assign(model=model, dataset=dataset).to_parquet(path, index=False)


if __name__ == "__main__":
    with start_job(globals()) as job:
        write_text_check(job.input, job.params.model, job.params.dataset, Path(job.output.texts))
