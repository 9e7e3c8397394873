"""What every page is given: made once in `main.py`, handed down, never imported."""

from msgspec import Struct

from admin.acts.refusals import Refusals
from admin.api.allowance import Allowance
from admin.assets import Assets
from admin.rendering import Templates
from config.client_address import Network
from config.clock import Clock
from config.providers import Providers
from config.settings import Settings
from sql.stores import Stores


class Parts(Struct, frozen=True, kw_only=True):
    settings: Settings
    clock: Clock
    stores: Stores
    providers: Providers
    assets: Assets
    templates: Templates
    sign_ins: Allowance
    """Wrong management tokens per address."""
    refusals: Refusals
    trusted: tuple[Network, ...]
    public_url: str
    """Where clients find the proxy, when it was said; empty: as seen from the browser."""

    @property
    def provider_names(self) -> dict[str, str]:
        """For a select: value and text."""
        return {name: name for name in self.providers.by_name}
