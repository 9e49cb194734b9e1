// What the address says is what the page shows: every choice is a change of the address, and a link leads to it.

const form = byId("controls");
const PARTS = ["model", "dataset", "encoding", "memories"];
const FILTERED = ["search", ...FILTERS.map(({ key }) => key)];
const PART_NAMES = { model: "model", dataset: "data set", encoding: "encoding", memories: "memories" };
const maps = {
  site: new HeatMap(byId("map"), "Prompts together, by site"),
  other: new HeatMap(byId("other-map"), "The other sweep's prompts together, by site"),
  prompt: new HeatMap(byId("prompt-map"), "This prompt's effect, by site"),
};
let wanted = {};
let shown = {};
let turns = 0;

// The choices in the address, as far as the study has them; the first of everything else.
function fromAddress() {
  const asked = Object.fromEntries(new URLSearchParams(location.hash.slice(1)));
  let sweeps = INDEX.sweeps.map((sweep, number) => ({ ...sweep, number }));
  const options = {};
  // What the address asks for and the study lacks, and what is shown instead.
  const missing = [];
  let lacking;
  for (const part of PARTS) {
    options[part] = [...new Set(sweeps.map((sweep) => sweep[part]))];
    const value = options[part].includes(asked[part]) ? asked[part] : options[part][0];
    if (value !== asked[part] && !isMissing(asked[part])) missing.push([`the ${PART_NAMES[part]} “${asked[part]}”`, `“${value}”`]);
    if (part === "memories") lacking = new Set(sweeps.filter((sweep) => !sweep.has_cells).map((sweep) => sweep.memories));
    sweeps = sweeps.filter((sweep) => sweep[part] === value);
  }
  const measures = MEASURES.filter(({ kind }) => kind !== "hits" || sweeps[0].has_ranks);
  // The address calls it an average, as when there was nothing else to choose.
  const measure = measures.find(({ key }) => key === asked.average) ?? measures[0];
  if (measure.key !== asked.average && !isMissing(asked.average)) missing.push([`the measure “${asked.average}”`, `the ${measure.label}`]);
  const others = INDEX.sweeps.map((sweep, number) => ({ ...sweep, number })).filter(({ number }) => number !== sweeps[0].number);
  const other = others.find((sweep) => keyOf(sweep) === asked.compare) ?? null;
  if (!other && !isMissing(asked.compare) && asked.compare !== keyOf(sweeps[0])) missing.push([`a comparison with “${asked.compare}”`, "one sweep"]);
  const { layer, magnitude, prompt, sort } = asked;
  const filters = Object.fromEntries(FILTERED.filter((key) => asked[key]).map((key) => [key, asked[key]]));
  return { sweep: sweeps[0], options, lacking, measures, measure, other, others, layer, magnitude, prompt, sort, filters, missing };
}

const keyOf = (sweep) => PARTS.map((part) => sweep[part]).join("/");
const titleOf = (sweep) => PARTS.map((part) => sweep[part]).join(", ");

function address(changes) {
  const { sweep, measure, other, layer, magnitude, prompt, sort, filters } = wanted;
  const parts = Object.fromEntries(PARTS.map((part) => [part, sweep[part]]));
  const all = Object.entries({ ...parts, average: measure.key, compare: other && keyOf(other), layer, magnitude, prompt, ...filters, sort, ...changes });
  return `#${new URLSearchParams(all.filter(([, value]) => !isMissing(value)))}`;
}

// A choice to go back to, or one of many small ones, such as a letter more of a search.
function go(changes, toGoBackTo = true) {
  // Of two quick choices, the second keeps the first.
  wanted = fromAddress();
  if (toGoBackTo) {
    location.hash = address(changes);
  } else {
    history.replaceState(null, "", address(changes));
    show();
  }
}

// The page's main loop: from the address to everything on the page.
async function show() {
  const turn = ++turns;
  const before = shown.prompt;
  wanted = fromAddress();
  drawControls();
  const { sweep, other } = wanted;
  const [sites, otherSites] = await Promise.all([sweep, other].map((one) => one && unpack(`sites-${one.number}`)));
  if (turn !== turns) return;
  const view = placed(wanted, sites);
  view.other = other && canCompare(other, wanted.measure) ? placedBeside(view, other, otherSites) : null;
  drawSites(view);
  const of = `${sweep.model}/${sweep.dataset}`;
  const [cells, pairs, heads, prompts] = await Promise.all([cellsOf(sweep), unpack(`pairs-${sweep.dataset}`), unpack(`heads-${of}`), unpack(`prompts-${of}`)]);
  if (turn !== turns) return;
  Object.assign(view, { cells, texts: pairs && textsOf(pairs), about: prompts && rowsOf(prompts), heads });
  view.promptId = cells?.prompts.has(Number(view.prompt)) && view.prompt ? Number(view.prompt) : null;
  drawPrompts(view);
  drawPrompt(view);
  drawNotice(view);
  const isNew = view.promptId !== null && view.prompt !== before;
  shown = { ...view, prompt: view.promptId === null ? undefined : view.prompt };
  // Who steps from prompt to prompt stays on the button.
  if (isNew && !byId("steps").contains(document.activeElement)) {
    byId("prompt").scrollIntoView();
    byId("prompt-title").focus({ preventScroll: true });
  }
}

