"""How Hypothesis runs here: machines are shared and slow at times, so time says nothing about a property."""

from hypothesis import HealthCheck, settings

settings.register_profile("llm-proxy", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("llm-proxy")
