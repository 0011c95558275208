//! The V4L2 calls that a stream of frames needs, one function each.
//!
//! The `v4l` crate opens devices and makes the raw calls. Its own stream and format types are not used: they panic on what
//! a driver may well say (a colorspace newer than the crate, a card name that is not UTF-8, a stream that cannot be
//! stopped), and a time-out while waiting for a frame leaves the stream unusable.

use std::io;
use std::mem;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::ptr;
use std::time::Duration;

use v4l::Device;
use v4l::v4l_sys::{
    V4L2_CAP_DEVICE_CAPS, v4l2_buf_type_V4L2_BUF_TYPE_VIDEO_CAPTURE as VIDEO_CAPTURE, v4l2_buffer, v4l2_capability,
    v4l2_field_V4L2_FIELD_NONE as PROGRESSIVE, v4l2_fmtdesc, v4l2_format, v4l2_fract,
    v4l2_memory_V4L2_MEMORY_MMAP as MMAP, v4l2_pix_format, v4l2_requestbuffers, v4l2_streamparm,
};
use v4l::v4l2::{self, vidioc};

/// Makes the call `request`, again when a signal interrupts it.
///
/// # Safety
///
/// `T` must be the structure that `request` is defined with, and any pointer in it valid.
unsafe fn call<T>(device: &Device, request: vidioc::_IOC_TYPE, argument: &mut T) -> io::Result<()> {
    loop {
        // SAFETY: the caller's promise; the descriptor lives as long as `device`.
        match unsafe { v4l2::ioctl(device.handle().fd(), request, ptr::from_mut(argument).cast()) } {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            done => return done,
        }
    }
}

/// A structure of the V4L2 interface with every field zero, which is what the kernel asks of fields that are not used.
fn zeroed<T: Plain>() -> T {
    // SAFETY: `Plain` types are C structures and unions of integers and pointers, for which all zeros is a valid value.
    unsafe { mem::zeroed() }
}

/// C structures of the V4L2 interface, for which all zeros is valid.
trait Plain {}
impl Plain for v4l2_buffer {}
impl Plain for v4l2_capability {}
impl Plain for v4l2_fmtdesc {}
impl Plain for v4l2_format {}
impl Plain for v4l2_requestbuffers {}
impl Plain for v4l2_streamparm {}

/// Opens a device node for reading frames without blocking.
pub fn open(path: &Path) -> io::Result<Device> {
    // The crate panics on a path with a NUL byte, which a configuration file can hold.
    if path.as_os_str().as_bytes().contains(&0) {
        return Err(io::Error::from_raw_os_error(libc::ENOENT));
    }
    Device::with_path(path)
}

/// What a device node is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Capability {
    /// The driver: `uvcvideo`, `vivid`.
    pub driver: String,
    /// The camera's name.
    pub card: String,
    /// Where it is plugged in.
    pub bus: String,
    /// `V4L2_CAP_*` of this node.
    pub flags: u32,
}

/// VIDIOC_QUERYCAP.
pub fn capability(device: &Device) -> io::Result<Capability> {
    let mut caps: v4l2_capability = zeroed();
    // SAFETY: VIDIOC_QUERYCAP takes a v4l2_capability.
    unsafe { call(device, vidioc::VIDIOC_QUERYCAP, &mut caps)? };
    // Drivers older than `device_caps` name the whole device's capabilities alone.
    let flags = if caps.capabilities & V4L2_CAP_DEVICE_CAPS != 0 { caps.device_caps } else { caps.capabilities };
    Ok(Capability { driver: text(&caps.driver), card: text(&caps.card), bus: text(&caps.bus_info), flags })
}

/// VIDIOC_ENUM_FMT: the four-character code and the description of every capture format.
pub fn formats(device: &Device) -> Vec<([u8; 4], String)> {
    let mut found = Vec::new();
    loop {
        let mut format = v4l2_fmtdesc { index: found.len() as u32, type_: VIDEO_CAPTURE, ..zeroed() };
        // SAFETY: VIDIOC_ENUM_FMT takes a v4l2_fmtdesc.
        if unsafe { call(device, vidioc::VIDIOC_ENUM_FMT, &mut format) }.is_err() {
            return found;
        }
        found.push((format.pixelformat.to_le_bytes(), text(&format.description)));
    }
}

/// VIDIOC_S_FMT: asks for a format and gives what the driver made of it, which may be something else.
pub fn set_format(device: &Device, width: u32, height: u32, fourcc: [u8; 4]) -> io::Result<v4l2_pix_format> {
    let mut format = v4l2_format { type_: VIDEO_CAPTURE, ..zeroed() };
    // SAFETY: `pix` is the union's member for VIDEO_CAPTURE; it was zeroed as a whole, and the call fills in that member.
    unsafe {
        format.fmt.pix.width = width;
        format.fmt.pix.height = height;
        format.fmt.pix.pixelformat = u32::from_le_bytes(fourcc);
        format.fmt.pix.field = PROGRESSIVE;
        call(device, vidioc::VIDIOC_S_FMT, &mut format)?;
        Ok(format.fmt.pix)
    }
}

