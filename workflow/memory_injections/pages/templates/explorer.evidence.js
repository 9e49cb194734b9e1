// What the study's tests say of a sweep, and what else does the same: the headline's site flatters, this does not.

const rangeText = (low, high, digits) => `[${[low, high].map((end) => withMinus(signedTo(digits).format(end.toFixed(digits)))).join(", ")}]`;
// As in the report: enough digits for the ends of an interval to differ.
const digitsOf = ({ low, high }) => (isMissing(low) || low === high ? 2 : Math.min(4, Math.max(2, -Math.floor(Math.log10(high - low)))));
const intervalText = (estimate) => (isMissing(estimate.low)
  ? "(no interval: a single cluster)" : rangeText(estimate.low, estimate.high, digitsOf(estimate)));
const estimateText = (estimate) => `${effectText(estimate.effect, digitsOf(estimate))} ${intervalText(estimate)}`;
const compared = ({ effect }) => (effect.toFixed(2) > 0 ? "More than" : effect.toFixed(2) < 0 ? "Less than" : "As much as");
const pText = (p) => (p < 0.001 ? "p < 0.001" : `p = ${Number(p.toPrecision(2))}`);

function drawEvidence({ evidence, contrasts, dose }, { kind }) {
  byId("evidence").hidden = !evidence;
  if (evidence) byId("evidence-text").replaceChildren(...evidenceSentences(evidence, dose), ...(kind === "hits" ? gainOfHits(evidence) : []));
  byId("contrasts").hidden = !contrasts.length;
  if (!contrasts.length) return;
  const [first, ...others] = contrasts;
  byId("contrasts-summary").textContent = `${compared(first)} ${first.stand_in}: ${estimateText(first)}`
    + (others.length ? ` – and ${countText(others.length)} more comparisons` : "");
  byId("contrasts-table").replaceChildren(...contrasts.map((row) => h("tr", { role: "row" },
    h("th", { scope: "row", role: "rowheader" }, row.stand_in),
    ...[["its effect", effectText(row.other_effect)], ["the memory's", effectText(row.curated_effect)], ["difference", estimateText(row)]].map(
      ([title, text]) => h("td", { role: "cell", class: "number", "data-title": title }, text)),
  )));
}

function evidenceSentences({ effect, n_prompts, n_clusters, clusters, chosen_by, layer, magnitude, ...rest }, dose) {
  const often = chosen_by === 1 ? "always" : "most often";
  const tests = isMissing(rest.p) ? "" : `, ${pText(rest.p)}`;
  const limits = [
    ...(isMissing(rest.detectable) ? [] : [`an effect under ${rest.detectable.toFixed(2)} nats would likely go unseen`]),
    ...(isMissing(rest.p_above) ? [] : [`that some site of the grid has a mean above zero: ${pText(rest.p_above)}`]),
  ];
  return [
    `The best site flatters. At sites chosen on other prompts (${often} ${siteText(layer, magnitude, dose)}), the mean effect is `,
    h("strong", {}, effectText(effect)),
    ` ${intervalText(rest)} over ${countText(n_prompts)} prompts in ${countText(n_clusters)} clusters by ${clusters}${tests}`,
    limits.length ? `; ${limits.join("; ")}.` : ".",
  ];
}

// In percent of the prompts, at the same sites.
function gainOfHits({ hits_gain, hits_low, hits_high, hits_p }) {
  if (isMissing(hits_gain) || isMissing(hits_low)) return [];
  const [gain, low, high] = [hits_gain, hits_low, hits_high].map((share) => 100 * share);
  return [` There, hits change by ${withMinus(ONE_DECIMAL.format(gain.toFixed(1)))} % of the prompts `
    + `${rangeText(low, high, 1)}, ${pText(hits_p)}.`];
}
