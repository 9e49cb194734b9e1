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
from memory_injections.analysis.effects import describe_effect
from memory_injections.analysis.table_files import read_table
from memory_injections.analysis.verdicts import INCONCLUSIVE, OPPOSITE, SUPPORTED, ZERO
from memory_injections.atomic_files import write_text
from memory_injections.controls.kinds import CONTROLS
from memory_injections.paper.claims import CLAIMS, find_contrast
from memory_injections.paper.reported import is_as_in_paper, name_site
from memory_injections.sweeps.identity import SweepId
from memory_injections.terms import CURATED, PAPER_ENCODING

NOT_COMPARED = (
    "There is no comparison with the paper's numbers: no model here is one of the paper's, at its commit, on the "
    "paper's own prompts, with the site that it reports among its sites."
)
TABLES = ("claims", "evidence", "contrasts", "sites", "headline")
MISSING = "–"
# Controls that the first screen names.
SAID = ("shuffled", "random_direction", "in_context")
BEGIN, END = "<!-- findings -->\n", "<!-- end of findings -->"
Tables = Mapping[str, pd.DataFrame]


def read_tables(results: Path) -> dict[str, pd.DataFrame]:
    """Read the tables of a study that its findings are taken from."""
    return {name: read_table(results / "tables" / f"{name}.csv") for name in TABLES}


def summarise_study(tables: Tables) -> list[str]:
    """Say in a few sentences whether the memory helps, and more than its controls, whether it corrects failures, and
    what the paper's number is."""
    controls = [_say_what_controls_do(tables["control_contrasts"])] if "control_contrasts" in tables else []
    return [
        _say_whether_it_helps(tables), *controls, _say_whether_it_corrects(tables), _say_what_the_headline_is(tables)
    ]  # fmt: skip


def _say_whether_it_helps(tables: Tables) -> str:
    helps = tables["claims"][tables["claims"]["claim"] == CLAIMS["helps"].label]
    if helps.empty:
        return "The study does not ask whether a curated memory helps: no sweep injects one in the paper's encoding."
    parts = []
    for verdict in (SUPPORTED, OPPOSITE, ZERO, INCONCLUSIVE):
        rows = helps[helps["verdict"] == verdict]
        if len(rows):
            named = [f"{_name(row)} ({describe_effect(row)})" for _, row in rows.iterrows()]
            parts.append(f"{verdict} for {_join(named)}")
    return f"“A curated memory makes the answer more probable, and more than other memories do”: {'; '.join(parts)}."


def _say_what_controls_do(contrasts: pd.DataFrame) -> str:
    own = contrasts[is_as_in_paper(contrasts) & contrasts["memories"].isin(SAID)]
    if own.empty:
        return "The study has no controls of injections in the paper's encoding."
    parts = []
    for _, rows in own.groupby(["model", "dataset"], sort=False):
        named = [f"{describe_effect(row)} against {CONTROLS[row['memories']].label}" for _, row in rows.iterrows()]
        parts.append(f"{_join(named)} for {_name(rows.iloc[0])}")
    return f"At sites chosen on other prompts, the effect of the memory differs by {'; by '.join(parts)}."


def _say_whether_it_corrects(tables: Tables) -> str:
    failures = tables["claims"][tables["claims"]["claim"] == CLAIMS["failures"].label]
    if failures.empty:
        return "Whether it corrects wrong answers is not known: no cells of curated memories have ranks."
    parts = [f"{row['verdict']} for {_name(row)} ({row['evidence']})" for _, row in failures.iterrows()]
    return f"“The injection corrects failures”: {'; '.join(parts)}."


