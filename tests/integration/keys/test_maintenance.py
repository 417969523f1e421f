import pytest
from django.core.management import CommandError, call_command

from keys.core.access import Maintenance
from keys.policy import load_maintenance

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("engines")]


def test_on_and_off(capsys):
    call_command("maintenance", "on", "--message", "Back at noon.", "--retry-after", "60")
    assert load_maintenance() == Maintenance(True, "Back at noon.", 60)
    call_command("maintenance", "off")
    assert load_maintenance() == Maintenance(False, "Back at noon.", 60)
    assert capsys.readouterr().out.splitlines() == ["Maintenance is on.", "Maintenance is off."]


@pytest.mark.parametrize("seconds", ["0", "86401", "soon"])
def test_a_wait_that_makes_no_sense_is_refused(seconds):
    with pytest.raises(CommandError):
        call_command("maintenance", "on", "--retry-after", seconds)
    assert load_maintenance().enabled is False
