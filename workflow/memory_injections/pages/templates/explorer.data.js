"use strict";
// The page's numbers: unpacked when they are needed, measured, and written for a reader.

const TYPES = {
  u1: Uint8Array, u2: Uint16Array, u4: Uint32Array, i2: Int16Array, i4: Int32Array, f4: Float32Array, f8: Float64Array,
};
const INDEX = JSON.parse(document.getElementById("index").textContent);
const wholePage = new Promise((resolve) => addEventListener("DOMContentLoaded", resolve));
const unpacked = new Map();

// The arrays and values that `pack` of explorer_data.py put under a name; null if the page has none.
function unpack(name) {
  if (!unpacked.has(name)) unpacked.set(name, read(name));
  return unpacked.get(name);
}

async function read(name) {
  let element = document.getElementById(name);
  // The last element may still be growing.
  if (document.readyState === "loading" && !element?.nextElementSibling) {
    await wholePage;
    element = document.getElementById(name);
  }
  if (!element) return null;
  const text = atob(element.textContent);
  element.remove();
  const bytes = new Uint8Array(text.length);
  for (let i = 0; i < text.length; i++) bytes[i] = text.charCodeAt(i);
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  const buffer = await new Response(stream).arrayBuffer();
  const start = 8 + Number(new DataView(buffer).getBigUint64(0, true));
  const { arrays, ...values } = JSON.parse(new TextDecoder().decode(new Uint8Array(buffer, 8, start - 8)));
  for (const [array, [type, offset, length]] of Object.entries(arrays)) {
    values[array] = new TYPES[type](buffer, start + offset, length);
  }
  return values;
}

// The cells of a sweep; a site is layer x magnitude, a prompt its position among the sweep's prompts.
class Cells {
  constructor(values) {
    this.values = values;
    this.nPrompts = values.prompt_id.length;
    this.nSites = values.logp_injected.length / this.nPrompts;
    this.prompts = new Map(Array.from(values.prompt_id, (id, prompt) => [id, prompt]));
  }

  // The log-probability after the injection; NaN where the sweep has no such cell.
  logp(prompt, site) {
    const code = this.values.logp_injected[prompt * this.nSites + site];
    return code > 1 ? (code - 65535) * this.values.step : code ? -Infinity : NaN;
  }

  // In nats; an impossible answer counts as float32's least probability.
  effect(prompt, site) {
    return Math.max(this.logp(prompt, site), this.values.least_logp) - this.values.logp_obscure[prompt];
  }

  effects(prompt) {
    return Float64Array.from({ length: this.nSites }, (_, site) => this.effect(prompt, site));
  }

  // In percent; NaN where the answer was impossible before, in float32.
  change(prompt, site) {
    const before = this.values.p_obscure[prompt];
    return before > 0 ? 100 * (Math.exp(this.logp(prompt, site)) / before - 1) : NaN;
  }

  // Everything about a prompt at a site; a column that the study lacks is undefined, a missing value null.
  row(prompt, site) {
    const { values } = this;
    const cell = prompt * this.nSites + site;
    const rank = (ranks, at) => ranks && (ranks[at] ? ranks[at] - 1 : null);
    const [rankBefore, rankAfter] = [rank(values.rank_obscure, prompt), rank(values.rank_injected, cell)];
    return {
      id: values.prompt_id[prompt],
      memory: values.memories[values.memory[values.memory.length === this.nPrompts ? prompt : cell]],
      explicitly: values.p_explicit[prompt],
      before: values.p_obscure[prompt],
      after: Math.exp(this.logp(prompt, site)),
      effect: this.effect(prompt, site),
      change: this.change(prompt, site),
      rankBefore,
      rankAfter,
      outcome: isMissing(rankBefore) || isMissing(rankAfter) ? null : outcomeOf(rankBefore === 0, rankAfter === 0),
      token: values.top_token && values.tokens[values.top_token[cell]],
      tokenId: values.top_token && values.token_ids[values.top_token[cell]],
    };
  }
}

const MISSING = "–";
const signed = (digits) => new Intl.NumberFormat("en", { ...digits, signDisplay: "exceptZero" });
// Formatters by their digits: making one takes longer than using it.
const formatters = [0, 1, 2, 3, 4].map((digits) => signed({ minimumFractionDigits: digits, maximumFractionDigits: digits }));
const signedTo = (digits) => formatters[digits];
const ONE_DECIMAL = signedTo(1);
const THREE_DIGITS = signed({ maximumSignificantDigits: 3 });
const PLAIN = new Intl.NumberFormat("en");

const isMissing = (value) => value === null || value === undefined || Number.isNaN(value);
const withMinus = (text) => text.replace("-", "−");

// To the digits of the study's report; `toFixed` rounds the number itself, as Python does.
function effectText(value, digits = 2) {
  return isMissing(value) ? MISSING : `${withMinus(signedTo(digits).format(value.toFixed(digits)))} nats`;
}

// An average in percent.
function averageText(value) {
  return isMissing(value) ? MISSING : `${withMinus(ONE_DECIMAL.format(value.toFixed(1)))} %`;
}

// A prompt's change in percent: no more digits than its rounding leaves.
function changeText(value) {
  if (isMissing(value)) return MISSING;
  return `${withMinus((Math.abs(value) < 100 ? ONE_DECIMAL : THREE_DIGITS).format(value))} %`;
}

function probabilityText(value) {
  if (isMissing(value)) return MISSING;
  return value > 0 && value < 1e-3 ? withMinus(value.toExponential(2)) : value ? value.toPrecision(3) : "0";
}

