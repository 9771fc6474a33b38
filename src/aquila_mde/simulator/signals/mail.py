"""E-mail: what comes in, what is attached to it, removed later, and clicked on.

Each function makes the rows of one occurrence, without their time and their machine.
"""

from __future__ import annotations

from random import Random
from typing import Any

from aquila_mde.simulator.records_evidence import PEOPLE
from aquila_mde.simulator.seeds import guid_of, hex_of
from aquila_mde.simulator.signals.parts import (
    Maker,
    Row,
    public_ip,
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
