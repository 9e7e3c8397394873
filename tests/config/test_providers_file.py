"""The providers file: what it means, and that a broken one stops the start with file, line and reason."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from config.durations import duration_ms
from config.errors import ConfigError
from config.prices.override import ClassPrices
from config.providers import SHIPPED_FILE, Provider, Providers, load_providers

GOOD = """\
default_api: one
apis:
  one:
    base_url: https://one.example/base/
    allowed_endpoints:
      - /v1/chat/completions
    allowed_methods: [post, GET]
"""


def load(folder: Path, text: str, default: str = "") -> Providers:
    path = folder / "providers.yaml"
    path.write_text(text)
    return load_providers(path, default)


def mistakes(folder: Path, text: str, default: str = "") -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load(folder, text, default)
    return [line.removeprefix(f"{folder}/") for line in caught.value.mistakes]


def test_a_small_file_gets_its_defaults(tmp_path: Path) -> None:
    provider = load(tmp_path, GOOD).default

    assert (provider.name, provider.base_url, provider.dialect) == ("one", "https://one.example/base", "openai")
    assert (provider.auth.header, provider.auth.scheme) == ("authorization", "Bearer")
    assert provider.allowed_methods == ("POST", "GET")
    assert provider.timeouts.total_ms == 0


def test_the_shipped_file_has_the_five_providers() -> None:
    providers = load_providers(SHIPPED_FILE)

    assert providers.default.name == "openai"
    assert list(providers.by_name) == ["openai", "anthropic", "gemini", "azure", "openrouter"]
    assert {p.name: p.auth.header for p in providers.by_name.values()} == {
        "openai": "authorization",
        "anthropic": "x-api-key",
        "gemini": "x-goog-api-key",
        "azure": "api-key",
        "openrouter": "authorization",
    }


def test_the_shipped_file_restricts_endpoints_and_no_models() -> None:
    for provider in load_providers(SHIPPED_FILE).by_name.values():
        assert provider.allowed_endpoints
        assert provider.param_whitelist == {}


def test_a_file_of_the_go_program_is_understood(tmp_path: Path) -> None:
    text = GOOD + (
        "    timeouts:\n      request: 60s\n      response_header: 1m30s\n      idle_connection: 90s\n"
        "      flush_interval: 100ms\n    connection:\n      max_idle_conns: 100\n      max_idle_conns_per_host: 20\n"
        "    param_whitelist:\n      model: [gpt-4o*]\n    allowed_origins: ['https://a']\n"
        "    required_headers: [Origin]\n"
    )

    provider = load(tmp_path, text).default

    assert (provider.timeouts.response_header_ms, provider.connection.keepalive_ms) == (90_000, 90_000)
    assert provider.param_whitelist == {"model": ("gpt-4o*",)}
    assert provider.required_headers == ("origin",)


def test_the_setting_overrides_the_default_of_the_file(tmp_path: Path) -> None:
    two = GOOD + GOOD.partition("apis:\n")[2].replace("one", "two")

    assert load(tmp_path, two, "two").default.name == "two"


@pytest.mark.parametrize(
    ("text", "line", "reason"),
    [
        ("", 1, "Expected `object`, got `null`"),
        ("- a", 1, "Expected `object`, got `array`"),
        ("apis: {}\ndefault_api: x", 1, "length >= 1"),
        (GOOD.replace("default_api: one", "default_api: two"), 1, "default_api is 'two'; the file has one"),
        (GOOD.replace("default_api: one", "defaultapi: one"), 1, "`defaultapi`"),
        (GOOD + "      - x\n   bad", 8, "not YAML"),
        (GOOD + "    base_url: https://two\n", 8, "'base_url' is there twice"),
        (GOOD + "    alowed_origins: []\n", 8, "unknown field `alowed_origins`"),
        (GOOD + "    dialect: klingon\n", 8, "Invalid enum value 'klingon'"),
        (GOOD + "    auth:\n      heder: x\n", 9, "unknown field `heder`"),
        (GOOD + "    auth:\n      header: 'x y'\n", 9, "no header's name"),
        (GOOD + "    timeouts:\n      connect: 10 s\n", 9, "'10 s' is no duration"),
        (GOOD + "    timeouts:\n      connect: 10\n", 9, "'10' is no duration"),
        (GOOD + "    timeouts:\n      conect: 10s\n", 9, "unknown field `conect`"),
        (GOOD + "    connection:\n      max_connections: 0\n", 9, "`int` >= 1"),
        (GOOD + "    connection:\n      ca_file: /nowhere.pem\n", 9, "no certificates in /nowhere.pem (No such file"),
        (GOOD + f"    connection:\n      ca_file: {__file__}\n", 9, "no certificates in"),
        (
            GOOD + "    connection:\n      client_cert_file: /nowhere.pem\n",
            9,
            "no certificate with its key in /nowhere",
        ),
        (
            GOOD + "    connection:\n      client_key_file: /nowhere.pem\n",
            9,
            "client_key_file needs a client_cert_file",
        ),
        (GOOD + "    param_whitelist:\n      model: gpt\n", 8, "Expected `array`, got `str`"),
        (GOOD + "    path_prefix: v1\n", 8, "path_prefix must begin with /"),
        (GOOD + "    required_headers: ['']\n", 8, "no header's name"),
        (GOOD.replace("- /v1", "- v1"), 6, "must begin with /"),
        (GOOD.replace("- /v1/chat/completions", "- 5"), 6, "Expected `str`, got `int`"),
        (GOOD.replace("[post, GET]", "[]"), 7, "length >= 1"),
        (GOOD.replace("[post, GET]", "['GET POST']"), 7, "is no method"),
        (GOOD.replace("https://one.example/base/", "ftp://one"), 4, "base_url must be http(s)"),
        (GOOD.replace("https://one.example/base/", "https://u:p@one"), 4, "base_url must be http(s)"),
        (GOOD.replace("https://one.example/base/", "7"), 4, "Expected `str`, got `int`"),
        (GOOD.replace("  one:", "  manage:").replace("api: one", "api: manage"), 3, "'manage' is reserved"),
        (GOOD.replace("  one:", "  One:").replace("api: one", "api: One"), 3, "'One' is reserved or not"),
        (GOOD + "  two: nothing\n", 8, "Expected `object`, got `str`"),
        (GOOD + "  two:\n    base_url: https://two\n", 8, "missing required field `allowed_endpoints`"),
    ],
)
def test_a_broken_file_is_told_with_file_line_and_reason(tmp_path: Path, text: str, line: int, reason: str) -> None:
    told = mistakes(tmp_path, text)

    assert len(told) == 1
    assert told[0].startswith(f"providers.yaml:{line}: ")
    assert reason in told[0]


def test_all_mistakes_of_a_file_are_told_at_once(tmp_path: Path) -> None:
    text = GOOD.replace("https://one.example/base/", "ftp://one").replace("- /v1", "- v1") + "  two:\n    dialect: x\n"

    told = mistakes(tmp_path, text, "three")

    assert [line.partition(" ")[0] for line in told] == [
        "providers.yaml:4:",
        "providers.yaml:6:",
        "providers.yaml:9:",
        "DEFAULT_API_PROVIDER",
    ]


def test_a_missing_file_says_which_setting_names_it(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="set API_CONFIG_PATH"):
        load_providers(tmp_path / "none.yaml")


@given(text=st.text(st.sampled_from("apis:default_ \n-[]{}&*'\"#!|>1é\t"), max_size=60))
def test_any_text_is_providers_or_a_mistake(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    path = tmp_path_factory.getbasetemp() / "any.yaml"
    path.write_text(text, encoding="utf-8")

    try:
        loaded = load_providers(path)
    except ConfigError as error:
        assert all(line.startswith(f"{path}:") for line in error.mistakes)
        return

    assert isinstance(loaded.default, Provider)


@pytest.mark.parametrize(
    ("text", "ms"), [("500ms", 500), ("30s", 30_000), ("1m30s", 90_000), ("1.5h", 5_400_000), ("0", 0), ("0s", 0)]
)
def test_a_duration_is_milliseconds(text: str, ms: int) -> None:
    assert duration_ms(text) == ms


@pytest.mark.parametrize("text", ["", "30", "s", "-5s", "5 s", "5d", "1e3s", "9999999h", "٣s"])
def test_what_is_no_duration_is_said_to_be_none(text: str) -> None:
    with pytest.raises(ValueError, match=r"no duration|longer than"):
        duration_ms(text)


def test_prices_of_a_provider_are_read_by_class_and_time(tmp_path: Path) -> None:
    prices = "    prices:\n      - {model: GPT-4.1*, input: 1.8, output: 7.2, from: 2026-12-01, until: 2027-01-01}\n"

    [price] = load(tmp_path, GOOD + prices).default.prices

    assert (price.provider, price.model, price.prices) == ("one", "gpt-4.1*", ClassPrices(input=1.8, output=7.2))
    assert (price.from_ms, price.until_ms) == (1_796_083_200_000, 1_798_761_600_000)


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ("{model: m}", "names no price"),
        ("{model: m, input: 1, from: 2026-12-01, until: 2026-12-01}", "`until` is not after `from`"),
        ("{model: m, inputs: 1}", "unknown field `inputs`"),
        ("{model: m, input: -1}", ">= 0"),
        ("{input: 1}", "missing required field `model`"),
    ],
)
def test_a_price_that_makes_no_sense_is_a_mistake(tmp_path: Path, row: str, reason: str) -> None:
    [mistake] = mistakes(tmp_path, f"{GOOD}    prices:\n      - {row}\n")

    assert reason in mistake
    assert mistake.startswith(("providers.yaml:8", "providers.yaml:9"))
