"""The study's word list, from where the config says, checked."""

import shutil
from pathlib import Path
from tempfile import TemporaryDirectory

from _job import start_job
from memory_injections.atomic_files import replace_file
from memory_injections.data.sources import LocalFile, UrlFile, Words
from memory_injections.data.text_tables import read_words
from pydantic import TypeAdapter


def write_words(source: UrlFile | LocalFile, output: Path) -> None:
    """Copy a word list that has words in every column."""
    with TemporaryDirectory() as folder, replace_file(output) as path:
        words = source.fetch(Path(folder))
        read_words(words)
        shutil.copyfile(words, path)


if __name__ == "__main__":
    with start_job(globals()) as job:
        write_words(TypeAdapter(Words).validate_python(job.params.source), Path(job.output[0]))
