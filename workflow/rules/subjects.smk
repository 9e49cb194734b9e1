# The subjects of figures: what one figure file shows, such as a sweep. A subject's name is part of the file's name.
from functools import partial

from memory_injections.sweeps.identity import find_other_memories


def list_swept(wildcards):
    """Each sweep by itself."""
    return {
        sweep.file_stem: {"tables": [locate_cells(sweep)]}
        for sweep in list_sweeps(wildcards)
    }


def list_compared(wildcards):
    """The sweeps of each model, data set and encoding that has curated and random memories, curated first."""
    return {
        f"{sweep.model}.{sweep.dataset}.{sweep.coding}": {
            "tables": [locate_cells(one) for one in (sweep, *others)]
        }
        for sweep, others in find_other_memories(list_sweeps(wildcards)).items()
        if sweep.memories == CURATED and others
    }


def list_read_heads(wildcards):
    """The heads of each model on each data set."""
    return {
        f"{model}.{dataset}": {
            "tables": [HEADS["targets"].format(model=model, dataset=dataset)]
        }
        for model, dataset in list_heads(wildcards)
    }


def list_headline(wildcards):
    """The history of the paper's numbers, if the study may have a model of the paper: its manifest says what it is."""
    return {"study": {"tables": list_tables_named("headline")}} if MAY_BE_PAPERS else {}


def list_whole(wildcards):
    """The whole study, and all of its tables."""
    return {"study": {name: [path] for name, path in STUDY_TABLES.items()}}


# Of each kind of subject, the names, and the tables of each by name.
SUBJECTS = {
    "sweep": list_swept,
    "encoding": list_compared,
    "heads": list_read_heads,
    "headline": list_headline,
    "study": list_whole,
}


@remember
def list_subjects(kind):
    """The subjects of a kind, each with its tables by name."""
    return SUBJECTS[kind](None)


def list_drawn(subject):
    """The figures of a kind of subject that this study has, by name."""
    return {
        name: figure
        for name, figure in list_figures().items()
        if figure.subject == subject
        and (figure.table is None or figure.table in STUDY_TABLES)
    }


def list_tables(subject, wildcards):
    """The tables that the figures of one subject are drawn of, by name."""
    tables = list_subjects(subject)[wildcards.subject]
    used = {figure.table or "tables" for figure in list_drawn(subject).values()}
    return {name: paths for name, paths in tables.items() if name in used}


def draw_all(figure):
    """The PNGs of one registered figure."""
    subject = list_figures()[figure].subject
    return lambda wildcards: [
        f"{RESULTS}/figures/{figure}.{name}.png"
        for name in (list_subjects(subject) if figure in list_drawn(subject) else [])
    ]
