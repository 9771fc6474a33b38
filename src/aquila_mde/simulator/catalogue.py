"""Software and the CVEs it has: what vulnerability rows and ``/api/vulnerabilities`` are made of.

Product names are real, so that dashboards look like a tenant's; the CVE numbers have six digits
and belong to nobody.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from aquila_mde.simulator.clock import DAY, HOUR, format_time
from aquila_mde.simulator.seeds import random_of

Family = Literal["windows", "linux", "macos"]
EXPLOITABILITY = ("NoExploit", "ExploitIsPublic", "ExploitIsVerified", "ExploitIsInKit")

_UNINSTALL = "HKEY_LOCAL_MACHINE\\SOFTWARE\\Microsoft\\Windows\\CurrentVersion\\Uninstall\\"
_WINDOWS = """
google|chrome|131.0.6778.86 132.0.6834.84 133.0.6943.54 134.0.6998.36|C:\\Program Files\\Google\\Chrome\\Application\\chrome.exe|Google Chrome
microsoft|edge|131.0.2903.70 132.0.2957.115 133.0.3065.51 134.0.3124.51|C:\\Program Files (x86)\\Microsoft\\Edge\\Application\\msedge.exe|Microsoft Edge
mozilla|firefox|128.7.0.0 133.0.3.0 134.0.2.0 135.0.1.0|C:\\Program Files\\Mozilla Firefox\\firefox.exe|Mozilla Firefox
adobe|acrobat_reader_dc|23.8.20555.0 24.2.21005.0 24.4.20272.0 24.5.20320.0|C:\\Program Files\\Adobe\\Acrobat DC\\Acrobat\\Acrobat.exe|{AC76BA86-1033-FF00-7760-BC15014EA700}
7-zip|7-zip|19.0.0.0 21.7.0.0 22.1.0.0 23.1.0.0|C:\\Program Files\\7-Zip\\7zFM.exe|7-Zip
zoom|meetings|5.17.11.34827 6.0.11.39959 6.2.6.49050 6.3.11.60501|C:\\Program Files\\Zoom\\bin\\Zoom.exe|ZoomUMX
oracle|jre|8.0.3710.11 8.0.4010.10 8.0.4210.9 8.0.4310.10|C:\\Program Files\\Java\\jre1.8.0\\bin\\java.exe|{26A24AE4-039D-4CA4-87B4-2F64180371F0}
microsoft|office|16.0.16731.20948 16.0.17328.20688 16.0.17726.20222 16.0.18227.20162|C:\\Program Files\\Microsoft Office\\root\\Office16\\WINWORD.EXE|O365ProPlusRetail - en-us
microsoft|teams|24180.205.2980.1757 24243.1309.3132.617 24295.605.3225.8804 24335.208.3315.1951|C:\\Program Files\\WindowsApps\\MSTeams\\ms-teams.exe|
microsoft|.net_framework|4.0.0.0 4.7.2.0 4.8.0.0 4.8.1.0||
microsoft|windows_11|10.0.22631.4460 10.0.22631.4751 10.0.26100.2605 10.0.26100.3194||
notepad-plus-plus|notepad++|8.5.7.0 8.6.4.0 8.6.9.0 8.7.1.0|C:\\Program Files\\Notepad++\\notepad++.exe|Notepad++
python|python|3.9.13.0 3.10.11.0 3.11.7.0 3.12.2.0|C:\\Program Files\\Python\\python.exe|Python Launcher
openssl|openssl|1.1.1.21 3.0.11.0 3.1.4.0 3.2.0.0|C:\\Program Files\\Git\\mingw64\\bin\\libcrypto-3-x64.dll|
videolan|vlc_media_player|3.0.16.0 3.0.18.0 3.0.20.0 3.0.21.0|C:\\Program Files\\VideoLAN\\VLC\\vlc.exe|VLC media player
"""  # noqa: E501 - a table
_LINUX = """
linux|linux_kernel|5.15.0-91.101 5.15.0-113.123 6.8.0-45.45 6.8.0-51.52|/boot/vmlinuz|
openssl|openssl|1.1.1f 3.0.2 3.0.13 3.2.1|/usr/lib/x86_64-linux-gnu/libssl.so.3|
gnu|glibc|2.31 2.34 2.35 2.39|/usr/lib/x86_64-linux-gnu/libc.so.6|
haxx|curl|7.68.0 7.76.1 7.81.0 8.5.0|/usr/bin/curl|
sudo_project|sudo|1.8.31 1.9.5 1.9.9 1.9.15|/usr/bin/sudo|
openbsd|openssh|8.2 8.7 8.9 9.6|/usr/sbin/sshd|
vim|vim|8.1.2269 8.2.2637 8.2.3995 9.1.16|/usr/bin/vim|
python|python|3.8.10 3.9.18 3.10.12 3.12.3|/usr/bin/python3|
apache|http_server|2.4.41 2.4.52 2.4.57 2.4.58|/usr/sbin/apache2|
nginx|nginx|1.18.0 1.20.1 1.22.1 1.24.0|/usr/sbin/nginx|
"""
_MACOS = """
apple|mac_os|13.6.7 14.4.1 14.7.2 15.2|/System/Library/CoreServices/SystemVersion.plist|
google|chrome|131.0.6778.86 132.0.6834.84 133.0.6943.54 134.0.6998.36|/Applications/Google Chrome.app|
microsoft|office|16.89.24090815 16.91.24111020 16.93.25011212 16.94.25020927|/Applications/Microsoft Word.app|
zoom|meetings|5.17.11.31580 6.0.11.35001 6.2.6.41824 6.3.11.50104|/Applications/zoom.us.app|
mozilla|firefox|128.7.0 133.0.3 134.0.2 135.0.1|/Applications/Firefox.app|
apple|safari|17.4 17.6 18.1 18.2|/Applications/Safari.app|
git-scm|git|2.39.3 2.42.0 2.45.2 2.47.1|/usr/local/bin/git|
"""  # noqa: E501 - a table


@dataclass(frozen=True)
class Product:
    """One product of one platform family."""

    number: int
    family: Family
    vendor: str
    name: str
    versions: tuple[str, ...]
    disk_path: str
    registry_path: str


@dataclass(frozen=True)
class Cve:
    """What is known of one vulnerability."""

    id: str
    serial: int
    score: float
    severity: str
    exploitability: int
    published: int
    update_id: str | int | None


def _products() -> tuple[Product, ...]:
    found: list[Product] = []
    tables: tuple[tuple[Family, str], ...] = (
        ("windows", _WINDOWS),
        ("linux", _LINUX),
        ("macos", _MACOS),
    )
    for family, table in tables:
        for line in table.strip().splitlines():
            vendor, name, versions, path, registry = line.split("|")
            key = _UNINSTALL + registry if registry else ""
            found.append(
                Product(len(found), family, vendor, name, tuple(versions.split()), path, key)
            )
    return tuple(found)


PRODUCTS = _products()


class Catalogue:
    """All software and CVEs there are: enough for ``rows_per_machine`` findings on each."""

    def __init__(self, seed: int, rows_per_machine: int, now: int) -> None:
        self._seed = seed
        self._now = now
        families = {product.family for product in PRODUCTS}
        smallest = min(
            sum(len(p.versions) for p in PRODUCTS if p.family == family) for family in families
        )
        # Four times what a machine holds, so that rows found later are new ones for years.
        self._cves_each = max(12, (4 * rows_per_machine + 64) // smallest + 1)
        if self._cves_each >= 10_000:
            raise ValueError(
                f"{rows_per_machine} vulnerability rows a machine are more than there is software "
                "for: simulate more machines or fewer rows"
            )
        self._held: dict[Product, tuple[Cve, ...]] = {}

    def software(self, family: Family) -> list[tuple[Product, str]]:
        """Every version of every product for ``family``."""
        return [
            (product, version)
            for product in PRODUCTS
            if product.family == family
            for version in product.versions
        ]

    def cves(self, product: Product) -> tuple[Cve, ...]:
        """The CVEs of a product, in all its versions; of each product as many."""
        if product not in self._held:
            numbers = range(self._cves_each)
            self._held[product] = tuple(self._cve(product, number) for number in numbers)
        return self._held[product]

    def vulnerabilities(self, exposed: int) -> list[dict[str, Any]]:
        """Every CVE as ``/api/vulnerabilities`` tells it; ``exposed`` machines at most."""
        return [
            self._describe(product, cve, exposed)
            for product in PRODUCTS
            for cve in self.cves(product)
        ]

    def _cve(self, product: Product, number: int) -> Cve:
        serial = product.number * 10_000 + number
        rng = random_of(self._seed, "cve", serial)
        score = round(min(10.0, max(0.1, rng.gauss(6.6, 1.9))), 1)
        year = 2021 + (product.number + number) % 5
        # Weaknesses that have no CVE number carry one of Defender's own.
        name = f"TVM-{year}-{serial:04}" if number == 11 else f"CVE-{year}-{100_000 + serial}"
        update_id: str | int | None = None
        if product.vendor == "microsoft":
            update_id = rng.choice([str(rng.randrange(5_030_000, 5_060_000)), 5_048_667, None])
        return Cve(
            name,
            serial,
            score,
            _severity(score),
            rng.choices(range(4), weights=[80, 12, 5, 3])[0],
            self._now - rng.randrange(20 * DAY, 900 * DAY) // HOUR * HOUR,
            update_id,
        )

    def _describe(self, product: Product, cve: Cve, exposed: int) -> dict[str, Any]:
        rng = random_of(self._seed, "catalogue", cve.serial)
        network = rng.random() < 0.6
        found: dict[str, Any] = {
            "id": cve.id,
            "name": cve.id,
            "description": (
                f"Summary: A flaw in {product.vendor} {product.name} "
                f"{'lets a remote attacker' if network else 'lets a local user'} "
                f"{rng.choice(_EFFECTS)}. Impact: {cve.severity} by its score of {cve.score}. "
                f"AdditionalInformation: Fixed in {product.versions[-1]} and later. "
                "[Generated by the simulator]"
            ),
            "severity": cve.severity,
            "cvssV3": cve.score,
            "cvssVector": (
                f"CVSS:3.1/AV:{'N' if network else 'L'}/AC:L/PR:{rng.choice('NLH')}/UI:N/S:U"
                f"/C:{rng.choice('NLH')}/I:{rng.choice('NLH')}/A:{rng.choice('NLH')}"
            ),
            "exposedMachines": rng.randrange(exposed + 1),
            "publishedOn": format_time(cve.published),
            "updatedOn": format_time(cve.published + rng.randrange(18 * DAY)),
            "firstDetected": format_time(cve.published + rng.randrange(12 * DAY)),
            "patchFirstAvailable": None if rng.random() < 0.2 else format_time(cve.published),
            "publicExploit": cve.exploitability > 0,
            "exploitVerified": cve.exploitability > 1,
            "exploitInKit": cve.exploitability > 2,
            "exploitTypes": ["Remote"] if cve.exploitability and network else [],
            "exploitUris": (
                [f"https://www.exploit-db.com/exploits/{rng.randrange(10_000, 52_000)}"]
                if cve.exploitability
                else []
            ),
            "CveSupportability": "supported" if rng.random() < 0.95 else "RemovedFromVM",
            "EPSS": round(rng.random() ** 4, 5),
            "tags": [],
        }
        if rng.random() < 0.03:
            found["cvssVector"] = ""
            found["exploitTypes"] = None
        return found


_EFFECTS = (
    "run code of their choice",
    "read memory that does not belong to them",
    "raise their privileges",
    "stop the program",
    "bypass a security feature",
    "spoof what is shown",
)


def _severity(score: float) -> str:
    if score >= 9:
        return "Critical"
    if score >= 7:
        return "High"
    return "Medium" if score >= 4 else "Low"
