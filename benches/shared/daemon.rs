//! The program that was built, started in a folder of the bench's own.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// How long a start may take, in steps of 50 ms.
const STEPS_MAX: usize = 1_200;

/// A process that ends with the bench.
pub struct Process(pub Child);

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A daemon with these rules and this configuration, and the URL of its pages and API.
pub fn start(folder: &Path, rules: &str, config: &str) -> (Process, String) {
    std::fs::create_dir(folder.join("rules")).expect("a new folder");
    std::fs::write(folder.join("rules/rules.rhai"), rules).expect("a file");
    std::fs::write(folder.join("burnwatch.toml"), config).expect("a file");
    let log = std::fs::File::create(folder.join("log")).expect("a file");
    let child = Command::new(env!("CARGO_BIN_EXE_burnwatch"))
        .arg("run")
        .current_dir(folder)
        .stdin(Stdio::null())
        .stdout(log.try_clone().expect("a file"))
        .stderr(log)
        .spawn()
        .expect("the daemon starts");
    let child = Process(child);
    for _ in 0..STEPS_MAX {
        let text = std::fs::read_to_string(folder.join("log")).expect("its log");
        if let Some((_, rest)) = text.split_once("pages and API on ") {
            return (child, rest.split(',').next().unwrap_or_default().to_owned());
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    panic!("the daemon did not start");
}
