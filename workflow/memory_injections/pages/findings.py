"""What a study found, in three sentences and in one table: the report's first screen and the README's findings.

    python -m memory_injections.pages.findings README.md results/reanalysis results/demo

writes the table of some studies between the two marks in a Markdown file.
"""

import argparse
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd

from memory_injections.analysis.averages import AVERAGES, PAPER_AVERAGE, select_site
from memory_injections.analysis.evidence import ALL_RANDOM
from memory_injections.analysis.verdicts import INCONCLUSIVE, OPPOSITE, SUPPORTED, ZERO
from memory_injections.atomic_files import write_text
from memory_injections.paper.claims import CLAIMS
from memory_injections.paper.reported import PAPER_ENCODING, name_site
from memory_injections.terms import CURATED

TABLES = ("claims", "evidence", "contrasts", "sites", "headline")
MISSING = "–"
BEGIN, END = "<!-- findings -->\n", "<!-- end of findings -->"
Tables = Mapping[str, pd.DataFrame]


def read_tables(results: Path) -> dict[str, pd.DataFrame]:
    """Read the tables of a study that its findings are taken from."""
    return {name: pd.read_csv(results / "tables" / f"{name}.csv") for name in TABLES}


def summarise_study(tables: Tables) -> list[str]:
    """Say in three sentences whether the memory helps, whether it corrects failures, and what the paper's number is."""
    return [_say_whether_it_helps(tables), _say_whether_it_corrects(tables), _say_what_the_headline_is(tables)]


def _say_whether_it_helps(tables: Tables) -> str:
    helps = tables["claims"][tables["claims"]["claim"] == CLAIMS["helps"]]
    if helps.empty:
        return "The study does not ask whether a curated memory helps: no sweep injects one in the paper's encoding."
    parts = []
    for verdict in (SUPPORTED, OPPOSITE, ZERO, INCONCLUSIVE):
        rows = helps[helps["verdict"] == verdict]
        if len(rows):
            named = [f"{_name(row)} ({_format_effect(row)})" for _, row in rows.iterrows()]
            parts.append(f"{verdict} for {_join(named)}")
    claim = "That a curated memory makes the answer more probable, and more than random words do"
    return f"{claim}, is {'; '.join(parts)}."


def _say_whether_it_corrects(tables: Tables) -> str:
    curated = _select_curated(tables["evidence"])
    ranked = curated.dropna(subset=["p_mcnemar"])
    if ranked.empty:
        return "Whether it corrects wrong answers cannot be told: the cells of this study have no ranks."
    parts = [
        f"for {_name(row)} it rescues {row['n_rescued']:.0f} of {row['n_missed']:.0f} wrong answers and breaks "
        f"{row['n_broken']:.0f} of {row['n_hit']:.0f} right ones"
        for _, row in ranked.iterrows()
    ]
    return f"At the sites chosen on other prompts, {_join(parts)}."


def _say_what_the_headline_is(tables: Tables) -> str:
    headline = tables["headline"]
    if headline.empty:
        sites = _select_curated(tables["sites"])
        if sites.empty:
            return "No number of the paper can be compared."
        best = sites.loc[sites[PAPER_AVERAGE].idxmax()]
        return (
            f"The paper's models are not in this study; by the paper's average, the best site of all is "
            f"{name_site(best['layer'], best['magnitude'])} of {_name(best)}, with {best[PAPER_AVERAGE]:+.1f} %, where "
            f"the mean effect is {best['effect']:+.2f} nats."
        )
    parts = []
    for _, rows in headline.groupby(["model", "dataset"]):
        values = rows.set_index("rule")["value"]
        parts.append(
            f"for {_name(rows.iloc[0])} by {values[PAPER_AVERAGE]:+.1f} % in the paper's average, "
            f"{values['mean']:+.1f} % in the plain mean and {values['median']:+.1f} % in the median"
        )
    return f"At the sites that the paper reports, the answer's probability changes {'; '.join(parts)}."