const canCompare = (sweep, { kind }) => kind !== "hits" || sweep.has_ranks;

// One sentence on what the address asks for and is not here.
function drawNotice(view) {
  const missing = [...view.missing];
  if (view.asked === null && !(isMissing(view.layer) && isMissing(view.magnitude))) {
    missing.push([`the site ${siteText(view.layer ?? MISSING, view.magnitude ?? MISSING, view.sweep.dose)}`, nameOf(view, view.chosen)]);
  }
  if (view.cells) {
    if (view.prompt && view.promptId === null) missing.push([`prompt ${view.prompt}`, "no single prompt"]);
    missing.push(...lackingFilters(view));
  }
  const list = (place) => new Intl.ListFormat("en").format(missing.map((pair) => pair[place]));
  const text = missing.length ? `The address asks for ${list(0)}, which ${missing.length === 1 ? "is" : "are"} not here; shown instead: ${list(1)}.` : "";
  byId("notice").hidden = !text;
  byId("notice").textContent = text;
}

const cellsBySweep = new Map();
async function cellsOf({ number, has_cells }) {
  if (!cellsBySweep.has(number)) cellsBySweep.set(number, has_cells ? new Cells(await unpack(`cells-${number}`)) : null);
  return cellsBySweep.get(number);
}

function textsOf(pairs) {
  return new Map(pairs.prompt_id.map((id, row) => [id, {
    explicit: pairs.explicit_prompt[row], obscure: pairs.obscure_prompt[row], memory: pairs.memory[row], answer: pairs.answer[row],
  }]));
}

// What is known of each prompt, by its number: an object of the values that are lists by prompt.
function rowsOf({ prompt_id, ...columns }) {
  return new Map(prompt_id.map((id, row) => [id, Object.fromEntries(Object.entries(columns).map(([name, values]) => [name, values[row]]))]));
}

// Where best, reported and chosen site lie; nothing chosen is the best site, by the mean effect if no site has the measure.
function placed(view, sites) {
  const { layers, magnitudes } = sites;
  const at = (layer, magnitude) => {
    const [row, column] = [layers.indexOf(Number(layer)), magnitudes.indexOf(Number(magnitude))];
    return isMissing(layer) || isMissing(magnitude) || row < 0 || column < 0 ? null : row * magnitudes.length + column;
  };
  const strengths = view.measure.strengths(sites);
  const best = bestOf(strengths, sites.effect);
  const asked = at(view.layer, view.magnitude);
  const { reported } = view.sweep;
  return { ...view, sites, strengths, best, asked, chosen: asked ?? best ?? bestOf(sites.effect, sites.effect), reported: reported && at(...reported) };
}

// The same measure of another sweep, and the site that is chosen here, where it has that.
function placedBeside(view, sweep, sites) {
  const other = placed({ ...view, sweep, layer: layerOf(view, view.chosen), magnitude: magnitudeOf(view, view.chosen) }, sites);
  return { ...other, chosen: other.asked };
}

// The site with the highest value, null if all are missing; many sites have equal hits: of those, the highest effect.
function bestOf(values, effects) {
  return values.reduce((top, value, site) => {
    if (isMissing(value)) return top;
    const isBetter = top === null || value > values[top] || (value === values[top] && effects[site] > effects[top]);
    return isBetter ? site : top;
  }, null);
}

const layerOf = ({ sites }, site) => sites.layers[Math.floor(site / sites.magnitudes.length)];
const magnitudeOf = ({ sites }, site) => sites.magnitudes[site % sites.magnitudes.length];
const nameOf = (view, site) => siteText(layerOf(view, site), magnitudeOf(view, site), view.sweep.dose);
const linkTo = (view, site, name) => h("a", { href: address({ layer: layerOf(view, site), magnitude: magnitudeOf(view, site) }) }, name);

function drawControls() {
  for (const part of PARTS) {
    const options = wanted.options[part].map((name) =>
      h("option", { value: name, selected: name === wanted.sweep[part] }, name + (part === "memories" && wanted.lacking.has(name) ? " (averages only)" : "")),
    );
    form.elements[part].replaceChildren(...options);
  }
  const chosen = wanted.other && keyOf(wanted.other);
  const option = (sweep) => h("option", { value: keyOf(sweep), selected: keyOf(sweep) === chosen }, titleOf(sweep));
  form.elements.compare.replaceChildren(h("option", { value: "" }, "nothing"), ...wanted.others.map(option));
  form.elements.compare.parentElement.hidden = !wanted.others.length;
  const groups = byId("measures");
  if (!groups.children.length) groups.append(...Object.keys(MEASURE_KINDS).map(measureGroup));
  for (const group of groups.children) group.hidden = !wanted.measures.some(({ kind }) => kind === group.dataset.kind);
  form.elements.average.value = wanted.measure.key;
}

