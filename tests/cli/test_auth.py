"""`algo auth`: the conversation of the documents, scripts, checks before saving, and profiles in use."""
import io
import os
import stat

import pytest
from wire import WireServer, answer, unused_address

from Algorithmia import config
from Algorithmia.CLI import CLI
from Algorithmia.cli import auth
from Algorithmia.cli.context import Environment

JWT = "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJhbGljZSJ9.c2lnbmF0dXJl"
ALICE = answer({"folders": [{"name": "alice"}]}, headers=["X-Data-Type: directory"])
UNKNOWN_KEY = answer({"error": {"message": "authorization required"}}, status="401 Unauthorized")
FORBIDDEN = answer({"error": {"message": "no data for this key"}}, status="403 Forbidden")


def saved(name="default"):
    return config.load_profiles().get(name)


def test_the_conversation(cli):
    with WireServer(ALICE) as platform:
        ran = cli("auth", stdin=(platform.address + "\nsimKEY\n\n").encode())
    assert ran.status == 0
    assert ran.err.splitlines()[0] == "Configuring authentication for profile: default"
    assert "enter API address [https://api.algorithmia.com]: " in ran.err
    assert "enter API key: " in ran.err
    assert "(optional) enter path to custom CA certificate: " in ran.err
    assert "JWT" not in ran.err and "simKEY" not in ran.err + ran.out
    assert ran.out == "Profile is ready to use. Test with 'algo ls'\n"
    assert saved() == config.Profile("simKEY", platform.address, "", "")
    assert platform.requests[0].headers["authorization"] == "simKEY"


@pytest.mark.parametrize("words", [("--profile", "second_user"), ("second_user",)])
def test_a_named_profile(cli, words):
    with WireServer(ALICE) as platform:
        ran = cli("auth", *words, stdin=(platform.address + "\nsimKEY\n\n").encode())
    assert "Configuring authentication for profile: second_user" in ran.err
    assert ran.out == "Profile is ready to use. Test with 'algo ls --profile second_user'\n"
    assert saved("second_user").api_key == "simKEY" and saved() is None


def test_the_address_of_the_profile_is_kept(cli, profile):
    with WireServer(ALICE) as platform:
        profile(platform.address, key="simOLD")
        ran = cli("auth", stdin=b"\nsimNEW\n\n")
    assert "enter API address [%s]: " % platform.address in ran.err
    assert saved() == config.Profile("simNEW", platform.address, "", "")


def test_the_closed_service_is_named_before_the_key_is_asked(cli):
    ran = cli("auth", "--no-verify", stdin=b"\nsimKEY\n\n")
    assert ran.err.index("closed public service") < ran.err.index("enter API key")
    assert saved().api_server == config.DEFAULT_ADDRESS


def test_the_key_is_printed_and_nothing_else(cli, profile, monkeypatch):
    profile("https://one.example.com", key="simONE")
    profile("https://two.example.com", name="two", key="simTWO")
    config.save_profile("token", config.Profile("", "https://three.example.com", "", JWT))
    for words, secret in (((), "simONE"), (("two",), "simTWO"), (("--profile", "two"), "simTWO"), (("token",), JWT)):
        ran = cli("auth", "--print-key", *words)
        assert (ran.status, ran.out, ran.err) == (0, secret + "\n", "")
    monkeypatch.setenv("ALGORITHMIA_API_KEY", "simOFTHEENVIRONMENT")
    assert cli("auth", "--print-key").out == "simOFTHEENVIRONMENT\n"
    assert cli("auth", "--print-key", "two").out == "simTWO\n"


def test_a_key_that_is_not_there_is_not_printed(cli):
    ran = cli("auth", "--print-key", "nobody")
    assert ran.status == 3 and not ran.out
    config.save_profile("keyless", config.Profile("", "https://one.example.com"))
    ran = cli("auth", "--print-key", "keyless")
    assert ran.status == 3 and not ran.out and "https://one.example.com" in ran.err
    assert cli("auth", "--print-key", "--key-stdin", stdin=b"simKEY\n").status == 2


def test_two_names_are_refused(cli):
    assert cli("auth", "a", "--profile", "b").status == 2


