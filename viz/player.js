"use strict";
const byId = (id) => document.getElementById(id);
const data = JSON.parse(byId("data").textContent);
const { film, frames, units } = data;
const elements = data.ids.map((id) => byId(data.prefix + id));
const rails = data.rails.map((id) => byId(data.prefix + id)).filter(Boolean);
const box = byId("picture");
const svg = box.querySelector("svg");
const root = byId(data.prefix + "picture");
const [, , WIDE, HIGH] = svg.getAttribute("viewBox").split(/[ ,]+/).map(Number);
const READABLE = 1.2; // pixels for a point: smaller text is hard to read
const MARGIN = 16;

const last = (g) => { const found = g.querySelectorAll("text"); return found[found.length - 1]; };
const words = new Map(elements.filter(Boolean).map((g) => [g, last(g)?.textContent]));
const boxes = new Map(rails.map((g) => [g, g.getBBox()]));
const painted = new Map();
let at = 0;
let timer = 0;
let zoom = 0; // 0: as large as can be read

// --- what a frame looks like ----------------------------------------------------------------------

// The last change of everything up to frame k.
function changes(k) {
  const found = new Map();
  for (let i = 0; i <= k; i++) for (const change of frames[i].c) found.set(change[0], change);
  return found;
}

function paint(g, [, look, text = "", move = ""]) {
  const sized = typeof look === "number";
  if (look === "drawn") delete g.dataset.look;
  else g.dataset.look = sized ? "sized" : look;
  const style = sized ? { fill: `var(--f${look})`, ink: `var(--i${look})`,
    line: `var(--s${look})`, wide: 0.9 + 4.6 * look / 255 } : {};
  for (const name of ["fill", "ink", "line", "wide"]) {
    if (name in style) g.style.setProperty("--" + name, style[name]);
    else g.style.removeProperty("--" + name);
  }
  if (!rails.includes(g)) g.style.transform = move;
  if (!g.getAttribute("style")) g.removeAttribute("style");
  const said = text || words.get(g);
  if (last(g) && last(g).textContent !== said) last(g).textContent = said;
}

// Show frame k; at the end of a unit, `whole` tells of the unit rather than of its last event.
function show(k, whole = false) {
  at = Math.max(0, Math.min(frames.length - 1, k));
  const f = frames[at];
  for (const [i, change] of changes(at)) {
    if (elements[i] && painted.get(i) !== change) paint(elements[i], change);
    painted.set(i, change);
  }
  document.querySelectorAll(".now").forEach((g) => g.classList.remove("now"));
  const named = ((whole && f.A) || f.a || []).map((i) => elements[i]).filter(Boolean);
  for (const g of named) g.classList.add("now");
  byId("at").value = at;
  byId("unit").value = f.u;
  const count = film ? `Frame ${at + 1} of ${frames.length}. `
    : at ? `Event ${at} of ${frames.length - 1}. ` : "";
  byId("said").textContent = count + ((whole && f.S) || f.s);
  byId("rule").textContent = (!whole && f.r) || "";
  follow(named);
  if (at === frames.length - 1) stop();
}

// --- the view: it moves as little as it can, and keeps in sight what is spoken of -----------------

let scale = 1;
function setScale(to) {
  scale = to;
  svg.style.width = WIDE * scale + "px";
  svg.style.height = HIGH * scale + "px";
}

function ownScale() {
  const fit = Math.min(1.7, box.clientWidth / WIDE, film ? box.clientHeight / HIGH : Infinity);
  return zoom || (film ? fit : Math.max(READABLE, fit));
}

function around(named) {
  const all = named.map((g) => g.getBoundingClientRect());
  const across = all.filter((_, i) => !rails.includes(named[i])); // rails stay in sight anyway
  return { left: Math.min(...across.map((r) => r.left)),
    right: Math.max(...across.map((r) => r.right)),
    top: Math.min(...all.map((r) => r.top)), bottom: Math.max(...all.map((r) => r.bottom)) };
}

function move(from, to, low, high) {
  if (from < low + MARGIN) return from - low - MARGIN;
  return to > high - MARGIN ? to - high + MARGIN : 0;
}

function follow(named) {
  setScale(ownScale());
  if (named.length) {
    const inside = box.getBoundingClientRect();
    const [wide, high] = [box.clientWidth, box.clientHeight];
    let r = around(named);
    const fits = Math.min((wide - 2 * MARGIN) / Math.max(r.right - r.left, 1),
      (high - 2 * MARGIN) / (r.bottom - r.top));
    if (fits < 1) {
      setScale(scale * fits);
      r = around(named);
    }
    if (Number.isFinite(r.left)) {
      box.scrollLeft += move(r.left, r.right, inside.left, inside.left + wide);
    }
    box.scrollTop += move(r.top, r.bottom, inside.top, inside.top + high);
  }
  stick();
}

