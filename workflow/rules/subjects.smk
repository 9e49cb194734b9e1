# The subjects of figures: what one figure file shows, such as a sweep. A subject's name is part of the file's name.
from memory_injections.jobs.digest import digest_function
from memory_injections.pages.registry import list_figures
from memory_injections.paper.reported import find_reported_site


def list_subjects(figure, wildcards):
    """The tables that a figure needs, for each of its subjects by name."""
    return SUBJECTS[list_figures()[figure].subject](wildcards)


def list_swept(wildcards):
    """Each sweep by itself."""
    return {sweep.file_stem: [locate_cells(sweep)] for sweep in list_sweeps(wildcards)}


def list_compared(wildcards):
    """The sweeps of each model, data set and encoding that has curated and random memories, curated first."""
    sweeps = list_sweeps(wildcards)
    return {
        f"{sweep.model}.{sweep.dataset}.{sweep.encoding}": [
            locate_cells(one) for one in (sweep, *sweep.other_memories(sweeps))
        ]
        for sweep in sweeps
        if sweep.memories == CURATED and sweep.other_memories(sweeps)
    }


def list_read_heads(wildcards):
    """The heads of each model on each data set."""
    return {
        f"{model}.{dataset}": [
            f"{RESULTS}/attribution-targets/{model}/{dataset}.parquet"
        ]
        for model, dataset in list_heads(wildcards)
    }


def list_headline(wildcards):
    """The history of the paper's numbers, if the study has a site that the paper reports."""
    reported = [
        sweep
        for sweep in list_sweeps(wildcards)
        if sweep.memories == CURATED and find_reported_site(sweep, PAPER)
    ]
    return {"study": rules.headline.output[:1]} if reported else {}


def list_control_table(name):
    """A table of controls of the whole study, if it has them."""
    tables = list_control_tables(name)
    return lambda wildcards: {"study": tables} if tables else {}


def list_cause_table(name):
    """A table of causes of the whole study, if it has them."""
    tables = [CAUSE_TABLES[name]] if name in CAUSE_TABLES else []
    return lambda wildcards: {"study": tables} if tables else {}


SUBJECTS = {
    "sweep": list_swept,
    "encoding": list_compared,
    "heads": list_read_heads,
    "headline": list_headline,
    "contrasts": list_control_table("control_contrasts"),
    "doses": list_control_table("doses"),
    **{
        name: list_cause_table(name)
        for name in ("patching", "direct_effects", "logit_lens", "side_effects")
    },
}


def draw_all(figure):
    """The PNGs of one registered figure."""
    return lambda wildcards: [
        f"{RESULTS}/figures/{figure}.{subject}.png"
        for subject in list_subjects(figure, wildcards)
    ]
