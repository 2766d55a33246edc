import os
from typing import Any

from setuptools import find_packages, setup

# `make core` builds the native core itself, in a folder that it keeps, and sets TRTMATTE_WITHOUT_CORE=1 for pip.
native: dict[str, Any] = {} if os.environ.get("TRTMATTE_WITHOUT_CORE") == "1" else {"cmake_source_dir": "."}

setup(
    packages=find_packages("python"),
    package_dir={"": "python"},
    package_data={"trtmatte": ["py.typed", "*.pyi"], "trtmatte.serve": ["page/*"]},
    **native,
)
