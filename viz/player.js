"use strict";
const data = JSON.parse(document.getElementById("data").textContent);
const byId = (id) => document.getElementById(id);
const frames = data.frames;
const names = [...new Set([...frames.map((f) => f.n), ...data.given])];
const groups = (id) => data.prefixes.map((p) => byId(p + id)).filter(Boolean);
const elements = new Map([...names, ...data.edges].map((id) => [id, groups(id)]));

// What the finished picture says and how it is filled, to come back to.
const finished = new Map();
for (const id of names) {
  for (const g of elements.get(id)) {
    const shape = g.querySelector("path, polygon");
    const texts = g.querySelectorAll("text");
    const last = texts[texts.length - 1];
    if (texts.length > 1) g.classList.add("two");
    finished.set(g, { shape, texts, last, fill: shape.getAttribute("fill"),
      inks: [...texts].map((t) => t.getAttribute("fill")), words: last && last.textContent });
  }
}

let at = 0;
let timer = 0;
const seen = new Map();

// The state of everything after the first k events: a text for each element, empty when finished.
function states(k) {
  const found = new Map();
  for (const id of elements.keys()) found.set(id, "off");
  for (const id of data.given) found.set(id, "plain");
  for (let i = 0; i < k; i++) {
    const f = frames[i];
    found.set(f.n, f.g ? (f.v ? "sum " + i : "") : "plain");
    for (const e of f.e || []) found.set(e, "");
  }
  return found;
}

function paint(id, state) {
  elements.get(id).forEach((g, theme) => {
    g.classList.toggle("off", state === "off");
    const was = finished.get(g);
    if (!was) return;
    g.classList.toggle("plain", state === "plain");
    const f = state.startsWith("sum") ? frames[+state.slice(4)] : null;
    was.shape.setAttribute("fill", f ? f.c[2 * theme] : was.fill);
    was.texts.forEach((t, i) => t.setAttribute("fill", f ? f.c[2 * theme + 1] : was.inks[i]));
    if (!was.last) return;
    const words = was.texts.length > 1 ? "" : was.words.split("‖")[0];
    if (f) was.last.textContent = words ? words + "‖∇‖ " + f.v : f.v;
    else if (state === "plain" && words) was.last.textContent = words.trim();
    else was.last.textContent = was.words;
  });
}

function show(k) {
  at = Math.max(0, Math.min(frames.length, k));
  for (const [id, state] of states(at)) {
    if (seen.get(id) !== state) paint(id, state);
    seen.set(id, state);
  }
  document.querySelectorAll(".now").forEach((g) => g.classList.remove("now"));
  const f = frames[at - 1];
  for (const id of f ? [f.n, ...(f.e || []).slice(0, 1)] : []) {
    for (const g of elements.get(id) || []) g.classList.add("now");
  }
  if (f) follow(elements.get(f.n));
  byId("at").value = at;
  byId("said").textContent = f ? `Event ${at} of ${frames.length}. ${f.s}`
    : "Before the first event: inputs and weights. Step on with the arrow keys.";
  byId("rule").textContent = (f && f.r) || "";
  if (at === frames.length) stop();
}

// Scroll sideways so that what has just happened can be seen.
function follow(found) {
  const g = found.find((one) => one.getBoundingClientRect().width);
  const box = byId("picture");
  if (!g || at === frames.length) return;
  const [seen, inside] = [g.getBoundingClientRect(), box.getBoundingClientRect()];
  if (seen.left < inside.left + 40 || seen.right > inside.right - 40) {
    box.scrollLeft += seen.left - inside.left - inside.width / 2;
  }
}

function stop() {
  clearInterval(timer);
  timer = 0;
  byId("play").textContent = "Play";
}

function play() {
  if (timer) return stop();
  if (at === frames.length) show(0);
  byId("play").textContent = "Pause";
  timer = setInterval(() => show(at + 1), [1200, 450, 120][byId("speed").value - 1]);
}

const keys = {
  ArrowRight: () => show(at + 1), ArrowLeft: () => show(at - 1),
  Home: () => show(0), End: () => show(frames.length), " ": play,
};
document.addEventListener("keydown", (event) => {
  const own = ["SELECT", "BUTTON"].includes(event.target.tagName) && event.key === " ";
  const arrows = event.target.tagName === "SELECT" && event.key.startsWith("Arrow");
  if (!keys[event.key] || own || arrows) return;
  event.preventDefault();
  if (event.key !== " ") stop();
  keys[event.key]();
});
byId("back").addEventListener("click", () => { stop(); show(at - 1); });
byId("on").addEventListener("click", () => { stop(); show(at + 1); });
byId("play").addEventListener("click", play);
byId("at").addEventListener("input", () => { stop(); show(+byId("at").value); });
byId("speed").addEventListener("change", () => { if (timer) { stop(); play(); } });
byId("step").addEventListener("change", () => { stop(); show(+byId("step").value); });
byId("controls").addEventListener("submit", (event) => event.preventDefault());
byId("picture").addEventListener("click", (event) => {
  const g = event.target.closest("g.node");
  const id = g && names.find((name) => elements.get(name).includes(g));
  const complete = id ? frames.map((f) => f.n === id && f.g).lastIndexOf(1) : -1;
  if (complete >= 0) { stop(); show(complete + 1); }
});

const steps = [...new Set(frames.filter((f) => f.g && f.t != null).map((f) => f.t))];
byId("step").append(new Option("–", 0), ...steps.map((t) =>
  new Option("t = " + t, frames.findIndex((f) => f.g && f.t === t) + 1)));
byId("at").max = frames.length;
byId("speed").value = data.speed;
byId("controls").hidden = false;
byId("picture").classList.add("playing");
const asked = /^#event=(\d+)$/.exec(location.hash);
show(asked ? +asked[1] : 0);
