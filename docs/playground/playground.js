// Loads Python and Graphviz, hands the form to Python, and shows what comes back (playground.py).

const $ = (id) => document.getElementById(id);
const form = $("settings");
const dark = matchMedia("(prefers-color-scheme: dark)");
const values = () => Object.fromEntries(new FormData(form));
const defaults = values();
let ask; // ask(name, form): calls a function of playground.py
let last; // what was shown last
let film; // the frames of a training, while they are shown
let trusted = true; // code that came with a link waits for a press

function say(text, wrong = false) {
  $("status").textContent = text;
  $("status").classList.toggle("wrong", wrong);
}

async function load() {
  const waiting = new Set(["Python", "NumPy and the library", "Graphviz"]);
  const part = async (name, promise) => {
    const found = await promise;
    waiting.delete(name);
    $("progress").value = 3 - waiting.size;
    say(`Loading ${[...waiting].join(", ") || "done; starting"} …`);
    return found;
  };
  $("progress").hidden = false;
  say(`Loading ${[...waiting].join(", ")} …`);
  const fetched = async (url) => {
    const answer = await fetch(url);
    if (!answer.ok) throw new Error(`${url}: ${answer.status}`);
    return answer.arrayBuffer();
  };
  const pyodide = import("./pyodide/pyodide.mjs").then((it) => it.loadPyodide());
  const graphviz = import("./graphviz.js").then((it) => it.Graphviz.load());
  const [py, archive, gv] = await Promise.all([
    part("Python", pyodide),
    part("NumPy and the library", fetched("library.zip")),
    part("Graphviz", graphviz),
  ]);
  await new Promise((next) => setTimeout(next)); // so that "starting" is seen
  py.unpackArchive(archive, "zip", { extractDir: "/library" });
  py.runPython("import sys; sys.path.insert(0, '/library')");
  const calls = py.pyimport("playground").start((dot, kind) => gv.layout(dot, kind, "dot"));
  ask = (name, given) => JSON.parse(calls.get(name)(JSON.stringify(given)));
}

function settings() {
  return { ...values(), theme: dark.matches ? "dark" : "light" };
}

function labels() {
  for (const output of form.querySelectorAll("output")) {
    output.value = output.parentElement.querySelector("input").value;
  }
  const cell = form.elements.cell.value;
  $("scale").textContent = cell === "elman" ? "Spectral radius of W_hh" :
    `Scale of ${cell === "jordan" ? "W_yh" : "W_hh"}`;
  $("editor").hidden = cell !== "own";
  $("run").hidden = !waits();
}

const waits = () => !trusted && form.elements.cell.value === "own";

function draw() {
  labels();
  if (!ask) return;
  film = null; // also ends a training
  $("film").hidden = true;
  if (waits()) {
    say("The link brought a cell of its own. Read it, then press Run.");
    return;
  }
  const start = performance.now();
  const answer = ask("show", settings());
  if (answer.svg) $("picture").innerHTML = answer.svg;
  const time = Math.round(performance.now() - start);
  for (const field of form.elements) {
    if (field.name) field.closest("label").classList.toggle("unused", answer.unused.includes(field.name));
  }
  say(answer.error ?? answer.said, "error" in answer);
  last = window.shown = { ...answer, time };
  clearTimeout(draw.later);
  if (!answer.error) draw.later = setTimeout(more, 250);
}

function more() {
  const answer = ask("beside", settings());
  for (const name of ["influence", "contributions"]) $(name).innerHTML = answer[name] ?? "";
}

// --- training -----------------------------------------------------------------------------------

async function train() {
  const mine = film = [];
  let answer = ask("begin", settings());
  $("film").hidden = false;
  $("train").textContent = "Stop";
  while (film === mine && answer.curve) {
    $("curve").innerHTML = answer.curve;
    if (answer.svg) {
      const follow = Number($("frame").value) === Math.max(mine.length - 1, 0);
      mine.push(answer);
      $("frame").max = mine.length - 1;
      if (follow) $("frame").value = mine.length - 1;
      if (follow) turn();
    }
    await new Promise((next) => setTimeout(next)); // the page stays alive
    if (film === mine && !mine.stopped) answer = ask("go_on", settings());
    else break;
  }
  if (answer.error) say(answer.error, true);
  $("train").textContent = "Train";
  if (film === mine) mine.stopped = true;
}

function turn() {
  const shown = film[$("frame").value];
  $("film").querySelector("output").value = 5 * $("frame").value;
  $("picture").innerHTML = shown.svg;
  say(shown.said);
  last = { ...last, svg: shown.svg };
}

$("frame").addEventListener("input", turn);
$("train").addEventListener("click", () => {
  if (film && !film.stopped) film.stopped = true;
  else if (ask && !waits()) {
    $("frame").max = $("frame").value = 0;
    train();
  }
});

// --- the state in the address -------------------------------------------------------------------

function remember() {
  const changed = Object.entries(values()).filter(([name, value]) => value !== defaults[name]);
  const kept = changed.filter(([name]) => name !== "code" || form.elements.cell.value === "own");
  history.replaceState(null, "", `#${new URLSearchParams(kept)}`);
}

function restore() {
  form.reset();
  for (const [name, value] of new URLSearchParams(location.hash.slice(1))) {
    const field = name in defaults && form.elements[name];
    if (field) field.value = value;
    if (field && field.selectedIndex === -1) field.value = defaults[name]; // no such option
  }
  trusted = form.elements.code.value === defaults.code;
  draw();
}

// --- what the controls do -----------------------------------------------------------------------

let frame = 0;
form.addEventListener("input", (event) => {
  if (event.target.name === "code") trusted = true;
  cancelAnimationFrame(frame);
  frame = requestAnimationFrame(() => { remember(); draw(); });
});
form.addEventListener("submit", (event) => event.preventDefault());
dark.addEventListener("change", draw);
addEventListener("hashchange", restore);

$("run").addEventListener("click", () => { trusted = true; draw(); });

$("check").addEventListener("click", () => {
  if (!ask || waits()) return;
  const answer = ask("check", settings());
  $("report").hidden = false;
  $("report").textContent = answer.report ?? answer.error;
});

async function copy(text, what) {
  try {
    await navigator.clipboard.writeText(text);
    say(`${what} copied.`);
  } catch {
    $("report").hidden = false;
    $("report").textContent = text; // to be copied by hand
  }
}

$("link").addEventListener("click", () => { remember(); copy(location.href, "Link"); });
$("python").addEventListener("click", () => copy(last?.python ?? "", "Python"));
$("save").addEventListener("click", () => {
  if (!last?.svg) return;
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([last.svg], { type: "image/svg+xml" }));
  link.download = "gradient.svg";
  link.click();
  URL.revokeObjectURL(link.href);
});

if (globalThis.WebAssembly) {
  try {
    await load();
    $("progress").hidden = true;
    restore();
    document.body.dataset.ready = Math.round(performance.now());
  } catch (error) {
    say(`The playground could not start: ${error.message}`, true);
  }
}
