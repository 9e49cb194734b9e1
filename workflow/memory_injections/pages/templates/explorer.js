// What the address says is what the page shows: every choice is a change of the address, and a link leads to it.

const byId = (id) => document.getElementById(id);
const form = byId("controls");
const PARTS = ["model", "dataset", "encoding", "memories"];
const WITH_SITE = ["layer", "magnitude"];
const maps = { site: new HeatMap(byId("map"), "Average change by site"), prompt: new HeatMap(byId("prompt-map"), "This prompt's change by site") };
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
  const average = asked.average in INDEX.averages ? asked.average : Object.keys(INDEX.averages)[0];
  return { sweep: sweeps[0], options, lacking, average, layer: asked.layer, magnitude: asked.magnitude, prompt: asked.prompt };
}

function address(changes) {
  const { sweep, average, layer, magnitude, prompt } = wanted;
  const parts = Object.fromEntries(PARTS.map((part) => [part, sweep[part]]));
  const all = Object.entries({ ...parts, average, layer, magnitude, prompt, ...changes });
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

// Where best, reported and chosen site lie; nothing chosen is the best site.
function placed(view, sites) {
  const { layers, magnitudes } = sites;
  const at = (layer, magnitude) => {
    const [row, column] = [layers.indexOf(Number(layer)), magnitudes.indexOf(Number(magnitude))];
    return isMissing(layer) || isMissing(magnitude) || row < 0 || column < 0 ? null : row * magnitudes.length + column;
  };
  const values = sites[view.average];
  const best = values.reduce((top, value, site) => (isMissing(value) || (top !== null && value <= values[top]) ? top : site), null);
  const asked = at(view.layer, view.magnitude);
  const { reported } = view.sweep;
  return { ...view, sites, values, best, asked, chosen: asked ?? best, reported: reported && at(...reported) };
}

const layerOf = ({ sites }, site) => sites.layers[Math.floor(site / sites.magnitudes.length)];
const magnitudeOf = ({ sites }, site) => sites.magnitudes[site % sites.magnitudes.length];
const nameOf = (view, site) => siteText(layerOf(view, site), magnitudeOf(view, site));
const linkTo = (view, site) => h("a", { href: address({ layer: layerOf(view, site), magnitude: magnitudeOf(view, site) }) }, nameOf(view, site));

function drawControls() {
  for (const part of PARTS) {
    const options = wanted.options[part].map((name) =>
      h("option", { value: name, selected: name === wanted.sweep[part] }, name + (part === "memories" && wanted.lacking.has(name) ? " (averages only)" : "")),
    );
    form.elements[part].replaceChildren(...options);
  }
  const choices = form.querySelector(".choices");
  if (!choices.children.length) {
    for (const [name, label] of Object.entries(INDEX.averages)) {
      choices.append(h("label", {}, h("input", { type: "radio", name: "average", value: name }), h("span", {}, label)));
    }
  }
  form.elements.average.value = wanted.average;
}

form.addEventListener("change", ({ target }) => {
  // A prompt's number means another prompt in another data set.
  go({ [target.name]: target.value, ...(target.name === "dataset" && { prompt: null }) });
});

// The headline, the sites of interest with all four averages, and the map.
function drawSites(view) {
  const { sites, sweep, values, best, chosen } = view;
  byId("headline").replaceChildren(...headline(view));
  const rows = [
    [best, "★", `best by the ${INDEX.averages[view.average]}`],
    ...(sweep.reported ? [[view.reported, "◆", "reported by the authors"]] : []),
    ...(chosen === best ? [] : [[chosen, "▢", "chosen"]]),
  ];
  const averages = Object.keys(INDEX.averages);
  const numbers = (site) => [
    ...averages.map((name) => cellOf(INDEX.averages[name], averageText(sites[name][site]), name === view.average)),
    cellOf(IMPROVED, shareText(sites.n_improved[site], sites.n_prompts[site])),
  ];
  byId("sites").replaceChildren(h("table", { class: "sites", role: "table" },
    h("caption", { class: "hidden" }, "Sites of interest"),
    h("thead", { role: "rowgroup" }, h("tr", { role: "row" },
      ...["site", ...Object.values(INDEX.averages), IMPROVED].map((name) => h("th", { scope: "col", role: "columnheader" }, name)))),
    h("tbody", { role: "rowgroup" }, ...rows.map(([site, mark, what]) => h("tr", { role: "row" },
      h("th", { scope: "row", role: "rowheader" }, h("span", { class: "mark", "aria-hidden": "true" }, mark), ` ${what}: `, site === null ? missingSite(sweep) : linkTo(view, site)),
      ...(site === null ? [] : numbers(site)),
    ))),
  ));
  maps.site.draw({
    layers: sites.layers, magnitudes: sites.magnitudes, values, best, chosen, reported: view.reported, text: averageText,
    choose: (site) => go({ layer: layerOf(view, site), magnitude: magnitudeOf(view, site) }),
  });
}

const IMPROVED = "prompts that improve";
const cellOf = (title, text, current) => h("td", { role: "cell", class: current ? "number current" : "number", "data-title": title }, text);
const missingSite = ({ reported }) => (reported ? `${siteText(...reported)}, not in this grid` : MISSING);

function headline(view) {
  const { sites, best, values, sweep } = view;
  if (best === null) return ["Every answer was impossible before the injection, so nothing can be said of changes."];
  return [
    `By the ${INDEX.averages[view.average]}, ${sweep.memories === "curated" ? "curated memories" : `random memories (${sweep.memories})`} do best at ${nameOf(view, best)}: they change the answer's probability by `,
    h("strong", {}, averageText(values[best])),
    `. ${shareText(sites.n_improved[best], sites.n_prompts[best])} of the prompts improve there.`,
  ];
}

addEventListener("hashchange", show);
if ("DecompressionStream" in window) show();
else byId("headline").textContent = "This page needs a browser of 2023 or later.";
