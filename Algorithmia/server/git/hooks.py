"""The hooks that every push runs, whatever the repository: the rules of a push, and the news of it.

``pre-receive`` says no, in words, to what would rewrite history or take the platform's names. ``post-receive`` hands
the changed references to the bridge (`smart_http.py`) and shows the pusher what comes back: the build's log. git itself
shows both as "remote: ..." lines. They are plain scripts, written beside the repositories, so that they need no
permission bits of an installed package.
"""

from __future__ import annotations

import shlex
import sys
from pathlib import Path

# Number of the descriptor of a socket to the bridge.
DESCRIPTOR_VARIABLE = "ALGORITHMIA_PUSH"
MAX_REFERENCES = 100

_PRE_RECEIVE = r"""#!/bin/sh
# Written by the Algorithmia platform. Standard input: OLD NEW REFERENCE per line.
refuse() {
    echo "$1" >&2
    exit 1
}
count=0
while read -r old new name; do
    count=$((count + 1))
    [ "$count" -le @MAX@ ] || refuse "One push may change @MAX@ branches and tags; push in several steps."
    case $new in
    *[!0]*) ;;
    *) refuse "Branches and tags can't be deleted here (${name#refs/*/}): builds and versions refer to them." ;;
    esac
    case $name in
    refs/heads/*)
        case $old in
        *[!0]*)
            git merge-base --is-ancestor "$old" "$new" || refuse \
"History can't be rewritten here, and this push would remove commits from ${name#refs/heads/}: run git pull, then push."
            ;;
        esac
        ;;
    refs/tags/*)
        tag=${name#refs/tags/}
        case $tag in
        *[!0-9.]*) ;;
        *.*) refuse "The tag $tag is a version's name, which the platform makes: run algo publish." ;;
        esac
        case $old in
        *[!0]*) refuse "The tag $tag exists, and tags can't be moved here: choose another name." ;;
        esac
        ;;
    *) refuse "Only branches and tags can be pushed, not $name." ;;
    esac
done
"""

# Without the server, nothing is lost: it looks for heads without a build when it starts.
_POST_RECEIVE = """\
import os, socket, sys
try:
    with socket.socket(fileno=int(os.environ["@VARIABLE@"])) as bridge:
        bridge.sendall(sys.stdin.buffer.read())
        bridge.shutdown(socket.SHUT_WR)
        while data := bridge.recv(65536):
            while data:
                data = data[os.write(2, data):]
except (KeyError, ValueError, OSError):
    pass
"""


def install(directory: Path) -> None:
    """Write the hooks into `directory`, each complete or not at all."""
    program = directory / "post_receive.py"
    python, script = shlex.quote(sys.executable), shlex.quote(str(program))
    hooks = {
        program.name: _POST_RECEIVE.replace("@VARIABLE@", DESCRIPTOR_VARIABLE),
        "pre-receive": _PRE_RECEIVE.replace("@MAX@", str(MAX_REFERENCES)),
        "post-receive": f"#!/bin/sh\nexec {python} -I -S {script}\n",
    }
    for name, text in hooks.items():
        made = directory / f"{name}.tmp"
        made.write_text(text, "utf-8")
        made.chmod(0o700)
        made.rename(directory / name)
