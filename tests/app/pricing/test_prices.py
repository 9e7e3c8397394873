"""What an exchange costs: the list, its dates and tiers, overrides, and None where nothing is known."""

from datetime import UTC, date, datetime
from typing import get_args

import msgspec
import pytest

from app.pricing.catalogue import Catalogue, matches, seller_of
from app.pricing.prices import Prices
from app.pricing.rates import CLASSES, rates_of
from bus.event import Tier, Usage
from config.prices.override import ClassPrices, PriceClass, PriceOverride
from config.prices.snapshot import Model, Row, Seller, Snapshot, read_snapshot
from config.providers import SHIPPED_FILE, load_providers

NOW = 1_795_305_600_000
"""2026-11-22, noon in UTC."""
PROVIDERS = tuple(load_providers(SHIPPED_FILE).by_name.values())
USAGE = Usage(input=1000, cache_read=500, output=200, reasoning=30)


@pytest.fixture(scope="module")
def prices() -> Prices:
    return Prices(PROVIDERS)


def at(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp() * 1000)


def own(*models: Model) -> Prices:
    listed = {"shop": msgspec.Raw(msgspec.json.encode(list(models)))}
    return Prices(snapshot=Snapshot("ours", "", "2026-11-22", {"shop": Seller(urls="https://shop")}, listed))


def test_each_class_is_billed_at_its_own_price(prices: Prices) -> None:
    assert prices.cost_microusd("openai", "openai", "gpt-4o", USAGE, NOW) == 2500 + 625 + 2300


@pytest.mark.parametrize(
    ("provider", "dialect", "model"),
    [
        ("openai", "openai", "GPT-4o-2024-08-06"),
        ("openai", "openai", "gpt-4o-20240806"),
        ("azure", "openai", "gpt-4o"),
        ("openrouter", "openai", "openai/gpt-4o"),
    ],
)
def test_a_model_is_found_under_all_its_names(prices: Prices, provider: str, dialect: str, model: str) -> None:
    assert prices.cost_microusd(provider, dialect, model, USAGE, NOW) == 5425


@pytest.mark.parametrize(
    ("provider", "dialect", "model"),
    [("openai", "openai", "no-such-model"), ("openai", "openai", ""), ("my-own-server", "openai", "gpt-4o")],
)
def test_what_is_not_known_has_no_cost(prices: Prices, provider: str, dialect: str, model: str) -> None:
    assert prices.priced(provider, dialect, model, USAGE, NOW) == (None, "")


def test_a_class_without_a_price_makes_the_whole_cost_unknown(prices: Prices) -> None:
    assert prices.cost_microusd("openai", "openai", "gpt-4o-audio-preview", Usage(input=9), NOW) == 23
    assert prices.cost_microusd("openai", "openai", "gpt-4o-audio-preview", Usage(input=9, audio_input=1), NOW) is None
    assert prices.cost_microusd("openai", "openai", "text-embedding-3-small", Usage(input=9, output=1), NOW) is None


def test_a_long_prompt_makes_all_of_it_dearer(prices: Prices) -> None:
    def cost(usage: Usage) -> int | None:
        return prices.cost_microusd("gemini", "gemini", "gemini-2.5-pro", usage, NOW)

    assert cost(Usage(input=200_000, output=10)) == 250_000 + 100
    assert cost(Usage(input=200_001, output=10)) == 500_003 + 150
    assert cost(Usage(input=1, cache_read=200_000, output=10)) == 2 + 50_000 + 150 + 1  # rounded once, at the end


@pytest.mark.parametrize(("tier", "cost"), [("", 3250), ("batch", 1625), ("flex", 1625), ("priority", 6500)])
def test_a_service_tier_has_its_prices(prices: Prices, tier: Tier, cost: int) -> None:
    usage = Usage(input=1000, output=200, service_tier=tier)

    assert prices.cost_microusd("openai", "openai", "gpt-5", usage, NOW) == cost


def test_a_tier_that_the_list_does_not_know_has_no_cost(prices: Prices) -> None:
    assert prices.cost_microusd("openai", "openai", "gpt-4o", Usage(input=9, service_tier="flex"), NOW) is None


def test_what_the_provider_tells_counts_before_all_else(prices: Prices) -> None:
    usage = Usage(input=10, told_cost_microusd=77)

    assert prices.priced("openrouter", "openai", "no-such-model", usage, NOW) == (77, "provider")
    assert prices.priced("openai", "openai", "gpt-4o", usage, NOW) == (25, "list")


def test_an_estimate_is_the_price_of_plain_text(prices: Prices) -> None:
    assert prices.estimate_microusd("openai", "openai", "gpt-4o", 1000, 100, NOW) == 3500
    assert prices.estimate_microusd("openai", "openai", "no-such-model", 1000, 100, NOW) is None