def _say_what_the_headline_is(tables: Tables) -> str:
    headline = tables["headline"]
    if headline.empty:
        sites = _select_judged(tables["sites"], tables)
        if sites.empty:
            return "No number of the paper can be compared: no sweep injects curated memories in the paper's encoding."
        best = sites.loc[sites[PAPER_AVERAGE].idxmax()]
        return (
            f"{NOT_COMPARED} By the paper's average, the best site here is "
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


def name_compared(tables: Tables) -> str:
    """Say which models and data sets are compared with the paper's numbers, and by what they are known."""
    compared = [_name(row) for _, row in tables["headline"].drop_duplicates(["model", "dataset"]).iterrows()]
    if not compared:
        return NOT_COMPARED
    return (
        f"Numbers are compared with the paper's for {_join(compared)} alone: the model is known by its commit on the "
        "hub, the prompts by a digest of all their texts."
    )


def tabulate_findings(tables: Tables) -> pd.DataFrame:
    """Return the findings of a study: a column of texts for each model and data set; all studies have the same rows."""
    judged = _select_judged(tables["evidence"], tables)
    return pd.DataFrame({_name(row): _list_findings(row, tables) for _, row in judged.iterrows()})


def drop_unknown(findings: pd.DataFrame) -> pd.DataFrame:
    """Return the findings without the rows that are missing everywhere."""
    return findings[(findings != MISSING).any(axis=1)]


def _list_findings(curated: pd.Series, tables: Tables) -> dict[str, str]:
    own = {name: _select_of(tables[name], curated) for name in ("claims", "contrasts", "headline", "sites")}
    claims = own["claims"].set_index("claim")
    contrast = find_contrast(SweepId(curated["model"], curated["dataset"], CURATED, PAPER_ENCODING), own["contrasts"])
    rules = own["headline"].set_index("rule")["value"] if len(own["headline"]) else {}
    values = {name: f"{rules[name]:+.1f} %" if name in rules else MISSING for name in AVERAGES}
    ranks = pd.notna(curated["hits_gain"])
    against_random = MISSING if contrast is None else describe_effect(contrast)
    return {
        "the memory helps": _format_claim(claims, "helps", with_effect=False),
        "prompts": f"{curated['n_prompts']:,}",
        "clusters of prompts (effectively)": f"{curated['n_clusters']:,} ({curated['n_effective']:.1f})",
        "explicit prompts are answered better": _format_claim(claims, "explicit"),
        "the paper's site (layer from 0, magnitude)": _format_reported(own["headline"]),
        f"change there by the paper's average ({AVERAGES[PAPER_AVERAGE]})": values[PAPER_AVERAGE],
        "the same by the plain mean": values["mean"],
        "the same by the median": values["median"],
        "mean effect there": _format_effect_at(own["headline"], own["sites"]),
        "mean effect at sites chosen on other prompts": describe_effect(curated),
        "curated minus random words, at sites swept with both": against_random,
        "wrong answers rescued": f"{curated['n_rescued']:.0f} of {curated['n_missed']:.0f}" if ranks else MISSING,
        "right answers broken": f"{curated['n_broken']:.0f} of {curated['n_hit']:.0f}" if ranks else MISSING,
    }


def _select_curated(table: pd.DataFrame) -> pd.DataFrame:
    return table[(table["memories"] == CURATED) & is_as_in_paper(table)]


def _select_judged(table: pd.DataFrame, tables: Tables) -> pd.DataFrame:
    """Select the rows of curated sweeps that have claims: those without a flag."""
    judged = set(tables["claims"][["model", "dataset"]].itertuples(index=False, name=None))
    curated = _select_curated(table)
    return curated[[key in judged for key in curated[["model", "dataset"]].itertuples(index=False, name=None)]]


def _select_of(table: pd.DataFrame, row: pd.Series) -> pd.DataFrame:
    return table[(table["model"] == row["model"]) & (table["dataset"] == row["dataset"])]


def _name(row: pd.Series) -> str:
    return f"{row['model']} on {row['dataset']}"


def _join(parts: Sequence[str]) -> str:
    return f"{', '.join(parts[:-1])} and {parts[-1]}" if len(parts) > 1 else parts[0]


def _format_claim(claims: pd.DataFrame, claim: str, with_effect: bool = True) -> str:
    if CLAIMS[claim].label not in claims.index:
        return MISSING
    row = claims.loc[CLAIMS[claim].label]
    return f"{row['verdict']}: {describe_effect(row)}" if with_effect else str(row["verdict"])


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
    write_text(marked.sub(lambda _: format_markdown(drop_unknown(findings)), text, count=1), page)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=write_findings.__doc__)
    parser.add_argument("page", type=Path, help="the Markdown page")
    parser.add_argument("results", type=Path, nargs="+", help="the results of a study, such as results/demo")
    options = parser.parse_args()
    write_findings(options.page, options.results)