/// VIDIOC_S_PARM: asks for a time between frames, in seconds, and gives the one that the driver chose.
pub fn set_interval(device: &Device, interval: v4l2_fract) -> io::Result<v4l2_fract> {
    let mut parameters = v4l2_streamparm { type_: VIDEO_CAPTURE, ..zeroed() };
    // SAFETY: `capture` is the union's member for VIDEO_CAPTURE; it was zeroed as a whole, and the call fills it in.
    unsafe {
        parameters.parm.capture.timeperframe = interval;
        call(device, vidioc::VIDIOC_S_PARM, &mut parameters)?;
        Ok(parameters.parm.capture.timeperframe)
    }
}

/// VIDIOC_REQBUFS: asks for `count` buffers to map and gives how many there are; 0 frees them.
pub fn request_buffers(device: &Device, count: u32) -> io::Result<u32> {
    let mut request = v4l2_requestbuffers { count, type_: VIDEO_CAPTURE, memory: MMAP, ..zeroed() };
    // SAFETY: VIDIOC_REQBUFS takes a v4l2_requestbuffers.
    unsafe { call(device, vidioc::VIDIOC_REQBUFS, &mut request)? };
    Ok(request.count)
}

/// VIDIOC_QUERYBUF: a buffer's length in bytes, and its offset for mmap.
pub fn query_buffer(device: &Device, index: u32) -> io::Result<(usize, libc::off_t)> {
    let mut buffer = buffer(index);
    // SAFETY: VIDIOC_QUERYBUF takes a v4l2_buffer; for V4L2_MEMORY_MMAP it fills in the union's `offset`.
    unsafe {
        call(device, vidioc::VIDIOC_QUERYBUF, &mut buffer)?;
        Ok((buffer.length as usize, buffer.m.offset as libc::off_t))
    }
}

/// VIDIOC_QBUF: gives a buffer to the driver, to be filled.
pub fn queue_buffer(device: &Device, index: u32) -> io::Result<()> {
    // SAFETY: VIDIOC_QBUF takes a v4l2_buffer; of a mapped one it reads the index alone.
    unsafe { call(device, vidioc::VIDIOC_QBUF, &mut buffer(index)) }
}

/// VIDIOC_DQBUF: takes the oldest filled buffer from the driver; `WouldBlock` when there is none.
pub fn dequeue_buffer(device: &Device) -> io::Result<v4l2_buffer> {
    let mut buffer = buffer(0);
    // SAFETY: VIDIOC_DQBUF takes a v4l2_buffer.
    unsafe { call(device, vidioc::VIDIOC_DQBUF, &mut buffer)? };
    Ok(buffer)
}

/// VIDIOC_STREAMON or VIDIOC_STREAMOFF.
pub fn stream(device: &Device, on: bool) -> io::Result<()> {
    let mut kind = VIDEO_CAPTURE as libc::c_int;
    let request = if on { vidioc::VIDIOC_STREAMON } else { vidioc::VIDIOC_STREAMOFF };
    // SAFETY: both calls take an int, the buffer type.
    unsafe { call(device, request, &mut kind) }
}

/// What poll(2) said of a device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Readiness {
    /// Nothing came in time.
    Idle,
    /// A buffer is filled.
    Filled,
    /// The driver reports a fault; the next call on the device says which.
    Fault,
}

/// Waits for a filled buffer, for `patience` at most.
pub fn wait(device: &Device, patience: Duration) -> io::Result<Readiness> {
    let mut descriptor = libc::pollfd { fd: device.handle().fd(), events: libc::POLLIN, revents: 0 };
    // Rounded up: a wait that ends a little early would be repeated without rest.
    let millis = libc::c_int::try_from(patience.as_micros().div_ceil(1000)).unwrap_or(libc::c_int::MAX);
    // SAFETY: `descriptor` is one valid pollfd.
    match unsafe { libc::poll(&mut descriptor, 1, millis) } {
        -1 => match io::Error::last_os_error() {
            // The caller waits for what is left of its time.
            error if error.kind() == io::ErrorKind::Interrupted => Ok(Readiness::Idle),
            error => Err(error),
        },
        0 => Ok(Readiness::Idle),
        _ if descriptor.revents & libc::POLLIN != 0 => Ok(Readiness::Filled),
        _ => Ok(Readiness::Fault),
    }
}

fn buffer(index: u32) -> v4l2_buffer {
    v4l2_buffer { index, type_: VIDEO_CAPTURE, memory: MMAP, ..zeroed() }
}

/// The text of a NUL-terminated field.
fn text(field: &[u8]) -> String {
    let end = field.iter().position(|byte| *byte == 0).unwrap_or(field.len());
    String::from_utf8_lossy(&field[..end]).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_ends_at_its_nul_and_need_not_be_utf8() {
        assert_eq!(text(b"vivid\0\0\0"), "vivid");
        assert_eq!(text(b"Cam\xe9ra"), "Cam\u{fffd}ra");
    }

    #[test]
    fn a_path_with_a_nul_byte_is_no_device() {
        let error = open(Path::new("/dev/vid\0eo")).map(|_| ()).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
    }

    #[test]
    fn a_file_that_is_no_device_has_no_capability() {
        let device = open(Path::new("/dev/null")).unwrap();
        assert_eq!(capability(&device).unwrap_err().raw_os_error(), Some(libc::ENOTTY));
    }
}
