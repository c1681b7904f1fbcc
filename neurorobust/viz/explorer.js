// The explorer: the choices of the reader, the tables, and the rows of the two charts. Text goes in as text, never as HTML.
"use strict";
(() => {
const data = JSON.parse(document.getElementById("data").textContent);
const $ = (id) => document.getElementById(id);
const dark = matchMedia("(prefers-color-scheme: dark)");
const state = { methods: new Set(data.shown), serial: null, chosen: false, parameter: null };
const charts = {};
for (const fleet of data.fleets) fleet.maps = fleet.maps === null ? null : data.maps[fleet.maps];

const show = (score) => score.toFixed(3);
const token = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
const color = (method) => data.colors[method][dark.matches ? 1 : 0];
const words = (kind) => data.kinds[kind] || kind;

function element(name, content, attributes = {}) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...[content].flat());
  return made;
}

function swatch(method) {
  const dot = element("span", "", { class: "swatch", "aria-hidden": "true" });
  dot.style.background = color(method);
  return dot;
}

// ---- what is chosen

const spec = () => Number($("spec").value);
const specText = () => spec().toLocaleString("en", { minimumFractionDigits: 3, maximumFractionDigits: 12 });
const known = () => data.fleets.filter((fleet) => fleet.dies === $("dies").value && fleet.seed === $("seed").value);
const fleets = () => known().filter((fleet) => state.methods.has(fleet.method));
const scoreOf = (fleet, serial) => fleet.scores[fleet.serials.indexOf(serial)];

function worst(fleet, n = 5) {
  const dies = fleet.serials.map((serial, i) => [fleet.scores[i], serial]);
  return dies.sort((a, b) => a[0] - b[0] || a[1] - b[1]).slice(0, n).map(([, serial]) => serial);
}

function yieldOf(fleet) {
  const good = fleet.scores.filter((score) => score >= spec()).length, n = fleet.scores.length;
  return { good, n, share: good / n, ends: data.intervals[n][good] };
}

const yieldText = ({ share, ends: [low, high] }) => `${share.toFixed(2)} [${low.toFixed(2)}, ${high.toFixed(2)}]`;

function harm(kinds) {  // the kind with the lowest score alone
  return Object.entries(kinds).sort((a, b) => a[1][0] - b[1][0] || a[0].localeCompare(b[0]))[0];
}

function rescue(kinds) {  // the kind without which the die is best
  return Object.entries(kinds).sort((a, b) => b[1][1] - a[1][1] || a[0].localeCompare(b[0]))[0];
}

// ---- charts

function config() {
  const ink = token("--ink"), line = token("--line");
  const axis = { labelColor: ink, titleColor: ink, gridColor: line, domainColor: line, tickColor: line, labelFontSize: 12, titleFontSize: 13 };
  return {
    background: "transparent", font: "system-ui, sans-serif", view: { stroke: null }, aria: false, axis,
    legend: { labelColor: ink, titleColor: ink, labelFontSize: 12, gradientLength: 220 },
    header: { labelColor: ink, labelFontSize: 12 },
  };
}

function draw(name, place, chart, rows) {
  charts[name]?.finalize();
  const view = new vega.View(vega.parse(vegaLite.compile({ ...chart, config: config() }).spec), { renderer: "svg", container: place, hover: true });
  for (const [data_, values] of Object.entries(rows)) view.data(data_, values);
  view.run();
  place.querySelector("svg")?.setAttribute("aria-hidden", "true");  // the place has a role and a name
  charts[name] = view;
  return view;
}

const spread = (serial) => (serial * 0.6180339887498949) % 1;  // the same height for a die in every row

