"""The state folder: who holds it, what it tells, what it keeps to itself."""

import stat

import pytest

from claudcode.engines.children import EngineError
from claudcode.engines.state import Addresses, StateFolder


def test_one_holds_the_lock_at_a_time(state):
    with state.lock():
        assert state.lock() is None
    with state.lock() as again:
        assert again is not None


def test_what_is_published_can_be_read(state):
    told = Addresses("up", 42, "postgresql://there", "unix://there")
    state.publish(told)
    assert state.addresses() == told


def test_nothing_is_published_before_and_after(state):
    state.publish(Addresses("up", 42, "", ""))
    state.unpublish()
    assert state.addresses() is None


def test_the_secret_key_is_made_once_and_private(state):
    first = state.secret_key()
    assert StateFolder(state.path).secret_key() == first
    assert stat.S_IMODE((state.path / "secret_key").stat().st_mode) == 0o600


def test_others_cannot_list_the_folder(state):
    assert not stat.S_IMODE(state.path.stat().st_mode) & 0o066


def test_a_file_in_the_way_is_said(folder):
    (folder / "file").write_text("")
    with pytest.raises(EngineError, match="Choose another with --state"):
        StateFolder(folder / "file")


def test_the_holder_waits_for_those_who_use_its_engines(state):
    with state.using():
        assert not state.wait_for_users(seconds=0.1)
    assert state.wait_for_users(seconds=10)
