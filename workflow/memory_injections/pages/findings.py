"""What a study found, in a few sentences and in one table: the report's first screen and the README's findings.

    python -m memory_injections.pages.findings README.md results/reanalysis results/demo

writes the table of some studies between the two marks in a Markdown file.
"""

import argparse
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd

from memory_injections.analysis.averages import AVERAGES, PAPER_AVERAGE, select_site
from memory_injections.analysis.effects import describe_effect
from memory_injections.analysis.numbers import write_signed
from memory_injections.analysis.population import EVERY, describe_population
from memory_injections.analysis.table_files import read_table
from memory_injections.analysis.verdicts import SUPPORTED
from memory_injections.atomic_files import write_text
from memory_injections.controls.other_choices import BY_ENCODING
from memory_injections.pages.answer import name_case
from memory_injections.paper.claims import CLAIMS, find_contrast, find_shuffled, select_cases
from memory_injections.paper.reported import is_as_in_paper
from memory_injections.sweeps.identity import SweepId
from memory_injections.terms import CURATED, Population

NOT_COMPARED = (
    "There is no comparison with the paper's numbers: no model here is one of the paper's, at its commit, on the "
    "paper's own prompts, with the site that it reports among its sites."
)
TABLES = ("claims", "evidence", "contrasts", "sites", "headline")
TABLES_OF_PARTS = ("control_contrasts", "other_choices", "population")
# What tells cases apart (`claims.Case`).
OF = ["model", "dataset", "relative"]
MISSING = "–"
# What reports call a part of the prompts, less those with a shortcut that is left out.
POPULATIONS: Mapping[Population, str] = {
    "all": "the prompts without the shortcuts that are left out",
    "both_hops_known": "prompts of whose two facts the model knows both",
    "composition_missed": "prompts that the model answers wrong although it knows both facts",
}
BEGIN, END = "<!-- findings -->\n", "<!-- end of findings -->"
Tables = Mapping[str, pd.DataFrame]


def read_tables(results: Path) -> dict[str, pd.DataFrame]:
    """Read the tables of a study that its findings are taken from."""
    paths = {name: results / "tables" / f"{name}.csv" for name in (*TABLES, *TABLES_OF_PARTS)}
    return {name: read_table(path) for name, path in paths.items() if name in TABLES or path.exists()}


def summarise_study(tables: Tables) -> list[str]:
    """Say what a reader of the answer and of the table of findings has to know besides.

    That is where the premise does not hold, which prompts count, what other choices give, and what there is to compare
    with the paper; a sentence each, whatever the number of models and data sets.
    """
    return [
        *_say_whether_the_premise_holds(tables["claims"]), *_say_which_prompts_count(tables),
        *_say_what_other_choices_give(list_cases(tables), tables),
        *([NOT_COMPARED] if tables["headline"].empty else []),
    ]  # fmt: skip


def list_cases(tables: Tables) -> list[pd.Series]:
    """List the rows of the evidence that claims are weighed by (`claims.select_cases`): those that have claims."""
    judged = set(tables["claims"].dropna(subset=["relative"])[OF].itertuples(index=False, name=None))
    cases = select_cases(tables["evidence"]).values()
    return [case for case in cases if tuple(case[OF]) in judged]


def _select_claims(claims: pd.DataFrame, name: str) -> pd.DataFrame:
    return claims[claims["claim"] == CLAIMS[name].label]


def _say_whether_the_premise_holds(claims: pd.DataFrame) -> list[str]:
    """Say where explicit prompts are not clearly answered better: then there is no gap that a memory could close."""
    explicit = _select_claims(claims, "explicit")
    missing = explicit[explicit["verdict"] != SUPPORTED]
    if missing.empty:
        return []
    named = [f"{_name_data(row)} ({row['verdict']}: {describe_effect(row)})" for _, row in missing.iterrows()]
    return [
        "The premise, that the model answers explicit prompts better than obscure ones, is not borne out for "
        f"{_join(named)}. What follows then says what an injection does, not whether it repairs a missing hop."
    ]


