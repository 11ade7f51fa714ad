"""The exception tree and its old names."""
import copy
import pickle

import pytest

from Algorithmia import errors
from Algorithmia.errors import AlgorithmException


@pytest.mark.parametrize("status, kind", [
    (400, errors.BadRequestError), (401, errors.AuthenticationError), (403, errors.PermissionDeniedError),
    (404, errors.NotFoundError), (409, errors.ConflictError), (413, errors.TooLargeError),
    (429, errors.TooManyRequestsError), (408, errors.ApiTimeoutError), (504, errors.ApiTimeoutError),
    (418, errors.BadRequestError), (500, errors.ApiInternalError), (503, errors.ApiInternalError),
])
def test_status_decides_the_kind_and_family_the_old_name(status, kind):
    body = b'{"error":{"message":"no","code":7,"id":"abc"}}'
    for family, base in ((errors.ALGORITHM, AlgorithmException), (errors.DATA, errors.DataApiError)):
        problem = errors.from_response(status, {}, body, family)
        assert isinstance(problem, kind) and isinstance(problem, base) and isinstance(problem, errors.ApiError)
        assert problem.status == status and problem.code == 7 and problem.request_id == "abc"
        assert "no" in str(problem)


def test_errors_travel_between_processes():
    problem = errors.from_response(429, {"Retry-After": "3"}, b'{"error":{"message":"no","code":7}}', errors.DATA, "data://x")
    for again in (pickle.loads(pickle.dumps(problem, 2)), copy.copy(problem)):
        assert type(again) is type(problem) and str(again) == str(problem)
        assert (again.status, again.code, again.retry_after) == (429, 7, 3.0)


def test_the_algorithms_own_failure_is_told_from_a_refusal():
    failed = errors.from_error_member({"message": "boom", "stacktrace": "Trace", "error_type": "UnsupportedError"})
    assert type(failed) is AlgorithmException and not isinstance(failed, errors.RefusedError)
    refused = errors.from_response(404, {}, b"", errors.ALGORITHM)
    assert isinstance(refused, errors.RefusedError) and isinstance(refused, AlgorithmException)


def test_defect_05_stack_trace_is_read_under_its_name_on_the_wire():
    assert errors.from_error_member({"message": "m", "stacktrace": "T"}).stack_trace == "T"


def test_defect_37_the_documented_second_argument_is_the_error_type():
    assert AlgorithmException("text", "UnsupportedError").error_type == "UnsupportedError"
    assert AlgorithmException("text", "UnsupportedError").stack_trace is None
    trace = "Traceback (most recent call last):\n  ..."
    assert AlgorithmException("text", trace).stack_trace == trace
    error = AlgorithmException("text", stack_trace=trace, error_type="X")
    assert (error.message, error.stack_trace, error.error_type) == ("text", trace, "X")
    from Algorithmia.algo_response import AlgoException
    assert AlgoException is AlgorithmException


def test_text_of_an_algorithm_exception():
    assert str(AlgorithmException("boom")) == "'boom'"
    assert str(AlgorithmException("boom", "line 1\nline 2")) == "'boom'\nline 1\nline 2"


def test_defect_12_an_error_that_is_a_plain_string():
    assert errors.from_error_member("No such algorithm").message == "No such algorithm"
    assert "No such" in str(errors.from_response(404, {}, b'{"error":"No such algorithm"}'))


def test_no_json_body_keeps_the_old_wording():
    assert "Non-Algorithm related Failure: <Response [500]>" in str(errors.from_response(500, {}, b"<html>"))
    assert str(errors.raiseAlgoApiError("<Response [500]>")) == "Non-Algorithm related Failure: <Response [500]>"
    assert str(errors.raiseDataApiError("x")) == "Non-Algorithm related Failure: x"
    assert isinstance(errors.raiseDataApiError({"error": {"message": "m"}}), errors.DataApiError)
    assert isinstance(errors.raiseAlgoApiError({"error": {"message": "m"}}), AlgorithmException)


def test_header_message_and_retry_after():
    problem = errors.from_response(429, {"X-Error-Message": "busy", "Retry-After": "3"}, b"")
    assert "busy" in str(problem) and problem.retry_after == 3.0


def test_advice_is_given_once():
    body = b'{"error": {"message": "unknown API key: set one with algo auth"}}'
    assert str(errors.from_response(401, {}, body)) == "unknown API key: set one with algo auth"
    assert str(errors.from_response(401, {}, b'{"error": {"message": "no."}}')).startswith("no. Check the API key")


def test_messages_name_the_object():
    assert ".my/c/f" in str(errors.from_response(404, {}, b"", errors.DATA, "data://.my/c/f"))


def test_unreachable_is_what_old_code_catches():
    import requests.exceptions

    from Algorithmia import unreachable

    assert issubclass(unreachable.ConnectionFailed, (requests.exceptions.ConnectionError,))
    assert issubclass(unreachable.ReadTimedOut, requests.exceptions.Timeout)
    assert issubclass(unreachable.ReadTimedOut, errors.ApiTimeoutError)
    assert issubclass(unreachable.CertificateError, requests.exceptions.SSLError)
