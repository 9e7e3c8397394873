"""To be removed when nobody imports it any more: it is config.addresses."""

from config.addresses import Address, parse

__all__ = ["Address", "parse"]
