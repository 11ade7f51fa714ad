"""`algo run`: one input in, one call, one result out."""
import base64
import io
import json
from collections import OrderedDict

from .. import errors
from .._compat import text_type, to_bytes, to_text
from . import exit_status, failures, remote
from .building import BuildWatch
from .context import CliError, UsageError, encode
from .output import OutputFile, json_text

_TEXT = "text/plain; charset=utf-8"
_JSON = "application/json"
_BINARY = "application/octet-stream"
_ANY_STATUS = tuple(range(300, 600))
_GIVE_ONE = (
    "%s: error: give the input with exactly one of -d, -t, -j, -b (a value) or -D, -T, -J, -B (a file, or - for "
    "standard input)"
)


def run(args, env):
    """The run command."""
    body, content_type = read_input(args.inputs or [], env)
    target = None
    if args.output and args.output != "-":
        target = OutputFile(args.output)
    env.quiet = env.quiet or args.silence
    algorithm = _with_options(remote.algorithm(remote.connect(args), args.algorithm), args)
    try:
        if args.response or args.response_body:
            return _print_response(algorithm, body, content_type, args, env, target)
        with BuildWatch(algorithm, args, env):
            response = algorithm.call(body, content_type)
        document = _document(response)
        _print_metadata(document.get("metadata") or {}, "error" in document, args, env)
        if "error" in document:
            raise errors.from_error_member(document["error"])
        write_result(document, args, env, target)
    except errors.ApiError as error:
        return report_error(error, env)
    return exit_status.OK


# -- input --------------------------------------------------------------------------------------------------------


def read_input(inputs, env, command="algo run"):
    """``(body, content type)`` of the one input that the options give. Raises UsageError for none or several."""
    if len(inputs) != 1:
        raise UsageError(_GIVE_ONE % command + ("; you gave %d" % len(inputs) if inputs else ""))
    kind, from_file, value = inputs[0]
    if not from_file:
        data = encode(value)
    elif value == "-":
        data = env.stdin.read()
    else:
        with io.open(value, "rb") as handle:
            data = handle.read()
    return data, _content_type(kind, data, value if from_file else "", command)


def _content_type(kind, data, name, command):
    # type: (str, bytes, str, str) -> str
    where = " in %s" % name if name else ""
    if kind == "auto":
        return detect(data)
    if kind == "json" and not is_json(data):
        quotes = " (JSON has double quotes around strings and keys)" if _looks_like_python(data) else ""
        raise UsageError(
            "%s: error: the input%s is not JSON%s; use -t or -b for text or binary" % (command, where, quotes)
        )
    if kind == "text" and not _is_text(data):
        raise UsageError("%s: error: the input%s is not UTF-8 text; use -b or -B for binary" % (command, where))
    return {"json": _JSON, "text": _TEXT, "binary": _BINARY}[kind]


def detect(data):
    # type: (bytes) -> str
    """Content type for ``-d`` and ``-D``: JSON if it parses as JSON, else text if it is UTF-8, else binary."""
    if is_json(data):
        return _JSON
    return _TEXT if _is_text(data) else _BINARY


def is_json(data):
    # type: (bytes) -> bool
    """Whether `data` is one JSON document. Python's extras, such as NaN, are not JSON."""
    try:
        # Numbers are only looked at: some that are valid are too long for int().
        json.loads(data.decode("utf-8"), parse_constant=_refuse, parse_int=_any, parse_float=_any)
    except (ValueError, RuntimeError):  # RuntimeError: nested deeper than Python's stack
        return False
    return True


def _looks_like_python(data):
    # type: (bytes) -> bool
    """Whether `data` begins as Python prints lists, dicts and strings."""
    return data.lstrip(b" \t\r\n[{(")[:1] == b"'"


def _refuse(name):
    # type: (str) -> None
    raise ValueError(name)


def _any(text):
    # type: (str) -> int
    return 0


def _is_text(data):
    # type: (bytes) -> bool
    try:
        data.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True


# -- the call -----------------------------------------------------------------------------------------------------


