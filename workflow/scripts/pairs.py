"""One normalised, validated table of prompt pairs."""

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pandas as pd
from memory_injections import downloads
from memory_injections.files import job_log, whole_file
from memory_injections.prompts import normalise_pairs, read_csv


def read(source: dict[str, Any]) -> pd.DataFrame:
    """The table of a data set's source, normalised."""
    match source["source"]:
        case "file":
            table, name = read_csv(Path(source["path"])), f"file {source['path']}"
        case "url":
            with TemporaryDirectory() as folder:
                table = read_csv(downloads.download_url(source["url"], source["sha256"], Path(folder)))
            name = source["url"]
        case _:
            table = downloads.download_dataset(source["repo"], source["file"], source["revision"])
            name = f"{source['file']} of {source['repo']}"
    return normalise_pairs(table, name, source["rows"])


if __name__ == "__main__":
    with job_log(snakemake.log[0]), whole_file(Path(snakemake.output[0])) as path:
        read(snakemake.params.source).to_csv(path, index=False)
