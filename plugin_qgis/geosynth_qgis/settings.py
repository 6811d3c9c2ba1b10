"""What the plugin remembers, in QGIS's settings under ``geosynth/``, and what it takes from QGIS's own."""

from __future__ import annotations

import os
from pathlib import Path
from urllib.parse import quote

from qgis.core import QgsApplication, QgsSettings

from .core.environment import child_environment

HOMEPAGE = "https://github.com/geosynth/geosynth"
_PREFIX = "geosynth/"


def python_path() -> str:
    """The interpreter geosynth runs in; empty when none is chosen. The variable GEOSYNTH_PYTHON goes first."""
    return os.environ.get("GEOSYNTH_PYTHON") or str(QgsSettings().value(_PREFIX + "python", "") or "")


def set_python_path(path: str) -> None:
    QgsSettings().setValue(_PREFIX + "python", path)


def last_folder(key: str) -> str:
    """A folder that was chosen for something before; empty when none was."""
    return str(QgsSettings().value(f"{_PREFIX}folders/{key}", "") or "")


def set_last_folder(key: str, path: str) -> None:
    QgsSettings().setValue(f"{_PREFIX}folders/{key}", path)


def profile_folder() -> Path:
    """The plugin's own folder in the user's profile; updates of the plugin leave it alone."""
    return Path(QgsApplication.qgisSettingsDirPath()) / "geosynth"


def jobs_folder() -> Path:
    """Where detached jobs are written down."""
    return profile_folder() / "jobs"


def proxy_url() -> str:
    """The proxy of QGIS's network options as an address; empty when there is none, or the system's is used."""
    settings = QgsSettings()
    host = str(settings.value("proxy/proxyHost", "") or "")
    if not settings.value("proxy/proxyEnabled", False, type=bool) or not host:
        return ""
    kind = str(settings.value("proxy/proxyType", "") or "")
    if kind not in ("HttpProxy", "HttpCachingProxy", "Socks5Proxy"):
        return ""
    scheme = "socks5" if kind == "Socks5Proxy" else "http"
    port = str(settings.value("proxy/proxyPort", "") or "")
    user, secret = (str(settings.value(f"proxy/proxy{name}", "") or "") for name in ("User", "Password"))
    login = f"{quote(user, safe='')}:{quote(secret, safe='')}@" if user else ""
    return f"{scheme}://{login}{host}" + (f":{port}" if port else "")


def proxy_exceptions() -> list[str]:
    """Hosts that are reached without the proxy."""
    listed = QgsSettings().value("proxy/noProxyUrls", []) or []
    return [str(entry) for entry in ([listed] if isinstance(listed, str) else listed) if entry]


def run_environment() -> dict[str, str]:
    """The environment variables of everything the plugin starts, with QGIS's proxy."""
    return child_environment(proxy=proxy_url(), no_proxy=",".join(proxy_exceptions()))