def test_from_a_script(cli):
    with WireServer(ALICE) as platform:
        ran = cli("auth", "-q", "--profile", "work", "--api-address", platform.address + "/v1/", "--key-stdin",
                  stdin=b"simKEY\n")
    assert (ran.status, ran.out, ran.err) == (0, "", "")
    assert saved("work") == config.Profile("simKEY", platform.address, "", "")


@pytest.mark.parametrize("flag", ["--bearer-token-stdin", "--key-stdin"])
def test_a_token_from_a_script(cli, flag):
    with WireServer(ALICE) as platform:
        ran = cli("auth", "--api-address", platform.address, flag, stdin=JWT.encode())
    assert ran.status == 0 and JWT not in ran.out + ran.err
    assert saved() == config.Profile("", platform.address, "", JWT)
    assert platform.requests[0].headers["authorization"] == "Bearer " + JWT


def test_a_token_in_the_conversation(cli):
    with WireServer(ALICE) as platform:
        ran = cli("auth", stdin=("%s\n\n\n%s\n" % (platform.address, JWT)).encode())
    assert ran.status == 0 and "enter JWT token: " in ran.err
    assert saved().bearer_token == JWT and saved().api_key == ""


def test_both_secrets_are_refused(cli):
    assert cli("auth", "--key-stdin", "--bearer-token-stdin", stdin=b"x").status == 2


def test_nothing_given(cli):
    ran = cli("auth", "--api-address", "http://127.0.0.1:1", "--no-verify", stdin=b"\n\n\n")
    assert ran.status == 2 and "nothing was saved" in ran.err and saved() is None
    assert cli("auth", "--key-stdin", stdin=b"").status == 2
    assert cli("auth", stdin=b"").status == 2


def test_no_address_means_the_documented_one(cli):
    ran = cli("auth", "--no-verify", stdin=b"\nsimKEY\n\n")
    assert ran.status == 0
    assert saved() == config.Profile("simKEY", "https://api.algorithmia.com", "", "")


@pytest.mark.parametrize("address", ["ftp://x", "localhost:8080", "https://", "nonsense"])
def test_addresses_that_are_none(cli, address):
    ran = cli("auth", stdin=(address + "\nsimKEY\n\n").encode())
    assert ran.status == 2 and "invalid API address" in ran.err and "enter API key" not in ran.err
    assert saved() is None


def test_an_unknown_key_is_not_saved(cli):
    with WireServer(UNKNOWN_KEY) as platform:
        ran = cli("auth", "--api-address", platform.address, "--key-stdin", stdin=b"simWRONG")
    assert (ran.status, ran.out) == (3, "")
    assert "Nothing was saved" in ran.err and "simWRONG" not in ran.err and saved() is None


def test_a_key_without_data_rights_is_a_key(cli):
    with WireServer(FORBIDDEN) as platform:
        assert cli("auth", "--api-address", platform.address, "--key-stdin", stdin=b"simK").status == 0
    assert saved().api_key == "simK"


def test_a_platform_that_does_not_answer(cli):
    address = unused_address()
    words = ("auth", "--api-address", address, "--key-stdin")
    ran = cli(*words, stdin=b"simK")
    assert (ran.status, ran.out) == (6, "") and address in ran.err and "--no-verify" in ran.err and saved() is None
    assert cli(*(words + ("--no-verify",)), stdin=b"simK").status == 0
    assert saved().api_key == "simK"


def test_something_that_is_no_platform(cli):
    with WireServer(answer(body=b"<html>hello</html>")) as website:
        ran = cli("auth", "--api-address", website.address, "--key-stdin", stdin=b"simK")
    assert ran.status == 1 and saved() is None


def test_a_ca_file_that_is_missing(cli, tmpdir):
    ran = cli("auth", "--ca-cert", str(tmpdir.join("no.pem")), "--key-stdin", stdin=b"simK")
    assert ran.status == 4 and "no.pem" in ran.err and saved() is None