def tabulate_findings(tables: Tables) -> pd.DataFrame:
    """Return the findings of a study: a column of texts for each model and data set; all studies have the same rows."""
    columns = {_name(row): _list_findings(row, tables) for _, row in _select_curated(tables["evidence"]).iterrows()}
    return pd.DataFrame(columns)


def _list_findings(curated: pd.Series, tables: Tables) -> dict[str, str]:
    own = {name: _select_of(table, curated) for name, table in tables.items()}
    claims = own["claims"].set_index("claim")
    contrasts = own["contrasts"][own["contrasts"]["encoding"] == PAPER_ENCODING]
    contrast = contrasts[(contrasts["memories"] == ALL_RANDOM) | (len(contrasts) == 1)]
    rules = own["headline"].set_index("rule")["value"] if len(own["headline"]) else {}
    values = {name: f"{rules[name]:+.1f} %" if name in rules else MISSING for name in AVERAGES}
    ranks = pd.notna(curated["p_mcnemar"])
    return {
        "the memory helps": _format_claim(claims, "helps", with_effect=False),
        "prompts (clusters)": f"{curated['n_prompts']:,} ({curated['n_clusters']:,})",
        "explicit prompts are answered better": _format_claim(claims, "explicit"),
        "the paper's site (layer from 0, magnitude)": _format_reported(own["headline"]),
        f"change there by the paper's average ({AVERAGES[PAPER_AVERAGE]})": values[PAPER_AVERAGE],
        "the same by the plain mean": values["mean"],
        "the same by the median": values["median"],
        "mean effect there": _format_effect_at(own["headline"], own["sites"]),
        "mean effect at sites chosen on other prompts": _format_effect(curated),
        "the same, more than random words": _format_effect(contrast.iloc[0]) if len(contrast) else MISSING,
        "wrong answers rescued": f"{curated['n_rescued']:.0f} of {curated['n_missed']:.0f}" if ranks else MISSING,
        "right answers broken": f"{curated['n_broken']:.0f} of {curated['n_hit']:.0f}" if ranks else MISSING,
    }


def _select_curated(table: pd.DataFrame) -> pd.DataFrame:
    return table[(table["memories"] == CURATED) & (table["encoding"] == PAPER_ENCODING)]


def _select_of(table: pd.DataFrame, row: pd.Series) -> pd.DataFrame:
    return table[(table["model"] == row["model"]) & (table["dataset"] == row["dataset"])]


def _name(row: pd.Series) -> str:
    return f"{row['model']} on {row['dataset']}"


def _join(parts: Sequence[str]) -> str:
    return f"{', '.join(parts[:-1])} and {parts[-1]}" if len(parts) > 1 else parts[0]


def _format_effect(row: pd.Series) -> str:
    return f"{row['effect']:+.2f} nats [{row['low']:+.2f}, {row['high']:+.2f}]"


def _format_claim(claims: pd.DataFrame, claim: str, with_effect: bool = True) -> str:
    if CLAIMS[claim] not in claims.index:
        return MISSING
    row = claims.loc[CLAIMS[claim]]
    return f"{row['verdict']}: {_format_effect(row)}" if with_effect else str(row["verdict"])


def _format_reported(headline: pd.DataFrame) -> str:
    return f"({headline.iloc[0]['layer']}, {headline.iloc[0]['magnitude']:g})" if len(headline) else MISSING


def _format_effect_at(headline: pd.DataFrame, sites: pd.DataFrame) -> str:
    if headline.empty:
        return MISSING
    here = select_site(_select_curated(sites), headline.iloc[0]["layer"], headline.iloc[0]["magnitude"])
    return f"{here.iloc[0]['effect']:+.2f} nats"


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
    write_text(marked.sub(lambda _: format_markdown(findings), text, count=1), page)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=write_findings.__doc__)
    parser.add_argument("page", type=Path, help="the Markdown page")
    parser.add_argument("results", type=Path, nargs="+", help="the results of a study, such as results/demo")
    options = parser.parse_args()
    write_findings(options.page, options.results)
