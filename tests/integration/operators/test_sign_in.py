"""Signing in: what is owed before the console opens, and what the audit trail says of it."""

import datetime as dt
import re

import pytest
from django.contrib.sessions.models import Session
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from keys.models import AuditEvent
from operators import second_factor, services
from operators.middleware import SEEN_AT, SIGNED_IN_AT
from tests.integration.operators.conftest import ADDRESS, PASSWORD, shown_by

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("valkey", "person")]

HOME = reverse("admin:index")
CODE = reverse("operators:code")
PASSWORD_PAGE = reverse("operators:password_change")
FACTOR = reverse("operators:second_factor")
NEW = "a battery of horses, correct"


def trail() -> list[tuple[str, str, str | None]]:
    rows = AuditEvent.objects.exclude(action__startswith="operator.").order_by("id")
    return list(rows.values_list("action", "actor_name", "address"))


def leads_to(answer) -> str:
    assert answer.status_code == 302
    return answer["Location"].partition("?")[0]


def as_now(client: Client, **values) -> None:
    session = client.session
    session.update(values)
    session.save()


# --- Passwords ----------------------------------------------------------------------------------


def test_a_password_opens_the_console(visitor, sign_in):
    assert leads_to(sign_in()) == "/admin/"
    assert visitor.get(HOME).status_code == 200
    assert trail() == [("sign_in", "ada", ADDRESS)]


def test_leaving_is_in_the_trail_too(visitor, sign_in):
    sign_in()
    visitor.post(reverse("admin:logout"))
    assert trail()[-1] == ("sign_out", "ada", ADDRESS)
    assert leads_to(visitor.get(HOME)) == reverse("admin:login")


def test_a_wrong_password_is_refused_and_in_the_trail(sign_in, person):
    assert sign_in(password="wrong").status_code == 200
    row = AuditEvent.objects.latest("id")
    assert (row.action, row.actor, row.target_id) == ("sign_in.refuse", None, person.pk)
    assert (row.actor_name, row.address) == ("stranger", ADDRESS)


def test_what_was_typed_as_a_name_is_nowhere(sign_in, caplog):
    from axes.models import AccessAttempt

    typed = "my-password-by-mistake"
    sign_in(username=typed, password=typed)
    kept = [*AuditEvent.objects.values(), *AccessAttempt.objects.values()]
    assert AccessAttempt.objects.count() == 1
    assert typed not in str(kept) + caplog.text


def test_a_temporary_password_opens_only_the_page_that_replaces_it(visitor, sign_in):
    _, password = services.operator_add(username="bob", roles=["operator"], acting_user=None)
    sign_in("bob", password)
    assert leads_to(visitor.get(HOME)) == PASSWORD_PAGE
    assert leads_to(visitor.post(reverse("admin:keys_apikey_add"))) == PASSWORD_PAGE
    page = visitor.get(PASSWORD_PAGE)
    assert "Choose one of your own" in page.content.decode()


def test_a_new_password_opens_the_rest(visitor, sign_in):
    user, password = services.operator_add(username="bob", roles=["operator"], acting_user=None)
    sign_in("bob", password)
    given = {"old_password": password, "new_password1": NEW, "new_password2": NEW}
    assert leads_to(visitor.post(PASSWORD_PAGE, given | {"next": "/admin/keys/"})) == "/admin/keys/"
    assert visitor.get(HOME).status_code == 200
    row = AuditEvent.objects.latest("id")
    assert (row.action, row.actor, row.detail) == ("operator.password_change", user, {})


@pytest.mark.parametrize("new", ["short", "password1234", "838383838383", "bobbobbobbobbob"])
def test_a_weak_password_is_refused(visitor, sign_in, new):
    _, password = services.operator_add(
        username="bobbobbobbob", roles=["operator"], acting_user=None
    )
    sign_in("bobbobbobbob", password)
    given = {"old_password": password, "new_password1": new, "new_password2": new}
    assert visitor.post(PASSWORD_PAGE, given).status_code == 200
    assert leads_to(visitor.get(HOME)) == PASSWORD_PAGE


def test_the_temporary_password_is_no_new_one(visitor, sign_in):
    _, password = services.operator_add(username="bob", roles=["operator"], acting_user=None)
    sign_in("bob", password)
    given = {"old_password": password, "new_password1": password, "new_password2": password}
    page = visitor.post(PASSWORD_PAGE, given)
    assert "Choose another one" in page.content.decode()


def test_a_reset_password_ends_the_sessions(visitor, sign_in, person):
    sign_in()
    services.password_reset(user=person, acting_user=None)
    assert leads_to(visitor.get(HOME)) == reverse("admin:login")


def test_nobody_is_sent_to_another_site(visitor, sign_in, factor):
    sign_in()
    answer = visitor.post(CODE, {"code": shown_by(factor), "next": "https://evil.example/"})
    assert answer["Location"] == HOME


# --- Second factors -----------------------------------------------------------------------------


