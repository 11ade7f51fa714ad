"""`algo completion`: completion scripts for shells, made from the table of commands."""
from . import commands


def completion(args, env):
    """The completion command."""
    env.out({"bash": bash, "zsh": zsh, "fish": fish}[args.shell]())


def words():
    """``(command words, what may follow)`` for the top, every command and every action, in the table's order."""
    common = [flag for item in commands.GLOBAL_OPTIONS for flag in item.flags] + ["-h", "--help"]
    yield "", [command.name for command in commands.COMMANDS] + common + ["--version"]
    for command in commands.COMMANDS:
        own = [action.name for action in command.actions] + _flags(command) + _choices(command)
        yield command.name, own + common
        for action in command.actions:
            yield command.name + " " + action.name, _flags(action) + common


def _flags(command):
    return [flag for item in command.arguments if item.is_option for flag in item.flags]


def _choices(command):
    if command.name == "help":
        return [other.name for other in commands.COMMANDS]
    return [choice for item in command.arguments for choice in item.options.get("choices", ())]


_BASH = """\
_algo() {
    local current="${COMP_WORDS[COMP_CWORD]}" previous="${COMP_WORDS[COMP_CWORD-1]}" command="" action="" word index
    if [[ $previous == --profile || $previous == --save-profile ]]; then
        local config="${ALGORITHMIA_HOME:-$HOME/.algorithmia}/config"
        COMPREPLY=($(compgen -W "$(sed -n 's/^\\[profiles\\.\\(.*\\)\\]$/\\1/p' "$config" 2>/dev/null)" -- "$current"))
        return
    fi
    for ((index = 1; index < COMP_CWORD; index++)); do
        word="${COMP_WORDS[index]}"
        if [[ $word == --profile ]]; then ((index++)); continue; fi
        if [[ $word == -* ]]; then continue; fi
        if [[ -z $command ]]; then command="$word"; elif [[ -z $action ]]; then action="$word"; fi
    done
    local words=""
    case "$command" in
%s
    esac
    COMPREPLY=($(compgen -W "$words" -- "$current"))
    if [[ ${#COMPREPLY[@]} -eq 0 ]]; then COMPREPLY=($(compgen -f -- "$current")); fi
}
complete -o filenames -o bashdefault -F _algo algo"""


def bash():
    """The script for bash."""
    return _BASH % "\n".join(_cases())


def _cases():
    actions = {}  # type: dict
    table = list(words())
    for name, follow in table:
        if " " in name:
            actions.setdefault(name.split()[0], []).append((name.split()[1], follow))
    for name, follow in table:
        if " " in name:
            continue
        found = commands.find(name)
        pattern = "|".join((name,) + tuple(found.aliases)) if found else '""'
        if name not in actions:
            yield '        %s) words="%s" ;;' % (pattern, " ".join(follow))
            continue
        yield "        %s)" % pattern
        yield '            case "$action" in'
        for action, after in actions[name]:
            yield '                %s) words="%s" ;;' % (action, " ".join(after))
        yield '                *) words="%s" ;;' % " ".join(follow)
        yield "            esac ;;"


def zsh():
    """The script for zsh, which runs bash's."""
    return "autoload -U +X bashcompinit && bashcompinit\n" + bash()


def fish():
    """The script for fish."""
    lines = ["complete -c algo -e"]
    every = " ".join(command.name for command in commands.COMMANDS)
    for item in commands.GLOBAL_OPTIONS:
        lines.append("complete -c algo %s" % _fish_option(item))
    for command in commands.COMMANDS:
        lines.append(
            "complete -c algo -n 'not __fish_seen_subcommand_from %s' -f -a %s -d %s"
            % (every, command.name, _quoted(command.help))
        )
        seen = "-n '__fish_seen_subcommand_from %s'" % " ".join((command.name,) + tuple(command.aliases))
        for action in command.actions:
            lines.append("complete -c algo %s -f -a %s -d %s" % (seen, action.name, _quoted(action.help)))
            for item in action.arguments:
                if item.is_option:
                    lines.append("complete -c algo %s %s" % (seen, _fish_option(item)))
        for item in command.arguments:
            if item.is_option:
                lines.append("complete -c algo %s %s" % (seen, _fish_option(item)))
        for choice in _choices(command):
            lines.append("complete -c algo %s -f -a %s" % (seen, choice))
    return "\n".join(lines)


def _fish_option(item):
    parts = []
    for flag in item.flags:
        parts.append(("-l " if flag.startswith("--") else "-s ") + flag.lstrip("-"))
    if item.options.get("metavar"):
        parts.append("-r")
    parts.append("-d " + _quoted(item.options["help"]))
    return " ".join(parts)


def _quoted(text):
    return "'%s'" % text.replace("\\", "\\\\").replace("'", "\\'")
