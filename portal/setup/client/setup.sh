#!/bin/sh
# Sets up a project that talks to Claude through the gateway at @BASE_URL@,
# and Claude Code too if you like.
#
#   curl -fsSL @SCRIPT_URL@ | sh
#   curl -fsSL @SCRIPT_URL@ | sh -s uninstall    takes the gateway out of Claude Code
#
# It asks on the terminal; what these variables say, it does not ask. Without a terminal
# CLAUDCODE_API_KEY must be set, and the rest is as in brackets.
#
#   CLAUDCODE_API_KEY             the key, sk-cc-...
#   CLAUDCODE_SETUP_LANGUAGE      python or typescript [python]
#   CLAUDCODE_SETUP_FOLDER        where to [claudcode-project]
#   CLAUDCODE_SETUP_OVERWRITE     yes or no: replace files that differ [no]
#   CLAUDCODE_SETUP_INSTALL       yes or no: install the project's packages [yes]
#   CLAUDCODE_SETUP_WEB_TOOLS     yes or no: install the gateway's own packages of web tools [no]
#   CLAUDCODE_SETUP_CLAUDE_CODE   yes or no: set Claude Code up [no]
set -eu

# All of it is one function, called by the last line: half a download runs nothing.
claudcode_setup() {

base_url='@BASE_URL@'
wheel='@WHEEL@' archives='@ARCHIVES@'
newline='
'
key='' language='' folder='' model='' models='' python='' draft='' terminal='' echo_off=''
LC_ALL=C
export LC_ALL
unset CDPATH

say() {
    printf '%s\n' "$*"
}

fail() {
    printf '%s\n' "$*" >&2
    exit 1
}

clean_up() {
    if [ -n "$echo_off" ]; then
        stty echo <&3
        printf '\n' >&3
        echo_off=''
    fi
    if [ -n "$draft" ]; then
        rm -f "$draft"
    fi
}

# The terminal is asked, not standard input: that is this script. It stays descriptor 3.
open_terminal() {
    if (: <>/dev/tty) 2>/dev/null; then
        exec 3<>/dev/tty
        terminal=yes
    fi
}

# ask VARIABLE QUESTION DEFAULT: the answer is in $answer.
ask() {
    eval "answer=\${$1-}"
    if [ -n "$answer" ]; then
        return
    fi
    if [ -n "$terminal" ]; then
        printf '%s [%s] ' "$2" "$3" >&3
        IFS= read -r answer <&3 || fail 'Stopped: the terminal is gone.'
    fi
    answer=${answer:-$3}
}

agreed() {
    ask "$@"
    case $answer in
        [Yy] | [Yy][Ee][Ss]) return 0 ;;
        *) return 1 ;;
    esac
}

ask_for_key() {
    echo_off=yes
    stty -echo <&3
    printf 'API key (sk-cc-..., not shown): ' >&3
    IFS= read -r key <&3 || fail 'Stopped: the terminal is gone.'
    stty echo <&3
    echo_off=''
    printf '\n' >&3
}

# fetch PATH: $status and $body. The key comes to curl by a pipe: everyone can see arguments.
fetch() {
    reply=$(printf 'header = "x-api-key: %s"\n' "$key" |
        curl -gsS -K - -w '\n%{http_code}' --connect-timeout 10 --max-time 30 "$base_url$1" \
            2>/dev/null) || reply="${newline}000"
    status=${reply##*"$newline"}
    body=${reply%"$newline"*}
}

# Sets $problem, empty if the key is good.
check_key() {
    problem=''
    key=$(printf '%s' "$key" | tr -d ' \t\r\n')
    case ${key#sk-cc-} in
        "$key" | '' | *[!A-Za-z0-9]*)
            problem='This is no API key: a key is sk-cc- and then letters and digits.'
            return
            ;;
    esac
    fetch /v1/key-status
    word=$(printf '%s' "$body" | sed -n 's/.*"status": *"\([a-z]*\)".*/\1/p')
    case $status in
        200) [ "$word" = active ] || problem="This API key is ${word:-of no use} now. Ask for another one." ;;
        401) problem='The gateway does not know this API key, or not from this address.' ;;
        000) fail "Cannot reach $base_url. Is the address right, and is the network there?" ;;
        503) fail "The gateway at $base_url is closed at the moment. Try again later." ;;
        *) fail "$base_url answered $status. Is it the gateway? Ask whoever runs it." ;;
    esac
}

