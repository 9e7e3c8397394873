"""Environment and `.env` into Settings: everything wrong is told at once, and no secret with it."""

from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from config.errors import ConfigError
from config.load import _convert, as_environment, child_environment, load_settings, raw_environment
from config.retired import FOREIGN, RETIRED
from config.secret import Secret
from config.settings import Settings
from config.variables import variables

SECRETS = [v.env for v in variables() if v.is_secret]


def mistakes(environ: dict[str, str], env_file: Path | None = None) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load_settings(environ, env_file)
    return caught.value.mistakes


def test_nothing_set_gives_the_defaults() -> None:
    assert load_settings({}) == Settings()


def test_every_mistake_is_told_at_once() -> None:
    told = mistakes(
        {
            "LISTEN_ADDR": "8080",
            "LLM_PROXY_WORKERS": "many",
            "LLM_PROXY_WORKRES": "2",
            "DB_DRIVER": "mysql",
            "ENABLE_METRICS": "perhaps",
            "ENCRYPTION_KEY": "short",
            "RETENTION_DAYS": "-1",
            "TRUSTED_PROXIES": "10.0.0.0/8,10.0.0.0/99",
        }
    )

    assert {line.partition(":")[0] for line in told} == {
        "LLM_PROXY_WORKRES",
        "LISTEN_ADDR",
        "LLM_PROXY_WORKERS",
        "DB_DRIVER",
        "ENABLE_METRICS",
        "ENCRYPTION_KEY",
        "RETENTION_DAYS",
        "TRUSTED_PROXIES",
    }
    assert len(told) == 8


def test_an_unknown_name_is_a_mistake_that_names_the_nearest(tmp_path: Path) -> None:
    env_file = tmp_path / ".env"
    env_file.write_text("MANAGMENT_TOKEN=secret-value\n")

    assert mistakes({}, env_file) == [f"MANAGMENT_TOKEN: unknown setting in {env_file}; did you mean MANAGEMENT_TOKEN?"]


def test_a_name_that_is_like_none_points_to_the_list(tmp_path: Path) -> None:
    assert mistakes({"LLM_PROXY_ZZZZZZZZ": "1"})[0].endswith("see .env.example for the settings there are")


def test_names_of_the_go_program_and_of_the_cli_are_no_mistakes(tmp_path: Path) -> None:
    env_file = tmp_path / ".env"
    env_file.write_text("".join(f"{name}=1\n" for name in sorted(RETIRED | FOREIGN)))

    assert load_settings({"LLM_PROXY_ACTIVE_CACHE_TTL": "5s"}, env_file) == Settings()


def test_no_setting_is_called_retired_or_foreign() -> None:
    assert not {v.env for v in variables()} & (RETIRED | FOREIGN)


def test_other_programs_names_in_the_environment_are_none_of_our_business() -> None:
    assert load_settings({"HOME": "/", "POSTGRES_PASSWORD": "x"}) == Settings()


def test_the_environment_wins_over_the_file_and_empty_is_unset(tmp_path: Path) -> None:
    env_file = tmp_path / ".env"
    env_file.write_text("LISTEN_ADDR=:1111\nADMIN_UI_LISTEN_ADDR=:2222\nLOG_LEVEL=debug\nDATA_DIR=\n")

    settings = load_settings({"LISTEN_ADDR": ":3333", "ADMIN_UI_LISTEN_ADDR": ""}, env_file)

    assert (settings.listen_addr, settings.admin_ui_listen_addr) == (":3333", ":2222")
    assert (settings.log_level, settings.data_dir) == ("debug", "./data")


def test_a_file_that_was_named_must_be_there(tmp_path: Path) -> None:
    assert "no such file" in mistakes({}, tmp_path / "missing.env")[0]


def test_a_file_that_nobody_named_need_not_be_there(tmp_path: Path) -> None:
    assert load_settings({"ENV": str(tmp_path / "production")}) == Settings()


