"""The study's word list, where it says it is, checked."""

import shutil
from pathlib import Path
from tempfile import TemporaryDirectory

from memory_injections.downloads import download_url
from memory_injections.files import job_log, whole_file
from memory_injections.prompts import read_words

if __name__ == "__main__":
    source = snakemake.params.source
    with job_log(snakemake.log[0]), TemporaryDirectory() as folder, whole_file(Path(snakemake.output[0])) as path:
        if source["source"] == "url":
            words = download_url(source["url"], source["sha256"], Path(folder))
        else:
            words = Path(source["path"])
        read_words(words)
        shutil.copyfile(words, path)
