"""Who is who in painted videos."""

from tests.inference.conftest import known_people

__all__ = ["known_people"]
