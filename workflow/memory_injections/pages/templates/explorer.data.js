"use strict";
// The page's numbers: unpacked when they are needed, and written for a reader.

const TYPES = {
  u1: Uint8Array, u2: Uint16Array, u4: Uint32Array, i2: Int16Array, i4: Int32Array, f4: Float32Array, f8: Float64Array,
};
const INDEX = JSON.parse(document.getElementById("index").textContent);
const wholePage = new Promise((resolve) => addEventListener("DOMContentLoaded", resolve));
const unpacked = new Map();

// The arrays and values that `pack` of packing.py put under a name; null if the page has none.
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
    this.nSites = values.p_injected.length / this.nPrompts;
    this.prompts = new Map(Array.from(values.prompt_id, (id, prompt) => [id, prompt]));
  }

  // NaN where the sweep has no such cell.
  after(prompt, site) {
    const code = this.values.p_injected[prompt * this.nSites + site];
    return code > 1 ? Math.exp((code - 65535) * this.values.step) : code ? 0 : NaN;
  }

  // In percent; NaN where the answer was impossible before, in float32.
  change(prompt, site) {
    const before = this.values.p_obscure[prompt];
    return before > 0 ? 100 * (this.after(prompt, site) / before - 1) : NaN;
  }

  changes(prompt) {
    return Float64Array.from({ length: this.nSites }, (_, site) => this.change(prompt, site));
  }

  // Everything about a prompt at a site; a column that the study lacks is undefined, a missing value null.
  row(prompt, site) {
    const { values } = this;
    const cell = prompt * this.nSites + site;
    const rank = (ranks, at) => ranks && (ranks[at] ? ranks[at] - 1 : null);
    return {
      id: values.prompt_id[prompt],
      memory: values.memories[values.memory[values.memory.length === this.nPrompts ? prompt : cell]],
      before: values.p_obscure[prompt],
      after: this.after(prompt, site),
      change: this.change(prompt, site),
      rankBefore: rank(values.rank_obscure, prompt),
      rankAfter: rank(values.rank_injected, cell),
      token: values.top_token && values.tokens[values.top_token[cell]],
    };
  }
}

const MISSING = "–";
const signed = (digits) => new Intl.NumberFormat("en", { ...digits, signDisplay: "exceptZero" });
const ONE_DECIMAL = signed({ minimumFractionDigits: 1, maximumFractionDigits: 1 });
const THREE_DIGITS = signed({ maximumSignificantDigits: 3 });
const PLAIN = new Intl.NumberFormat("en");

const isMissing = (value) => value === null || value === undefined || Number.isNaN(value);
const withMinus = (text) => text.replace("-", "−");

// An average in percent, to the digits of the study's report; `toFixed` rounds the number itself, as Python does.
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
const shareText = (n, of) => (of ? `${countText(n)} of ${countText(of)} (${Math.round((100 * n) / of)} %)` : MISSING);
const siteText = (layer, magnitude) => `layer ${layer}, magnitude ${magnitude}`;
// A token of blanks alone would not be seen.
const tokenText = (token) => (isMissing(token) ? MISSING : token.trim() || JSON.stringify(token));

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
