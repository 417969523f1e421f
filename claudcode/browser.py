"""What browsers are told they may do with our pages: the content security policy and its kin.

Knows no page. `docs/operators.md` says which parts unfold needs, and why.
"""

from typing import Any

from csp.constants import NONCE, NONE, SELF, UNSAFE_EVAL, UNSAFE_INLINE

# Nothing of these is used; a page that is tampered with cannot ask for them either.
PERMISSIONS_POLICY = ", ".join(
    f"{feature}=()"
    for feature in (
        "accelerometer",
        "camera",
        "display-capture",
        "geolocation",
        "gyroscope",
        "magnetometer",
        "microphone",
        "midi",
        "payment",
        "usb",
    )
)


def content_security_policy() -> dict[str, Any]:
    """Return django-csp's setting: everything from this site alone, scripts by file or nonce."""
    return {
        "DIRECTIVES": {
            "default-src": [SELF],
            # Alpine, which unfold's menus and tabs are written in, makes functions of the text of
            # attributes. No script that stands in a page runs without the nonce.
            "script-src": [SELF, NONCE, UNSAFE_EVAL],
            "script-src-attr": [NONE],
            # unfold writes its colours, and Alpine and the charts their sizes, into `style`.
            "style-src": [SELF, UNSAFE_INLINE],
            "img-src": [SELF, "data:"],
            "object-src": [NONE],
            "frame-src": [NONE],
            "frame-ancestors": [NONE],
            "base-uri": [NONE],
            "form-action": [SELF],
        }
    }
