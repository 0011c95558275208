//! One error for the whole product: what went wrong, where, what to do next, and which exit code that is.

use std::fmt;

/// What kind of failure this is; it decides the program's exit code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorKind {
    /// A check did not hold: a tampered log, golden frames that differ (exit code 1).
    Check,
    /// Wrong use or configuration: a bad flag, an unknown key, a calibration of another bundle (exit code 2).
    Usage,
    /// A device or a file failed: a camera that is gone, a disk that is full, a truncated model (exit code 3).
    Device,
}

impl ErrorKind {
    /// The process exit code that stands for this kind.
    pub fn exit_code(self) -> u8 {
        match self {
            ErrorKind::Check => 1,
            ErrorKind::Usage => 2,
            ErrorKind::Device => 3,
        }
    }
}

/// A failure that a person can act on.
///
/// `Display` gives what went wrong on one line; [`Error::report`] adds the chain of causes and the advice.
#[derive(Debug)]
pub struct Error {
    kind: ErrorKind,
    what: String,
    advice: Option<String>,
    /// The configuration's key that it comes from, as in `audit.pictures`.
    key: Option<&'static str>,
    source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

/// The result of everything in this crate that can fail.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    fn new(kind: ErrorKind, what: impl Into<String>) -> Self {
        Error { kind, what: what.into(), advice: None, key: None, source: None }
    }

    /// A check did not hold.
    pub fn check(what: impl Into<String>) -> Self {
        Self::new(ErrorKind::Check, what)
    }

    /// Wrong use or configuration.
    pub fn usage(what: impl Into<String>) -> Self {
        Self::new(ErrorKind::Usage, what)
    }

    /// A device or a file failed.
    pub fn device(what: impl Into<String>) -> Self {
        Self::new(ErrorKind::Device, what)
    }

    /// Adds what the reader can do about it.
    pub fn advise(mut self, advice: impl Into<String>) -> Self {
        self.advice = Some(advice.into());
        self
    }

    /// Says where it went wrong, before what did.
    pub fn within(mut self, place: &str) -> Self {
        self.what = format!("{place}: {}", self.what);
        self
    }

    /// Adds the failure underneath.
    pub fn because(mut self, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// Adds why a file could not be read, and what to do about that: of one that this user may not read, to let them; `otherwise` else.
    pub(crate) fn unread(self, error: std::io::Error, otherwise: impl Into<String>) -> Self {
        let advice = match error.kind() {
            std::io::ErrorKind::PermissionDenied => {
                "let this user read it (chown, chmod), and enter the folders that it is in: ls -l shows who may"
                    .to_owned()
            }
            _ => otherwise.into(),
        };
        self.because(error).advise(advice)
    }

    /// Says which key of the configuration it comes from, as in `audit.pictures`, where that is known better here than where it is told.
    pub fn of_key(mut self, key: &'static str) -> Self {
        self.key = Some(key);
        self
    }

    /// The key of the configuration that it comes from, where that is known.
    pub fn key(&self) -> Option<&'static str> {
        self.key
    }

    /// What the reader can do about it.
    pub fn advice(&self) -> Option<&str> {
        self.advice.as_deref()
    }

    /// What kind of failure this is.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// The whole story over several lines: what, the causes, the advice.
    pub fn report(&self) -> String {
        let mut text = self.told("\n  because: ");
        if let Some(advice) = &self.advice {
            text.push_str(&format!("\n  try: {advice}"));
        }
        text
    }

    /// What and the causes, for a record: on one line, and without advice, which is for the person in front of it.
    pub fn line(&self) -> String {
        self.told(": ").lines().map(str::trim).collect::<Vec<_>>().join("; ")
    }

    fn told(&self, between: &str) -> String {
        let mut text = self.what.clone();
        let mut cause = std::error::Error::source(self);
        while let Some(error) = cause {
            text.push_str(between);
            text.push_str(&error.to_string());
            cause = error.source();
        }
        text
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.source.as_ref().map(|source| source.as_ref() as _)
    }
}

/// What a panic says.
pub(crate) fn panic_text(panic: &(dyn std::any::Any + Send)) -> &str {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("without a word")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_tells_what_why_and_what_to_do() {
        let error = Error::device("camera /dev/video0 cannot be opened")
            .because(std::io::Error::from_raw_os_error(2))
            .advise("plug it in");
        assert_eq!(error.kind().exit_code(), 3);
        assert_eq!(
            error.report(),
            "camera /dev/video0 cannot be opened\n  because: No such file or directory (os error 2)\n  try: plug it in"
        );
        assert_eq!(error.line(), "camera /dev/video0 cannot be opened: No such file or directory (os error 2)");
    }

    #[test]
    fn who_may_not_read_a_file_is_not_told_to_make_it() {
        let report =
            |kind: std::io::ErrorKind| Error::usage("key k cannot be read").unread(kind.into(), "make one").report();
        assert!(report(std::io::ErrorKind::NotFound).contains("try: make one"));
        let denied = report(std::io::ErrorKind::PermissionDenied);
        assert!(denied.contains("let this user read it") && !denied.contains("make one"), "{denied}");
    }
}
