//! Frames through buffers that the driver fills: its own ones, which this process maps, or ones of this process.

use std::io;
use std::ops::Range;
use std::ptr::{self, NonNull};
use std::slice;
use std::time::Duration;

use v4l::buffer::Flags;
use v4l::v4l2;

use super::ioctl::{self, Camera, Memory, OwnBuffer, Readiness};
use crate::time::{Monotonic, StampSource};

/// Buffers to ask for: one that is being converted, one that is being filled, and two for a hiccup of this process.
///
/// When the process falls behind by more than the buffers hold, the driver has nowhere to put new frames and drops them
/// (its sequence numbers show it). The next grab then finds the filled buffers all old: it takes the newest, and gives
/// the others back unread.
pub const BUFFERS: u32 = 4;

/// A device that streams.
pub struct Stream {
    // Closed before our own buffers go: then the driver holds none of them, whatever it said to the calls before.
    camera: Camera,
    /// Each frame's buffers: one, or one for each plane.
    frames: Vec<Vec<Mapping>>,
    /// Why a buffer could not be given back, after its frame was taken.
    failed: Option<io::Error>,
}

/// A filled buffer, back with the driver when the closure that looks at it has ended.
pub struct Filled<'a> {
    /// What the driver wrote: one buffer, or one for each plane.
    pub buffers: &'a [&'a [u8]],
    /// The driver's count of frames.
    pub sequence: u32,
    /// The driver says that the picture is damaged.
    pub damaged: bool,
    /// The kernel's time stamp on CLOCK_MONOTONIC and which moment it is, unless the driver stamps by another clock or not
    /// at all.
    pub stamp: Option<(Monotonic, StampSource)>,
    /// When the frame was taken from the driver.
    pub received: Monotonic,
}

impl Stream {
    /// Maps the buffers, or makes them, hands all of them to the driver and starts it. The format is set before; `sizes` are
    /// the bytes that it takes, of each buffer of a frame.
    ///
    /// # Errors
    ///
    /// `InvalidInput`: the driver cannot write into the camera's kind of memory. Others: it fails.
    pub fn start(camera: Camera, sizes: &[u32]) -> io::Result<Self> {
        let count = ioctl::request_buffers(&camera, BUFFERS)?;
        let mut stream = Stream { frames: Vec::new(), camera, failed: None };
        for index in 0..count {
            let buffers = stream.buffers(index, sizes)?;
            stream.frames.push(buffers);
            stream.give_back(index)?;
        }
        ioctl::stream(&stream.camera, true)?;
        Ok(stream)
    }

    fn buffers(&self, index: u32, sizes: &[u32]) -> io::Result<Vec<Mapping>> {
        match self.camera.memory {
            Memory::Own => sizes.iter().map(|size| Mapping::own(*size as usize)).collect(),
            Memory::Driver => {
                let buffers = ioctl::query_buffer(&self.camera, index)?.buffers;
                let mapped =
                    buffers.iter().map(|buffer| Mapping::of_driver(&self.camera, buffer.length, buffer.offset));
                mapped.collect()
            }
        }
    }

    /// Hands a frame's buffers to the driver.
    fn give_back(&self, index: u32) -> io::Result<()> {
        let mut own = Vec::new();
        if self.camera.memory == Memory::Own {
            let buffers = self.frames.get(index as usize).ok_or(io::ErrorKind::InvalidData)?;
            own.extend(buffers.iter().map(Mapping::lent));
        }
        ioctl::queue_buffer(&self.camera, index, &own)
    }

    /// Waits for a frame, for `patience` at most, and shows `look` the newest one. `None`: none came.
    ///
    /// # Errors
    ///
    /// The device is gone or refuses to go on; the stream is of no more use.
    pub fn newest<T>(&mut self, patience: Duration, look: impl FnOnce(Filled<'_>) -> T) -> io::Result<Option<T>> {
        if let Some(error) = self.failed.take() {
            return Err(error);
        }
        let readiness = ioctl::wait(&self.camera, patience)?;
        if readiness == Readiness::Idle {
            return Ok(None);
        }
        let mut newest = match ioctl::dequeue_buffer(&self.camera) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock && readiness == Readiness::Filled => {
                return Ok(None);
            }
            dequeued => dequeued?,
        };
        while ioctl::wait(&self.camera, Duration::ZERO)? == Readiness::Filled {
            let newer = ioctl::dequeue_buffer(&self.camera)?;
            self.give_back(newest.index)?;
            newest = newer;
        }
        let received = Monotonic::now();
        let mapped = self.frames.get(newest.index as usize).filter(|mapped| mapped.len() == newest.buffers.len());
        let mapped = mapped.ok_or(io::ErrorKind::InvalidData)?;
        let mut buffers: Vec<&[u8]> = Vec::with_capacity(mapped.len());
        for (mapping, buffer) in mapped.iter().zip(&newest.buffers) {
            // SAFETY: the frame was dequeued, so the driver leaves its buffers alone until it is queued again, below.
            buffers.push(unsafe { mapping.bytes(buffer.used.clone()) });
        }
        let flags = Flags::from(newest.flags);
        let (seconds, micros) = newest.timestamp;
        let seen = look(Filled {
            buffers: &buffers,
            sequence: newest.sequence,
            damaged: flags.contains(Flags::ERROR),
            stamp: (flags & Flags::TIMESTAMP_MASK == Flags::TIMESTAMP_MONOTONIC)
                .then(|| (stamp(seconds, micros), source(flags))),
            received,
        });
        // This frame is a part that was seen, whatever becomes of the stream.
        self.failed = self.give_back(newest.index).err();
        Ok(Some(seen))
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        // A device that was unplugged refuses all of this, and needs none of it: closing it frees what is left.
        let stopped = ioctl::stream(&self.camera, false);
        if self.camera.memory == Memory::Driver {
            // The driver cannot free buffers that are mapped. Those of this process it must let go of first.
            self.frames.clear();
        }
        let freed = ioctl::request_buffers(&self.camera, 0);
        if let Err(error) = stopped.and(freed) {
            log::debug!("a camera's stream could not be stopped in order: {error}");
        }
    }
}

