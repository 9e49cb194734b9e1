// The prompts of a site as a table, and one prompt by itself.

// Every column: what it is called, what it shows of a row, and how it sorts; texts sort upwards first, numbers downwards.
const COLUMNS = [
  { key: "prompt", title: "obscure prompt", value: (row) => row.obscure ?? row.id, show: (row) => h("a", {}, row.obscure ?? `prompt ${row.id}`), text: true },
  { key: "answer", title: "answer", text: true },
  { key: "memory", title: "memory", text: true },
  { key: "before", title: "p before", write: probabilityText },
  { key: "after", title: "p after", write: probabilityText },
  { key: "effect", title: "effect", write: effectText },
  { key: "change", title: "change", write: changeText },
  { key: "rankBefore", title: "rank before", write: countText },
  { key: "rankAfter", title: "rank after", write: countText },
  { key: "outcome", title: "hit@1", value: (row) => OUTCOMES.indexOf(row.outcome), show: outcomeMark, text: true },
  { key: "token", title: "top token after", write: tokenText, text: true },
];
const OUTCOME_SAYS = {
  rescued: "rescued", broken: "broken", hit: "a hit before and after", missed: "missed before and after",
};
const OUTCOMES = Object.keys(OUTCOME_SAYS);
const order = { key: "effect", down: true };
const PORTION = 100;

function drawPrompts(view) {
  const { cells, chosen } = view;
  const body = byId("prompts-body");
  byId("prompts-title").textContent = `Every prompt at ${nameOf(view, chosen)}`;
  byId("bound").textContent = cells ? boundText(cells) : "";
  const { model, dataset, memories, encoding } = view.sweep;
  if (!cells) {
    const path = `injections/${model}/${dataset}/${memories}.${encoding}.parquet`;
    body.replaceChildren(h("p", { class: "note" }, `To stay under 30 MB, this page has the averages of these memories but not their prompts. They are in `, h("code", {}, path), ", beside this page."));
  } else if (!sameTable(view)) {
    body.replaceChildren(...promptTable(view));
  }
  for (const row of body.querySelectorAll("tr[data-prompt]")) refresh(row, view.promptId);
}

// What depends on more than the row's site.
function refresh(row, promptId) {
  const id = Number(row.dataset.prompt);
  row.querySelector("a").href = address({ prompt: id });
  if (id === promptId) row.setAttribute("aria-current", "true");
  else row.removeAttribute("aria-current");
}

const sameTable = ({ cells, chosen }) => cells === shown.cells && chosen === shown.chosen;

function boundText({ values }) {
  const nats = values.step / 2;
  const off = Math.ceil(1e4 * Math.expm1(nats)) / 100;
  return `A single prompt's log-probability after the injection is rounded, in this sweep by ${Number(nats.toPrecision(1))} nats at most, and its effect with it. That moves a change of 0 % by ${off} percentage points at most, one of 1,000 % by ${(11 * off).toFixed(2)}.`;
}

function promptTable(view) {
  const { cells, chosen, texts } = view;
  const rows = [];
  for (let prompt = 0; prompt < cells.nPrompts; prompt++) {
    const row = cells.row(prompt, chosen);
    const { obscure, answer } = texts?.get(row.id) ?? {};
    if (!Number.isNaN(row.after)) rows.push({ ...row, obscure, answer });
  }
  const columns = COLUMNS.filter(({ key }) => key === "prompt" || rows.some((row) => !isMissing(row[key])));
  if (!columns.some(({ key }) => key === order.key)) Object.assign(order, { key: "effect", down: true });
  const limit = limitOf(rows.map(({ effect }) => effect), NATS.enough);
  const body = h("tbody", { role: "rowgroup", onclick: followRow });
  // The roles stay where a narrow screen shows rows as cards.
  const heads = columns.map((column) => h("th", { scope: "col", role: "columnheader", class: column.text ? column.key : `number ${column.key}` },
    h("button", { type: "button", onclick: () => sortBy(column) }, column.key === "prompt" && !texts ? "prompt" : column.title)));
  function sortBy(column) {
    if (column) Object.assign(order, { key: column.key, down: column.key === order.key ? !order.down : !column.text });
    const by = columns.find(({ key }) => key === order.key);
    heads.forEach((head, place) => setSort(head, columns[place] === by));
    rows.sort(comparing(by));
    body.replaceChildren();
    fill(body, rows, (row) => tableRow(row, columns, limit));
  }
  sortBy(null);
  const table = h("table", { class: "prompts", role: "table" }, h("thead", { role: "rowgroup" }, h("tr", { role: "row" }, ...heads)), body);
  return [
    h("p", { class: "quiet" }, `${countText(rows.length)} prompts. A heading sorts; a prompt leads to its own map${view.heads ? " and its attention heads" : ""}.${view.sweep.has_ranks ? " Ranks count from 0." : ""}`),
    h("div", { class: "scroll tall", tabindex: 0, role: "region", "aria-labelledby": "prompts-title" }, table),
  ];
}

// A portion at a time, so that a long table never holds up the page; a newer sort or site ends an older one's filling.
let filling;
function fill(body, rows, draw) {
  clearTimeout(filling);
  const start = body.childElementCount;
  const portion = rows.slice(start, start + PORTION).map(draw);
  for (const row of portion) refresh(row, shown.promptId);
  body.append(...portion);
  if (start + PORTION < rows.length) filling = setTimeout(fill, 0, body, rows, draw);
}

function setSort(head, isSorted) {
  if (isSorted) head.setAttribute("aria-sort", order.down ? "descending" : "ascending");
  else head.removeAttribute("aria-sort");
}

