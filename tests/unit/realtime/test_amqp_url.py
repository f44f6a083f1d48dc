"""URLs of RabbitMQ: options are applied, or rejected with a sentence."""

from __future__ import annotations

import ssl

import certifi
import pytest

from realtime.amqp_url import AmqpUrlError, parse_amqp_url


def test_options_are_taken_out_of_the_url() -> None:
    address = parse_amqp_url("amqp://u:p%2F@h:1/v%2F?heartbeat=7&connection_timeout=1500")
    assert address.url == "amqp://u:p%2F@h:1/v%2F"
    assert (address.heartbeat, address.connect_seconds) == (7, 1.5)
    assert address.ssl_context() is None
    assert address.kombu_ssl() is False


def test_url_without_options_has_the_defaults() -> None:
    address = parse_amqp_url("amqp://h")
    assert (address.heartbeat, address.connect_seconds) == (None, None)


def test_tls_verifies_the_server_unless_refused() -> None:
    url = "amqps://h/"
    context = parse_amqp_url(url).ssl_context()
    assert context is not None and context.verify_mode == ssl.CERT_REQUIRED
    assert context.check_hostname
    assert parse_amqp_url(url).kombu_ssl() == {
        "cert_reqs": ssl.CERT_REQUIRED, "server_hostname": "h",
    }  # fmt: skip
    open_one = parse_amqp_url(f"{url}?verify=verify_none").ssl_context()
    assert open_one is not None and open_one.verify_mode == ssl.CERT_NONE
    # amqp verifies a name that it is given, and refuses to do so without a certificate.
    assert parse_amqp_url(f"{url}?verify=verify_none").kombu_ssl() == {"cert_reqs": ssl.CERT_NONE}


def test_tls_uses_the_given_authority_and_name() -> None:
    address = parse_amqp_url(
        f"amqps://h/?cacertfile={certifi.where()}&server_name_indication=broker"
    )
    assert address.server_name == "broker"
    settings = address.kombu_ssl()
    assert isinstance(settings, dict)
    assert (settings["ca_certs"], settings["server_hostname"]) == (certifi.where(), "broker")
    assert address.ssl_context() is not None


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("amqp://h/?foo=1", "has the unknown option 'foo'; the options are heartbeat, "),
        ("amqp://h/?heartbeat=x", "heartbeat='x', which is not a number of seconds"),
        ("amqp://h/?heartbeat=", "heartbeat='', which is not a number of seconds"),
        ("amqp://h/?heartbeat=" + "9" * 5000, "which is not a number of seconds"),
        ("amqp://h/?connection_timeout=0", "which is not a number of milliseconds above 0"),
        ("amqp://h/?verify=verify_none", "needs amqps://"),
        ("amqps://h/?verify=no", "use verify_peer or verify_none"),
        ("amqps://h/?cacertfile=/nowhere", "'/nowhere', which is not a file"),
        ("amqp://u:p/q@h/", "is not an AMQP URL"),
        ("amqp://h/a/b", "unescaped # or /"),
        ("amqp://h/a#b", "unescaped # or /"),
        ("amqp://h:70000/", "is not an AMQP URL"),
        ("http://h/", "is not an AMQP URL"),
    ],
)
def test_unusable_url_part_is_named_in_the_error(url: str, reason: str) -> None:
    with pytest.raises(AmqpUrlError) as caught:
        parse_amqp_url(url)
    assert reason in str(caught.value)
