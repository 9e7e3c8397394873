"""Which databases the settings open."""

from pathlib import Path

import pytest

from config.errors import ConfigError
from config.secret import Secret
from config.settings import Settings
from sql.sealing import new_key
from sql.stores import main_path, open_stores


def test_sqlite_lies_in_the_data_folder_unless_told_otherwise(tmp_path: Path) -> None:
    assert main_path(Settings(data_dir=str(tmp_path))) == tmp_path / "llm-proxy.db"
    assert main_path(Settings(data_dir="x", database_path=str(tmp_path / "a.db"))) == tmp_path / "a.db"


def test_postgres_is_one_database_for_everything() -> None:
    stores = open_stores(Settings(db_driver="postgres", database_url=Secret("postgresql://nobody@127.0.0.1:1/none")))

    assert stores.records is stores.main
    assert stores.main.dialect == "postgres"


@pytest.mark.parametrize(
    ("settings", "mistake"),
    [
        (Settings(db_driver="postgres"), "DATABASE_URL: is not set"),
        (Settings(db_driver="postgres", database_url=Secret("nonsense canary")), "DATABASE_URL: cannot be read"),
        (Settings(encryption_key=Secret("canary")), "ENCRYPTION_KEY: must be base64 of 32 bytes"),
        (Settings(require_encryption_key=True), "ENCRYPTION_KEY: is not set, but REQUIRE_ENCRYPTION_KEY is"),
    ],
)
def test_wrong_settings_stop_the_start_with_a_line(settings: Settings, mistake: str) -> None:
    with pytest.raises(ConfigError, match=mistake) as caught:
        open_stores(settings)

    assert "canary" not in str(caught.value)


def test_a_required_key_that_is_there_is_fine(tmp_path: Path) -> None:
    settings = Settings(data_dir=str(tmp_path), require_encryption_key=True, encryption_key=Secret(new_key()))

    assert open_stores(settings).sealer.is_sealing
