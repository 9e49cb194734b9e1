"""One normalised, validated table of prompt pairs."""

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pandas as pd
from memory_injections import downloads, twowiki
from memory_injections.files import job_log, whole_file
from memory_injections.prompts import normalise_pairs, read_csv


def read(source: dict[str, Any]) -> pd.DataFrame:
    """The table of a data set's source, normalised."""
    if source["source"] == "huggingface":
        table = downloads.download_dataset(source["repo"], source["file"], source["revision"])
        return normalise_pairs(table, f"{source['file']} of {source['repo']}", source["rows"])
    with TemporaryDirectory() as folder:
        if source.get("path"):
            path, name = Path(source["path"]), f"file {source['path']}"
        else:
            path, name = downloads.download_url(source["url"], source["sha256"], Path(folder)), source["url"]
        if source["source"] == "2wikimultihop":
            pairs = twowiki.question_pairs(twowiki.read_records(path, source["member"], name), name)
            return normalise_pairs(twowiki.sample(pairs, source["size"], source["seed"], name), name)
        return normalise_pairs(read_csv(path), name, source["rows"])


if __name__ == "__main__":
    with job_log(snakemake.log[0]), whole_file(Path(snakemake.output[0])) as path:
        read(snakemake.params.source).to_csv(path, index=False)
