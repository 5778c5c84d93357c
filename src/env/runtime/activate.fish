# Use it as `source .venv/bin/activate.fish`. It holds no path of a build.

function deactivate -d "Leave the flambeau environment"
    if set -q _OLD_VIRTUAL_PATH
        set -gx PATH $_OLD_VIRTUAL_PATH
        set -e _OLD_VIRTUAL_PATH
    end
    if set -q _OLD_VIRTUAL_PYTHONHOME
        set -gx PYTHONHOME $_OLD_VIRTUAL_PYTHONHOME
        set -e _OLD_VIRTUAL_PYTHONHOME
    end
    if functions -q _old_fish_prompt
        functions -e fish_prompt
        functions -c _old_fish_prompt fish_prompt
        functions -e _old_fish_prompt
    end
    for name in $_FLAMBEAU_GPU_NAMES
        set -e $name
    end
    set -e _FLAMBEAU_GPU_NAMES
    set -e VIRTUAL_ENV
    set -e VIRTUAL_ENV_PROMPT
    if test "$argv[1]" != nondestructive
        functions -e deactivate
    end
end

deactivate nondestructive

# Not by `cd`, which would move the shell itself: fish has no subshells.
set -gx VIRTUAL_ENV (builtin realpath -s -- (dirname (status filename))/..)
set -gx VIRTUAL_ENV_PROMPT (basename (dirname $VIRTUAL_ENV))
set -g _OLD_VIRTUAL_PATH $PATH
set -gx PATH "$VIRTUAL_ENV/bin" $PATH

# Variables that hide this machine's unusable GPUs, as in the script for other shells.
if test -z "$FLAMBEAU_NO_GPU_ENV"; and test -r (dirname $VIRTUAL_ENV)/.flambeau/gpu.env
    while read -l line
        set -l pair (string split -m 1 = -- $line)
        switch $pair[1]
            case host
                test "$pair[2]" = (uname -n); or break
            case CUDA_DEVICE_ORDER CUDA_VISIBLE_DEVICES HIP_VISIBLE_DEVICES
                if not set -q $pair[1]
                    set -gx $pair[1] $pair[2]
                    set -ga _FLAMBEAU_GPU_NAMES $pair[1]
                end
        end
    end <(dirname $VIRTUAL_ENV)/.flambeau/gpu.env
end

if set -q PYTHONHOME
    set -g _OLD_VIRTUAL_PYTHONHOME $PYTHONHOME
    set -e PYTHONHOME
end

if test -z "$VIRTUAL_ENV_DISABLE_PROMPT"; and functions -q fish_prompt
    functions -c fish_prompt _old_fish_prompt
    function fish_prompt
        printf "(%s) " $VIRTUAL_ENV_PROMPT
        _old_fish_prompt
    end
end