def _say_which_prompts_count(tables: Tables) -> list[str]:
    """Say which part of the prompts verdicts are about, how many these are, and where they are too few for one."""
    if "population" not in tables:
        return []
    rows = tables["population"]
    parts = _join([describe_population(row) for _, row in rows.iterrows()])
    population = rows["population"].iloc[0]
    has_left_out = population != EVERY and (rows["n_counted"] < rows[f"n_{population}"]).any()
    less = ", less those with a shortcut that is left out" if has_left_out else ""
    return [f"Verdicts are about {POPULATIONS[population]}{less}: {parts}."]


def _say_what_other_choices_give(cases: Sequence[pd.Series], tables: Tables) -> list[str]:
    """Say where another encoding or dose of the same study, by itself, has another verdict."""
    helps = _select_claims(tables["claims"], "helps").set_index(OF)
    others = tables.get("other_choices", pd.DataFrame(columns=[*OF, "verdict"]))
    said = []
    for case in cases:
        verdict = helps.loc[tuple(case[OF]), "verdict"]
        same = others[(others[OF] == case[OF]).all(axis=1) & (others["verdict"] != verdict)]
        parts = [
            f"{other} with {_join([_describe_choice(row) for _, row in rows.iterrows()])}"
            for other, rows in same.groupby("verdict", sort=False)
        ]
        if parts:
            said.append(f"for {name_case(case)}, {'; '.join(parts)}")
    return [f"Other choices, each by itself, have another verdict: {'. '.join(said)}."] if said else []


def _describe_choice(row: pd.Series) -> str:
    if row["choice"] == BY_ENCODING:
        return f"encoding {row['encoding']} ({describe_effect(row)})"
    return f"dose {row['magnitude']:g} in layer {row['layer']} with {row['encoding']} ({describe_effect(row)})"


def name_compared(tables: Tables) -> str:
    """Say which models and data sets are compared with the paper's numbers, and by what they are known."""
    compared = [_name_data(row) for _, row in tables["headline"].drop_duplicates(["model", "dataset"]).iterrows()]
    if not compared:
        return NOT_COMPARED
    return (
        f"Numbers are compared with the paper's for {_join(compared)} alone: the model is known by its commit on the "
        "hub, the prompts by a digest of all their texts."
    )


def tabulate_findings(tables: Tables) -> pd.DataFrame:
    """Return the findings of a study: a column of texts for each model, data set and kind of dose that has claims.

    All studies have the same rows.
    """
    return pd.DataFrame({name_case(case): _list_findings(case, tables) for case in list_cases(tables)})


def drop_unknown(findings: pd.DataFrame) -> pd.DataFrame:
    """Return the findings without the rows that are missing everywhere."""
    return findings[(findings != MISSING).any(axis=1)]


