"""Build the playground: ``python docs/make_playground.py FOLDER``, to be put on any static host.

Python, NumPy and Graphviz for the browser come from npm, pinned by version and hash; the library
goes in as it is. Nothing that the page loads lies elsewhere.
"""

from __future__ import annotations

import base64
import hashlib
import importlib.util
import io
import shutil
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Iterator
from importlib.metadata import distribution
from pathlib import Path

HERE = Path(__file__).parent
ROOT = HERE.parent
CACHE = HERE / "_build" / "npm"

# For each package its version, the SHA-512 of its archive as npm's lock files write it, and what
# the page needs of it, as what.
PACKAGES = {
    "pyodide": (
        "0.27.7",
        "RUSVJlhQdfWfgO9hVHCiXoG+nVZQRS5D9FzgpLJ/VcgGBLSAKoPL8kTiOikxbHQm1kRISeWUBdulEgO26qpSRA==",
        {
            name: f"pyodide/{name}"
            for name in (
                "pyodide.mjs", "pyodide.asm.js", "pyodide.asm.wasm", "python_stdlib.zip",
                "pyodide-lock.json",
            )
        }
        | {"package.json": "pyodide terms"},
    ),
    "@emscripten-forge/numpy": (
        "2.0.1-py312h4e66579-0",
        "64iP3tolNhBnKJBHs2b5Mg9s17BL8Bp9Ev2+U0fSCO3/zQlWQRCrExw2MgmfwjhNz+mwbKPG2eBsBcpBWV2xbA==",
        {"pkg/numpy-2.0.1-py312h4e66579_0.tar.gz": "numpy.tar.gz"},
    ),
    "@hpcc-js/wasm-graphviz": (
        "1.29.2",
        "AkArBAZERT5OxH52/+kvCHB07cZ6ZNd9GnOvjw+S880bR88D6i27XfK6xj4dBhUDxNA2QPPMdgEcky3x4TJ3KA==",
        {"dist/index.js": "graphviz.js", "LICENSE": "graphviz terms"},
    ),
}  # fmt: skip
PAGE = ("index.html", "playground.css", "playground.js", "worker.js")


def fetch(package: str, version: str, sha512: str) -> bytes:
    """The archive of an npm package, from the cache if it is there.

    Raises
    ------
    ValueError
        If it is not the archive that was pinned.
    """
    file = CACHE / f"{package.removeprefix('@').replace('/', '-')}-{version}.tgz"
    if not file.exists():
        CACHE.mkdir(parents=True, exist_ok=True)
        subprocess.run(["npm", "pack", "--silent", f"{package}@{version}"], cwd=CACHE, check=True)
    content = file.read_bytes()
    found = base64.b64encode(hashlib.sha512(content).digest()).decode()
    if found != sha512:
        file.unlink()
        raise ValueError(f"{file.name} has the SHA-512 {found}; {sha512} was expected")
    return content


def sources() -> Iterator[tuple[str, bytes]]:
    """The name and content of every Python file that the page runs, NumPy and Python apart."""
    spec = importlib.util.find_spec("graphviz")
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError("the Python package graphviz has to be installed")
    for folder in (ROOT / "tinygrad_rnn", ROOT / "viz", Path(spec.origin).parent):
        for file in sorted(folder.rglob("*")):
            if file.is_file() and file.suffix != ".pyc":
                yield file.relative_to(folder.parent).as_posix(), file.read_bytes()
    yield "playground.py", (HERE / "playground" / "playground.py").read_bytes()


def numpy_files(archive: bytes) -> Iterator[tuple[str, bytes]]:
    """NumPy as it is imported: no tests, no headers, no stubs."""
    start = "lib/python3.12/site-packages/"
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        for member in tar:
            name = member.name.removeprefix(start)
            wanted = name.startswith("numpy/") and name.endswith((".py", ".so"))
            if wanted and member.isfile() and "/tests/" not in name and "/f2py/" not in name:
                yield name, tar.extractfile(member).read()  # type: ignore[union-attr]


def licences(numpy: bytes, wasm_graphviz: bytes, pyodide: bytes) -> str:
    """The terms under which each part is passed on; Pyodide's package says them in package.json."""
    with tarfile.open(fileobj=io.BytesIO(numpy)) as tar:
        numpy_terms = tar.extractfile("info/licenses/LICENSE.txt").read()  # type: ignore[union-attr]
    python_graphviz = distribution("graphviz").read_text("licenses/LICENSE.txt")
    if python_graphviz is None:
        raise FileNotFoundError("the installed Python package graphviz has no licence text with it")
    texts = {
        "tinygrad_rnn": (ROOT / "LICENSE").read_text(encoding="utf-8"),
        "graphviz for Python": python_graphviz,
        "NumPy": numpy_terms.decode(),
        "Graphviz as WebAssembly": wasm_graphviz.decode(),
        "Pyodide, with Python": pyodide.decode(),
    }
    line = "=" * 80
    return "".join(f"{line}\n{name}\n{line}\n{text.strip()}\n\n" for name, text in texts.items())


def build(folder: Path) -> None:
    """Write the page and all that it loads; what lies in the folder already is replaced."""
    shutil.rmtree(folder, ignore_errors=True)
    (folder / "pyodide").mkdir(parents=True)
    for name in PAGE:
        shutil.copy(HERE / "playground" / name, folder)
    found = {}
    for package, (version, sha512, wanted) in PACKAGES.items():
        with tarfile.open(fileobj=io.BytesIO(fetch(package, version, sha512))) as tar:
            for name, target in wanted.items():
                found[target] = tar.extractfile(f"package/{name}").read()  # type: ignore[union-attr]
    numpy = found.pop("numpy.tar.gz")
    terms = licences(numpy, found.pop("graphviz terms"), found.pop("pyodide terms"))
    (folder / "licences.txt").write_text(terms, encoding="utf-8")
    files = [*numpy_files(numpy), *sources()]
    for name, content in found.items():
        (folder / name).write_bytes(content)
    with zipfile.ZipFile(folder / "library.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files:
            archive.writestr(zipfile.ZipInfo(name), content, zipfile.ZIP_DEFLATED)
    sys.path[:0] = [str(ROOT), str(HERE / "playground")]
    import playground

    for theme in ("light", "dark"):  # shown until all is loaded, and where it cannot be
        shown = playground.show({**playground.DEFAULTS, "theme": theme})
        (folder / f"{theme}.svg").write_text(shown["svg"], encoding="utf-8")


if __name__ == "__main__":
    build(Path(sys.argv[1]))
