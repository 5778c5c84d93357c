//! The active environment's torch, on the device it was built for: a matrix product in a child process.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use serde::Deserialize;

use super::Check;
use crate::backend::Backend;
use crate::env::state::EnvironmentState;
use crate::gpu::Decision;
use crate::process::{self, Limits, Outcome};

/// Starting CUDA on a large machine takes tens of seconds; a hung driver takes for ever.
const LIMITS: Limits = Limits {
    time: Duration::from_mins(2),
    output: 1 << 16,
};

const PROGRAM: &str = r#"
import json
try:
    import torch
except ImportError as error:
    print(json.dumps({"missing": str(error)}))
    raise SystemExit
gpu = torch.cuda.is_available()
device = "cuda" if gpu else "cpu"
said = {"version": torch.__version__, "gpu": gpu, "device": torch.cuda.get_device_name(0) if gpu else "the CPU"}
try:
    left = torch.arange(4096, dtype=torch.float32, device=device).reshape(64, 64) / 4096
    product = (left @ torch.eye(64, device=device)).cpu()
    said["product"] = bool(torch.allclose(product, left.cpu()))
except Exception as error:
    said["product"], said["error"] = False, str(error).strip().splitlines()[0]
print(json.dumps(said))
"#;

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Said {
    version: String,
    gpu: bool,
    device: String,
    product: bool,
    error: Option<String>,
    missing: Option<String>,
}

/// Computes something.
pub(super) fn check(
    environment: &Path,
    state: &EnvironmentState,
    decision: &Decision,
    variables: &BTreeMap<String, String>,
) -> Check {
    let name = "torch";
    let mut command = Command::new(environment.join("bin/python"));
    command.args(["-I", "-c", PROGRAM]).current_dir("/");
    for (name, value) in variables {
        if std::env::var_os(name).is_none() {
            command.env(name, value);
        }
    }
    let detect = "`flambeau detect` says what this machine has";
    let rebuild = "`flambeau build` builds the environment anew where it is damaged";
    let finished = match process::run(command, LIMITS) {
        Outcome::Finished(finished) => finished,
        Outcome::TimedOut { .. } => {
            let message = format!(
                "it did not multiply two matrices within {} seconds",
                LIMITS.time.as_secs()
            );
            return Check::fail(
                name,
                message,
                "look for the GPU driver's complaint in `dmesg`; a reboot often helps",
            );
        }
        Outcome::NotFound => return Check::fail(name, "the environment has no Python", rebuild),
        Outcome::Failed(error) => return Check::fail(name, format!("it cannot be started: {error}"), rebuild),
    };
    let last = finished
        .stdout
        .lines()
        .last()
        .and_then(|line| serde_json::from_str::<Said>(line).ok());
    let Some(said) = last else {
        let why = finished.stderr.lines().last().unwrap_or("silence").trim().to_owned();
        return Check::fail(
            name,
            format!("it ends with exit code {}: {why}", finished.exit),
            rebuild,
        );
    };
    if let Some(missing) = said.missing {
        let wanted = state
            .installed_packages
            .iter()
            .any(|package| package.starts_with("torch=="));
        return if wanted {
            Check::fail(name, format!("it cannot be imported: {missing}"), rebuild)
        } else {
            Check::ok(name, "it is not part of this environment")
        };
    }
    let did = format!("{} multiplies matrices on {}", said.version, said.device);
    match (state.installed_backend, said.gpu, said.product) {
        (_, _, false) => {
            let why = said.error.unwrap_or_else(|| "the result is wrong".to_owned());
            Check::fail(
                name,
                format!("{} fails on {}: {why}", said.version, said.device),
                detect,
            )
        }
        (Backend::Cuda | Backend::Rocm, false, true) if decision.gpu_usable => {
            let message = format!("{did}, and sees no GPU where the detector does");
            Check::fail(
                name,
                message,
                "look at CUDA_VISIBLE_DEVICES and HIP_VISIBLE_DEVICES, and at `flambeau detect`",
            )
        }
        (backend @ (Backend::Cuda | Backend::Rocm), false, true) => {
            Check::warn(name, format!("{did}, although it is built for {backend}"), detect)
        }
        _ => Check::ok(name, did),
    }
}
