"""Single sign-on by OpenID Connect: off until a provider is configured (docs/operators.md)."""