def test_the_file_is_private_and_other_profiles_stay(cli):
    path = config.config_path()
    os.makedirs(os.path.dirname(path))
    with open(path, "w") as old:  # as the older Rust CLI wrote it
        old.write('[profiles.old]\napi_key = "simOLD"\napi_server = "https://api.x.com"\ngit_server = "https://git.x.com"\n')
    os.chmod(path, 0o644)
    assert cli("auth", "--profile", "new", "--no-verify", "--key-stdin", stdin=b"simNEW").status == 0
    assert stat.S_IMODE(os.stat(path).st_mode) == 0o600
    assert saved("old").api_key == "simOLD" and saved("new").api_key == "simNEW"
    with open(path) as new:
        assert "git.x.com" in new.read()


def test_saving_again_replaces(cli):
    for key in (b"simONE", b"simTWO"):
        assert cli("auth", "--no-verify", "--key-stdin", stdin=key).status == 0
    assert saved().api_key == "simTWO"


def test_the_key_is_hidden_on_a_terminal(monkeypatch):
    class Terminal(io.BytesIO):
        def isatty(self):
            return True

    asked = []
    monkeypatch.setattr("getpass.getpass", lambda prompt: asked.append(prompt) or "simSECRET")
    env = Environment(Terminal(b"x\n"), io.BytesIO(), io.BytesIO(), {})
    assert env.ask_secret("enter API key: ") == "simSECRET" and asked == ["enter API key: "]
    assert env.stdin.read() == b"x\n"


def test_tokens():
    assert auth.looks_like_token(JWT)
    assert not auth.looks_like_token("sim123") and not auth.looks_like_token("a..b")


def test_unknown_profile(cli):
    ran = cli("ls", "--profile", "nobody")
    assert (ran.status, ran.out) == (3, "")
    assert ran.err == "nobody profile not found. Run 'algo auth --profile nobody'\n"


def test_profile_of_a_broken_file(cli):
    os.makedirs(os.path.dirname(config.config_path()))
    with open(config.config_path(), "w") as broken:
        broken.write("[profiles.x\n")
    ran = cli("ls", "--profile", "x")
    assert ran.status == 2 and config.config_path() in ran.err


def test_profiles_of_both_old_command_lines(cli):
    os.makedirs(os.path.dirname(config.config_path()))
    with WireServer(ALICE) as one, WireServer(ALICE) as two:
        with open(config.config_path(), "w") as old:
            old.write(
                '[profiles.default]\napi_key = "simPY"\napi_server = "%s"\nca_cert = ""\nbearer_token = ""\n'
                '[profiles.rust]\napi_key = "simRUST"\napi_server = "%s"\n' % (one.address, two.address)
            )
        assert cli("ls").out == "alice/\n" and cli("ls", "--profile", "rust").out == "alice/\n"
    assert one.requests[0].headers["authorization"] == "simPY"
    assert two.requests[0].headers["authorization"] == "simRUST"


def test_auth_against_a_platform(algo, server):
    answers = "%s\n%s\n\n" % (server.address, server.key)
    ran = algo("auth", "--profile", "second_user", stdin=answers.encode(), configured=False)
    assert ran.status == 0, ran
    assert ran.text == "Profile is ready to use. Test with 'algo ls --profile second_user'\n"
    assert server.user in ran.stderr and server.key not in ran.stderr
    assert algo("ls", "--profile", "second_user", configured=False).text == server.user + "/\n"
    ran = algo("run", "demo/Hello", "-d", "HAL 9000", "--profile", "second_user", configured=False)
    assert ran.text == "Hello HAL 9000\n"


def test_wrong_key_against_a_platform(algo, server):
    ran = algo("auth", "--api-address", server.address, "--key-stdin", stdin=b"sim" + b"x" * 25, configured=False)
    assert ran.status == 3 and "Nothing was saved" in ran.stderr
    assert not os.path.exists(os.path.join(algo.home, ".algorithmia", "config"))


def test_the_old_class(profile):
    profile("https://api.x.com", key="simK")
    old = CLI()
    assert (old.getAPIkey("default"), old.getAPIaddress("default")) == ("simK", "https://api.x.com")
    assert old.getCert("default") is None and old.getBearerToken("default") is None
    old.auth("https://api.y.com", "simY", profile="y")
    assert old.getAPIkey("y") == "simY" and saved("y").api_server == "https://api.y.com"
    with pytest.raises(config.ProfileNotFoundError):
        old.getAPIkey("nobody")
