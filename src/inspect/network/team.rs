//! The processor cores that share one frame's work.
//!
//! Every result is computed by one thread, in the order in which a single thread computes it: so a frame's outputs are the same, bit
//! for bit, on any number of cores.

use hgad_kernels::Error as KernelError;
use rayon::{ThreadPool, ThreadPoolBuilder};

use crate::{Error, Result};

/// The threads that compute a frame. They sleep between frames.
pub(super) struct Team {
    /// None for the caller's own thread.
    pool: Option<ThreadPool>,
}

impl Team {
    /// A team of `threads`, of which there is one at least.
    ///
    /// # Errors
    ///
    /// The system has no more threads.
    pub(super) fn new(threads: usize) -> Result<Self> {
        let pool = ThreadPoolBuilder::new().num_threads(threads).thread_name(|number| format!("hgad-frame-{number}"));
        let pool = (threads > 1).then(|| pool.build()).transpose();
        let failed = |error| Error::device(format!("a frame cannot have {threads} threads")).because(error);
        Ok(Team { pool: pool.map_err(failed)? })
    }

    /// Does `work`, and what it shares by [`share`] on all of the team's threads.
    pub(super) fn run<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        match &self.pool {
            Some(pool) => pool.install(work),
            None => work(),
        }
    }
}

/// Hands every one of `parts` its piece of `output`, as long as `length` says; all pieces together are the output. The parts are run
/// by the threads of the team that calls this.
pub(super) fn share<P: Sync, T: Send>(
    parts: &[P],
    output: &mut [T],
    length: &(impl Fn(&P) -> usize + Sync),
    run: &(impl Fn(&P, &mut [T]) -> std::result::Result<(), KernelError> + Sync),
) -> std::result::Result<(), KernelError> {
    match parts {
        [] => Ok(()),
        [one] => run(one, output),
        _ => {
            let (left, right) = parts.split_at(parts.len().div_ceil(2));
            let (of_left, of_right) = output.split_at_mut(left.iter().map(length).sum());
            let (left, right) =
                rayon::join(|| share(left, of_left, length, run), || share(right, of_right, length, run));
            left.and(right)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_part_writes_its_piece_whoever_runs_it() {
        for threads in [1, 2, 5] {
            let mut output = [0; 10];
            let write = |part: &usize, piece: &mut [usize]| {
                piece.fill(*part);
                Ok(())
            };
            let team = Team::new(threads).unwrap();
            team.run(|| share(&[3, 1, 4, 2], &mut output, &|part| *part, &write)).unwrap();
            assert_eq!(output, [3, 3, 3, 1, 4, 4, 4, 4, 2, 2]);
            let fails = |part: &usize, _: &mut [usize]| match part {
                4 => Err(KernelError::Shape("a part fails")),
                _ => Ok(()),
            };
            assert!(team.run(|| share(&[3, 1, 4, 2], &mut output, &|part| *part, &fails)).is_err());
        }
    }
}
