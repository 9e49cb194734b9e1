// A heat map over layer x magnitude that keys reach: arrows move over its cells, Enter chooses one.

// matplotlib's RdBu_r, linear and symmetric about zero.
const ANCHORS = [
  [5, 48, 97], [33, 102, 172], [67, 147, 195], [146, 197, 222], [209, 229, 240], [247, 247, 247],
  [253, 219, 199], [244, 165, 130], [214, 96, 77], [178, 24, 43], [103, 0, 31],
];

// The strength that has the full colour. Large magnitudes often ruin every answer, and one site may help far more than all
// others; on a scale up to the strongest, what the rest does would be all but white. So the scale ends at twice a strong
// gain, the 90th percentile of them, or at `enough` if that is more; never beyond the strongest finite value.
function limitOf(strengths, enough) {
  const finite = Array.from(strengths).filter(Number.isFinite);
  const gains = finite.filter((value) => value > 0).sort((a, b) => a - b);
  const strong = gains.length ? 2 * gains[Math.floor(0.9 * (gains.length - 1))] : 0;
  const strongest = finite.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
  return Math.max(Math.min(strongest, Math.max(enough, strong)), 1e-6);
}

// Red, green and blue of a share from 0 (the lowest) to 1 (the highest).
function shade(share) {
  const place = Math.min(Math.max(share, 0), 1) * (ANCHORS.length - 1);
  const low = Math.min(Math.floor(place), ANCHORS.length - 2);
  return ANCHORS[low].map((from, part) => Math.round(from + (place - low) * (ANCHORS[low + 1][part] - from)));
}

const colour = (strength, limit) => shade(0.5 + strength / limit / 2);
const isDark = ([red, green, blue]) => 0.3 * red + 0.59 * green + 0.11 * blue < 130;

// On a narrow screen layers go down and magnitudes across, so that cells stay large enough for a finger.
const narrow = matchMedia("(max-width: 640px)");
const MOVES = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] };

class HeatMap {
  constructor(container, label) {
    this.container = container;
    this.label = label;
    this.readout = h("p", { class: "readout" });
    this.plot = h("div", { class: "plot" });
    this.legend = h("div", { class: "legend" });
    container.append(this.readout, this.plot, this.legend);
    narrow.addEventListener("change", () => this.content && this.draw(this.content));
  }

  // `strengths` by site, `enough`, `sides`, `tick` and `between` as in a measure; `chosen` is a site, `best` and `reported`
  // are sites or null; `text(site)` writes a site's value; `choose(site)`; `limit`, if given, has the full colour.
  draw(content) {
    this.content = content;
    const shape = JSON.stringify([content.layers, content.magnitudes, content.dose, narrow.matches]);
    if (shape !== this.shape) this.build(content);
    this.shape = shape;
    this.limit = content.limit ?? limitOf(content.strengths, content.enough);
    this.cells.forEach((cell, site) => this.paint(cell, site));
    this.focusOn(content.chosen, false);
    this.say(content.chosen);
    this.drawLegend();
  }

  build({ layers, magnitudes, dose }) {
    const n = magnitudes.length;
    const steps = (names) => names.map((_, position) => position);
    const [down, across] = narrow.matches ? [steps(layers), steps(magnitudes)] : [steps(magnitudes).reverse(), steps(layers)];
    const [downNames, acrossNames] = narrow.matches ? [layers, magnitudes] : [magnitudes, layers];
    this.order = down.map((i) => across.map((j) => (narrow.matches ? i * n + j : j * n + i)));
    this.cells = [];
    const body = down.map((i, row) =>
      h("tr", {}, h("th", { scope: "row" }, String(downNames[i])), ...this.order[row].map((site) => this.cell(site))),
    );
    const foot = h("tr", {}, h("td"), ...across.map((j) => h("th", { scope: "col" }, String(acrossNames[j]))));
    const table = h(
      "table",
      { role: "grid", "aria-label": `${this.label}; arrow keys move, Enter chooses` },
      h("tbody", {}, ...body), h("tfoot", {}, foot),
    );
    table.addEventListener("click", (event) => this.choose(event.target));
    table.addEventListener("keydown", (event) => this.key(event));
    table.addEventListener("mouseover", (event) => this.say(this.siteOf(event.target)));
    table.addEventListener("focusin", (event) => this.say(this.siteOf(event.target)));
    table.addEventListener("mouseleave", () => this.say(this.content.chosen));
    const [side, below] = narrow.matches ? ["layer", dose] : [dose, "layer"];
    this.plot.style.setProperty("--columns", across.length);
    this.plot.replaceChildren(h("div", { class: "side" }, side), table, h("div", { class: "below" }, below));
  }