@pytest.mark.parametrize("text", ["true", "1", "yes", "on", "T", "TRUE"])
def test_truth_has_many_words(text: str) -> None:
    assert load_settings({"LLM_PROXY_LOG_REQUESTS": text, "REQUIRE_ENCRYPTION_KEY": "no"}).log_requests


def test_lists_are_separated_by_commas() -> None:
    assert load_settings({"TRUSTED_PROXIES": " 10.0.0.0/8, fd00::/8 ,"}).trusted_proxies == ("10.0.0.0/8", "fd00::/8")


TEXTS = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=40)


@given(secret=TEXTS.filter(lambda s: len(s) > 7), name=st.sampled_from(SECRETS))
def test_a_secret_is_in_no_message_and_no_repr(secret: str, name: str) -> None:
    secret = f"s3cr3t{secret}"
    environ = {name: secret, "LISTEN_ADDR": "nonsense", "DB_DRIVER": "postgres"}

    told = "\n".join(mistakes(environ))

    assert secret not in told
    field = next(v.field for v in variables() if v.env == name)
    settings = msgspec.structs.replace(Settings(), **{field: Secret(secret)})
    assert secret not in repr(settings) + str(settings) + f"{settings}"


def wanted(kind: Any) -> st.SearchStrategy[Any]:
    """Values for a field, by its bare type."""
    bare = kind.__args__[0] if hasattr(kind, "__metadata__") else kind
    meta = kind.__metadata__[0]
    if bare is bool:
        return st.booleans()
    if bare is int:
        return st.integers(max(meta.ge or 0, 1), min(meta.le or 10**9, 10**9))
    if bare is str:
        return TEXTS.map(str.strip).filter(bool)
    if "tuple" in str(bare):
        return st.lists(TEXTS.map(lambda s: s.replace(",", "").strip()).filter(bool), max_size=3).map(tuple)
    if "Secret" in str(bare):
        return st.none() | TEXTS.map(Secret)
    words = [a for a in getattr(bare, "__args__", ()) if isinstance(a, str)]
    return st.sampled_from(words) if words else st.none()


ANY_SETTINGS = st.fixed_dictionaries({f.name: wanted(f.type) for f in msgspec.structs.fields(Settings)})


@pytest.mark.slow
@given(values=ANY_SETTINGS)
def test_settings_survive_the_way_through_an_environment(values: dict[str, Any]) -> None:
    settings = Settings(**values)
    told: list[str] = []

    again = Settings(**_convert(as_environment(settings), told))

    assert told == []
    assert again == settings


def test_an_empty_list_survives_the_way_through_an_environment() -> None:
    settings = Settings(dispatcher_backends=())

    assert load_settings(as_environment(settings)).dispatcher_backends == ()


def test_a_child_gets_this_environment_with_the_overrides(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOME_NAME", "old")
    monkeypatch.setenv("OTHER_NAME", "kept")

    child = child_environment({"SOME_NAME": "new"})

    assert (child["SOME_NAME"], child["OTHER_NAME"]) == ("new", "kept")


def test_raw_variables_come_from_the_environment_or_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    env_file = tmp_path / ".env"
    env_file.write_text("PROXY_URL=http://one\nPROXY_TOKEN=sk-file\nMODEL=m\n")
    monkeypatch.setenv("PROXY_TOKEN", "sk-env")
    monkeypatch.setenv("MODEL", "")

    raw = raw_environment(frozenset({"PROXY_URL", "PROXY_TOKEN", "MODEL", "GEMINI_API_KEY"}), env_file)

    assert raw == {"PROXY_URL": "http://one", "PROXY_TOKEN": "sk-env", "MODEL": "m"}


def test_every_setting_says_what_it_is_for_and_has_a_group() -> None:
    for variable in variables():
        assert variable.description.endswith(".")
        assert variable.group
        assert variable.env.isupper()
