"""What a model reads of a data set: the tokens of every prompt pair, checked before anything is computed with them."""

import logging
from pathlib import Path

from _job import start_job
from memory_injections.atomic_files import replace_file
from memory_injections.data.prompt_pairs import name_pairs, read_pairs
from memory_injections.models.checkpoints import guard_model
from memory_injections.models.text_check import check_texts, describe_bos

if __name__ == "__main__":
    with start_job(globals()) as job:
        checkpoint, pairs = Path(job.input.checkpoint), read_pairs(Path(job.input.pairs))
        with guard_model(checkpoint, Path(job.input.manifest), weights=False):
            table, bos = check_texts(checkpoint, pairs), describe_bos(checkpoint)
        if bos:
            logging.warning("%s", bos)
        for check, found in table.select_dtypes(bool).items():
            if found.any():
                logging.info("%s: %d, %s", check, found.sum(), name_pairs(table.loc[found, "prompt_id"].tolist()))
        with replace_file(Path(job.output.texts)) as path:
            table.assign(model=job.params.model, dataset=job.params.dataset).to_parquet(path, index=False)
