// One prompt by itself: its texts, its own map, what heads say, and the ways to its neighbours.

function drawPrompt(view) {
  const { cells, promptId, sites, chosen } = view;
  byId("prompt-body").hidden = promptId === null;
  byId("prompt-none").hidden = promptId !== null;
  byId("prompt").hidden = !cells;
  byId("prompt-title").textContent = promptId === null ? "One prompt" : `Prompt ${promptId}`;
  if (promptId === null) return;
  drawSteps(promptId);
  const prompt = cells.prompts.get(promptId);
  const row = rowOf(view, prompt);
  byId("pair").replaceChildren(
    ...(view.texts ? [entry("obscure prompt", row.obscure), entry("explicit prompt", row.explicit), entry("answer", row.answer)] : []),
    entry("memory injected here", row.memory ?? MISSING),
    entry("answer's probability", [
      `${probabilityText(row.explicitly)} after the explicit prompt, ${probabilityText(row.before)} after the obscure one, `,
      h("strong", {}, `${probabilityText(row.after)} with the injection at ${nameOf(view, chosen)} (${effectText(row.effect)}, ${changeText(row.change)})`),
    ]),
    ...(isMissing(row.outcome) ? [] : [
      entry("answer's rank",
        `${countText(row.rankBefore)} after the obscure prompt, ${countText(row.rankAfter)} with the injection: ${OUTCOME_SAYS[row.outcome]}`),
    ]),
    ...(isMissing(row.token) ? [] : [entry("most probable token", tokensOf(row))]),
  );
  const effects = cells.effects(prompt);
  maps.prompt.draw({
    ...NATS, layers: sites.layers, magnitudes: sites.magnitudes, dose: view.sweep.dose, strengths: effects, best: bestOf(effects, effects), chosen,
    reported: view.reported, text: (site) => `${effectText(effects[site])} (${changeText(cells.change(prompt, site))})`,
    choose: (site) => go({ layer: layerOf(view, site), magnitude: magnitudeOf(view, site) }),
  });
  byId("heads").replaceChildren(...headTable(view));
}

// Before and after the injection, where the study has both.
function tokensOf(row) {
  const before = isMissing(row.tokenBefore) ? [] : [tokenMark(row.tokenBefore, row.rankBefore === 0, false), " after the obscure prompt, "];
  const says = row.rankAfter === 0 ? ", the answer's first token" : row.saysMemory ? ", the memory's own first token" : "";
  return [...before, tokenMark(row.token, row.rankAfter === 0, row.saysMemory), ` with the injection${says}`];
}

// The neighbours in the table, as it is filtered and sorted; the last one's next is the first.
function drawSteps(promptId) {
  const place = table.visible.findIndex(({ id }) => id === promptId);
  const n = table.visible.length;
  byId("place").textContent = place < 0 ? "not among the prompts in the table" : `${countText(place + 1)} of ${countText(n)} in the table's order`;
  for (const name of ["previous", "next"]) byId(name).disabled = !n;
}

function step(by) {
  const n = table.visible.length;
  const place = table.visible.findIndex(({ id }) => id === shown.promptId);
  // From outside the table, the ways lead to its ends.
  const from = place < 0 && by < 0 ? 0 : place;
  go({ prompt: table.visible[(from + by + n) % n].id });
}

byId("previous").addEventListener("click", () => step(-1));
byId("next").addEventListener("click", () => step(1));

function entry(name, content) {
  return h("div", {}, h("dt", {}, name), h("dd", {}, ...[content].flat()));
}

const HEAD_SAYS = ["after the explicit prompt", "after the obscure prompt"];

// What the most informative heads say after each kind of prompt, the tokens of answer and memory marked.
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
      h("p", { class: "quiet" },
        `answer: logit ${withMinus(heads.answer_logit[at].toFixed(1))}, rank ${countText(heads.answer_rank[at])}; `
        + `memory: rank ${countText(heads.memory_rank[at])}`),
    );
  };
  const rows = Array.from({ length: heads.n_heads }, (_, place) => {
    const head = prompt * heads.n_heads + place;
    return h("tr", {}, h("th", { scope: "row" }, `layer ${heads.layer[head]}, head ${heads.head[head]}`), says(head, 0), says(head, 1));
  });
  return [
    h("h3", {}, "What attention heads say"),
    h("p", {},
      `The ${heads.n_heads} heads in whose output answer or memory has the lowest rank after the explicit prompt `,
      "(as in Table 2; beyond rank 100, a head says nothing of them), with the highest tokens of each. The first token of ",
      h("mark", { class: "answer" }, "the answer"), " or ", h("mark", { class: "memory" }, "the memory"),
      " (with a space in front, or as it is injected) is marked where it is among them."),
    h("table", { class: "heads" },
      h("thead", {}, h("tr", {}, ...["head", ...HEAD_SAYS].map((name) => h("th", { scope: "col" }, name)))),
      h("tbody", {}, ...rows)),
  ];
}
