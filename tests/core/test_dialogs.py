"""Every transcript of tests/dialogs, in every way, against a Session in memory."""
import dialog
import pytest

SCRIPTS = sorted(dialog.FOLDER.glob("*.smtp"))


@pytest.mark.parametrize("way", dialog.WAYS)
@pytest.mark.parametrize("path", SCRIPTS, ids=[path.stem for path in SCRIPTS])
def test_dialog(path, way):
    script = dialog.Script(path)
    if way in script.ways:
        dialog.play(script, way)


def test_the_player_notices_a_wrong_reply(tmp_path):
    path = tmp_path / "wrong.smtp"
    path.write_text("S: 220 localhost ESMTP Mailfilter\nC: NOOP\nS: 250 2.0.0 Fine\n")
    with pytest.raises(AssertionError, match=r"wrong.smtp:3 \(steps\)"):
        dialog.play(dialog.Script(path), "steps")


def test_the_player_notices_a_reply_too_many(tmp_path):
    path = tmp_path / "more.smtp"
    path.write_text("S: 220 localhost ESMTP Mailfilter\nC: NOOP\n")
    for way in dialog.WAYS:
        with pytest.raises(AssertionError, match="at the end"):
            dialog.play(dialog.Script(path), way)
