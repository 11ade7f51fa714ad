"""`algo auth`: ask for, check and save a profile."""
import os

from .. import config, errors
from .._compat import native
from . import exit_status, failures
from .context import CliError, UsageError, decode


def auth(args, env):
    """The auth command."""
    name = _profile_name(args)
    if args.print_key:
        return _print_key(args, env)
    scripted = args.key_stdin or args.bearer_token_stdin
    if args.key_stdin and args.bearer_token_stdin:
        raise UsageError("algo auth: error: give --key-stdin or --bearer-token-stdin, not both")
    env.note("Configuring authentication for profile: %s" % name)
    profile = _from_stdin(args, env) if scripted else _from_answers(args, _known_address(name), env)
    if not args.no_verify:
        _verify(profile, env)
    config.save_profile(native(name), profile)
    suffix = "" if name == config.DEFAULT_PROFILE else " --profile %s" % name
    env.done("Profile is ready to use. Test with 'algo ls%s'" % suffix)
    return exit_status.OK


def _print_key(args, env):
    """Print the key or token that other commands would send with the same --profile, and nothing else."""
    from ..client import Client

    if args.key_stdin or args.bearer_token_stdin or args.api_address or args.ca_cert:
        raise UsageError("algo auth: error: --print-key saves nothing; leave the other options out")
    client = Client(profile=args.name or args.profile)
    address = client.apiAddress  # starts the platform of this machine if it is meant, whose key is known then
    secret = client.apiKey or client.bearerToken
    if not secret:
        raise CliError("algo auth: there is no key for %s: save one with 'algo auth'" % address, exit_status.AUTH)
    env.out(secret)
    return exit_status.OK


def _profile_name(args):
    given, option = args.name, args.profile
    if given and option and given != option:
        raise UsageError("algo auth: error: two profile names, %s and %s; give one" % (given, option))
    return given or option or config.DEFAULT_PROFILE


def _from_stdin(args, env):
    line = decode(env.stdin.readline()).strip()
    if not line:
        raise UsageError("algo auth: error: standard input holds no key")
    secret = {"bearer_token": line} if args.bearer_token_stdin or looks_like_token(line) else {"api_key": line}
    return _profile(args.api_address or "", args.ca_cert or "", **secret)


def _known_address(name):
    # type: (str) -> str
    """The address that profile `name` has already, else the one of the documents."""
    profile = config.load_profiles().get(name)
    return profile.api_server if profile and profile.api_server else config.DEFAULT_ADDRESS


def _from_answers(args, default, env):
    address = args.api_address
    if address is None:
        address = env.ask("enter API address [%s]: " % default) or default
    address = config.normalize_address(address or default)  # a wrong one is said at once, not after the key
    if address == config.DEFAULT_ADDRESS:
        env.note("(that is the closed public service; the platform on this machine needs no 'algo auth')")
    key = env.ask_secret("enter API key: ")
    ca_cert = args.ca_cert
    if ca_cert is None:
        ca_cert = env.ask("(optional) enter path to custom CA certificate: ")
    secret = {"api_key": key}
    if not key:
        secret = {"bearer_token": env.ask_secret("enter JWT token: ")}
    elif looks_like_token(key):
        secret = {"bearer_token": key}
    if not any(secret.values()):
        raise CliError("algo auth: no key and no token given; nothing was saved", exit_status.USAGE)
    return _profile(address, ca_cert, **secret)


def looks_like_token(text):
    # type: (str) -> bool
    """Whether `text` is a JSON web token: three parts with dots between them. Keys have no dots."""
    return text.count(".") == 2 and all(text.split("."))


def _profile(address, ca_cert, api_key="", bearer_token=""):
    # type: (str, str, str, str) -> config.Profile
    if ca_cert:
        ca_cert = os.path.abspath(os.path.expanduser(ca_cert))
        if not os.path.isfile(ca_cert):
            raise CliError("algo auth: there is no CA certificate file %s; nothing was saved" % ca_cert, 4)
    return config.Profile(
        api_key=native(api_key),
        api_server=config.normalize_address(address or config.DEFAULT_ADDRESS),
        ca_cert=native(ca_cert),
        bearer_token=native(bearer_token),
    )


def _verify(profile, env):
    """Ask the platform who this is. Raises CliError, with nothing saved, if it doesn't say."""
    from ..client import Client

    client = Client(profile.api_key, profile.api_server, profile.ca_cert or None, profile.bearer_token, retries=1)
    try:
        account = client.username()
    except StopIteration:
        return  # a key without the right to see data is still a key that the platform knows
    except errors.PermissionDeniedError:
        return
    except errors.AuthenticationError:
        raise CliError(
            "algo auth: %s does not know this key. Nothing was saved; copy the key again" % profile.api_server,
            exit_status.AUTH,
        )
    except errors.ApiError as error:
        raise CliError(
            "%s\nNothing was saved (--no-verify saves it anyway)" % failures.describe(error),
            exit_status.for_error(error),
        )
    env.note("Authenticated as %s at %s" % (account, profile.api_server))