// Missing values come last in either direction.
function comparing({ key, value = (row) => row[key] }) {
  const sign = order.down ? -1 : 1;
  const texts = new Intl.Collator("en", { numeric: true });
  return (a, b) => {
    const [x, y] = [value(a), value(b)];
    if (isMissing(x) || isMissing(y)) return isMissing(x) - isMissing(y);
    return sign * (typeof x === "string" ? texts.compare(x, y) : x - y);
  };
}

function tableRow(row, columns, limit) {
  const cells = columns.map(({ key, title, show, text, write = (value) => value ?? MISSING }) => {
    const isHead = key === "prompt";
    const attributes = { class: text ? null : "number", "data-title": title, role: isHead ? "rowheader" : "cell" };
    const cell = h(isHead ? "th" : "td", attributes, show ? show(row) : write(row[key]));
    if (key === "effect") {
      cell.prepend(h("span", { class: "swatch", style: `background: rgb(${colour(row.effect, limit)})` }));
    }
    return cell;
  });
  return h("tr", { "data-prompt": row.id, role: "row" }, ...cells);
}

// Rescued and broken answers stand out from those that stay as they were.
function outcomeMark({ outcome }) {
  const changed = outcome === "rescued" || outcome === "broken";
  return isMissing(outcome) ? MISSING : h("span", { class: changed ? outcome : "quiet" }, outcome);
}

function followRow({ target }) {
  const row = target.closest("tr");
  if (!target.closest("a")) row.querySelector("a").click();
}

function drawPrompt(view) {
  const { cells, promptId, sites, chosen } = view;
  byId("prompt-body").hidden = promptId === null;
  byId("prompt-none").hidden = promptId !== null;
  byId("prompt").hidden = !cells;
  byId("prompt-title").textContent = promptId === null ? "One prompt" : `Prompt ${promptId}`;
  if (promptId === null) return;
  const prompt = cells.prompts.get(promptId);
  const row = cells.row(prompt, chosen);
  const texts = view.texts?.get(promptId);
  byId("pair").replaceChildren(
    ...(texts ? [entry("obscure prompt", texts.obscure), entry("explicit prompt", texts.explicit), entry("answer", texts.answer)] : []),
    entry("memory injected here", row.memory ?? MISSING),
    entry("answer's probability", [
      `${probabilityText(cells.values.p_explicit[prompt])} after the explicit prompt, ${probabilityText(row.before)} after the obscure one, `,
      h("strong", {}, `${probabilityText(row.after)} with the injection at ${nameOf(view, chosen)} (${effectText(row.effect)}, ${changeText(row.change)})`),
    ]),
    ...(isMissing(row.outcome) ? [] : [
      entry("answer's rank", `${countText(row.rankBefore)} after the obscure prompt, ${countText(row.rankAfter)} with the injection: ${OUTCOME_SAYS[row.outcome]}`),
    ]),
  );
  const effects = cells.effects(prompt);
  maps.prompt.draw({
    ...NATS, layers: sites.layers, magnitudes: sites.magnitudes, dose: view.sweep.dose, strengths: effects, best: bestOf(effects, effects), chosen,
    reported: view.reported, text: (site) => `${effectText(effects[site])} (${changeText(cells.change(prompt, site))})`,
    choose: (site) => go({ layer: layerOf(view, site), magnitude: magnitudeOf(view, site) }),
  });
  byId("heads").replaceChildren(...headTable(view));
}

function entry(name, content) {
  return h("div", {}, h("dt", {}, name), h("dd", {}, ...[content].flat()));
}

const HEAD_SAYS = ["after the explicit prompt", "after the obscure prompt"];

// What the most telling heads say after each kind of prompt, the tokens of answer and memory marked.
function headTable({ heads, promptId }) {
  const prompt = heads ? heads.prompt_id.indexOf(promptId) : -1;
  if (prompt < 0) return [];
  const nTokens = heads.token.length / (2 * heads.layer.length);
  const says = (head, kind) => {
    const at = 2 * head + kind;
    const tokens = Array.from({ length: nTokens }, (_, rank) => {
      const text = tokenText(heads.tokens[heads.token[at * nTokens + rank]]);
      const isAnswer = rank === heads.answer_rank[at];
      return isAnswer || rank === heads.memory_rank[at] ? h("mark", { class: isAnswer ? "answer" : "memory" }, text) : text;
    });
    return h("td", { "data-title": HEAD_SAYS[kind] },
      h("p", {}, ...tokens.flatMap((token, rank) => (rank ? [" · ", token] : [token]))),
      h("p", { class: "quiet" }, `answer: logit ${withMinus(heads.answer_logit[at].toFixed(1))}, rank ${countText(heads.answer_rank[at])}`),
    );
  };
  const rows = Array.from({ length: heads.n_heads }, (_, place) => {
    const head = prompt * heads.n_heads + place;
    return h("tr", {}, h("th", { scope: "row" }, `layer ${heads.layer[head]}, head ${heads.head[head]}`), says(head, 0), says(head, 1));
  });
  return [
    h("h3", {}, "What attention heads say"),
    h("p", {}, `The ${heads.n_heads} heads whose output raises the answer's logit the most from the obscure to the explicit prompt (as in Table 2), with the highest tokens of each. `,
      "The first token of ", h("mark", { class: "answer" }, "the answer"), " or ", h("mark", { class: "memory" }, "the memory"), " is marked where it is among them."),
    h("table", { class: "heads" },
      h("thead", {}, h("tr", {}, ...["head", ...HEAD_SAYS].map((name) => h("th", { scope: "col" }, name)))),
      h("tbody", {}, ...rows)),
  ];
}
