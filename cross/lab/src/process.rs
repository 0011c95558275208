//! A program beside the lab: what it is sent, and that it does not outlive the check that started it.

use std::ops::{Deref, DerefMut};
use std::process::{Child, Command};

use hgad::time::Monotonic;

use crate::hold;

type Failure = Box<dyn std::error::Error>;

/// A child, killed when this is dropped.
pub struct Process(Child);

impl Process {
    pub fn start(command: &mut Command) -> Result<Self, Failure> {
        Ok(Process(command.spawn()?))
    }

    /// Sends a signal with `kill`, and says when it had been sent.
    pub fn signal(&self, name: &str) -> Result<Monotonic, Failure> {
        let status = Command::new("kill").args([&format!("-{name}"), &self.id().to_string()]).status()?;
        hold!(status.success(), "kill -{name}: {status}");
        Ok(Monotonic::now())
    }
}

impl Deref for Process {
    type Target = Child;

    fn deref(&self) -> &Child {
        &self.0
    }
}

impl DerefMut for Process {
    fn deref_mut(&mut self) -> &mut Child {
        &mut self.0
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