choose_key() {
    key=${CLAUDCODE_API_KEY-}
    # What packages run when they are installed is not to find it.
    unset CLAUDCODE_API_KEY
    if [ -n "$key" ]; then
        check_key
        [ -z "$problem" ] || fail "$problem (It is the one in CLAUDCODE_API_KEY.)"
        return
    fi
    [ -n "$terminal" ] || fail 'There is no terminal to ask on: set CLAUDCODE_API_KEY.'
    for last in no no yes; do
        ask_for_key
        check_key
        [ -n "$problem" ] || return 0
        say "$problem"
        [ "$last" = no ] || fail 'Three keys were wrong. Nothing was written.'
    done
}

# The models this key may use, and of them the one that the examples ask.
choose_models() {
    fetch '/v1/models?limit=1000'
    [ "$status" = 200 ] || fail "$base_url answered $status when asked for its models."
    # shellcheck disable=SC2020
    models=$(printf '%s' "$body" | tr '{},' '\n\n\n' |
        sed -n 's/^ *"id": *"\([A-Za-z0-9][A-Za-z0-9._:@/-]*\)" *$/\1/p')
    for candidate in $models; do
        model=${model:-$candidate}
        case $candidate in
            *sonnet*)
                model=$candidate
                break
                ;;
        esac
    done
    [ -n "$model" ] || fail 'This API key may use no model. Ask whoever gave it to you.'
}

