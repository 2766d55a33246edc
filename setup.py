from pathlib import Path

from setuptools import find_packages, setup

setup(
    packages=find_packages("python"),
    package_dir={"": "python"},
    package_data={"trtmatte": ["py.typed", "*.pyi"]},
    cmake_source_dir=str(Path(__file__).parent),
    cmake_install_dir="python",
)