def test_a_price_counts_from_its_day_on() -> None:
    prices = own(
        Model("m", [Row({"input_mtok": 1.0}), Row({"input_mtok": 3.0}, since=date(2026, 3, 13))]),
    )

    def cost(when: str) -> int | None:
        return prices.cost_microusd("shop", "openai", "m", Usage(input=10), at(when))

    assert [cost("2026-03-12T23:59:59"), cost("2026-03-13T00:00:00"), cost("2025-01-01")] == [10, 30, 10]


def test_a_price_counts_at_its_time_of_day() -> None:
    night = Row({"input_mtok": 1.0}, minutes=(22 * 60, 6 * 60 + 30))
    prices = own(Model("m", [Row({"input_mtok": 2.0}), night]))

    def cost(when: str) -> int | None:
        return prices.cost_microusd("shop", "openai", "m", Usage(input=10), at(f"2026-11-22T{when}"))

    assert [cost("21:59:59"), cost("22:00"), cost("06:29:59"), cost("06:30")] == [20, 10, 10, 20]


def test_an_hour_of_cache_is_not_priced_as_five_minutes() -> None:
    assert rates_of({"input_mtok": 1.0, "cache_write_mtok": 1.25}).cost_microusd(Usage(cache_write_1h=4)) is None
    assert rates_of({"input_mtok": 1.0}).cost_microusd(Usage(cache_write_1h=4)) == 4


def test_overrides_count_before_the_list_and_the_database_before_the_file() -> None:
    prices = Prices(PROVIDERS)
    before = prices.cost_microusd("openai", "openai", "gpt-4o", USAGE, NOW)

    prices.replace_overrides([override("gpt-4*", ClassPrices(input=1.0, output=2.0))])

    assert prices.priced("openai", "openai", "gpt-4o", USAGE, NOW) == (1500 + 460, "override")
    prices.replace_overrides([])
    assert prices.cost_microusd("openai", "openai", "gpt-4o", USAGE, NOW) == before


def test_of_several_overrides_the_longest_pattern_counts_then_the_latest() -> None:
    prices = Prices(PROVIDERS)
    prices.replace_overrides(
        [
            override("*", ClassPrices(input=1.0)),
            override("gpt-4o", ClassPrices(input=2.0)),
            override("gpt-4o", ClassPrices(input=3.0), from_ms=at("2026-11-01")),
            override("gpt-4o", ClassPrices(input=4.0), from_ms=at("2026-12-01")),
            override("gpt-4o-mini", ClassPrices(input=5.0), until_ms=at("2026-11-22")),
        ]
    )

    def cost(model: str) -> int | None:
        return prices.cost_microusd("openai", "openai", model, Usage(input=10), NOW)

    assert [cost("gpt-4o"), cost("gpt-4o-mini"), cost("claude")] == [30, 10, 10]
    assert prices.cost_microusd("azure", "openai", "gpt-4o", Usage(input=10), NOW) == 25


def override(model: str, prices: ClassPrices, from_ms: int | None = None, until_ms: int | None = None) -> PriceOverride:
    return PriceOverride(provider="openai", model=model, prices=prices, from_ms=from_ms, until_ms=until_ms)


def test_who_sells_is_told_by_address_then_name_then_a_dialect_of_ones_own() -> None:
    snapshot = read_snapshot()

    assert seller_of(snapshot, "fast", "https://api.groq.com/openai", "openai") == "groq"
    assert seller_of(snapshot, "my-vertex", "https://proxy.example", "openai") == "google"
    assert seller_of(snapshot, "house", "https://proxy.example", "anthropic") == "anthropic"
    assert seller_of(snapshot, "house", "https://proxy.example", "openai") is None


def test_the_whole_list_can_be_read_and_priced() -> None:
    snapshot, models = read_snapshot(), 0
    for seller in snapshot.models:
        for model in snapshot.models_of(seller):
            models += 1
            assert all(rates_of(row.prices, seller).steps for row in [*model.prices, *model.variants])
            assert isinstance(matches(model.match, "some-model-2026"), bool)

    assert models > 2000
    assert set(snapshot.models) == set(snapshot.providers)
    assert all(set(seller.fallback) <= set(snapshot.models) for seller in snapshot.providers.values())


def test_classes_of_overrides_are_those_of_usage() -> None:
    assert get_args(PriceClass) == ClassPrices.__struct_fields__
    assert {name if name != "audio_hour" else "audio_ms" for name in get_args(PriceClass)} == set(CLASSES)
    assert set(CLASSES) <= set(Usage.__struct_fields__)


def test_an_exact_name_counts_before_a_pattern_that_stands_first() -> None:
    first, second = Model({"starts": "gpt"}, []), Model("gpt-4o", [])

    assert Catalogue([first, second]).find("gpt-4o") is second
    assert Catalogue([first, second]).find("gpt-4o-x") is first
