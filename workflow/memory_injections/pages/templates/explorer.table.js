// The prompts of a site as a table: searched, filtered, sorted and downloaded.

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
  { key: "tokenBefore", title: "top token before", show: (row) => tokenMark(row.tokenBefore, row.rankBefore === 0, false), text: true },
  { key: "token", title: "top token after", show: (row) => tokenMark(row.token, row.rankAfter === 0, row.saysMemory), text: true },
];
const OUTCOME_SAYS = {
  rescued: "rescued", broken: "broken", hit: "a hit before and after", missed: "missed before and after",
};
const OUTCOMES = Object.keys(OUTCOME_SAYS);
const PORTION = 100;

// What a reader narrows the table down to: one choice of each filter. A choice `keeps` a row, or does not know it: null.
const ifKnown = (isKnown, isKept) => (isKnown ? isKept : null);
const outcomeChoice = (key, label) => ({ key, label, keeps: (row) => ifKnown(!isMissing(row.outcome), row.outcome === key) });
const FILTERS = [
  { key: "explicit", title: "Explicit prompt", all: "any", choices: [
    { key: "better", label: "better than the obscure one", keeps: (row) => ifKnown(!isMissing(row.explicitly), row.explicitly > row.before) },
  ] },
  { key: "hops", title: "Both hops known", all: "any", choices: INDEX.known_ranks.map((rank) => (
    { key: String(rank), label: rank === 1 ? "as the top token" : `in the top ${rank}`, keeps: (row) => ifKnown(!isMissing(row.hops), row.hops < rank) }
  )) },
  { key: "outcome", title: "Outcome", all: "any", choices: [
    outcomeChoice("rescued", "rescued"), outcomeChoice("broken", "broken"), outcomeChoice("hit", "hit before and after"),
    outcomeChoice("missed", "missed before and after"),
    { key: "memory", label: "top token is the memory's", keeps: (row) => ifKnown(row.saysMemory !== undefined, row.saysMemory) },
  ] },
];
// Without accents and in lower case.
const fold = (text) => text.normalize("NFKD").replace(/\p{M}/gu, "").toLowerCase();

// The table on the page: the rows of a site, its columns, and those rows that are `visible`, in order.
let table = null;

function drawPrompts(view) {
  const { cells, chosen } = view;
  const body = byId("prompts-body");
  byId("prompts-title").textContent = `Every prompt at ${nameOf(view, chosen)}`;
  byId("bound").textContent = cells ? boundText(cells) : "";
  byId("filters").hidden = !cells;
  const { model, dataset, memories, encoding } = view.sweep;
  if (!cells) {
    table = null;
    const path = `injections/${model}/${dataset}/${memories}.${encoding}.parquet`;
    body.replaceChildren(h("p", { class: "note" },
      "To stay under 30 MB, this page has the averages of these memories but not their prompts. They are in ", h("code", {}, path),
      ", beside this page."));
    return;
  }
  if (table?.cells !== cells || table.chosen !== chosen) {
    table = buildTable(view);
    body.replaceChildren(table.says, h("div", { class: "scroll tall", tabindex: 0, role: "region", "aria-label": "Table of prompts" }, table.element));
  }
  arrange(view);
  for (const row of body.querySelectorAll("tr[data-prompt]")) refresh(row, view.promptId);
}

// What depends on more than the row's site.
function refresh(row, promptId) {
  const id = Number(row.dataset.prompt);
  row.querySelector("a").href = address({ prompt: id });
  if (id === promptId) row.setAttribute("aria-current", "true");
  else row.removeAttribute("aria-current");
}

function boundText({ values }) {
  const nats = values.step / 2;
  const off = Math.ceil(1e4 * Math.expm1(nats)) / 100;
  return `A single prompt's log-probability after the injection is rounded, in this sweep by ${Number(nats.toPrecision(1))} nats at most, `
    + `and its effect with it. That moves a change of 0 % by ${off} percentage points at most, one of 1,000 % by ${(11 * off).toFixed(2)}.`;
}

