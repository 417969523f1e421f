"""Addresses of the site. `/v1` is not among them: `asgi.py` sends it to the data plane."""

from django.contrib import admin
from django.urls import path

urlpatterns = [
    path("admin/", admin.site.urls),
]