function diesChart(shown) {
  const chart = structuredClone(data.charts.dies), place = $("dies-chart"), n = shown.length, { row, label } = data;
  if (!n) return place.replaceChildren();
  const all = [...known().flatMap((fleet) => fleet.scores), spec()];
  const low = Math.floor(Math.max(Math.min(...all), -1) * 20 - 0.01) / 20, high = Math.min(1, Math.ceil(Math.max(...all) * 20 + 0.01) / 20);
  const scale = { domain: [low, high], zero: false, nice: false, clamp: true };
  const colors = { domain: shown.map((fleet) => fleet.method), range: shown.map((fleet) => color(fleet.method)) };
  chart.width = Math.max(place.clientWidth - 24, 200);
  chart.height = n * row;
  for (const layer of chart.layer) {
    const { x, color: tint } = layer.encoding;
    if (x.field) Object.assign(x, { scale, title: data.measure });
    if (tint) tint.scale = colors;
  }
  chart.layer[1].mark.color = chart.layer[3].mark.color = token("--ink");
  const top = (i) => i * row, height = (i, serial) => top(i) + label + 4 + spread(serial) * (row - label - 12);
  const dies = shown.flatMap((fleet, i) => fleet.serials.map((serial, k) => {
    const good = fleet.scores[k] >= spec(), note = `${fleet.method}, die ${serial}: ${show(fleet.scores[k])}`;
    return { method: fleet.method, serial, score: fleet.scores[k], y: height(i, serial), good, note };
  }));
  const view = draw("dies", place, chart, {
    dies, spec: [{ spec: spec() }],
    methods: shown.map((fleet, i) => ({ method: fleet.method, y: top(i) + label + (row - label - 4) / 2, mean: fleet.scores.reduce((a, b) => a + b) / fleet.scores.length })),
    labels: shown.map((fleet, i) => ({ method: fleet.method, y: top(i) + 3, text: fleet.method })),
    ring: shown.flatMap((fleet, i) => fleet.serials.includes(state.serial) ? [{ score: scoreOf(fleet, state.serial), y: height(i, state.serial) }] : []),
  });
  view.addEventListener("click", (event, item) => { if (item?.datum?.serial !== undefined) choose(item.datum.serial); });
  place.setAttribute("aria-label", `Every die as a dot: ${data.measure} on the horizontal axis, a row for each of ${shown.map((fleet) => fleet.method).join(", ")}. The tables have the numbers.`);
}

function decode(map, parameter) {  // the values of the neurons on the chosen die; null where one is broken
  const { codes, spread, step, layer } = parameter, n = map.sites[layer].core.length;
  const bytes = atob(data.codes[codes]), first = map.serials.indexOf(state.serial) * n;
  return Array.from({ length: n }, (_, i) => {
    const code = (bytes.charCodeAt(first + i) << 24) >> 24;
    return code === -128 ? null : spread * Math.sinh(step * code);
  });
}

function percent(value) {
  const size = Math.abs(100 * value), digits = size < 10 ? 1 : 0;
  return `${Number(size.toFixed(digits)) === 0 ? "" : value < 0 ? "−" : "+"}${size.toFixed(digits)} %`;
}

function mapChart(shown) {
  const place = $("map-chart"), note = $("map-note"), options = new Map();
  for (const { method, maps } of shown) {
    for (const [name, parameter] of Object.entries(maps?.serials.includes(state.serial) ? maps.parameters : {})) {
      const taken = options.get(name);  // of weights, a die deviates by what is programmed: a map for each method
      if (!taken) options.set(name, [{ method, maps, parameter }]);
      else if (!taken.some((other) => other.parameter.codes === parameter.codes)) taken.push({ method, maps, parameter });
    }
  }
  const choices = [...options].flatMap(([name, found]) => found.map((one) => {
    const title = `${words(one.parameter.kind)} (${name})` + (found.length > 1 ? `, ${one.method}` : "");
    return { id: `${name} ${found.length > 1 ? one.method : ""}`, title, ...one };
  }));
  const taken = shown.filter((fleet) => fleet.kinds[state.serial]).sort((a, b) => scoreOf(a, state.serial) - scoreOf(b, state.serial))[0];
  const first = (kind) => choices.find(({ parameter }) => parameter.kind === kind)?.id;  // the map of the kind that breaks it
  fill($("parameter"), choices.map(({ id, title }) => [id, title]), state.parameter ?? (taken && first(harm(taken.kinds[state.serial])[0])));
  const chosen = choices.find(({ id }) => id === $("parameter").value);
  if (!chosen) {
    charts.map?.finalize();
    place.replaceChildren();
    note.textContent = "A map of this die is not in this run.";
    return;
  }
  const { maps, parameter } = chosen, values = decode(maps, parameter), { core, number } = maps.sites[parameter.layer];
  const whole = values.filter((value) => value !== null), unit = parameter.unit === "V";
  const text = (value) => value === null ? "broken" : unit ? `${(1e3 * value).toFixed(1)} mV` : percent(value);
  const deviation = Math.sqrt(whole.reduce((sum, value) => sum + value * value, 0) / Math.max(whole.length, 1));
  const names = (i) => `neuron ${number[i]}` + (core[i] < 0 ? "" : ` on core ${core[i]}`);
  const neurons = values.map((value, i) => ({
    core: core[i] < 0 ? (parameter.layer) : `core ${core[i]}`, value,
    row: Math.floor(number[i] / maps.width), column: number[i] % maps.width, note: `${names(i)}: ${text(value)}`,
  }));
  const chart = structuredClone(data.charts.map), encoding = chart.spec.encoding;
  chart.spec.width = Math.min(place.clientWidth - 16, 420);
  const limit = 3 * deviation || 1;
  encoding.color.scale = { domain: [-limit, 0, limit], range: [token("--low"), token("--middle"), token("--high")], clamp: true, type: "linear" };
  encoding.color.legend.values = [-limit, 0, limit];
  encoding.color.legend.format = unit ? "+.3f" : "+.0%";
  draw("map", place, chart, { neurons });
  const order = values.map((value, i) => [Math.abs(value ?? 0), i]).sort((a, b) => b[0] - a[0] || a[1] - b[1]).slice(0, 3).map(([, i]) => `${names(i)} ${text(values[i])}`);
  const mean = parameter.kind === "weight" ? " The mean over the synapses that end on the neuron." : "";
  const broken = values.length - whole.length;
  const title = words(parameter.kind);
  note.textContent = `${title[0].toUpperCase()}${title.slice(1)} of ${values.length} neurons: root mean square ${text(deviation).replace("+", "")}. Largest: ${order.join(", ")}.${mean}` +
    (broken ? ` ${broken} are broken.` : "") + " The colour ends at three times the root mean square.";
  place.setAttribute("aria-label", `Map of the deviations of die ${state.serial}. ${note.textContent}`);
}

