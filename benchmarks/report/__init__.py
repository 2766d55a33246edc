"""From JSON to Markdown and pictures, and to README's tables."""

from benchmarks.report.readme import write_readme
from benchmarks.report.writing import write

__all__ = ["write", "write_readme"]
