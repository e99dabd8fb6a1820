// Hands the form to Python (worker.js, playground.py) and shows what comes back.

const $ = (id) => document.getElementById(id);
const form = $("settings");
const dark = matchMedia("(prefers-color-scheme: dark)");
const values = () => Object.fromEntries(new FormData(form));
const defaults = values();
let ask; // ask(name, form): the promise of what a function of playground.py answers
let wanted; // the settings to be drawn next: while Python draws, only the latest count
let last; // what was shown last
let film; // the frames of a training, while they are shown
let trusted = true; // code that came with a link waits for a press

function say(text, wrong = false) {
  $("status").textContent = text;
  $("status").classList.toggle("wrong", wrong);
}

// --- Python, in a worker of its own -------------------------------------------------------------

function load() {
  const waiting = new Set(["Python", "NumPy and the library", "Graphviz"]);
  const asked = []; // what awaits the answers, in the order of the questions
  // The worker is made from a blob because only then does it inherit the page's content policy.
  const code = new Blob([`import "${new URL("worker.js", import.meta.url)}";`], { type: "text/javascript" });
  const worker = new Worker(URL.createObjectURL(code), { type: "module" });
  const loading = () => say(`Loading ${[...waiting].join(", ") || "done; starting"} …`);
  $("progress").value = 0;
  $("progress").hidden = false;
  loading();
  return new Promise((ready, failed) => {
    worker.onerror = (event) => failed(new Error(event.message ?? "a part could not be loaded"));
    worker.onmessage = ({ data }) => {
      if (data.loaded) {
        waiting.delete(data.loaded);
        $("progress").value = 3 - waiting.size;
        loading();
      } else if (data.failed) {
        failed(new Error(data.failed));
      } else if (data.ready) {
        $("progress").hidden = true;
        window.ask = ask = (name, given) => new Promise((answer) => {
          asked.push(answer);
          busy(true);
          worker.postMessage([name, JSON.stringify(given)]);
        });
        ready();
      } else {
        asked.shift()(JSON.parse(data));
        busy(asked.length > 0);
      }
    };
    $("stop").onclick = async () => {
      worker.terminate();
      ask = undefined;
      trusted = false; // a cell that did not end is not run again by itself
      busy(false);
      for (const answer of asked) answer({ error: "Stopped." });
      await start();
      draw();
    };
  });
}

// Whether an answer is due; one that takes long can be stopped.
function busy(now) {
  $("view").ariaBusy = now;
  clearTimeout(busy.later);
  if (now) busy.later = setTimeout(() => { $("stop").hidden = false; }, 2000);
  else $("stop").hidden = true;
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

async function draw() {
  labels();
  if (!ask) return;
  film = null; // also ends a training
  $("film").hidden = true;
  if (waits()) {
    say("Press Run to run this cell: it came with a link, or it was stopped.");
    return;
  }
  const drawing = wanted;
  wanted = settings();
  if (drawing) return;
  for (let given; ask && given !== wanted; ) {
    const start = performance.now();
    given = wanted;
    show(await ask("show", given), start);
  }
  wanted = null;
}

function show(answer, start) {
  if (answer.svg) $("picture").innerHTML = answer.svg;
  const time = Math.round(performance.now() - start);
  for (const field of form.elements) {
    if (!field.name) continue;
    const unused = answer.unused?.includes(field.name) ?? false;
    field.closest("label").classList.toggle("unused", unused);
  }
  say(answer.error ?? answer.said, "error" in answer);
  last = window.shown = { ...answer, time };
  clearTimeout(more.later);
  if (!answer.error) more.later = setTimeout(more, 250);
}

async function more() {
  if (!ask || waits()) return;
  const answer = await ask("beside", settings());
  for (const name of ["influence", "contributions"]) $(name).innerHTML = answer[name] ?? "";
}

// --- training -----------------------------------------------------------------------------------

async function train() {
  const mine = film = [];
  let answer = await ask("begin", settings());
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
    if (film !== mine || mine.stopped) break;
    answer = await ask("go_on", settings());
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
  return draw();
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

$("check").addEventListener("click", async () => {
  if (!ask || waits()) return;
  const answer = await ask("check", settings());
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

async function start() {
  try {
    await load();
  } catch (error) {
    say(`The playground could not start: ${error.message}`, true);
  }
}

if (globalThis.WebAssembly) {
  await start();
  await restore();
  document.body.dataset.ready = Math.round(performance.now());
}