function measureGroup(kind) {
  const choices = MEASURES.filter((measure) => measure.kind === kind).map(({ key, label }) =>
    h("label", {}, h("input", { type: "radio", name: "average", value: key }), h("span", {}, label)));
  return h("div", { role: "group", "aria-labelledby": `kind-${kind}`, "data-kind": kind },
    h("div", { class: "kind", id: `kind-${kind}` }, MEASURE_KINDS[kind].title), h("div", { class: "choices" }, ...choices));
}

form.addEventListener("change", ({ target }) => {
  // A prompt's number means another prompt in another data set.
  go({ [target.name]: target.value || null, ...(target.name === "dataset" && { prompt: null }) });
});

// The headline, the sites of interest with all measures, and the map.
function drawSites(view) {
  const { sites, sweep, measure, best, chosen, reported } = view;
  const says = h("span", {}, ...headline(view));
  // A reader of what changes hears it once.
  if (byId("headline").textContent !== says.textContent) byId("headline").replaceChildren(says);
  drawEvidence(sweep, measure);
  const rows = [
    [best, "★", `best by ${measure.by}`, best === null ? MISSING : nameOf(view, best)],
    ...(sweep.reported ? [[reported, "◆", "reported in the paper", paperSiteText(...sweep.reported)]] : []),
  ];
  const same = rows.filter(([site]) => site === chosen);
  for (const row of same) row[2] += ", chosen";
  if (!same.length) rows.push([chosen, "▢", "chosen", nameOf(view, chosen)]);
  const columns = [
    ...view.measures.map(({ key, label, text }) => [label, (site) => text(sites, site), key === measure.key]),
    ["prompts that improve", (site) => shareText(sites.n_improved[site], sites.n_prompts[site]), false],
  ];
  byId("sites").replaceChildren(h("table", { class: "sites", role: "table" },
    h("caption", { class: "hidden" }, "Sites of interest"),
    h("thead", { role: "rowgroup" }, h("tr", { role: "row" },
      ...["site", ...columns.map(([title]) => title)].map((title) => h("th", { scope: "col", role: "columnheader" }, title)))),
    h("tbody", { role: "rowgroup" }, ...rows.map(([site, mark, what, name]) => h("tr", { role: "row" },
      h("th", { scope: "row", role: "rowheader" }, h("span", { class: "mark", "aria-hidden": "true" }, mark), ` ${what}: `,
        site === null ? `${name}${name === MISSING ? "" : ", not in this grid"}` : linkTo(view, site, name)),
      ...(site === null ? [] : columns.map(([title, text, isCurrent]) =>
        h("td", { role: "cell", class: isCurrent ? "number current" : "number", "data-title": title }, text(site)))),
    ))),
  ));
  drawMaps(view);
}

// The map of the sweep and, beside it on the same scale, that of the one it is compared with.
function drawMaps(view) {
  const { other, measure } = view;
  const limit = limitOf([...view.strengths, ...(other?.strengths ?? [])], measure.enough);
  drawMap(maps.site, view, limit);
  for (const id of ["map-caption", "other"]) byId(id).hidden = !wanted.other;
  byId("map-caption").textContent = captionOf(view);
  byId("maps").classList.toggle("two", Boolean(wanted.other));
  byId("other-map").hidden = !other;
  if (other) drawMap(maps.other, other, limit);
  if (wanted.other) byId("other-caption").textContent = other ? captionOf(other)
    : `${titleOf(wanted.other)}: no ranks are known, so it has no ${measure.label}`;
}

function captionOf(view) {
  const { sweep, measure, best, sites } = view;
  return `${titleOf(sweep)}${best === null ? "" : `: best at ${nameOf(view, best)}, ${measure.text(sites, best)}`}`;
}

function drawMap(map, view, limit) {
  const { sites, sweep, measure, strengths, best, chosen, reported } = view;
  map.draw({
    ...measure, limit, layers: sites.layers, magnitudes: sites.magnitudes, dose: sweep.dose, strengths, best, chosen, reported,
    text: (site) => measure.text(sites, site),
    choose: (site) => go({ layer: layerOf(view, site), magnitude: magnitudeOf(view, site) }),
  });
}

function headline(view) {
  const { sites, best, strengths, sweep, measure } = view;
  if (best === null) return [`This sweep has no ${measure.label}: ${measure.none}.`];
  const [before, strong, after] = measure.says(sites, best);
  const equals = strengths.filter((value) => value === strengths[best]).length - 1;
  const others = equals
    ? ` ${equals === 1 ? "One other site does" : `${countText(equals)} other sites do`} as well; this one has the highest mean effect of them.`
    : "";
  return [
    `By ${measure.by}, ${sweep.memories === "curated" ? "curated memories" : `random memories (${sweep.memories})`} `
      + `do best at ${nameOf(view, best)}: ${before}`,
    h("strong", {}, strong),
    `${after}.${others} ${shareText(sites.n_improved[best], sites.n_prompts[best])} of the prompts improve there.`,
  ];
}

form.addEventListener("submit", (event) => event.preventDefault());
addEventListener("hashchange", show);
if ("DecompressionStream" in window) show();
else byId("headline").textContent = "This page needs a browser of 2023 or later.";