// ---- tables

function yields(shown) {
  $("yields").replaceChildren(...shown.map((fleet) => {
    const found = yieldOf(fleet), mean = fleet.scores.reduce((a, b) => a + b) / fleet.scores.length;
    return element("tr", [
      element("th", [swatch(fleet.method), fleet.method], { scope: "row" }), element("td", yieldText(found)), element("td", `${found.good} of ${found.n}`),
      element("td", show(mean)), element("td", show(fleet.nominal)),
    ]);
  }));
  const said = shown.map((fleet) => {
    const { good, n } = yieldOf(fleet), low = worst(fleet, 1)[0];
    return `${fleet.method}: ${good} of ${n} dies; worst die ${low} (${show(scoreOf(fleet, low))})`;
  });
  $("status").textContent = said.length ? `At ${specText()}, ${said.join(". ")}.` : "Choose at least one method.";
}

function worstTable(shown) {
  const rows = shown.flatMap((fleet) => [
    element("tr", element("th", [swatch(fleet.method), fleet.method], { colspan: 3, scope: "rowgroup" })),
    ...worst(fleet).map((serial) => {
      const button = element("button", `die ${serial}`, { type: "button", "aria-label": `choose die ${serial}` });
      button.addEventListener("click", () => choose(serial));
      const score = scoreOf(fleet, serial), kinds = fleet.kinds[serial];
      const low = kinds && score < spec() ? harm(kinds) : null;
      const told = low && `${words(low[0])}: ${show(low[1][0])}`;
      const kind = low ? (low[1][0] < spec() ? told : `none (${told})`) : score < spec() ? "not measured" : "–";
      const line = element("tr", [
        element("th", button, { scope: "row" }), element("td", show(score), score < spec() ? { class: "fails" } : {}), element("td", kind),
      ]);
      if (serial === state.serial) line.setAttribute("aria-current", "true");
      return line;
    }),
  ]);
  const buttons = () => [...$("worst").querySelectorAll("button")], held = buttons().indexOf(document.activeElement);
  $("worst").replaceChildren(...rows);
  buttons()[held]?.focus();
}

