# Use it as `overlay use .venv/bin/activate.nu` (nushell 0.101 or newer). It holds no path of a build.

export-env {
    const here = path self .
    let environment = ($here | path dirname)
    let name = ($environment | path dirname | path basename)
    let before = ($env.PATH | split row (char esep))
    load-env {
        VIRTUAL_ENV: $environment
        VIRTUAL_ENV_PROMPT: $name
        PATH: ($before | prepend ($environment | path join bin))
    }
    # Variables that hide this machine's unusable GPUs, as in the script for other shells.
    let gpu = ($environment | path dirname | path join .flambeau gpu.env)
    if ($env.FLAMBEAU_NO_GPU_ENV? | is-empty) and ($gpu | path exists) {
        let rows = (open --raw $gpu | lines | parse "{name}={value}")
        let here = ($rows | where name == host | all {|row| $row.value == (sys host).hostname })
        let known = ($rows | where name in [CUDA_DEVICE_ORDER CUDA_VISIBLE_DEVICES HIP_VISIBLE_DEVICES])
        if $here {
            load-env ($known | where name not-in ($env | columns) | transpose --header-row --as-record)
        }
    }
    hide-env --ignore-errors PYTHONHOME
    if ($env.VIRTUAL_ENV_DISABLE_PROMPT? | is-empty) {
        let old = ($env.PROMPT_COMMAND? | default "")
        $env.PROMPT_COMMAND = {||
            let rest = (if ($old | describe) == "closure" { do $old } else { $old })
            $"\(($name)\) ($rest)"
        }
    }
}

# Leaving the overlay puts back what was there before.
export alias deactivate = overlay hide activate