// Everything that the page knows of a prompt at the chosen site.
function rowOf({ cells, chosen, texts, about, sweep }, prompt) {
  const row = cells.row(prompt, chosen);
  const { memory_tokens, hops_rank, top_token } = about?.get(row.id) ?? {};
  const { obscure, explicit, answer } = texts?.get(row.id) ?? {};
  // Of random words, the page does not know the tokens.
  const knowsToken = sweep.memories === "curated" && !isMissing(memory_tokens) && !isMissing(row.tokenId);
  return { ...row, obscure, explicit, answer, hops: hops_rank, tokenBefore: top_token, saysMemory: knowsToken ? memory_tokens.includes(row.tokenId) : undefined };
}

function buildTable(view) {
  const { cells, chosen, texts } = view;
  const rows = Array.from({ length: cells.nPrompts }, (_, prompt) => rowOf(view, prompt)).filter(({ after }) => !Number.isNaN(after));
  for (const row of rows) row.searched = fold([row.id, row.obscure, row.explicit, row.memory, row.answer].filter((text) => !isMissing(text)).join("\n"));
  const columns = COLUMNS.filter(({ key }) => key === "prompt" || rows.some((row) => !isMissing(row[key])));
  const heads = columns.map((column) => h("th", { scope: "col", role: "columnheader", class: column.text ? column.key : `number ${column.key}` },
    h("button", { type: "button", onclick: () => sortBy(column) }, column.key === "prompt" && !texts ? "prompt" : column.title)));
  const body = h("tbody", { role: "rowgroup", onclick: followRow });
  // The roles stay where a narrow screen shows rows as cards.
  const element = h("table", { class: "prompts", role: "table" }, h("thead", { role: "rowgroup" }, h("tr", { role: "row" }, ...heads)), body);
  const limit = limitOf(rows.map(({ effect }) => effect), NATS.enough);
  const filters = FILTERS.map((filter) => ({ ...filter, choices: filter.choices.filter(({ keeps }) => rows.some((row) => keeps(row) !== null)) }));
  return {
    cells, chosen, rows, columns, heads, body, element, limit,
    filters: filters.filter(({ choices }) => choices.length), says: h("p", { class: "quiet", role: "status" }),
  };
}

// The rows that are searched for and kept, in the order of a column; only if that changes are they drawn anew.
function arrange(view) {
  const { rows, columns, heads, body, limit, filters } = table;
  const choices = filters.map(({ key, choices }) => choices.find((choice) => choice.key === view.filters[key])).filter(Boolean);
  const sort = sortOf(view.sort);
  const arrangement = JSON.stringify([view.filters, sort.by.key, sort.down]);
  drawFilters(view);
  if (arrangement !== table.arrangement) {
    const search = fold(view.filters.search ?? "");
    table.visible = rows.filter((row) => row.searched.includes(search) && choices.every(({ keeps }) => keeps(row))).sort(comparing(sort));
    heads.forEach((head, place) => setSort(head, columns[place] === sort.by, sort.down));
    body.replaceChildren();
    fill(body, table.visible, (row) => tableRow(row, columns, limit));
    Object.assign(table, { arrangement });
  }
  const count = table.visible.length === rows.length ? countText(rows.length) : countsText(table.visible.length, rows.length);
  table.says.textContent = `${count} prompts. A heading sorts; a prompt leads to its own map${view.heads ? " and its attention heads" : ""}.`
    + `${view.sweep.has_ranks ? " Ranks count from 0." : ""}`;
  const marks = table.rows.some(({ saysMemory }) => saysMemory !== undefined);
  if (marks) table.says.append(" A top token is marked where it is the first of ", h("mark", { class: "answer" }, "the answer"), " or ",
    h("mark", { class: "memory" }, "the memory"), ".");
}

function drawFilters(view) {
  const search = byId("filters").querySelector("input");
  if (search !== document.activeElement) search.value = view.filters.search ?? "";
  const labels = table.filters.map(({ key, title, all, choices }) => h("label", {}, `${title} `, h("select", { name: key },
    h("option", { value: "" }, all),
    ...choices.map((choice) => h("option", { value: choice.key, selected: choice.key === view.filters[key] },
      `${choice.label} (${countText(table.rows.filter(choice.keeps).length)})`)))));
  const focused = document.activeElement?.closest("#filter-choices select")?.name;
  byId("filter-choices").replaceChildren(...labels);
  if (focused) byId("filter-choices").querySelector(`[name="${focused}"]`)?.focus();
}

