# The report and the explorer of a study. Both are self-contained HTML pages.
TABLES = [*STUDY_TABLES.values(), *PUBLISHED_TABLES]


rule report:
    input:
        **{f"figure_{name}": draw_all(name) for name in list_figures()},
        tables=TABLES,
        manifests=MANIFESTS,
        pairs=list_pairs,
        captions=[
            locate_source(f"report/figures/{name}.rst")
            for name, figure in list_figures().items()
            if figure.caption is None
        ],
        template=locate_template("report.html.j2"),
    output:
        f"{RESULTS}/report.html",
    log:
        f"{LOGS}/report.log",
    benchmark:
        f"{BENCHMARKS}/report.tsv"
    localrule: True
    conda:
        "../envs/memory-injections.yaml"
    params:
        code=digest_code("report"),
        labels=list_labels(),
        captions={
            name: figure.caption
            for name, figure in list_figures().items()
            if figure.caption is not None
        },
        source=SOURCE,
        config=CONFIG_SHOWN,
        walkthrough=STUDY.has_walkthrough,
    script:
        "../scripts/report.py"


# Every site of every sweep, down to single prompts.
rule explorer:
    input:
        cells=list_cells,
        pairs=list_pairs,
        top=lambda wildcards: [
            HEADS["top"].format(model=model, dataset=dataset)
            for model, dataset in list_heads(wildcards)
        ],
        targets=lambda wildcards: [
            HEADS["targets"].format(model=model, dataset=dataset)
            for model, dataset in list_heads(wildcards)
        ],
        texts=lambda wildcards: [
            CONTROLLED["texts"].format(model=model, dataset=dataset)
            for model, dataset in list_heads(wildcards)
            if "controls" in PARTS
        ],
        tables=list_tables_named("evidence", "contrasts", "control_contrasts"),
        paper=rules.paper.output[0],
        template=locate_template("explorer.html.j2"),
        style=locate_template("explorer.css"),
        scripts=[
            locate_template(f"explorer.{part}js")
            for part in ("data.", "map.", "evidence.", "table.", "prompt.", "")
        ],
    output:
        f"{RESULTS}/explorer.html",
    log:
        f"{LOGS}/explorer.log",
    benchmark:
        f"{BENCHMARKS}/explorer.tsv"
    priority: -1  # figures come first, because the report waits for them
    conda:
        "../envs/memory-injections.yaml"
    params:
        code=digest_code("explorer"),
        labels=list_labels(),
        source=SOURCE,
        study=STUDY.study,
        known_ranks=TAKEN["known_ranks"],
    script:
        "../scripts/explorer.py"
