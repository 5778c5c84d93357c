# Use it as `.venv/bin/activate.ps1`. It holds no path of a build.

function global:deactivate([switch]$NonDestructive) {
    if (Test-Path env:_OLD_VIRTUAL_PATH) {
        $env:PATH = $env:_OLD_VIRTUAL_PATH
        Remove-Item env:_OLD_VIRTUAL_PATH
    }
    if (Test-Path env:_OLD_VIRTUAL_PYTHONHOME) {
        $env:PYTHONHOME = $env:_OLD_VIRTUAL_PYTHONHOME
        Remove-Item env:_OLD_VIRTUAL_PYTHONHOME
    }
    if (Test-Path function:global:_old_virtual_prompt) {
        Set-Item -Path function:global:prompt -Value $function:_old_virtual_prompt
        Remove-Item function:global:_old_virtual_prompt
    }
    foreach ($name in @("VIRTUAL_ENV", "VIRTUAL_ENV_PROMPT") + @($global:_flambeau_gpu_names)) {
        if ($name -and (Test-Path "env:$name")) { Remove-Item "env:$name" }
    }
    $global:_flambeau_gpu_names = @()
    if (-not $NonDestructive) { Remove-Item function:global:deactivate }
}

deactivate -NonDestructive

$env:VIRTUAL_ENV = Split-Path -Parent -Path $PSScriptRoot
$env:VIRTUAL_ENV_PROMPT = Split-Path -Leaf -Path (Split-Path -Parent -Path $env:VIRTUAL_ENV)
$env:_OLD_VIRTUAL_PATH = $env:PATH
$env:PATH = (Join-Path -Path $env:VIRTUAL_ENV -ChildPath "bin") + [System.IO.Path]::PathSeparator + $env:PATH

# Variables that hide this machine's unusable GPUs, as in the script for other shells.
$gpu = Join-Path -Path (Split-Path -Parent -Path $env:VIRTUAL_ENV) -ChildPath ".flambeau/gpu.env"
if (-not $env:FLAMBEAU_NO_GPU_ENV -and (Test-Path -LiteralPath $gpu)) {
    foreach ($line in Get-Content -LiteralPath $gpu) {
        $name, $value = $line -split "=", 2
        if ($name -eq "host" -and $value -ne [System.Net.Dns]::GetHostName()) { break }
        $known = $name -in "CUDA_DEVICE_ORDER", "CUDA_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES"
        if ($known -and -not (Test-Path "env:$name")) {
            Set-Item -Path "env:$name" -Value $value
            $global:_flambeau_gpu_names += $name
        }
    }
}

if (Test-Path env:PYTHONHOME) {
    $env:_OLD_VIRTUAL_PYTHONHOME = $env:PYTHONHOME
    Remove-Item env:PYTHONHOME
}

if (-not $env:VIRTUAL_ENV_DISABLE_PROMPT) {
    Set-Item -Path function:global:_old_virtual_prompt -Value $function:prompt
    function global:prompt {
        Write-Host -NoNewline "($env:VIRTUAL_ENV_PROMPT) "
        _old_virtual_prompt
    }
}