// The boxes of shared weights stay in sight, as a table's first column does.
function stick() {
  const inside = box.getBoundingClientRect();
  const ctm = root.getScreenCTM();
  const left = (inside.left + 4 - ctm.e) / ctm.a;
  const right = (inside.left + box.clientWidth - 4 - ctm.e) / ctm.a;
  for (const g of rails) {
    const { x, width } = boxes.get(g);
    const dx = Math.max(0, left - x) + Math.min(0, right - x - width);
    g.style.transform = dx ? `translateX(${dx.toFixed(1)}px)` : "";
    if (!g.getAttribute("style")) g.removeAttribute("style");
  }
}

function zoomTo(to) {
  zoom = to;
  const f = frames[at];
  follow((f.a || []).map((i) => elements[i]).filter(Boolean));
}

// --- controls -------------------------------------------------------------------------------------

function stop() {
  clearInterval(timer);
  timer = 0;
  byId("play").textContent = "Play";
}

function play() {
  if (timer) return stop();
  if (at === frames.length - 1) show(0);
  byId("play").textContent = "Pause";
  timer = setInterval(() => show(at + 1), [1200, 450, 120][byId("speed").value - 1]);
}

// One unit, or one event if so switched or with Shift.
function step(by, shift = false) {
  stop();
  if ((byId("by").value === "event") !== shift) return show(at + by);
  const stops = units.map(([k]) => k);
  const next = by > 0 ? stops.find((k) => k > at) : stops.findLast((k) => k < at);
  show(next ?? (by > 0 ? frames.length - 1 : 0), true);
}

const keys = {
  ArrowRight: (shift) => step(1, shift), ArrowLeft: (shift) => step(-1, shift),
  Home: () => { stop(); show(0); }, End: () => { stop(); show(frames.length - 1); }, " ": play,
  "+": () => zoomTo(scale * 1.25), "-": () => zoomTo(scale / 1.25),
  0: () => zoomTo(box.clientWidth / WIDE),
};
document.addEventListener("keydown", (event) => {
  const own = ["SELECT", "BUTTON"].includes(event.target.tagName) && event.key === " ";
  const arrows = event.target.tagName === "SELECT" && event.key.startsWith("Arrow");
  if (!keys[event.key] || own || arrows || event.ctrlKey || event.metaKey) return;
  event.preventDefault();
  keys[event.key](event.shiftKey);
});
const onClick = {
  back: (event) => step(-1, event.shiftKey), on: (event) => step(1, event.shiftKey), play,
  out: () => zoomTo(scale / 1.25), in: () => zoomTo(scale * 1.25),
  fit: () => zoomTo(Math.min(box.clientWidth / WIDE, box.clientHeight / HIGH)),
};
for (const [id, act] of Object.entries(onClick)) byId(id).addEventListener("click", act);
byId("at").addEventListener("input", () => { stop(); show(+byId("at").value); });
byId("speed").addEventListener("change", () => { if (timer) { stop(); play(); } });
byId("unit").addEventListener("change", () => { stop(); show(units[byId("unit").value][0], true); });
byId("controls").addEventListener("submit", (event) => event.preventDefault());
box.addEventListener("scroll", stick);
addEventListener("resize", () => zoomTo(zoom));
box.addEventListener("click", (event) => {
  const i = elements.indexOf(event.target.closest("g.node"));
  const complete = frames.findIndex((f) => f.c.some(([j, look]) => j === i && look === "drawn"));
  if (complete > 0) { stop(); show(complete); }
});
let touched = 0;
byId("head").addEventListener("touchstart", (event) => { touched = event.touches[0].clientX; });
byId("head").addEventListener("touchend", (event) => {
  const way = event.changedTouches[0].clientX - touched;
  if (Math.abs(way) > 40 && event.target.id !== "at") step(way < 0 ? 1 : -1);
});

// Arrowheads for the way forward, and a line where Graphviz drew those of the way back.
svg.insertAdjacentHTML("afterbegin", `<defs><marker id="tip" viewBox="0 0 10 10" refX="9" refY="5"
  markerWidth="8" markerHeight="8" markerUnits="userSpaceOnUse" orient="auto-start-reverse"
  ><path d="M0 1 10 5 0 9z"/></marker><marker id="foot" viewBox="0 0 10 10" refY="5"
  markerWidth="10" markerHeight="10" markerUnits="userSpaceOnUse" orient="auto"
  ><path d="M0 5H6.5"/></marker></defs>`);
frames.forEach((f, i) => { f.u = units.findIndex(([stop]) => i <= stop); });
byId("unit").append(...units.map(([, label], i) => new Option(label, i)));
byId("at").max = frames.length - 1;
byId("speed").value = data.speed;
byId("controls").hidden = false;
document.body.classList.add("playing");
document.body.classList.toggle("film", film);
const touch = matchMedia("(pointer: coarse)").matches;
frames[0].s += touch ? " Tap ▶, or swipe this line to the left." : " Go on with the arrow keys"
  + (film ? "." : "; Shift moves by one event.");
const asked = /^#(?:event|frame)=(\d+)$/.exec(location.hash);
show(asked ? +asked[1] : 0);
