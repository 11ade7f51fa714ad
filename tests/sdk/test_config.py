# -*- coding: utf-8 -*-
"""Profiles, and which address and credentials apply."""
import io
import os
import stat
import threading

import pytest

from Algorithmia import config
from Algorithmia.errors import ConfigError, ProfileNotFoundError

OTHER = "https://api.other.example"


def write(text):
    path = config.config_path()
    if not os.path.isdir(os.path.dirname(path)):
        os.makedirs(os.path.dirname(path))
    with open(path, "w") as handle:
        handle.write(text)


def save(name, **values):
    config.save_profile(name, config.Profile(**values))


def test_nothing_configured_is_the_embedded_platform():
    connection = config.resolve()
    assert connection.address is None and connection.api_key is None
    assert connection.source is config.EMBEDDED


def test_the_empty_default_profile_of_the_old_cli_is_the_embedded_platform():
    write('[profiles.default]\napi_key = ""\napi_server = ""\nca_cert = ""\nbearer_token = ""\n')
    assert config.resolve().source is config.EMBEDDED


def test_explicit_key_means_the_default_address():
    save("default", api_key="simPROFILE", api_server=OTHER)
    assert config.resolve(api_key="simKEY")[:2] == (config.DEFAULT_ADDRESS, "simKEY")


def test_explicit_wins_over_environment_over_profile(monkeypatch):
    save("default", api_key="simPROFILE", api_server=OTHER)
    assert config.resolve()[:2] == (OTHER, "simPROFILE")
    monkeypatch.setenv("ALGORITHMIA_API", "https://api.env.example")
    monkeypatch.setenv("ALGORITHMIA_API_KEY", "simENV")
    assert config.resolve()[:2] == ("https://api.env.example", "simENV")
    assert config.resolve("simARG", "https://api.arg.example")[:2] == ("https://api.arg.example", "simARG")


def test_environment_key_never_meets_the_profiles_address(monkeypatch):
    save("default", api_key="simPROFILE", api_server=OTHER)
    monkeypatch.setenv("ALGORITHMIA_API_KEY", "simENV")
    assert config.resolve()[:2] == (config.DEFAULT_ADDRESS, "simENV")


def test_environment_address_gets_no_key_of_another_address(monkeypatch):
    save("default", api_key="simPROFILE", api_server=OTHER)
    monkeypatch.setenv("ALGORITHMIA_API", "https://api.env.example")
    assert config.resolve()[:2] == ("https://api.env.example", None)


def test_environment_address_gets_the_key_that_the_profile_has_for_it(monkeypatch):
    save("default", api_key="simPROFILE", api_server=OTHER)
    monkeypatch.setenv("ALGORITHMIA_API", OTHER + "/")
    assert config.resolve()[:2] == (OTHER, "simPROFILE")


def test_a_key_of_one_address_is_not_sent_to_another_explicit_one(monkeypatch):
    monkeypatch.setenv("ALGORITHMIA_API", OTHER)
    monkeypatch.setenv("ALGORITHMIA_API_KEY", "simENV")
    assert config.resolve(api_address="https://api.arg.example").api_key is None
    assert config.resolve(api_address=OTHER).api_key == "simENV"


def test_defect_16_explicit_bearer_token_wins_over_the_environments_key(monkeypatch):
    monkeypatch.setenv("ALGORITHMIA_API_KEY", "simENV")
    connection = config.resolve(bearer_token="a.b.c")
    assert connection.bearer_token == "a.b.c" and connection.api_key is None


def test_named_profile_by_argument_and_environment(monkeypatch):
    save("work", api_key="simWORK", api_server=OTHER)
    monkeypatch.setenv("ALGORITHMIA_API_KEY", "simENV")
    assert config.resolve(profile="work")[:2] == (OTHER, "simWORK")
    monkeypatch.setenv("ALGORITHMIA_PROFILE", "work")
    assert config.resolve()[:2] == (OTHER, "simWORK")


def test_unknown_profile_says_what_to_do():
    with pytest.raises(ProfileNotFoundError) as caught:
        config.resolve(profile="nope")
    assert str(caught.value) == "nope profile not found. Run 'algo auth --profile nope'"


def test_profile_local_is_the_embedded_platform():
    assert config.resolve(profile="local")[:3] == (None, None, None)
    save("local", api_key="simL", api_server="http://127.0.0.1:4711")
    assert config.resolve(profile="local").address == "http://127.0.0.1:4711"  # somebody's own
    os.mkdir(os.path.join(config.home(), "platform"))
    for text, embedded in (("4711", True), ("4712", False), ("", False)):
        with open(os.path.join(config.home(), "platform", "port"), "w") as handle:
            handle.write(text)
        assert (config.resolve(profile="local").source is config.EMBEDDED) is embedded