function kindTables(shown) {
  const found = shown.filter((fleet) => fleet.kinds[state.serial]);
  $("kinds").replaceChildren(...found.map((fleet) => {
    const kinds = fleet.kinds[state.serial], [hurts] = harm(kinds), [saves] = rescue(kinds);
    const cell = (value, strong) => element("td", strong ? element("strong", show(value)) : show(value));
    const rows = Object.entries(kinds).sort((a, b) => a[1][0] - b[1][0] || a[0].localeCompare(b[0]));
    return element("table", [
      element("caption", [swatch(fleet.method), `${fleet.method}: ${show(scoreOf(fleet, state.serial))} on this die`]),
      element("thead", element("tr", ["kind", "this kind alone", "all but this kind"].map((head) => element("th", head, { scope: "col" })))),
      element("tbody", rows.map(([kind, [alone, without]]) => element("tr", [
        element("th", words(kind), { scope: "row" }), cell(alone, kind === hurts), cell(without, kind === saves),
      ]))),
    ]);
  }));
  const missing = shown.filter((fleet) => !fleet.kinds[state.serial]).map((fleet) => fleet.method);
  const explained = "Each number is a measured score: with the errors of this kind alone, and with the errors of all kinds but this one. Bold: the lowest alone, and the highest without.";
  $("kinds-note").textContent = (found.length ? explained : "") +
    (missing.length ? ` Not measured on this die for ${missing.join(", ")}. Kinds are measured of the worst dies of a fleet, and not of trimmed dies. For the N worst dies: neurorobust evaluate FOLDER --chip NAME --keep --apart N (or --mismatch LEVEL).` : "");
}

function dieStatus(shown) {
  const said = shown.filter((fleet) => fleet.serials.includes(state.serial)).map((fleet) => {
    const score = scoreOf(fleet, state.serial), lower = fleet.scores.filter((other) => other < score).length;
    return `${fleet.method} ${show(score)} (${lower} of ${fleet.scores.length} dies are worse)`;
  });
  $("die-status").textContent = said.length ? `Die ${state.serial}: ${said.join(", ")}.` : "";
}

// ---- controls

function fill(select, options, chosen) {
  const same = select.options.length === options.length && options.every(([id, title], i) => select.options[i].value === id && select.options[i].text === title);
  if (!same) select.replaceChildren(...options.map(([id, title]) => element("option", title, { value: id })));
  if (options.some(([id]) => id === chosen)) select.value = chosen;
}

function choose(serial) {
  Object.assign(state, { serial, chosen: true });
  update();
}

function update() {
  const shown = fleets(), serials = [...new Set(known().flatMap((fleet) => fleet.serials))].sort((a, b) => a - b);
  if (!state.chosen || !serials.includes(state.serial)) {
    const lowest = shown.map((fleet) => worst(fleet, 1)[0]).map((serial, i) => [scoreOf(shown[i], serial), serial]);
    state.serial = lowest.sort((a, b) => a[0] - b[0] || a[1] - b[1])[0]?.[1] ?? serials[0];
    state.chosen = false;
  }
  const missing = [...state.methods].filter((method) => !shown.some((fleet) => fleet.method === method));
  $("missing").hidden = !missing.length;
  $("missing").textContent = missing.length ? `This run has no dies of this choice for: ${missing.join(", ")}.` : "";
  $("spec-value").textContent = specText();
  fill($("serial"), serials.map((serial) => [String(serial), `die ${serial}`]), String(state.serial));
  yields(shown);
  worstTable(shown);
  dieStatus(shown);
  kindTables(shown);
  diesChart(shown);
  mapChart(shown);
  reach();
}

function reach() {  // tables that are wider than their place scroll: the keyboard reaches exactly those
  for (const box of document.querySelectorAll("#explorer .scroll")) {
    const named = { tabindex: "0", role: "region", "aria-label": box.dataset.label };
    for (const [name, value] of Object.entries(named)) {
      if (box.scrollWidth > box.clientWidth + 1) box.setAttribute(name, value);
      else box.removeAttribute(name);
    }
  }
}

let waiting = 0;
const later = () => { cancelAnimationFrame(waiting); waiting = requestAnimationFrame(update); };

$("methods").append(...Object.keys(data.colors).map((method) => {
  const box = element("input", "", { type: "checkbox" });
  box.checked = state.methods.has(method);
  box.addEventListener("change", () => { state.methods[box.checked ? "add" : "delete"](method); later(); });
  return element("label", [box, " ", swatch(method), method]);
}));
for (const id of ["dies", "seed", "spec"]) $(id).addEventListener("input", later);
$("serial").addEventListener("input", () => choose(Number($("serial").value)));
$("parameter").addEventListener("input", () => { state.parameter = $("parameter").value; later(); });
for (const form of document.querySelectorAll("form")) form.addEventListener("submit", (event) => event.preventDefault());
dark.addEventListener("change", () => {
  for (const label of $("methods").querySelectorAll("label")) label.querySelector(".swatch").style.background = color(label.textContent.trim());
  update();
});
let width = innerWidth;
addEventListener("resize", () => { if (innerWidth !== width) { width = innerWidth; later(); } });
$("explorer").hidden = false;
update();
})();
