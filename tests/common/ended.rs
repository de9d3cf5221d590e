//! Magents that end by themselves.

use super::{Magent, Process, scratch};
use std::fs::{self, File};
use std::process::{Command, Stdio};

/// How a magent ended that was to end by itself.
#[derive(Debug, PartialEq)]
pub struct Ended {
    pub status: Option<i32>,
    pub output: String,
    pub errors: String,
}

impl Ended {
    pub fn refusing(error: &str) -> Self {
        Self {
            status: Some(1),
            output: String::new(),
            errors: format!("magent: {error}\n"),
        }
    }

    pub fn saying(output: &str) -> Self {
        Self {
            status: Some(0),
            output: output.to_owned(),
            errors: String::new(),
        }
    }
}

/// Runs a magent that ends by itself, or whose first process does.
pub fn run(arguments: &[&str]) -> Ended {
    run_command(Command::new(Magent::program()).args(arguments))
}

pub fn run_command(command: &mut Command) -> Ended {
    let files = scratch();
    let (output, errors) = (files.path("output"), files.path("errors"));
    let file = |path: &str| Stdio::from(File::create(path).expect("a file"));
    let status = Process::spawn(command.stdout(file(&output)).stderr(file(&errors))).wait();
    let text = |path: &str| fs::read_to_string(path).expect("text");
    Ended {
        status: status.code(),
        output: text(&output),
        errors: text(&errors),
    }
}