/// The kernel's stamp as a moment.
fn stamp(seconds: i64, micros: i64) -> Monotonic {
    Monotonic::from_nanos((seconds.max(0) as u64).saturating_mul(1_000_000_000) + micros.max(0) as u64 * 1_000)
}

fn source(flags: Flags) -> StampSource {
    match flags & Flags::TSTAMP_SRC_MASK == Flags::TSTAMP_SRC_SOE {
        true => StampSource::StartOfExposure,
        false => StampSource::EndOfFrame,
    }
}

/// A buffer in this process's memory: a driver's, or its own.
struct Mapping {
    start: NonNull<u8>,
    length: usize,
}

// SAFETY: a mapping belongs to the process, not to the thread that made it, and `Mapping` is its only owner.
unsafe impl Send for Mapping {}

impl Mapping {
    fn of_driver(camera: &Camera, length: usize, offset: libc::off_t) -> io::Result<Self> {
        Self::new(length, libc::MAP_SHARED, camera.device().handle().fd(), offset)
    }

    /// Whole pages of ordinary memory, which caches see: that of some drivers is not, and slow to read.
    fn own(length: usize) -> io::Result<Self> {
        Self::new(length, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_POPULATE, -1, 0)
    }

    fn new(length: usize, kind: libc::c_int, file: libc::c_int, offset: libc::off_t) -> io::Result<Self> {
        let access = libc::PROT_READ | libc::PROT_WRITE;
        // SAFETY: the kernel picks the address, so no memory of this process is touched.
        let start = unsafe { v4l2::mmap(ptr::null_mut(), length, access, kind, file, offset)? };
        Ok(Mapping { start: NonNull::new(start.cast()).ok_or(io::ErrorKind::OutOfMemory)?, length })
    }

    /// What a driver is to write into.
    fn lent(&self) -> OwnBuffer {
        // SAFETY: the mapping can be written, and is read only between a dequeue and the next queue (`Stream::newest`); it goes
        // when the driver has freed its buffers (`Stream::drop`), and a process that dies takes the driver's hold along.
        unsafe { OwnBuffer::new(self.start.as_ptr(), self.length) }
    }

    /// The bytes in `used`, as far as there are so many.
    ///
    /// # Safety
    ///
    /// The driver must not write to the buffer while the slice lives.
    unsafe fn bytes(&self, used: Range<usize>) -> &[u8] {
        // SAFETY: the mapping is `length` bytes long, readable, and lives as long as `self`; the caller promises the rest.
        let all = unsafe { slice::from_raw_parts(self.start.as_ptr(), self.length) };
        let end = used.end.min(self.length);
        &all[used.start.min(end)..end]
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: `start` and `length` are those of a mapping that nobody else owns.
        if let Err(error) = unsafe { v4l2::munmap(self.start.as_ptr().cast(), self.length) } {
            log::warn!("a camera's buffer could not be unmapped: {error}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::ioctl::Capability;
    use super::*;

    #[test]
    fn stamps_are_nanoseconds() {
        assert_eq!(stamp(12, 345_678), Monotonic::from_nanos(12_345_678_000));
        assert_eq!(stamp(-1, -1), Monotonic::from_nanos(0));
    }

    #[test]
    fn a_file_that_is_no_camera_does_not_start() {
        let device = ioctl::open(std::path::Path::new("/dev/null")).unwrap();
        let claims = Capability { driver: String::new(), card: String::new(), bus: String::new(), flags: 1 };
        assert!(Stream::start(Camera::new(device, &claims), &[]).is_err());
    }
}