def test_ca_cert_argument_wins_over_environment(monkeypatch):
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", "/env.pem")
    assert config.resolve("k").ca_cert == "/env.pem"
    assert config.resolve("k", ca_cert="/arg.pem").ca_cert == "/arg.pem"
    assert config.resolve("k", ca_cert=False).ca_cert is False


def test_files_of_both_old_command_lines_are_read():
    write('[profiles.default]\napi_key = "simA"\n\n[profiles.rust]\napi_key = "simB"\napi_server = "https://api.x.example"\n'
          'git_server = "https://git.x.example"\n')
    profiles = config.load_profiles()
    assert profiles["default"] == config.Profile(api_key="simA")
    assert profiles["rust"] == config.Profile("simB", "https://api.x.example")


def test_saving_keeps_other_profiles_and_unknown_keys():
    write('[profiles.rust]\napi_key = "simB"\ngit_server = "https://git.x.example"\n\n[other]\nx = 1\n')
    save("rust", api_key="simNEW")
    save("second", api_key="simC")
    text = open(config.config_path()).read()
    assert 'git_server = "https://git.x.example"' in text and "[other]" in text
    assert list(config.load_profiles()) == ["rust", "second"]
    assert config.load_profiles()["rust"].api_key == "simNEW"


def test_values_beyond_ascii_are_read_and_kept():
    save("default", api_key="simA")
    path = "/home/jürgen/ca.pem"  # native strings, as all of the SDK's
    with io.open(config.config_path(), "a", encoding="utf-8") as handle:
        handle.write(u'[profiles.u]\napi_key = "simU"\nca_cert = "/home/jürgen/ca.pem"\n')
    save("other", ca_cert=path)
    profiles = config.load_profiles()
    assert profiles["u"] == config.Profile("simU", ca_cert=path) and profiles["other"].ca_cert == path
    assert config.resolve(profile="u").ca_cert == path


def test_the_file_is_for_its_owner_alone():
    save("default", api_key="simA")
    assert stat.S_IMODE(os.stat(config.config_path()).st_mode) == 0o600


def test_a_file_in_the_ancient_place_is_read_and_moved(monkeypatch, tmpdir):
    place = tmpdir.join("ancient")
    place.write('[profiles.default]\napi_key = "simOLD"\napi_server = "https://api.x.example"\n')
    monkeypatch.setenv("ALGORITHMIA_HOME", str(place))
    assert config.resolve().api_key == "simOLD"
    save("second", api_key="simNEW")
    assert config.config_path() == str(place.join("config"))
    assert list(config.load_profiles()) == ["default", "second"]


def test_a_broken_file_is_an_error_that_names_it():
    write("[profiles.default\n")
    with pytest.raises(ConfigError) as caught:
        config.resolve()
    assert config.config_path() in str(caught.value)


def test_two_writers_lose_nothing():
    threads = [threading.Thread(target=save, args=("p%d" % number,), kwargs={"api_key": "k"}) for number in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(config.load_profiles()) == 12


@pytest.mark.parametrize("text, address", [
    ("https://api.x.example/", "https://api.x.example"),
    ("http://127.0.0.1:9000/v1/", "http://127.0.0.1:9000"),
    ("https://host.example/algorithmia", "https://host.example/algorithmia"),
    (" https://api.x.example ", "https://api.x.example"),
])
def test_addresses_are_normalized(text, address):
    assert config.normalize_address(text) == address


UNUSABLE = ["", "api.x.example", "ftp://x", "http://", "https://u:p@x", "http://x:y", "http://x?q", "http://a b",
            u"b\xfccher.example"]


@pytest.mark.parametrize("text", UNUSABLE)
def test_unusable_addresses_are_refused(text):
    with pytest.raises(ConfigError) as caught:
        config.normalize_address(text)
    assert "give an http or https URL" in str(caught.value)


def test_a_password_in_an_address_is_not_shown():
    with pytest.raises(ConfigError) as caught:
        config.normalize_address("https://me:secret@api.x.example")
    assert "secret" not in str(caught.value) and "//...@api.x.example" in str(caught.value)


def test_an_address_without_protocol_is_shown_with_one():
    with pytest.raises(ConfigError) as caught:
        config.normalize_address("localhost:8080")
    assert str(caught.value).endswith("such as http://localhost:8080")
