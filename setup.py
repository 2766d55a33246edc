from setuptools import find_packages, setup

setup(
    packages=find_packages("python"),
    package_dir={"": "python"},
    package_data={"trtmatte": ["py.typed", "*.pyi"]},
    cmake_source_dir=".",
)
