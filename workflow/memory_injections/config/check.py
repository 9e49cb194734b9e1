"""Check a config before Snakemake reads it.

    python -m memory_injections.config.check config/paper.yaml

prints the study's name, or says in one sentence what is wrong, where Snakemake's own answer to a file that it cannot
read is a traceback.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from memory_injections.config.files import read_config
from memory_injections.config.messages import describe_error
from memory_injections.config.study import parse_study
from memory_injections.errors import StudyError


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the name of a config's study, or one sentence on standard error; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("config", type=Path, help="the study's config")
    try:
        print(parse_study(read_config(parser.parse_args(arguments).config)).study)
    except StudyError as error:
        print(describe_error(error), file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
