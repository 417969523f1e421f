"""Addresses of the set-up scripts."""

from django.urls import path

from portal.setup import views

urlpatterns = [
    path("setup.sh", views.shell, name="portal_setup_sh"),
    path("setup.ps1", views.powershell, name="portal_setup_ps1"),
]
