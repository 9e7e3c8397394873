"""The settings of limits, after those of serving. What is limited stands in the policy document."""

from typing import Annotated

from config.secret import Secret
from config.serving_settings import ServingSettings, about


class LimitSettings(ServingSettings, frozen=True, forbid_unknown_fields=True, kw_only=True):
    limits_timeout_ms: Annotated[
        int,
        about(
            "How long a call waits for the shared counts of limits; then each worker keeps to its share of them.",
            env="LLM_PROXY_LIMITS_TIMEOUT_MS",
            group="Limits",
            ge=1,
        ),
    ] = 100
    limits_hold_ms: Annotated[
        int,
        about(
            "What a call holds of its limits is given back so long after its worker died; a worker at work extends it.",
            env="LLM_PROXY_LIMITS_HOLD_MS",
            ge=1000,
        ),
    ] = 60_000
    distributed_rate_limit_enabled: Annotated[
        bool, about("One limit of requests for each token, beside those of the policy.")
    ] = False
    distributed_rate_limit_max: Annotated[int, about("Requests that it lets pass in a window.", ge=1)] = 60
    distributed_rate_limit_window: Annotated[str, about("Its sliding window, 1s to 24h.")] = "1m"
    distributed_rate_limit_fallback: Annotated[
        bool, about("While the counts are away: true keeps a share of it in each worker, false answers 503.")
    ] = True
    distributed_rate_limit_prefix: Annotated[str, about("What the keys of all limits begin with in Redis.")] = (
        "llm-proxy-limits"
    )
    distributed_rate_limit_key_secret: Annotated[
        Secret | None, about("Keys of limits in Redis hold HMACs under this secret, and no names; empty: names.")
    ] = None
