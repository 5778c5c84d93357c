# Use it as `source .venv/bin/activate.csh` (csh, tcsh). It holds no path of a build. csh does not tell which file it is
# reading, but has it open; what it leads to is `.venv` of this folder, or what was typed, or the environment itself.
set _flambeau_typed = ( $_ )

# `test … &&`, since csh would look at the variables of an `if` that does not hold.
alias deactivate 'test $?_OLD_VIRTUAL_PATH = 1 && setenv PATH "$_OLD_VIRTUAL_PATH:q" && unset _OLD_VIRTUAL_PATH; test $?_OLD_VIRTUAL_PYTHONHOME = 1 && setenv PYTHONHOME "$_OLD_VIRTUAL_PYTHONHOME:q" && unset _OLD_VIRTUAL_PYTHONHOME; test $?_OLD_VIRTUAL_PROMPT = 1 && set prompt = "$_OLD_VIRTUAL_PROMPT:q" && unset _OLD_VIRTUAL_PROMPT; test $?_flambeau_CUDA_DEVICE_ORDER = 1 && unsetenv CUDA_DEVICE_ORDER && unset _flambeau_CUDA_DEVICE_ORDER; test $?_flambeau_CUDA_VISIBLE_DEVICES = 1 && unsetenv CUDA_VISIBLE_DEVICES && unset _flambeau_CUDA_VISIBLE_DEVICES; test $?_flambeau_HIP_VISIBLE_DEVICES = 1 && unsetenv HIP_VISIBLE_DEVICES && unset _flambeau_HIP_VISIBLE_DEVICES; unsetenv VIRTUAL_ENV; unsetenv VIRTUAL_ENV_PROMPT; rehash; test "\!*" != nondestructive && unalias deactivate'
deactivate nondestructive

set _flambeau_real = ""
foreach _flambeau_open ( /proc/$$/fd/* )
    set _flambeau_file = "`readlink $_flambeau_open`"
    if ( "$_flambeau_file:t" == activate.csh ) set _flambeau_real = "$_flambeau_file:h:h"
end
setenv VIRTUAL_ENV "$_flambeau_real"
if ( $#_flambeau_typed >= 2 ) then
    set _flambeau_file = "$_flambeau_typed[2]"
    if ( "$_flambeau_file" !~ /* ) set _flambeau_file = "$cwd/$_flambeau_file"
    if ( "`readlink -f $_flambeau_file:h:h:q`" == "$_flambeau_real" ) setenv VIRTUAL_ENV "$_flambeau_file:h:h"
endif
if ( -e .venv/bin/activate.csh ) then
    if ( "`readlink -f .venv`" == "$_flambeau_real" ) setenv VIRTUAL_ENV "$cwd/.venv"
endif
set _flambeau_file = "$VIRTUAL_ENV:h:q"
setenv VIRTUAL_ENV_PROMPT "$_flambeau_file:t:q"
unset _flambeau_typed _flambeau_real _flambeau_open _flambeau_file

set _OLD_VIRTUAL_PATH = "$PATH:q"
setenv PATH "${VIRTUAL_ENV}/bin:${PATH}"
# Variables that hide this machine's unusable GPUs, as in the script for other shells.
setenv _FLAMBEAU_FILE "$VIRTUAL_ENV:h:q/.flambeau/gpu.env"
set _flambeau_lines = ( )
if ( ! $?FLAMBEAU_NO_GPU_ENV ) then
    if ( -r "$_FLAMBEAU_FILE:q" ) set _flambeau_lines = ( `sh -c 'cat "$_FLAMBEAU_FILE"'` )
endif
foreach _flambeau_line ( $_flambeau_lines:q )
    switch ( "$_flambeau_line" )
        case host=*:
            if ( "$_flambeau_line" != "host=`uname -n`" ) break
            breaksw
        case CUDA_DEVICE_ORDER=*:
            if ( $?CUDA_DEVICE_ORDER == 0 ) then
                setenv CUDA_DEVICE_ORDER "$_flambeau_line:s/CUDA_DEVICE_ORDER=//:q"
                set _flambeau_CUDA_DEVICE_ORDER
            endif
            breaksw
        case CUDA_VISIBLE_DEVICES=*:
            if ( $?CUDA_VISIBLE_DEVICES == 0 ) then
                setenv CUDA_VISIBLE_DEVICES "$_flambeau_line:s/CUDA_VISIBLE_DEVICES=//:q"
                set _flambeau_CUDA_VISIBLE_DEVICES
            endif
            breaksw
        case HIP_VISIBLE_DEVICES=*:
            if ( $?HIP_VISIBLE_DEVICES == 0 ) then
                setenv HIP_VISIBLE_DEVICES "$_flambeau_line:s/HIP_VISIBLE_DEVICES=//:q"
                set _flambeau_HIP_VISIBLE_DEVICES
            endif
            breaksw
    endsw
end
unset _flambeau_lines _flambeau_line
unsetenv _FLAMBEAU_FILE

if ( $?PYTHONHOME ) then
    set _OLD_VIRTUAL_PYTHONHOME = "$PYTHONHOME:q"
    unsetenv PYTHONHOME
endif
if ( $?prompt && ! $?VIRTUAL_ENV_DISABLE_PROMPT ) then
    set _OLD_VIRTUAL_PROMPT = "$prompt:q"
    set prompt = "($VIRTUAL_ENV_PROMPT) $prompt:q"
endif
rehash