def _with_options(algorithm, args):
    options = dict(algorithm.ref.query, stdout=args.debug)
    if args.timeout is not None:
        options["timeout"] = args.timeout
    return algorithm.set_options(**options)


def _document(response):
    try:
        document = json.loads(response.data.decode("utf-8"), object_pairs_hook=OrderedDict)
    except ValueError:
        document = None
    if not isinstance(document, dict):
        raise errors.ApiInternalError(
            "the answer to the call is not the API's JSON document (--response shows it)",
            status=response.status,
        )
    return document


def _print_response(algorithm, body, content_type, args, env, target):
    """``--response`` and ``--response-body``: HTTP as it came, also when it is an error."""
    response = algorithm.client.request(
        "POST",
        algorithm.url,
        algorithm.query_parameters,
        body,
        content_type,
        read_timeout=_patience(algorithm.query_parameters.get("timeout")),
        family=errors.ALGORITHM,
        subject="algo://" + algorithm.path,
        also_ok=_ANY_STATUS,
    )
    data = response.data
    if args.response:
        lines = ["HTTP/1.1 %d %s" % (response.status, response.reason or "")]
        lines.extend("%s: %s" % pair for pair in response.headers.items())
        data = encode("\r\n".join(lines) + "\r\n\r\n") + data
    if target is None and not data.endswith(b"\n"):
        data += b"\n"
    _emit(data, env, target)
    if response.status >= 300:
        raise errors.from_response(response.status, response.headers, response.data, errors.ALGORITHM)
    if b'"error"' in response.data:
        error = _document(response).get("error")
        if error is not None:
            raise errors.from_error_member(error)
    return exit_status.OK


def _patience(timeout):
    """How long to wait for the answer to a call that may run `timeout` seconds."""
    try:
        return float(timeout) + 30.0
    except (TypeError, ValueError):
        return 330.0


# -- output -------------------------------------------------------------------------------------------------------


def _print_metadata(metadata, failed, args, env):
    stdout = metadata.get("stdout")
    if args.debug and stdout:
        env.error(to_text(stdout).rstrip("\n"))
    for alert in metadata.get("alerts") or ():
        env.note(to_text(alert))
    duration = metadata.get("duration")
    if duration is not None and not failed and env.stderr_isatty:  # for a person; logs and scripts have no use for it
        env.note("Completed in %s seconds" % _rounded(float(duration)))


def _rounded(seconds):
    # type: (float) -> str
    """Tenths of a second, or what there is below them: 12.3, 0.0002."""
    return "%.1f" % seconds if seconds >= 0.1 else "%.4f" % seconds


def write_result(document, args, env, target):
    """Write the result in the response `document` to `target`, an `OutputFile`, or print it."""
    result = document.get("result")
    kind = (document.get("metadata") or {}).get("content_type")
    if kind == "void":
        return
    if kind == "binary" and isinstance(result, text_type):
        data = base64.b64decode(to_bytes(result))
        if target is None and env.stdout_isatty and not args.force:
            raise CliError(
                "algo: the result is binary (%d bytes); write it to a file with --output, pipe it, or add --force"
                % len(data),
                exit_status.USAGE,
            )
        _emit(data, env, target)
    elif isinstance(result, text_type) and kind in ("text", None):
        # A file holds exactly the text; the line end is for people and line-wise tools.
        _emit(encode(result) if target is not None else encode(result) + b"\n", env, target)
    else:
        pretty = target is None and env.stdout_isatty
        _emit(encode(json_text(result, pretty)) + b"\n", env, target)


def _emit(data, env, target):
    if target is not None:
        target.write(data)
    else:
        env.out_bytes(data)


def report_error(error, env):
    """What the platform answered is an API error; what never reached it is reported as everywhere else."""
    if isinstance(error, (errors.UnreachableError, errors.ConfigError)) or type(error) is errors.AlgorithmException:
        return failures.report(error, env)
    env.error("API error: %s%s" % (error.message, failures.quote_id(error)))
    trace = getattr(error, "stack_trace", None)
    if trace:
        env.error(to_text(trace).rstrip("\n"))
    return exit_status.for_error(error)
