"""Microsoft Defender for Endpoint data in an Elastic stack."""

from importlib.metadata import version

__version__ = version("aquila-mde")
