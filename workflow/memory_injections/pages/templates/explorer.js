// What the address says is what the page shows: every choice is a change of the address, and a link leads to it.

const byId = (id) => document.getElementById(id);
const form = byId("controls");
const PARTS = ["model", "dataset", "encoding", "memories"];
const WITH_SITE = ["layer", "magnitude"];
const maps = { site: new HeatMap(byId("map"), "Prompts together, by site"), prompt: new HeatMap(byId("prompt-map"), "This prompt's effect, by site") };
let wanted = {};
let shown = {};
let turns = 0;

// The choices in the address, as far as the study has them; the first of everything else.
function fromAddress() {
  const asked = Object.fromEntries(new URLSearchParams(location.hash.slice(1)));
  let sweeps = INDEX.sweeps.map((sweep, number) => ({ ...sweep, number }));
  const options = {};
  let lacking;
  for (const part of PARTS) {
    options[part] = [...new Set(sweeps.map((sweep) => sweep[part]))];
    const value = options[part].includes(asked[part]) ? asked[part] : options[part][0];
    if (part === "memories") lacking = new Set(sweeps.filter((sweep) => !sweep.has_cells).map((sweep) => sweep.memories));
    sweeps = sweeps.filter((sweep) => sweep[part] === value);
  }
  const measures = MEASURES.filter(({ kind }) => kind !== "hits" || sweeps[0].has_ranks);
  // The address calls it an average, as when there was nothing else to choose.
  const measure = measures.find(({ key }) => key === asked.average) ?? measures[0];
  return { sweep: sweeps[0], options, lacking, measures, measure, layer: asked.layer, magnitude: asked.magnitude, prompt: asked.prompt };
}

function address(changes) {
  const { sweep, measure, layer, magnitude, prompt } = wanted;
  const parts = Object.fromEntries(PARTS.map((part) => [part, sweep[part]]));
  const all = Object.entries({ ...parts, average: measure.key, layer, magnitude, prompt, ...changes });
  return `#${new URLSearchParams(all.filter(([, value]) => !isMissing(value)))}`;
}

function go(changes) {
  // Of two quick choices, the second keeps the first.
  wanted = fromAddress();
  location.hash = address(changes);
}

// The page's main loop: from the address to everything on the page.
async function show() {
  const turn = ++turns;
  const before = shown.prompt;
  wanted = fromAddress();
  drawControls();
  const sites = await unpack(`sites-${wanted.sweep.number}`);
  if (turn !== turns) return;
  const view = placed(wanted, sites);
  drawSites(view);
  const [cells, pairs, heads] = await Promise.all([
    cellsOf(wanted.sweep), unpack(`pairs-${wanted.sweep.dataset}`), unpack(`heads-${wanted.sweep.model}/${wanted.sweep.dataset}`),
  ]);
  if (turn !== turns) return;
  Object.assign(view, { cells, texts: pairs && textsOf(pairs), heads });
  view.promptId = cells?.prompts.has(Number(view.prompt)) && view.prompt ? Number(view.prompt) : null;
  drawPrompts(view);
  drawPrompt(view);
  const isNew = view.promptId !== null && view.prompt !== before;
  shown = { ...view, prompt: view.promptId === null ? undefined : view.prompt };
  if (isNew) {
    byId("prompt").scrollIntoView();
    byId("prompt-title").focus({ preventScroll: true });
  }
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
  go({ [target.name]: target.value, ...(target.name === "dataset" && { prompt: null }) });
});

// The headline, the sites of interest with all measures, and the map.
function drawSites(view) {
  const { sites, sweep, measure, strengths, best, chosen, reported } = view;
  byId("headline").replaceChildren(...headline(view));
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
  maps.site.draw({
    ...measure, layers: sites.layers, magnitudes: sites.magnitudes, dose: sweep.dose, strengths, best, chosen, reported,
    text: (site) => measure.text(sites, site),
    choose: (site) => go({ layer: layerOf(view, site), magnitude: magnitudeOf(view, site) }),
  });
}

function headline(view) {
  const { sites, best, strengths, sweep, measure } = view;
  if (best === null) return [`This sweep has no ${measure.label}: ${measure.none}.`];
  const [before, strong, after] = measure.says(sites, best);
  const equals = strengths.filter((value) => value === strengths[best]).length - 1;
  const others = equals ? ` ${equals === 1 ? "One other site does" : `${countText(equals)} other sites do`} as well; this one has the highest mean effect of them.` : "";
  return [
    `By ${measure.by}, ${sweep.memories === "curated" ? "curated memories" : `random memories (${sweep.memories})`} do best at ${nameOf(view, best)}: ${before}`,
    h("strong", {}, strong),
    `${after}.${others} ${shareText(sites.n_improved[best], sites.n_prompts[best])} of the prompts improve there.`,
  ];
}

addEventListener("hashchange", show);
if ("DecompressionStream" in window) show();
else byId("headline").textContent = "This page needs a browser of 2023 or later.";
