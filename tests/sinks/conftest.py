"""The real TOM, unless the top conftest has loaded it already."""

from tests.fixtures_tom import tom

__all__ = ["tom"]
