"""What start-up refuses, told in whole: every mistake at once, one line each."""


class ConfigError(Exception):
    """The configuration cannot be used. `mistakes` holds one line per mistake, each saying what to do."""

    def __init__(self, mistakes: list[str]) -> None:
        super().__init__("\n".join(mistakes))
        self.mistakes = mistakes
