# The figures of the library's registry. One job draws all that are drawn of the same thing, such as a sweep, because
# starting a job takes longer than drawing. It keeps the figures whose tables and code are as they were.


def list_files(name, figure):
    """The PNG, which is in Snakemake's report, too, and the PDF of a figure; both are kept until they are drawn anew."""
    path = f"{RESULTS}/figures/{name}.{{subject}}"
    png = report(
        update(f"{path}.png"),
        category=figure.section,
        labels={"figure": figure.label, "of": "{subject}"},
        caption=locate_caption(figure, f"figures/{name}.rst"),
    )
    return [png, update(f"{path}.pdf")]


def list_outputs(subject):
    """The files of every figure of a kind of subject, by the figure's name."""
    return {
        name: list_files(name, figure) for name, figure in list_drawn(subject).items()
    }


def name_functions(subject):
    """The functions that draw the figures of a kind of subject."""
    return [figure.code for figure in list_drawn(subject).values()]


for subject in filter(list_drawn, SUBJECTS):

    rule:
        name:
            f"{subject}_figures"
        input:
            unpack(partial(list_tables, subject)),
        output:
            **list_outputs(subject),
        log:
            f"{LOGS}/figures/{subject}.{{subject}}.log",
        benchmark:
            f"{BENCHMARKS}/figures/{subject}.{{subject}}.tsv"
        conda:
            "../envs/memory-injections.yaml"
        params:
            code=digest_code("figures", *name_functions(subject)),
        script:
            "../scripts/figures.py"
