"""``colearn keys`` as a user meets it."""

from __future__ import annotations

import pytest

from colearn.cli import main
from colearn.peers.tls import Identity


def test_a_certificate_that_members_meet_with(tmp_path, monkeypatch, capsys):
    """What the command makes is what join takes; its key is for its owner only."""
    monkeypatch.chdir(tmp_path)
    main(["keys", "certificate", "me.pem"])
    assert "me.key  for you alone" in capsys.readouterr().out
    assert (tmp_path / "me.key").stat().st_mode & 0o777 == 0o600
    pem, key = tmp_path / "me.pem", tmp_path / "me.key"
    assert len(Identity(pem, key, pem).fingerprint) == 64


@pytest.mark.parametrize("there", ["me.pem", "me.key"])
def test_nothing_is_overwritten(tmp_path, monkeypatch, capsys, there):
    """Where one of the two is there, it stays as it is, and the other is not made."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / there).write_text("mine")
    with pytest.raises(SystemExit):
        main(["keys", "certificate", "me.pem"])
    assert capsys.readouterr().err.count("\n") == 1
    assert [each.name for each in tmp_path.iterdir()] == [there]
    assert (tmp_path / there).read_text() == "mine"
