"""Compiles what is compiled, where Cython, a C compiler and Python's headers are found; without them Leyden runs too.

Run by pip; `python setup.py build_ext --inplace` puts the modules beside their sources.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

from setuptools import Extension, setup

ROOT = Path(__file__).resolve().parent
DIRECTIVES = {
    "language_level": 3,
    "annotation_typing": False,
    "boundscheck": False,
    "wraparound": False,
    "cdivision": True,
    "initializedcheck": False,
}


def extensions() -> list[Extension]:
    """The modules to compile; none without Cython."""
    try:
        from Cython.Build import cythonize
    except ImportError:
        print("Cython is not there: routes are found by the interpreted kernel", file=sys.stderr)
        return []
    build = ROOT / "build" / "kernel"
    # The interpreted form stays importable beside the compiled one, whose name differs: so it is compiled from a copy.
    routing, copies = ROOT / "wallet" / "ln" / "routing", build / "wallet" / "ln" / "routing"
    copies.mkdir(parents=True, exist_ok=True)
    # The compiler finds the types beside a module only where its folders are packages.
    for folder in (copies, *copies.parents[:2]):
        (folder / "__init__.py").touch()
    for suffix in (".py", ".pxd"):
        source, copy = routing / f"pathfinding{suffix}", copies / f"_pathfinding{suffix}"
        if not copy.exists() or copy.read_bytes() != source.read_bytes():
            shutil.copyfile(source, copy)
    found: list[Extension] = cythonize(
        [
            Extension(
                "wallet.ln.routing._pathfinding",
                [(copies / "_pathfinding.py").relative_to(ROOT).as_posix()],
            ),
            Extension("wallet.bitcoin._curve_batch", ["wallet/bitcoin/_curve_batch.pyx"]),
        ],
        include_path=[str(build)],
        build_dir="build/kernel/c",
        compiler_directives=DIRECTIVES,
        quiet=True,
    )
    for extension in found:
        # A compiler that fails costs speed, not the installation.
        extension.optional = True
    return found


setup(ext_modules=extensions())
