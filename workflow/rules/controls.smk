# Controls of the injections: other vectors, other positions, other doses, at the sites that the evidence chooses.


rule control_cells:
    input:
        checkpoint=ancient(rules.model.output.checkpoint),
        manifest=rules.model.output.manifest,
        lens=rules.lens.output.lens,
        pairs=rules.pairs.output[0],
        activations=ACTIVATIONS,
        words=rules.words.output.words if STUDY.list_random_memories() else [],
        curated=list_curated(STUDY.controls),
    output:
        **CONTROLLED,
    log:
        f"{LOGS}/controls/{{model}}/{{dataset}}.log",
    benchmark:
        f"{BENCHMARKS}/controls/{{model}}/{{dataset}}.tsv"
    priority: 2  # the longest of the jobs that are ready at the same time
    conda:
        "../envs/memory-injections.yaml"
    threads: share_cores(beside=2)
    resources:
        **FOR_CONTROLS,
    params:
        code=digest_code("control_cells"),
        engine=digest_modules(
            "injection.cell_computer",
            "injection.skipping_engine",
            "models.loading",
            "controls.vectors",
        ),
        model="{model}",
        dataset="{dataset}",
        controls=STUDY.controls.model_dump(),
        word_kinds=STUDY.list_random_memories(),
        paper={name: PAPER[name] for name in ("models", "datasets", "sites")},
        seed=STUDY.seed,
        precision=STUDY.precision,
        store=lambda wildcards: f"results/shared/cells/{wildcards.model}/{wildcards.dataset}",
    script:
        "../scripts/control_cells.py"


rule controls:
    input:
        **{
            part: expand(path, model=STUDY.models, dataset=STUDY.datasets)
            for part, path in CONTROLLED.items()
        },
        pairs=list_pairs,
    output:
        report(
            f"{RESULTS}/tables/controls.csv",
            category="Tables",
            labels={"table": "controls"},
            caption="../report/controls.rst",
        ),
        report(
            f"{RESULTS}/tables/control_contrasts.csv",
            category="Tables",
            labels={"table": "controls, at sites chosen on other prompts"},
            caption="../report/control_contrasts.rst",
        ),
        report(
            f"{RESULTS}/tables/both_hops.csv",
            category="Tables",
            labels={"table": "failures with both hops known"},
            caption="../report/both_hops.rst",
        ),
        report(
            f"{RESULTS}/tables/positions.csv",
            category="Tables",
            labels={"table": "positions"},
            caption="../report/positions.rst",
        ),
        report(
            f"{RESULTS}/tables/doses.csv",
            category="Tables",
            labels={"table": "doses"},
            caption="../report/doses.rst",
        ),
    log:
        f"{LOGS}/tables/controls.log",
    benchmark:
        f"{BENCHMARKS}/tables/controls.tsv"
    conda:
        "../envs/memory-injections.yaml"
    params:
        code=digest_code("controls"),
        kinds=STUDY.controls.kinds,
        known_ranks=STUDY.controls.known_ranks,
        seed=STUDY.seed,
    script:
        "../scripts/controls.py"