choose_project() {
    ask CLAUDCODE_SETUP_LANGUAGE 'Python or TypeScript?' python
    case $answer in
        [Pp]*) language=python ;;
        [Tt]*) language=typescript ;;
        *) fail "There is no project in $answer: say python or typescript." ;;
    esac
    ask CLAUDCODE_SETUP_FOLDER 'Folder of the project?' claudcode-project
    # What the shell would have made of a tilde.
    # shellcheck disable=SC2088
    case $answer in
        '~') folder=$HOME ;;
        '~/'*) folder=$HOME/${answer#'~/'} ;;
        /*) folder=$answer ;;
        *) folder=./$answer ;;
    esac
    mkdir -p "$folder" 2>/dev/null || fail "Cannot make the folder $folder."
}

# put NAME MODE: writes standard input there, and asks before it replaces anything.
put() {
    draft=$(mktemp "$folder/.claudcode.XXXXXX" 2>/dev/null) || fail "Cannot write into $folder."
    cat >"$draft" || fail "Cannot write into $folder."
    if [ -d "$folder/$1" ]; then
        fail "$folder/$1 is a folder, so no file can be written there."
    elif cmp -s "$draft" "$folder/$1"; then
        rm -f "$draft"
        case $2 in
            600) chmod 600 "$folder/$1" 2>/dev/null || : ;;
        esac
    elif { [ -e "$folder/$1" ] || [ -h "$folder/$1" ]; } &&
        ! agreed CLAUDCODE_SETUP_OVERWRITE "$folder/$1 is there and differs. Replace it?" no; then
        rm -f "$draft"
        say "  kept     $1"
    else
        chmod "$2" "$draft"
        mv -f "$draft" "$folder/$1" || fail "Cannot write $folder/$1."
        say "  written  $1"
    fi
    draft=''
}

# A .gitignore of yours that was kept gets one line, else the key could be committed.
keep_key_out_of_git() {
    if grep -qxE '/?\.env\*?' "$folder/.gitignore" 2>/dev/null; then
        return
    fi
    printf '\n.env\n' >>"$folder/.gitignore" || fail "Cannot write $folder/.gitignore."
    say '  added    .env to your .gitignore'
}

write_project() {
    say "Writing the project to $folder"
@COMMON_FILES@
    keep_key_out_of_git
@ENV_FILE@
    if [ "$language" = python ]; then
        write_python
    else
        write_typescript
    fi
}

write_python() {
    :
@PYTHON_FILES@
}

write_typescript() {
    :
@TYPESCRIPT_FILES@
}

find_python() {
    for candidate in python3 python; do
        if "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 9))' \
            >/dev/null 2>&1 </dev/null; then
            python=$candidate
            return 0
        fi
    done
    return 1
}

install_python() {
    find_python || { say 'Python 3.9 or later is not here: install it, then see README.md.'; return 1; }
    ( cd "$folder" && "$python" -m venv .venv && .venv/bin/python -m pip install \
        --disable-pip-version-check --quiet -r requirements.txt ) </dev/null
}

install_typescript() {
    command -v npm >/dev/null 2>&1 ||
        { say 'Node.js and npm are not here: install them, then see README.md.'; return 1; }
    ( cd "$folder" && npm install --no-audit --no-fund --loglevel=error ) </dev/null
}

install_packages() {
    installed=no
    if ! agreed CLAUDCODE_SETUP_INSTALL 'Install its packages now?' yes; then
        return
    fi
    if "install_$language"; then
        installed=yes
    fi
    if [ "$installed" = no ]; then
        say "The packages are not installed. The project is complete otherwise: see its README.md."
    elif [ -n "$wheel$archives" ] &&
        agreed CLAUDCODE_SETUP_WEB_TOOLS 'Install the packages for web tools too?' no &&
        ! "install_web_tools_$language"; then
        say 'The packages for web tools are not installed. Nothing else needs them.'
    fi
}

install_web_tools_python() {
    ( cd "$folder" && .venv/bin/python -m pip install --disable-pip-version-check --quiet \
        "$base_url/packages/$wheel" ) </dev/null
}

# Each archive stands as NAME=FILE; npm keeps NAME in package.json for what it finds there.
install_web_tools_typescript() {
    (
        cd "$folder" || exit 1
        set --
        for archive in $archives; do
            set -- "$@" "${archive%%=*}@$base_url/packages/${archive#*=}"
        done
        npm install --no-audit --no-fund --loglevel=error "$@"
    ) </dev/null
}

claude_code_python() {
cat <<'CLAUDCODE_END_OF_FILE'
@CLAUDE_CODE_PYTHON@
CLAUDCODE_END_OF_FILE
}

claude_code_node() {
cat <<'CLAUDCODE_END_OF_FILE'
@CLAUDE_CODE_NODE@
CLAUDCODE_END_OF_FILE
}

# change_claude_code install|uninstall. JSON is merged by Python or Node.js, whichever is here.
change_claude_code() {
    if find_python; then
        claude_code_python | CLAUDCODE_ACTION=$1 CLAUDCODE_API_KEY=$key \
            CLAUDCODE_BASE_URL=$base_url CLAUDCODE_MODELS=$models "$python" -
    elif command -v node >/dev/null 2>&1; then
        claude_code_node | CLAUDCODE_ACTION=$1 CLAUDCODE_API_KEY=$key \
            CLAUDCODE_BASE_URL=$base_url CLAUDCODE_MODELS=$models node -
    else
        fail "Neither Python 3 nor Node.js is here, and Claude Code's settings cannot be" \
            'changed safely without one. Nothing of them was changed.'
    fi
}

quoted() {
    printf "'%s'" "$(printf '%s' "$1" | sed "s/'/'\\\\''/g")"
}

say_what_next() {
    say ''
    say 'Ready. Now:'
    say "  cd $(quoted "$folder")"
    if [ "$language" = python ]; then
        if [ "$installed" = no ]; then
            say '  python3 -m venv .venv'
            say '  .venv/bin/python -m pip install -r requirements.txt'
        fi
        say '  .venv/bin/python hello.py'
    else
        if [ "$installed" = no ]; then
            say '  npm install'
        fi
        say '  npm run hello'
    fi
}

set_up() {
    command -v curl >/dev/null 2>&1 || fail 'This needs curl: install it, then try again.'
    case $base_url in
        https://* | http://localhost* | http://127.* | 'http://[::1]'*) ;;
        *) say "Careful: $base_url is not https, so your key travels unencrypted." ;;
    esac
    choose_key
    choose_models
    choose_project
    write_project
    install_packages
    if agreed CLAUDCODE_SETUP_CLAUDE_CODE 'Set Claude Code up with this key too?' no; then
        change_claude_code install
    fi
    say_what_next
}

trap clean_up EXIT
trap 'exit 130' INT
trap 'exit 143' HUP TERM
open_terminal
case ${1-install} in
    install) set_up ;;
    uninstall) change_claude_code uninstall ;;
    *) fail "There is nothing to do called $1: say uninstall, or nothing." ;;
esac

}

{ claudcode_setup "$@"; }
