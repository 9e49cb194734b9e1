# Every figure in the library's registry, for each of its subjects. The PNGs also appear in Snakemake's report.


rule figure:
    input:
        lambda wildcards: list_subjects(wildcards.figure, wildcards)[wildcards.subject],
    output:
        png=report(
            f"{RESULTS}/figures/{{figure}}.{{subject}}.png",
            category=lambda wildcards: list_figures()[wildcards.figure].section,
            labels=lambda wildcards: {
                "figure": list_figures()[wildcards.figure].label,
                "of": wildcards.subject,
            },
            caption="../report/figures.rst",
        ),
        pdf=f"{RESULTS}/figures/{{figure}}.{{subject}}.pdf",
    log:
        f"{LOGS}/figures/{{figure}}.{{subject}}.log",
    benchmark:
        f"{BENCHMARKS}/figures/{{figure}}.{{subject}}.tsv"
    wildcard_constraints:
        figure=match_names(list_figures()),
    conda:
        "../envs/memory-injections.yaml"
    params:
        code=lambda wildcards: (
            f"{digest_code('figure')}; "
            + digest_function(
                f"pages.{list_figures()[wildcards.figure].module}", wildcards.figure
            )
        ),
    script:
        "../scripts/figure.py"