def _list_findings(case: pd.Series, tables: Tables) -> dict[str, str]:
    of = {name: _select_of(tables[name], case) for name in ("claims", "headline", "sites")}
    claims = of["claims"].set_index("claim")
    sweep = SweepId(*case[["model", "dataset", "memories", "encoding", "relative"]])
    contrast, shuffled = find_contrast(sweep, tables["contrasts"]), find_shuffled(sweep, tables)
    headline = of["headline"].head(0 if case["relative"] else None)
    rules = headline.set_index("rule")["value"] if len(headline) else {}
    values = {name: f"{write_signed(rules[name], 1)} %" if name in rules else MISSING for name in AVERAGES}
    ranks = pd.notna(case["hits_gain"])
    return {
        "the memory helps": _format_claim(claims, "helps", with_effect=False),
        "prompts": f"{case['n_prompts']:,}",
        "clusters of prompts (effectively)": f"{case['n_clusters']:,} ({case['n_effective']:.1f})",
        "explicit prompts are answered better": _format_claim(claims, "explicit"),
        "the paper's site (layer from 0, magnitude)": _format_reported(headline),
        f"change there by the paper's average ({AVERAGES[PAPER_AVERAGE]})": values[PAPER_AVERAGE],
        "the same by the plain mean": values["mean"],
        "the same by the median": values["median"],
        "mean effect there": _format_effect_at(headline, of["sites"]),
        "mean effect at sites chosen on other prompts": describe_effect(case),
        "the site chosen most often": (
            f"{case['chosen_encoding']} ({case['layer']:.0f}, {case['magnitude']:g})" if case["n_prompts"] else MISSING
        ),
        "curated minus shuffled memories, at the same sites": _format_estimate(shuffled),
        "curated minus random words, at sites swept with both": _format_estimate(contrast),
        "a memory is specific to its own answer": _format_claim(claims, "specific"),
        "wrong answers rescued": f"{case['n_rescued']:.0f} of {case['n_missed']:.0f}" if ranks else MISSING,
        "right answers broken": f"{case['n_broken']:.0f} of {case['n_hit']:.0f}" if ranks else MISSING,
    }


def _select_of(table: pd.DataFrame, case: pd.Series) -> pd.DataFrame:
    """Select the rows of a case's model and data set and, where the table says that, of its kind of dose."""
    is_same = (table["model"] == case["model"]) & (table["dataset"] == case["dataset"])
    if "relative" in table:
        is_same &= table["relative"].isna() | (table["relative"] == case["relative"])
    return table[is_same]


def _name_data(row: pd.Series) -> str:
    return f"{row['model']} on {row['dataset']}"


def _join(parts: Sequence[str]) -> str:
    return f"{', '.join(parts[:-1])} and {parts[-1]}" if len(parts) > 1 else parts[0]


def _format_claim(claims: pd.DataFrame, claim: str, with_effect: bool = True) -> str:
    if CLAIMS[claim].label not in claims.index:
        return MISSING
    row = claims.loc[CLAIMS[claim].label]
    return f"{row['verdict']}: {describe_effect(row)}" if with_effect else str(row["verdict"])


def _format_estimate(estimate: pd.Series | None) -> str:
    return MISSING if estimate is None else describe_effect(estimate)


def _format_reported(headline: pd.DataFrame) -> str:
    return f"({headline.iloc[0]['layer']}, {headline.iloc[0]['magnitude']:g})" if len(headline) else MISSING


def _format_effect_at(headline: pd.DataFrame, sites: pd.DataFrame) -> str:
    if headline.empty:
        return MISSING
    curated = sites[(sites["memories"] == CURATED) & is_as_in_paper(sites)]
    here = select_site(curated, headline.iloc[0]["layer"], headline.iloc[0]["magnitude"])
    return f"{write_signed(here.iloc[0]['effect'])} nats"


def format_markdown(findings: pd.DataFrame) -> str:
    """Return a table of texts in Markdown."""
    lines = [["", *findings.columns], ["---"] * (1 + findings.shape[1])]
    lines += [[str(label), *row] for label, row in zip(findings.index, findings.to_numpy(), strict=True)]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def write_findings(page: Path, results: Sequence[Path]) -> None:
    """Write the findings of some studies between the marks of a Markdown page."""
    findings = pd.concat([tabulate_findings(read_tables(folder)) for folder in results], axis=1)
    text = page.read_text(encoding="utf-8")
    marked = re.compile(f"(?<={re.escape(BEGIN)}).*(?={re.escape(END)})", flags=re.DOTALL)
    write_text(marked.sub(lambda _: format_markdown(drop_unknown(findings)), text, count=1), page)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=write_findings.__doc__)
    parser.add_argument("page", type=Path, help="the Markdown page")
    parser.add_argument("results", type=Path, nargs="+", help="the results of a study, such as results/demo")
    options = parser.parse_args()
    write_findings(options.page, options.results)
