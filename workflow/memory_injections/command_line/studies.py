"""Commands about whole studies: check a config, plan, measure how fast cells are computed, and pack an archive."""

from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from memory_injections.command_line.running import exit_on_error
from memory_injections.config.messages import describe_error
from memory_injections.errors import StudyError
from memory_injections.terms import Precision

# The modules that compute are imported where they are used, so that help and errors appear at once.
Config = Annotated[Path, typer.Argument(help="The study's config.", show_default=False)]
exit_naming_key = partial(exit_on_error, describe=describe_error)


@exit_naming_key
def check(config: Config) -> None:
    """Check a config, and print the name of its study or one sentence that says what is wrong."""
    from memory_injections.config.study import read_study

    typer.echo(read_study(config).study)


@exit_naming_key
def plan(
    config: Config,
    gpu: Annotated[str, typer.Option(help="The machine, `cpu` for two cores; a wrong name lists all.")] = "h100",
    shared: Annotated[
        Path | None, typer.Option(help="The folder in which studies share what they fetch.", show_default=False)
    ] = None,
    prompts: Annotated[
        int | None, typer.Option(min=1, help="Prompt pairs of a data set whose size nothing tells.", show_default=False)
    ] = None,
    difference: Annotated[
        float | None, typer.Option(min=0.001, help="The effect to be found, in nats. [default: the config's margin]")
    ] = None,
) -> None:
    """Say what a study costs before anything runs: a row for every job that holds a model, in the workflow's order.

    - PFLOP: 10^15 operations of its matrix products and attention; cells: their number, where it computes cells

    - GPUs: how many its model is spread over; GPU GiB: weights and working memory on all of them together

    - host GiB: memory of its process; hours: on one machine of the kind, the job by itself

    Before them come the sizes of models and data sets, and where these are from. Behind them comes what the study can
    find: the least effect on each data set, and how many clusters of prompts another one would need.
    """
    import huggingface_hub
    import transformers

    from memory_injections.config.study import read_models_study
    from memory_injections.planning.machines import UnknownRateError, find_machine
    from memory_injections.planning.plan import write_plan
    from memory_injections.planning.sizes import UnknownDataSizeError, UnknownModelSizeError

    def fetch(*parts: str) -> str:
        return f"`snakemake --cores 1 {shared.joinpath(*parts)} --configfile {config}`" if shared else ""

    for library in (transformers.utils.logging, huggingface_hub.utils.logging):
        library.set_verbosity_error()
    try:
        typer.echo(write_plan(read_models_study(config), find_machine(gpu), shared, prompts, difference))
    except UnknownModelSizeError as error:
        alone = "once it is, say with --shared in which folder studies share what they fetch"
        remedy = f"fetch it with {fetch('models', error.name, 'manifest.json')}" if shared else alone
        raise StudyError(f"{error}; {remedy}") from None
    except UnknownDataSizeError as error:
        count = f" ({fetch('datasets', f'{error.name}.csv')} fetches them to be counted)" if shared else ""
        raise StudyError(f"{error}; say it with --prompts{count}") from None
    except UnknownRateError as error:
        raise StudyError(f"config key precision: {error}") from None


@exit_naming_key
def bench(
    config: Config,
    model: Annotated[list[str] | None, typer.Option(help="A model; repeat it. [default: all]")] = None,
    precision: Annotated[Precision, typer.Option(help="The precision of models.")] = "float32",
    prompts: Annotated[int, typer.Option(min=1, help="How many prompts to use.")] = 16,
    layers: Annotated[int, typer.Option(min=0, help="How many layers, evenly spread; 0 for all.")] = 3,
    magnitudes: Annotated[int, typer.Option(min=1, help="How many magnitudes.")] = 15,
    profile: Annotated[bool, typer.Option("--profile", help="Show the operations that take longest.")] = False,
) -> None:
    """Measure how fast cells are computed here, beside a plain loop and beside what the machine can multiply.

    Models have the real sizes and random weights; the prompts are those of the study's first data set, in the tokens of
    its first model. One row a model:

    - reference: cells/s of the authors' way: one prompt, one cell at a time, a full clean pass and a full pass with a
      TransformerLens hook, on processed weights; one pass: without the clean pass, on weights as they are

    - engine: cells/s of the engine, clean passes, scores and copies included; ratio: to the reference

    - TFLOP/s: arithmetic of the engine's matrix products and fused attention, as PyTorch counts it

    - products: TFLOP/s of large matrix products in the same precision, before and after the engine's run; share: of it

    - in products: share of the engine's time that goes into matrix products, from a profile
    """
    from memory_injections.config.study import read_models_study
    from memory_injections.planning.benchmark import Extent, run_benchmark

    run_benchmark(read_models_study(config), model, precision, Extent(prompts, layers, magnitudes), profile)


@exit_naming_key
def crate(
    config: Config,
    results: Annotated[Path, typer.Argument(help="The folder of all studies' results.", show_default=False)],
    records: Annotated[
        list[Path] | None,
        typer.Argument(help="Folders of all studies' logs or benchmarks, to be packed too.", show_default=False),
    ] = None,
) -> None:
    """Pack a finished study as a Workflow Run RO-Crate, to archive and cite it; to be called in the workflow's folder.

    Snakemake says what the study is made of, and whether all of it is up to date.
    """
    from memory_injections.archiving.crate import pack_study
    from memory_injections.archiving.finished import find_study

    study = find_study(config, results, records or [])
    path = results / f"{study.name}.crate.zip"
    pack_study(study, path)
    typer.echo(f"The study as an RO-Crate: {path}")


def schema(
    file: Annotated[Path, typer.Argument(help="The JSON schema to write.", show_default=False)],
    readme: Annotated[Path, typer.Argument(help="The page whose key table to renew.", show_default=False)],
) -> None:
    """Write the JSON schema of configs, and the key table of their documentation, after a change to their model."""
    from memory_injections.config.reference import renew_key_table, write_schema

    file.write_text(write_schema(), encoding="utf-8")
    readme.write_text(renew_key_table(readme.read_text(encoding="utf-8")), encoding="utf-8")