const countText = (value) => (isMissing(value) ? MISSING : PLAIN.format(value));
const countsText = (n, of) => (of ? `${countText(n)} of ${countText(of)}` : MISSING);
const shareText = (n, of) => (of ? `${countsText(n, of)} (${percentText(n / of)})` : MISSING);
const siteText = (layer, magnitude, dose) => `layer ${layer}, ${dose} ${magnitude}`;
// The paper counts layers from 1.
const paperSiteText = (layer, magnitude) => `layer ${layer} (the paper's layer ${layer + 1}), magnitude ${magnitude}`;

// Python rounds a half to the even neighbour, so the report does.
function percentText(share) {
  if (isMissing(share)) return MISSING;
  const [percent, rounded] = [100 * share, Math.round(100 * share)];
  return `${rounded - percent === 0.5 && rounded % 2 ? rounded - 1 : rounded} %`;
}

function outcomeOf(wasHit, isHit) {
  if (wasHit) return isHit ? "hit" : "broken";
  return isHit ? "rescued" : "missed";
}

// A token of blanks alone would not be seen.
const tokenText = (token) => (isMissing(token) ? MISSING : token.trim() || JSON.stringify(token));

const byId = (id) => document.getElementById(id);

// An element with attributes, listeners (`onclick`) and children; text stays text.
function h(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (value !== null && value !== false) element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children);
  return element;
}

// What a measure is made of:
// - `strengths` by site, centred at zero, higher is better: the colour, and what the best site is chosen by. In nats or,
//   for hits, a difference of shares to before the injection.
// - `text` of a site; on the legend, `tick` of a strength, the ticks `between` zero and its end, and `sides`: which of
//   zero there are.
// - `enough`: a strength that deserves the full colour in any sweep: a probability twice or half as high; 10 % of prompts.
// - `says`: what the memories do at a site, the strong part second; `none`: why every site may lack it.
const halved = (limit) => [limit / 2];
const FACTORS = [2, 10, 100, 1e3, 1e4, 1e5, 1e6];
const NATS = { sides: [-1, 1], enough: Math.LN2, between: halved, tick: (nats) => (nats ? effectText(nats) : "0") };
const SHARES = { enough: 0.1, between: halved };
const pointsText = (difference) => (difference ? `${withMinus(ONE_DECIMAL.format(100 * difference))} points` : "as before");
const shareOf = (sites, n, of) => Array.from(sites[of], (whole, site) => (whole ? sites[n][site] / whole : NaN));
const factorText = (nats) => Number(Math.exp(nats).toPrecision(3));
const nHits = ({ n_hit, n_broken, n_rescued }, site) => n_hit[site] - n_broken[site] + n_rescued[site];
const MEASURE_KINDS = {
  effect: {
    title: "Effect on the log-probability, in nats",
    make: (key) => ({
      ...NATS,
      strengths: (sites) => sites[key],
      text: (sites, site) => effectText(sites[key][site]),
      says: (sites, site) => ["they change the answer's log-probability by ", effectText(sites[key][site]),
        ` (its probability times ${factorText(sites[key][site])})`],
    }),
  },
  percent: {
    title: "Average change of the probability, in percent",
    make: (key) => ({
      ...NATS, tick: (nats) => (nats ? changeText(100 * Math.expm1(nats)) : "0"), between: () => FACTORS.map(Math.log),
      // As nats, so that halving is as strong as doubling.
      strengths: (sites) => sites[key].map((change) => Math.log1p(change / 100)),
      text: (sites, site) => averageText(sites[key][site]),
      none: "every answer was impossible before the injection",
      says: (sites, site) => ["they change the answer's probability by ", averageText(sites[key][site]), ""],
    }),
  },
  hits: { title: "Is the answer the most probable token?", make: (key) => HITS[key] },
};
const HITS = {
  hits_1: {
    ...SHARES, sides: [-1, 1], tick: pointsText,
    strengths: (sites) => sites.hits_1.map((share, site) => share - sites.hits_1_before[site]),
    text: (sites, site) => (isMissing(sites.hits_1[site]) ? MISSING : `${percentText(sites.hits_1[site])} (before: ${percentText(sites.hits_1_before[site])})`),
    says: (sites, site) => ["the answer is the most probable token after ",
      shareText(nHits(sites, site), sites.n_hit[site] + sites.n_missed[site]),
      ` of the prompts; before the injection, after ${countText(sites.n_hit[site])}`],
  },
  rescued: {
    ...SHARES, sides: [0, 1], tick: percentText,
    strengths: (sites) => shareOf(sites, "n_rescued", "n_missed"),
    text: (sites, site) => shareText(sites.n_rescued[site], sites.n_missed[site]),
    none: "no answer was missed before the injection",
    says: (sites, site) => ["they rescue ", shareText(sites.n_rescued[site], sites.n_missed[site]), " of the answers that were missed before"],
  },
  broken: {
    // Nothing here is a gain that harm could bleach, so the scale has room for all harm.
    ...SHARES, sides: [-1, 0], enough: 1, tick: (strength) => percentText(-strength),
    strengths: (sites) => shareOf(sites, "n_broken", "n_hit").map((share) => -share),
    text: (sites, site) => shareText(sites.n_broken[site], sites.n_hit[site]),
    none: "no answer was hit before the injection",
    says: (sites, site) => ["they break ", shareText(sites.n_broken[site], sites.n_hit[site]), " of the answers that were hit before"],
  },
};
const MEASURES = INDEX.measures.map(([kind, key, label]) => (
  { key, label, kind, by: kind === "hits" ? label : `the ${label}`, ...MEASURE_KINDS[kind].make(key) }
));
