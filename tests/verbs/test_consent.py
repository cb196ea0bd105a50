import logging

import pytest

from likeness.core.errors import BadInput
from likeness.verbs.consent import ask_for_consent, consent_note


def test_consent_is_words_or_a_text_file_of_them(tmp_path):
    assert consent_note(None) is None
    assert consent_note(" Zoë,\n today ") == "Zoë, today"
    (tmp_path / "agreed.txt").write_text("Zoë Ünal\n2026-11-25\ntests", encoding="utf-8")
    assert consent_note(str(tmp_path / "agreed.txt")) == "Zoë Ünal 2026-11-25 tests"
    long = "who, when, scope " * 100
    assert consent_note(long) == long.strip()


@pytest.mark.parametrize(
    ("given", "says"),
    [("", "empty"), ("absent.txt", "no such file"), ("x" * 5000, "5000 characters")],
)
def test_consent_that_cannot_be_kept_is_one_clear_line(given, says):
    with pytest.raises(BadInput, match=says):
        consent_note(given)


def test_a_consent_file_that_is_no_text_is_said(tmp_path):
    (tmp_path / "scan.png").write_bytes(b"\x89PNG\xff\xfe")
    with pytest.raises(BadInput, match="not a text file"):
        consent_note(str(tmp_path / "scan.png"))


def test_who_gives_no_consent_note_is_asked_for_one(caplog):
    with caplog.at_level(logging.WARNING):
        ask_for_consent("Zoë, today, tests")
        assert not caplog.text
        ask_for_consent(None)
    assert '--consent "who, when, scope"' in caplog.text
