"""Runs the tests of a Python project where pytest isn't installed: unittest's, and functions called test_... too, as
the template has them. The working directory is the project. Runs on CPython 2.7 and 3.6+."""
import inspect
import sys
import unittest

_NO_TESTS = 5  # as pytest has it


class _Loader(unittest.TestLoader):
    def loadTestsFromModule(self, module, *args, **kwargs):
        suite = unittest.TestLoader.loadTestsFromModule(self, module, *args, **kwargs)
        for name, member in sorted(vars(module).items()):
            # Not what is imported from elsewhere: unittest would run it there.
            if name.startswith("test") and inspect.isfunction(member) and member.__module__ == module.__name__:
                suite.addTest(unittest.FunctionTestCase(member, description="%s.%s" % (module.__name__, name)))
        return suite


def main():
    # type: () -> None
    """Ends the process: status 0, 1 if a test failed, 5 if there are none."""
    sys.path.insert(0, "")
    suite = _Loader().discover("src", "*_test.py", ".")
    result = unittest.TextTestRunner().run(suite)
    if not result.testsRun:
        sys.exit(_NO_TESTS)
    sys.exit(not result.wasSuccessful())
