// Python, NumPy and Graphviz, apart from the page: it stays alive while they work, and can stop them.

import { Graphviz } from "./graphviz.js";
import { loadPyodide } from "./pyodide/pyodide.mjs";

async function part(name, promise) {
  const found = await promise;
  postMessage({ loaded: name });
  return found;
}

async function library() {
  const answer = await fetch(new URL("library.zip", import.meta.url));
  if (!answer.ok) throw new Error(`${answer.url}: ${answer.status}`);
  return answer.arrayBuffer();
}

try {
  const [py, archive, graphviz] = await Promise.all([
    part("Python", loadPyodide({ indexURL: new URL("pyodide/", import.meta.url).href })),
    part("NumPy and the library", library()),
    part("Graphviz", Graphviz.load()),
  ]);
  py.unpackArchive(archive, "zip", { extractDir: "/library" });
  py.runPython("import sys; sys.path.insert(0, '/library')");
  const layout = (dot, kind) => graphviz.layout(dot, kind, "dot");
  const calls = py.pyimport("playground").start(layout);
  onmessage = ({ data: [name, given] }) => {
    try {
      postMessage(calls.get(name)(given));
    } catch (error) {
      postMessage(JSON.stringify({ error: error.message }));
    }
  };
  postMessage({ ready: true });
} catch (error) {
  postMessage({ failed: error.message });
}
