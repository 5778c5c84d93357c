//! What recordings hold and what they do not.

use super::*;

#[test]
fn a_recording_names_nobody() {
    let machine = Machine::new()
        .is("kernel", "6.6.8-alices-laptop")
        .pci("0000:01:00.0", "0300", "10de:2684", "nvidia")
        .set(
            "files",
            "/proc/driver/nvidia/version",
            "NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  565.57.01  Release Build  (alice@laptop)  \n",
        )
        .set("files", "/etc/machine-id", "0123456789abcdef\n")
        .set("dirs", "/dev", json!(["nvidia0", "alice-vg", "kfd"]))
        .set(
            "env",
            "CUDA_VISIBLE_DEVICES",
            "GPU-5ad1a5b6-0a1b-2c3d-4e5f-0123456789ab",
        )
        .set("env", "HOME", "/home/alice")
        .kfd(
            1,
            &format!("{}unique_id 1801979520617338022\n", gpu_node(110_000, 0x744c)),
        )
        .command(
            &["nvidia-smi", SMI, CSV],
            255,
            "/home/alice/lib: Failed to initialize NVML: Unknown Error on alice-box\n",
        );
    let host = machine.host();
    let recorder = Recorder::new(&host, ["alice-box".to_owned(), "me".to_owned()]);
    let decision = decide(&auto(), &recorder, true);
    recorder.complete();
    let text = recorder.document().to_string();
    for private in [
        "alice",
        "laptop",
        "5ad1a5b6",
        "1801979520617338022",
        "machine-id",
        "HOME",
    ] {
        assert!(!text.contains(private), "{private}: {text}");
    }
    assert!(text.contains("565.57.01") && text.contains("nvidia0") && text.contains("CUDA_VISIBLE_DEVICES"));
    assert_eq!(answer(&decision), answer(&machine.decide(&auto())));
    let again = ReplayHost::parse(text.as_bytes()).expect("a recording");
    assert_eq!(decide(&auto(), &again, true), decision);
}

#[test]
fn a_hung_tool_is_waited_for_once() {
    /// A machine whose nvidia-smi may be asked once.
    struct Once(std::cell::Cell<bool>);
    impl Host for Once {
        fn read(&self, _: &str) -> std::io::Result<Vec<u8>> {
            Err(std::io::ErrorKind::NotFound.into())
        }
        fn list(&self, _: &str) -> std::io::Result<Vec<String>> {
            Err(std::io::ErrorKind::NotFound.into())
        }
        fn link(&self, _: &str) -> std::io::Result<String> {
            Err(std::io::ErrorKind::PermissionDenied.into())
        }
        fn open_rw(&self, _: &str) -> Result<(), String> {
            Err("EACCES".to_owned())
        }
        fn run(&self, argv: &[&str]) -> CommandOutcome {
            if argv[0] == "nvidia-smi" {
                assert!(!self.0.replace(true), "asked twice: {argv:?}");
                return CommandOutcome::TimedOut { abandoned: true };
            }
            CommandOutcome::Failed("Exec format error".to_owned())
        }
        fn var(&self, _: &str) -> Option<String> {
            None
        }
        fn os(&self) -> &'static str {
            "linux"
        }
        fn arch(&self) -> &'static str {
            "x86_64"
        }
        fn kernel(&self) -> &'static str {
            "6.8.0"
        }
    }
    let host = Once(std::cell::Cell::new(false));
    let recorder = Recorder::new(&host, []);
    let first = decide(&auto(), &recorder, true);
    recorder.complete();
    assert_eq!(answer(&first), "cpu nvidia_probe_hung");
    assert!(first.warnings.iter().any(|it| it.contains("left behind")), "{first:#?}");
    let document = recorder.document();
    let commands = document["commands"].as_array().expect("commands");
    assert!(
        commands.iter().any(|command| command["unkillable"] == true),
        "{document}"
    );
    let again = ReplayHost::parse(document.to_string().as_bytes()).expect("a recording");
    assert_eq!(decide(&auto(), &again, true), first);
}