  cell(site) {
    return (this.cells[site] = h("td", { role: "gridcell", tabindex: -1, "data-site": site }));
  }

  paint(cell, site) {
    const { strengths, chosen, best, reported } = this.content;
    const missing = isMissing(strengths[site]);
    const rgb = missing ? null : colour(strengths[site], this.limit);
    cell.style.backgroundColor = rgb ? `rgb(${rgb})` : "";
    cell.className = [missing && "missing", rgb && isDark(rgb) && "dark"].filter(Boolean).join(" ");
    cell.textContent = site === best ? "★" : site === reported ? "◆" : "";
    cell.setAttribute("aria-label", this.describe(site));
    cell.setAttribute("aria-selected", site === chosen);
  }

  describe(site) {
    const { layers, magnitudes, dose, text, best, reported } = this.content;
    const marks = [site === best && "best", site === reported && "the paper's site"].filter(Boolean);
    const place = siteText(layers[Math.floor(site / magnitudes.length)], magnitudes[site % magnitudes.length], dose);
    return [`${place}: ${text(site)}`, ...marks].join(", ");
  }

  say(site) {
    this.readout.textContent = isMissing(site) ? "" : this.describe(site);
  }

  siteOf(target) {
    const site = target.closest("[data-site]")?.dataset.site;
    return site === undefined ? null : Number(site);
  }

  choose(target) {
    const site = this.siteOf(target);
    if (site !== null) this.content.choose(site);
  }

  key(event) {
    const site = this.siteOf(event.target);
    if (site === null || event.altKey || event.ctrlKey || event.metaKey) return;
    const row = this.order.findIndex((sites) => sites.includes(site));
    const column = this.order[row].indexOf(site);
    if (event.key in MOVES) {
      const [down, right] = MOVES[event.key];
      this.focusOn(this.order[row + down]?.[column + right] ?? site, true);
    } else if (event.key === "Home" || event.key === "End") {
      this.focusOn(this.order[row].at(event.key === "Home" ? 0 : -1), true);
    } else if (event.key === "Enter" || event.key === " ") {
      this.content.choose(site);
    } else return;
    event.preventDefault();
  }

  // One cell at a time is in the order of the Tab key.
  focusOn(site, move) {
    this.cells[this.focused]?.setAttribute("tabindex", -1);
    this.focused = site ?? 0;
    this.cells[this.focused].setAttribute("tabindex", 0);
    if (move) this.cells[this.focused].focus();
  }

  // The scale from end to end, with the most informative labels that have room; an end beyond which there is more says so.
  drawLegend() {
    const { limit } = this;
    const { strengths, sides, tick, between } = this.content;
    const [low, high] = sides.map((side) => side * limit);
    const share = (strength) => (strength - low) / (high - low);
    const stops = Array.from({ length: 41 }, (_, step) => `rgb(${colour(low + (step / 40) * (high - low), limit)})`);
    const placed = [];
    for (const strength of [0, high, low, ...between(limit).flatMap((end) => [end, -end])]) {
      const room = narrow.matches ? 0.3 : 0.2;
      if (strength < low || strength > high) continue;
      if (placed.every((other) => Math.abs(share(other) - share(strength)) >= room)) placed.push(strength);
    }
    const beyond = (strength) => strength && strengths.some((other) => other / strength > 1 + 1e-9) ? (strength > 0 ? "≥ " : "≤ ") : "";
    this.legend.replaceChildren(
      h("div", { class: "bar", style: `background: linear-gradient(to right, ${stops})` }),
      ...placed.map((strength) => h("span", { style: `left: ${100 * share(strength)}%` },
        (Math.abs(strength) === limit ? beyond(strength) : "") + tick(strength))),
    );
  }
}
