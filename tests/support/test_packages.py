"""The hash of the package's code, which names the engines in the cache."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

from trtmatte.support import packages


def hash_in(package: Path) -> str:
    code = f"import sys; sys.path.insert(0, {str(package.parent)!r}); from trtmatte.support import packages as p; "
    code += "print(p.ROOT, p.code_hash())"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    root, found = ran.stdout.split()
    assert root == str(package)
    return found


def test_a_folder_of_links_has_the_hash_of_the_code_that_it_shows(tmp_path: Path) -> None:
    """The rehearsal of the GPU checks runs in such a folder; its engines must not outlive a change of the code."""
    copy = tmp_path / "code" / "trtmatte"
    shutil.copytree(packages.ROOT, copy, ignore=shutil.ignore_patterns("__pycache__"))
    links = tmp_path / "links" / "trtmatte"
    links.mkdir(parents=True)
    for each in copy.iterdir():
        (links / each.name).symlink_to(each)
    assert hash_in(links) == hash_in(copy) == packages.code_hash()
    with (copy / "compiler" / "build.py").open("a") as file:
        file.write("\n")
    assert hash_in(links) == hash_in(copy) != packages.code_hash()
