"""Make the report, its charts and README's tables from the results in JSON."""

from benchmarks.report.readme import write_readme
from benchmarks.report.writing import write

__all__ = ["write", "write_readme"]
