"""Addresses of the sign-in; they come before the admin's, whose page for passwords one replaces."""

from django.urls import path

from operators import views
from operators.oidc import views as oidc

app_name = "operators"
urlpatterns = [
    path("sign-in/code/", views.for_accounts(views.code), name="code"),
    path("sign-in/link/", views.sign_in_link, name="sign_in_link"),
    path("oidc/begin/", oidc.begin, name="oidc_begin"),
    path("oidc/callback/", oidc.callback, name="oidc_callback"),
    path("second-factor/", views.for_accounts(views.own_second_factor), name="second_factor"),
    path("password_change/", views.for_accounts(views.password_change), name="password_change"),
]