// The filters in the address that the table lacks, for the notice.
function lackingFilters({ filters }) {
  return FILTERS.flatMap(({ key, title }) => {
    const { choices } = table.filters.find((filter) => filter.key === key) ?? { choices: [] };
    const asked = filters[key];
    return isMissing(asked) || choices.some((choice) => choice.key === asked) ? [] : [[`“${asked}” in the filter “${title}”`, "every prompt"]];
  });
}

byId("filters").addEventListener("input", ({ target }) => go({ [target.name]: target.value || null }, target.type !== "search"));

// A column's key, with a minus in front if it goes downwards; what the table lacks sorts by the effect.
function sortOf(sort) {
  const down = !sort || sort.startsWith("-");
  const by = table.columns.find(({ key }) => key === sort?.replace("-", ""));
  return by ? { by, down } : { by: table.columns.find(({ key }) => key === "effect"), down: true };
}

function sortBy(column) {
  const sort = sortOf(wanted.sort);
  const down = sort.by === column ? !sort.down : !column.text;
  go({ sort: (down ? "-" : "") + column.key }, false);
}

// A portion at a time, so that a long table never holds up the page; a newer arrangement or site ends an older one's filling.
let filling;
function fill(body, rows, draw) {
  clearTimeout(filling);
  const start = body.childElementCount;
  const portion = rows.slice(start, start + PORTION).map(draw);
  for (const row of portion) refresh(row, shown.promptId);
  body.append(...portion);
  if (start + PORTION < rows.length) filling = setTimeout(fill, 0, body, rows, draw);
}

function setSort(head, isSorted, down) {
  if (isSorted) head.setAttribute("aria-sort", down ? "descending" : "ascending");
  else head.removeAttribute("aria-sort");
}

// Missing values come last in either direction.
function comparing({ by: { key, value = (row) => row[key] }, down }) {
  const sign = down ? -1 : 1;
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

// A token that answer or memory begin with.
function tokenMark(token, isAnswer, isMemory) {
  const text = tokenText(token);
  return isAnswer || isMemory ? h("mark", { class: isAnswer ? "answer" : "memory" }, text) : text;
}

function followRow({ target }) {
  const row = target.closest("tr");
  if (!target.closest("a")) row.querySelector("a").click();
}

// The columns of a downloaded table, named as in the study's own.
const EXPORTED = {
  prompt_id: (row) => row.id, obscure_prompt: (row) => row.obscure, explicit_prompt: (row) => row.explicit,
  answer: (row) => row.answer, memory: (row) => row.memory,
  p_explicit: (row) => row.explicitly, p_obscure: (row) => row.before, p_injected: (row) => row.after, effect: (row) => row.effect, change: (row) => row.change,
  rank_obscure: (row) => row.rankBefore, rank_injected: (row) => row.rankAfter, outcome: (row) => row.outcome,
  top_token_before: (row) => row.tokenBefore, top_token: (row) => row.token, top_token_is_memory: (row) => row.saysMemory,
};

// A spreadsheet would run a text that begins like a formula: it gets an apostrophe, as in the study's tables.
function fieldText(value) {
  if (isMissing(value)) return "";
  if (typeof value !== "string") return String(typeof value === "number" && !Number.isInteger(value) ? Number(value.toPrecision(7)) : value);
  const text = /^'*[=+\-@\t\r\n]/.test(value) ? `'${value}` : value;
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}

function csvOf(view) {
  const { sweep, chosen } = view;
  const site = { ...Object.fromEntries(PARTS.map((part) => [part, sweep[part]])), layer: layerOf(view, chosen), magnitude: magnitudeOf(view, chosen) };
  const lines = table.visible.map((row) => [...Object.values(site), ...Object.values(EXPORTED).map((read) => read(row))]);
  return [[...Object.keys(site), ...Object.keys(EXPORTED)], ...lines].map((line) => `${line.map(fieldText).join(",")}\n`).join("");
}

byId("download").addEventListener("click", () => {
  const { layer, magnitude } = { layer: layerOf(shown, shown.chosen), magnitude: magnitudeOf(shown, shown.chosen) };
  const url = URL.createObjectURL(new Blob([csvOf(shown)], { type: "text/csv" }));
  const name = [...PARTS.map((part) => shown.sweep[part]), `layer-${layer}`, `${shown.sweep.dose}-${magnitude}`].join(".");
  h("a", { href: url, download: `prompts.${name}.csv` }).click();
  setTimeout(() => URL.revokeObjectURL(url), 1000);
});
