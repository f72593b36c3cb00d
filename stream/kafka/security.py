"""How Kafka is reached safely: TLS and SASL, for kafka-python and for Faust alike."""

from __future__ import annotations

import ssl
from typing import Annotated, Any, Literal

import msgspec

from gamekeeper.schemas.errors import SettingsError
from gamekeeper.schemas.text import Secret

SASL_PROTOCOLS = ("SASL_PLAINTEXT", "SASL_SSL")
TLS_PROTOCOLS = ("SSL", "SASL_SSL")

Protocol = Annotated[
    Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"],
    msgspec.Meta(description="PLAINTEXT, SSL, SASL_PLAINTEXT or SASL_SSL"),
]
Mechanism = Annotated[
    Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"],
    msgspec.Meta(description="PLAIN, SCRAM-SHA-256 or SCRAM-SHA-512"),
]


class Security(msgspec.Struct, frozen=True, kw_only=True):
    """What a client needs to be let in; the fields are described in `Settings.from_env`."""

    security_protocol: Protocol = "PLAINTEXT"
    sasl_mechanism: Mechanism = "SCRAM-SHA-512"
    sasl_username: str = ""
    sasl_password: Secret = Secret("")
    tls_ca_file: str = ""
    tls_cert_file: str = ""
    tls_key_file: str = ""
    tls_key_password: Secret = Secret("")

    def check(self) -> None:
        """Raise `SettingsError` where the fields contradict each other."""
        sasl, tls = self._uses(SASL_PROTOCOLS), self._uses(TLS_PROTOCOLS)
        if sasl and not (self.sasl_username and self.sasl_password):
            raise SettingsError(
                f"GAMEKEEPER_SECURITY_PROTOCOL={self.security_protocol} needs "
                "GAMEKEEPER_SASL_USERNAME and GAMEKEEPER_SASL_PASSWORD_FILE"
            )
        if not sasl and (self.sasl_username or self.sasl_password):
            raise SettingsError(
                "GAMEKEEPER_SASL_USERNAME and _PASSWORD are set, so "
                "GAMEKEEPER_SECURITY_PROTOCOL must be SASL_SSL (or SASL_PLAINTEXT)"
            )
        if not tls and (self.tls_ca_file or self.tls_cert_file or self.tls_key_file):
            raise SettingsError(
                "GAMEKEEPER_TLS_... files are set, so GAMEKEEPER_SECURITY_PROTOCOL must be "
                "SSL or SASL_SSL"
            )
        if bool(self.tls_cert_file) != bool(self.tls_key_file):
            raise SettingsError(
                "GAMEKEEPER_TLS_CERT_FILE and GAMEKEEPER_TLS_KEY_FILE go together: set both"
            )

    def for_kafka_python(self) -> dict[str, Any]:
        """Give the options of kafka-python's clients."""
        options: dict[str, Any] = {"security_protocol": self.security_protocol}
        if self._uses(TLS_PROTOCOLS):
            options["ssl_context"] = self.ssl_context()
        if self._uses(SASL_PROTOCOLS):
            options["sasl_mechanism"] = self.sasl_mechanism
            options["sasl_plain_username"] = self.sasl_username
            options["sasl_plain_password"] = self.sasl_password
        return options

    def for_faust(self) -> Any | None:
        """Give the `broker_credentials` of a Faust app; None without any."""
        import faust

        context = self.ssl_context() if self._uses(TLS_PROTOCOLS) else None
        if self._uses(SASL_PROTOCOLS):
            return faust.SASLCredentials(
                username=self.sasl_username,
                password=self.sasl_password,
                mechanism=self.sasl_mechanism,
                ssl_context=context,
            )
        return None if context is None else faust.SSLCredentials(context)

    def ssl_context(self) -> ssl.SSLContext:
        """Build the TLS context: the server's certificate and host name are always checked."""
        try:
            context = ssl.create_default_context(cafile=self.tls_ca_file or None)
        except OSError as error:
            raise SettingsError(
                f"GAMEKEEPER_TLS_CA_FILE={self.tls_ca_file}: not a readable PEM file ({error})"
            ) from error
        if self.tls_cert_file:
            try:
                context.load_cert_chain(
                    self.tls_cert_file, self.tls_key_file, lambda: self.tls_key_password
                )
            except OSError as error:
                raise SettingsError(
                    f"GAMEKEEPER_TLS_CERT_FILE={self.tls_cert_file}, "
                    f"GAMEKEEPER_TLS_KEY_FILE={self.tls_key_file}: not a readable pair of PEM "
                    f"files, or the wrong password ({error})"
                ) from error
        return context

    def _uses(self, protocols: tuple[str, ...]) -> bool:
        return self.security_protocol in protocols
