"""Addresses of the site. `/v1` is not among them: `asgi.py` sends it to the data plane."""

from django.contrib import admin
from django.urls import include, path

from claudcode.console import home

urlpatterns = [
    path("", include("portal.urls")),
    path("usage/", include("usage.dashboard.urls")),
    path("admin/", include("operators.urls")),
    path("admin/live/", home.fragment_view, name="console_home_live"),
    path("admin/", admin.site.urls),
    path("api/v1/", include("claudcode.api")),
    path("packages/", include("webtools.packages")),
]
