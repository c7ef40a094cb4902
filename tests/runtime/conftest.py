"""A user of whom the system knows nothing but a number, as in many containers."""

import os
import pwd

import pytest


@pytest.fixture
def no_home(monkeypatch):
    def unknown(number):
        raise KeyError(f"getpwuid(): uid not found: {number}")

    monkeypatch.delenv("HOME", raising=False)
    monkeypatch.setattr(pwd, "getpwuid", unknown)
    assert os.path.expanduser("~/a") == "~/a"