def test_a_code_opens_the_console(visitor, sign_in, factor):
    sign_in()
    assert visitor.get(HOME)["Location"] == f"{CODE}?next=%2Fadmin%2F"
    before = visitor.session.session_key
    assert leads_to(visitor.post(CODE, {"code": shown_by(factor), "next": HOME})) == HOME
    assert visitor.get(HOME).status_code == 200
    assert visitor.session.session_key != before
    assert trail()[-1] == ("second_factor.pass", "ada", ADDRESS)


def test_a_wrong_code_opens_nothing(visitor, sign_in, factor):
    sign_in()
    wrong = f"{(int(shown_by(factor)) + 1) % 1_000_000:06d}"
    page = visitor.post(CODE, {"code": wrong})
    assert "is not right" in page.content.decode()
    assert leads_to(visitor.get(HOME)) == CODE
    assert trail()[-1] == ("second_factor.refuse", "stranger", ADDRESS)


def test_wrong_codes_make_the_next_wait(visitor, sign_in, factor):
    factor.throttling_failure_count, factor.throttling_failure_timestamp = 5, timezone.now()
    factor.save()
    sign_in()
    page = visitor.post(CODE, {"code": shown_by(factor)})
    assert re.search(r"Wait \d+ s", page.content.decode())
    assert leads_to(visitor.get(HOME)) == CODE


def test_codes_that_are_not_heard_leave_no_row(visitor, sign_in, factor):
    sign_in()
    for _ in range(5):
        visitor.post(CODE, {"code": "000000"})
    assert [row[0] for row in trail()].count("second_factor.refuse") < 5


def test_a_code_is_good_once(visitor, sign_in, factor):
    sign_in()
    code = shown_by(factor)
    visitor.post(CODE, {"code": code})
    visitor.post(reverse("admin:logout"))
    sign_in()
    assert visitor.post(CODE, {"code": code}).status_code == 200


def test_a_recovery_code_is_good_once(visitor, sign_in, person, factor):
    codes = second_factor.recovery_codes_make(person)
    sign_in()
    assert leads_to(visitor.post(CODE, {"code": f" {codes[0].upper()} "})) == HOME
    assert AuditEvent.objects.latest("id").detail == {"by": "recovery code", "codes_left": 9}
    assert second_factor.verify(person, codes[0]) is None


def test_recovery_codes_are_stored_as_digests(person, factor):
    from django_otp.plugins.otp_static.models import StaticToken

    codes = second_factor.recovery_codes_make(person)
    stored = str(list(StaticToken.objects.values_list("token", flat=True)))
    assert len(codes) == 10
    assert not [code for code in codes if code.replace("-", "") in stored]


def test_setting_up_shows_the_key_until_it_is_confirmed(visitor, sign_in, person):
    sign_in()
    page = visitor.get(FACTOR).content.decode()
    key = second_factor.typed_key(second_factor.begun(person))
    assert key in page
    assert "<svg" in page
    done = visitor.post(FACTOR, {"code": shown_by(second_factor.begun(person))})
    assert len(re.findall(r">[a-z2-9]{5}-[a-z2-9]{5}<", done.content.decode())) == 10
    assert key not in visitor.get(FACTOR).content.decode()
    assert visitor.get(HOME).status_code == 200  # This session is confirmed already.
    assert trail()[-1] == ("second_factor.add", "ada", ADDRESS)


def test_setting_up_needs_a_right_code(visitor, sign_in, person):
    sign_in()
    visitor.get(FACTOR)
    assert "is not right" in visitor.post(FACTOR, {"code": "12345"}).content.decode()
    assert second_factor.factor_of(person) is None


def test_turning_it_off_needs_a_code(visitor, sign_in, person, factor):
    sign_in()
    visitor.post(CODE, {"code": shown_by(factor)})
    visitor.post(FACTOR, {"code": "000000", "remove": ""})
    assert second_factor.factor_of(person) == factor
    codes = second_factor.recovery_codes_make(person)
    visitor.post(FACTOR, {"code": codes[0], "remove": ""})
    assert second_factor.factor_of(person) is None
    assert trail()[-1] == ("second_factor.remove", "ada", ADDRESS)


def test_who_must_have_one_is_led_to_it(visitor, sign_in, settings):
    settings.REQUIRE_2FA = True
    sign_in()
    assert leads_to(visitor.get(HOME)) == FACTOR
    assert "asks everybody" in visitor.get(FACTOR).content.decode()


def test_who_must_have_one_cannot_turn_it_off(visitor, sign_in, settings, person, factor):
    settings.REQUIRE_2FA = True
    codes = second_factor.recovery_codes_make(person)
    sign_in()
    visitor.post(CODE, {"code": codes[0]})
    visitor.post(FACTOR, {"code": codes[1], "remove": ""})
    assert second_factor.factor_of(person) == factor


def test_who_owes_a_step_is_nobody_elsewhere(visitor, sign_in, factor):
    sign_in()
    answer = visitor.get("/")
    assert answer.status_code == 200
    assert not answer.wsgi_request.user.is_authenticated


