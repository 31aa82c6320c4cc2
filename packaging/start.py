"""Where the frozen program begins. The process that lays the network map out is this program too: there is no Python to
run a module with. `--what-is-inside` is for the check of the package."""

import json
import os
import sys

from wallet.app import main


def forget_own_libraries() -> None:
    """What this program starts (a browser, the printer's queue) loads the system's libraries, not those that came with
    us: the frozen program was started with a path of its own, and the one of before stands beside it."""
    before = os.environ.pop("LD_LIBRARY_PATH_ORIG", None)
    if before is not None:
        os.environ["LD_LIBRARY_PATH"] = before
    else:
        os.environ.pop("LD_LIBRARY_PATH", None)


# Where systems keep the certificates of who vouches for servers: Debian and Arch, Fedora, openSUSE, Alpine and macOS.
CERTIFICATES = (
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
)


def find_certificates() -> None:
    """The OpenSSL that comes with us looks where the system that it was built on has them. Windows is asked itself."""
    if os.name == "nt" or "SSL_CERT_FILE" in os.environ or "SSL_CERT_DIR" in os.environ:
        return
    for path in CERTIFICATES:
        if os.access(path, os.R_OK):
            os.environ["SSL_CERT_FILE"] = path
            return


def what_is_inside() -> dict[str, object]:
    """What a program without it would do without a word: the kernels it was compiled with, its languages, its icons."""
    from importlib.util import find_spec

    from PyQt6.QtGui import QImageReader

    from wallet.gui.assets import asset
    from wallet.gui.icons import names
    from wallet.i18n import languages
    from wallet.ln.routing import kernel

    return {
        "kernels": {
            "routes": kernel.COMPILED is not None,
            "signatures": find_spec("wallet.bitcoin._curve_batch") is not None,
        },
        "languages": languages(asset("locale")),
        "icons": names(),
        "pictures": sorted(bytes(kind).decode() for kind in QImageReader.supportedImageFormats()),
    }


if __name__ == "__main__":
    if getattr(sys, "frozen", False):
        forget_own_libraries()
        find_certificates()
    if sys.argv[1:] == ["--make-network-map"]:
        from wallet.node.map_worker import main as make_map

        sys.exit(make_map())
    if sys.argv[1:] == ["--what-is-inside"]:
        print(json.dumps(what_is_inside()))
        sys.exit(0)
    sys.exit(main())
