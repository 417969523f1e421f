"""Serves the packages that the documentation names: they come from no public registry.

    /packages/FILE              an archive; asked about again at each use, for its version may stay
    /packages/DIGEST/FILE       the same under its SHA-256: never another, cached for good
    /packages/simple/           an index for pip: PEP 503 as HTML, PEP 691 as JSON, with hashes
    /packages/simple/PROJECT/

What is served is what `make packages` built, by name: no path of a request reaches the disk.
"""

import email.parser
import hashlib
import re
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from django.conf import settings
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseBase, JsonResponse
from django.urls import path, reverse
from django.utils.cache import patch_vary_headers
from django.utils.html import format_html, format_html_join
from django.views.decorators.http import require_safe

TYPES = {".whl": "application/octet-stream", ".tgz": "application/gzip"}
INDEX_JSON = "application/vnd.pypi.simple.v1+json"
FOREVER = "public, max-age=31536000, immutable"
ASK_AGAIN = "public, no-cache"
PAGE = """<!DOCTYPE html>
<html lang="en"><head><title>Packages</title></head>
<body>
{}
</body></html>
"""


@dataclass(frozen=True, slots=True)
class Package:
    """One archive, whole. `project` is what pip calls it, empty for one of npm's."""

    name: str
    content: bytes
    sha256: str
    project: str
    requires_python: str

    @property
    def address(self) -> str:
        """The path under which it never changes."""
        return reverse("package_pinned", args=(self.sha256, self.name))


def packages() -> dict[str, Package]:
    """Return the archives that were built, by name; none before `make packages`."""
    folder: Path = settings.BASE_DIR / "packages" / "built"
    found = sorted(folder.iterdir()) if folder.is_dir() else []
    archives = (file for file in found if file.suffix in TYPES)
    return {file.name: _read(file, file.stat().st_mtime_ns) for file in archives}


@require_safe
def package(request: HttpRequest, name: str, sha256: str | None = None) -> HttpResponseBase:
    """Answer an archive."""
    found = packages().get(name)
    if found is None or sha256 not in (None, found.sha256):
        raise Http404("There is no such package here. `make packages` builds what there is.")
    etag = f'"{found.sha256}"'
    unchanged = request.headers.get("If-None-Match") == etag
    answer = HttpResponse(b"" if unchanged else found.content, status=304 if unchanged else 200)
    answer["Content-Type"] = TYPES[Path(name).suffix]
    answer["ETag"] = etag
    answer["Cache-Control"] = ASK_AGAIN if sha256 is None else FOREVER
    return answer


@require_safe
def index(request: HttpRequest) -> HttpResponse:
    """List the projects that pip can ask for."""
    names = sorted({found.project for found in _wheels()})
    body = {"meta": {"api-version": "1.0"}, "projects": [{"name": name} for name in names]}
    return _listing(request, body, [(reverse("package_project", args=(n,)), "", n) for n in names])


@require_safe
def project(request: HttpRequest, name: str) -> HttpResponse:
    """List the archives of a project, each with its hash."""
    normal = re.sub(r"[-_.]+", "-", name).lower()
    found = [wheel for wheel in _wheels() if wheel.project == normal]
    if not found:
        raise Http404("There is no such project here.")
    files = [
        {
            "filename": wheel.name,
            "url": wheel.address,
            "hashes": {"sha256": wheel.sha256},
            "requires-python": wheel.requires_python,
        }
        for wheel in found
    ]
    body = {"meta": {"api-version": "1.0"}, "name": normal, "files": files}
    links = [(f"{w.address}#sha256={w.sha256}", w.requires_python, w.name) for w in found]
    return _listing(request, body, links)


urlpatterns = [
    path("simple/", index, name="package_index"),
    path("simple/<str:name>/", project, name="package_project"),
    path("<str:name>", package, name="package"),
    path("<str:sha256>/<str:name>", package, name="package_pinned"),
]


def _wheels() -> Iterator[Package]:
    return (found for found in packages().values() if found.project)


def _listing(
    request: HttpRequest, body: Mapping[str, object], links: list[tuple[str, str, str]]
) -> HttpResponse:
    answer: HttpResponse
    if INDEX_JSON in request.headers.get("Accept", ""):
        answer = JsonResponse(body, content_type=INDEX_JSON)
    else:
        anchors = format_html_join("\n", '<a href="{}" data-requires-python="{}">{}</a><br>', links)
        answer = HttpResponse(format_html(PAGE, anchors))
    answer["Cache-Control"] = ASK_AGAIN
    patch_vary_headers(answer, ["Accept"])
    return answer


@lru_cache(maxsize=16)
def _read(file: Path, _changed_ns: int) -> Package:
    content = file.read_bytes()
    about = _about(file) if file.suffix == ".whl" else {}
    return Package(
        name=file.name,
        content=content,
        sha256=hashlib.sha256(content).hexdigest(),
        project=about.get("Name", ""),
        requires_python=about.get("Requires-Python", ""),
    )


def _about(wheel: Path) -> dict[str, str]:
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (n for n in archive.namelist() if n.endswith(".dist-info/METADATA"))
        return dict(email.parser.Parser().parsestr(archive.read(name).decode()).items())