def test_another_factor_confirms_a_session_anew(visitor, sign_in, person, factor):
    sign_in()
    visitor.post(CODE, {"code": shown_by(factor)})
    factor.delete()
    second_factor.AuthenticatorApp.objects.create(user=person, confirmed=True)
    assert leads_to(visitor.get(HOME)) == CODE


# --- Sessions -----------------------------------------------------------------------------------


def test_a_session_ends_when_it_is_idle(visitor, sign_in, settings):
    sign_in()
    visitor.get(HOME)
    row = Session.objects.get()
    assert visitor.session.get_expiry_age() == settings.SESSION_IDLE_S
    row.expire_date = row.expire_date.replace(year=2020)
    row.save()
    assert leads_to(visitor.get(HOME)) == reverse("admin:login")


def test_a_page_prolongs_it(visitor, sign_in):
    sign_in()
    visitor.get(HOME)
    as_now(visitor, **{SEEN_AT: visitor.session[SEEN_AT] - 120})
    first = Session.objects.get().expire_date
    visitor.get(HOME)
    assert Session.objects.get().expire_date > first


def test_a_second_page_at_once_writes_nothing(visitor, sign_in, django_assert_max_num_queries):
    sign_in()
    visitor.get(HOME)
    first = Session.objects.get().expire_date
    visitor.get(HOME)
    assert Session.objects.get().expire_date == first


def test_a_session_ends_at_its_age(visitor, sign_in, settings):
    sign_in()
    visitor.get(HOME)
    as_now(
        visitor, **{SIGNED_IN_AT: visitor.session[SIGNED_IN_AT] - settings.SESSION_AGE_S_MAX - 1}
    )
    assert leads_to(visitor.get(HOME)) == reverse("admin:login")


# --- Waiting ------------------------------------------------------------------------------------


def failed(sign_in, times: int, **given) -> list[int]:
    return [sign_in(password="wrong", **given).status_code for _ in range(times)]


def test_an_address_that_fails_too_often_waits(sign_in):
    assert failed(sign_in, 10) == [200] * 9 + [429]
    page = sign_in(password=PASSWORD)
    assert page.status_code == 429
    assert page["Retry-After"] == "900"
    assert "Try again in 15 minutes" in page.content.decode()


def test_another_address_does_not(sign_in):
    failed(sign_in, 10)
    assert leads_to(sign_in(client=Client(REMOTE_ADDR="192.0.2.8"))) == HOME


def test_another_name_from_there_does(sign_in):
    failed(sign_in, 10, username="someone")
    assert sign_in().status_code == 429


def test_an_ipv6_network_is_one_address(sign_in):
    failed(sign_in, 10, client=Client(REMOTE_ADDR="2001:db8::1"))
    assert sign_in(client=Client(REMOTE_ADDR="2001:db8::2")).status_code == 429
    assert leads_to(sign_in(client=Client(REMOTE_ADDR="2001:db8:0:1::2"))) == HOME


def test_behind_a_trusted_proxy_clients_wait_by_themselves(sign_in, settings):
    settings.TRUSTED_PROXIES = ["192.0.2.0/24"]
    failed(sign_in, 10, client=Client(REMOTE_ADDR="192.0.2.7", HTTP_X_FORWARDED_FOR="203.0.113.1"))
    other = Client(REMOTE_ADDR="192.0.2.7", HTTP_X_FORWARDED_FOR="203.0.113.2")
    assert leads_to(sign_in(client=other)) == HOME
    assert AuditEvent.objects.latest("id").address == "203.0.113.2"


@pytest.mark.parametrize(("stored", "trailed"), [("truncated", "203.0.113.0"), ("none", None)])
def test_each_address_waits_by_itself_however_little_of_it_is_stored(
    sign_in, settings, stored, trailed
):
    from axes.models import AccessAttempt

    settings.CLIENT_ADDRESSES = stored
    failed(sign_in, 10, client=Client(REMOTE_ADDR="203.0.113.1"))
    assert failed(sign_in, 1, client=Client(REMOTE_ADDR="203.0.113.1")) == [429]
    assert failed(sign_in, 1, client=Client(REMOTE_ADDR="203.0.113.2")) == [200]
    assert AuditEvent.objects.latest("id").address == trailed
    kept = [*AuditEvent.objects.values(), *AccessAttempt.objects.values()]
    assert "203.0.113.1" not in str(kept)


def test_a_success_forgets_no_failures(visitor, sign_in):
    failed(sign_in, 9)
    assert leads_to(sign_in()) == HOME
    visitor.post(reverse("admin:logout"))
    assert failed(sign_in, 1) == [429]


def test_failures_are_forgotten_when_none_came_for_so_long(sign_in, settings):
    failed(sign_in, 9)
    settings.AXES_COOLOFF_TIME = dt.timedelta(0)
    assert failed(sign_in, 2) == [200, 200]


def test_a_flood_leaves_a_bounded_trail(sign_in):
    failed(sign_in, 15)
    actions = [row[0] for row in trail()]
    assert actions == ["sign_in.refuse"] * 9 + ["sign_in.lock"]
