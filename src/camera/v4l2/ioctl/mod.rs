//! The V4L2 calls that a stream of frames needs, one function each.
//!
//! The `v4l` crate opens devices and makes the raw calls. Its own stream and format types are not used: they panic on what
//! a driver may well say (a colorspace newer than the crate, a card name that is not UTF-8, a stream that cannot be
//! stopped), and a time-out while waiting for a frame leaves the stream unusable.

use std::io;
use std::mem;
use std::ops::Range;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::ptr;
use std::time::Duration;

use v4l::Device;
use v4l::v4l_sys::{
    V4L2_CAP_DEVICE_CAPS, V4L2_CAP_STREAMING, V4L2_CAP_VIDEO_CAPTURE, V4L2_CAP_VIDEO_CAPTURE_MPLANE,
    v4l2_buf_type_V4L2_BUF_TYPE_VIDEO_CAPTURE as VIDEO_CAPTURE,
    v4l2_buf_type_V4L2_BUF_TYPE_VIDEO_CAPTURE_MPLANE as VIDEO_CAPTURE_MPLANE, v4l2_buffer, v4l2_capability,
    v4l2_field_V4L2_FIELD_NONE as PROGRESSIVE, v4l2_fmtdesc, v4l2_format, v4l2_fract,
    v4l2_memory_V4L2_MEMORY_MMAP as MMAP, v4l2_memory_V4L2_MEMORY_USERPTR as USERPTR, v4l2_plane, v4l2_requestbuffers,
    v4l2_streamparm,
};
use v4l::v4l2::{self, vidioc};

mod controls;

pub use controls::{choice, control, controls, numeric_choice, set_control};

/// `VIDEO_MAX_PLANES` of the kernel.
const MOST_PLANES: usize = 8;

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
impl Plain for v4l2_plane {}
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

impl Capability {
    /// Whether frames can be read from the node.
    pub fn is_camera(&self) -> bool {
        let captures = V4L2_CAP_VIDEO_CAPTURE | V4L2_CAP_VIDEO_CAPTURE_MPLANE;
        self.flags & captures != 0 && self.flags & V4L2_CAP_STREAMING != 0
    }
}

/// Whose memory frames are in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Memory {
    /// The driver's, which this process maps (V4L2_MEMORY_MMAP): every driver has it.
    Driver,
    /// This process's, which the driver writes into (V4L2_MEMORY_USERPTR).
    Own,
}

impl Memory {
    fn number(self) -> u32 {
        match self {
            Memory::Driver => MMAP,
            Memory::Own => USERPTR,
        }
    }
}

/// A node that frames can be read from.
pub struct Camera {
    device: Device,
    /// Whose memory its frames are in.
    pub memory: Memory,
    /// Whether a frame may lie in several buffers, one for each plane (the "multi-planar API").
    is_multi_planar: bool,
}

impl Camera {
    /// `device`, which is a camera by its `capability`.
    pub fn new(device: Device, capability: &Capability) -> Self {
        let is_multi_planar = capability.flags & V4L2_CAP_VIDEO_CAPTURE == 0;
        Camera { device, memory: Memory::Driver, is_multi_planar }
    }

    /// The node itself, for calls that are alike for all nodes.
    pub fn device(&self) -> &Device {
        &self.device
    }

    fn buffer_type(&self) -> u32 {
        if self.is_multi_planar { VIDEO_CAPTURE_MPLANE } else { VIDEO_CAPTURE }
    }
}

/// VIDIOC_ENUM_FMT: the four-character code and the description of every capture format.
pub fn formats(camera: &Camera) -> Vec<([u8; 4], String)> {
    let mut found = Vec::new();
    loop {
        let mut format = v4l2_fmtdesc { index: found.len() as u32, type_: camera.buffer_type(), ..zeroed() };
        // SAFETY: VIDIOC_ENUM_FMT takes a v4l2_fmtdesc.
        if unsafe { call(&camera.device, vidioc::VIDIOC_ENUM_FMT, &mut format) }.is_err() {
            return found;
        }
        found.push((format.pixelformat.to_le_bytes(), text(&format.description)));
    }
}

/// What a driver made of a format that it was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Granted {
    /// Pixels per row.
    pub width: u32,
    /// Rows.
    pub height: u32,
    /// The four-character code.
    pub fourcc: [u8; 4],
    /// Bytes from one row's start to the next, for every buffer of a frame.
    pub strides: Vec<u32>,
    /// Bytes that the driver writes at most, for every buffer of a frame.
    pub sizes: Vec<u32>,
    /// `V4L2_QUANTIZATION_*`.
    pub quantization: u32,
}

/// VIDIOC_S_FMT: asks for a format and gives what the driver made of it, which may be something else.
pub fn set_format(camera: &Camera, width: u32, height: u32, fourcc: [u8; 4]) -> io::Result<Granted> {
    let mut format = v4l2_format { type_: camera.buffer_type(), ..zeroed() };
    let pixelformat = u32::from_le_bytes(fourcc);
    // SAFETY: `pix_mp` and `pix` are the union's members for the two buffer types; it was zeroed as a whole, and the call
    // fills in the member of the type that it is given.
    unsafe {
        if camera.is_multi_planar {
            let asked = &mut format.fmt.pix_mp;
            (asked.width, asked.height, asked.pixelformat, asked.field) = (width, height, pixelformat, PROGRESSIVE);
        } else {
            let asked = &mut format.fmt.pix;
            (asked.width, asked.height, asked.pixelformat, asked.field) = (width, height, pixelformat, PROGRESSIVE);
        }
        call(&camera.device, vidioc::VIDIOC_S_FMT, &mut format)?;
        Ok(if camera.is_multi_planar {
            let got = format.fmt.pix_mp;
            let planes = got.plane_fmt;
            let count = usize::from(got.num_planes).min(planes.len());
            Granted {
                width: got.width,
                height: got.height,
                fourcc: got.pixelformat.to_le_bytes(),
                strides: planes[..count].iter().map(|plane| plane.bytesperline).collect(),
                sizes: planes[..count].iter().map(|plane| plane.sizeimage).collect(),
                quantization: got.quantization.into(),
            }
        } else {
            let got = format.fmt.pix;
            Granted {
                width: got.width,
                height: got.height,
                fourcc: got.pixelformat.to_le_bytes(),
                strides: vec![got.bytesperline],
                sizes: vec![got.sizeimage],
                quantization: got.quantization,
            }
        })
    }
}

/// VIDIOC_S_PARM: asks for a time between frames, in seconds, and gives the one that the driver chose.
pub fn set_interval(camera: &Camera, interval: v4l2_fract) -> io::Result<v4l2_fract> {
    let mut parameters = v4l2_streamparm { type_: camera.buffer_type(), ..zeroed() };
    // SAFETY: `capture` is the union's member for both buffer types; it was zeroed as a whole, and the call fills it in.
    unsafe {
        parameters.parm.capture.timeperframe = interval;
        call(&camera.device, vidioc::VIDIOC_S_PARM, &mut parameters)?;
        Ok(parameters.parm.capture.timeperframe)
    }
}

/// VIDIOC_REQBUFS: asks for `count` frames in the camera's kind of memory and gives how many there are; 0 frees them.
///
/// # Errors
///
/// `InvalidInput`: the driver cannot use this kind of memory.
pub fn request_buffers(camera: &Camera, count: u32) -> io::Result<u32> {
    let memory = camera.memory.number();
    let mut request = v4l2_requestbuffers { count, type_: camera.buffer_type(), memory, ..zeroed() };
    // SAFETY: VIDIOC_REQBUFS takes a v4l2_requestbuffers.
    unsafe { call(&camera.device, vidioc::VIDIOC_REQBUFS, &mut request)? };
    Ok(request.count)
}

/// A frame's memory as the driver tells of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Queued {
    /// Which of the requested frames it is.
    pub index: u32,
    /// `V4L2_BUF_FLAG_*`.
    pub flags: u32,
    /// The driver's count of frames.
    pub sequence: u32,
    /// Seconds and microseconds, on the clock that the flags name.
    pub timestamp: (i64, i64),
    /// Its buffers: one, or one for each plane.
    pub buffers: Vec<Buffer>,
}

/// One buffer of a frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Buffer {
    /// Bytes that it holds.
    pub length: usize,
    /// Where mmap finds it.
    pub offset: libc::off_t,
    /// Which of its bytes are the picture's.
    pub used: Range<usize>,
}

/// A buffer of this process that a driver may write into.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OwnBuffer {
    start: *mut u8,
    length: usize,
}

impl OwnBuffer {
    /// # Safety
    ///
    /// The memory must be writable, and nobody else may use it from when it is queued until it is dequeued, or until the
    /// camera's buffers are freed.
    pub unsafe fn new(start: *mut u8, length: usize) -> Self {
        OwnBuffer { start, length }
    }
}

/// VIDIOC_QUERYBUF: the memory of a frame.
pub fn query_buffer(camera: &Camera, index: u32) -> io::Result<Queued> {
    call_with_buffer(camera, vidioc::VIDIOC_QUERYBUF, index, &[])
}

/// VIDIOC_QBUF: gives a frame's memory to the driver, to be filled; `own` is this process's, of a camera with such memory.
pub fn queue_buffer(camera: &Camera, index: u32, own: &[OwnBuffer]) -> io::Result<()> {
    call_with_buffer(camera, vidioc::VIDIOC_QBUF, index, own).map(|_| ())
}

/// VIDIOC_DQBUF: takes the oldest filled frame from the driver; `WouldBlock` when there is none.
pub fn dequeue_buffer(camera: &Camera) -> io::Result<Queued> {
    call_with_buffer(camera, vidioc::VIDIOC_DQBUF, 0, &[])
}

/// Makes one of the calls that take a v4l2_buffer: VIDIOC_QUERYBUF, VIDIOC_QBUF or VIDIOC_DQBUF.
fn call_with_buffer(camera: &Camera, request: vidioc::_IOC_TYPE, index: u32, own: &[OwnBuffer]) -> io::Result<Queued> {
    let mut planes: [v4l2_plane; MOST_PLANES] = [zeroed(); MOST_PLANES];
    let memory = camera.memory.number();
    let mut buffer = v4l2_buffer { index, type_: camera.buffer_type(), memory, ..zeroed() };
    if camera.is_multi_planar {
        for (plane, own) in planes.iter_mut().zip(own) {
            plane.m.userptr = own.start.expose_provenance() as libc::c_ulong;
            plane.length = own.length as u32;
        }
        buffer.m.planes = planes.as_mut_ptr();
        buffer.length = if own.is_empty() { MOST_PLANES } else { own.len().min(MOST_PLANES) } as u32;
    } else if let Some(own) = own.first() {
        buffer.m.userptr = own.start.expose_provenance() as libc::c_ulong;
        buffer.length = own.length as u32;
    }
    // SAFETY: all of these calls take a v4l2_buffer. Of a mapped one they read the index alone, of one in this process's memory
    // its place and length too, which `OwnBuffer` promises to be right; and they write the offset, or no more planes than `length`
    // says, all of which `planes` has.
    unsafe { call(&camera.device, request, &mut buffer)? };
    let buffers = if camera.is_multi_planar {
        let count = (buffer.length as usize).min(MOST_PLANES);
        planes[..count].iter().map(Buffer::of_plane).collect()
    } else {
        // SAFETY: `offset` is the union's member for a mapped buffer of one plane; any bits are an offset.
        let offset = unsafe { buffer.m.offset };
        let used = 0..buffer.bytesused as usize;
        vec![Buffer { length: buffer.length as usize, offset: offset as libc::off_t, used }]
    };
    // They are shorter on 32-bit ARM.
    #[allow(clippy::unnecessary_cast)]
    let timestamp = (buffer.timestamp.tv_sec as i64, buffer.timestamp.tv_usec as i64);
    Ok(Queued { index: buffer.index, flags: buffer.flags, sequence: buffer.sequence, timestamp, buffers })
}

impl Buffer {
    fn of_plane(plane: &v4l2_plane) -> Self {
        // SAFETY: `mem_offset` is the union's member for a mapped plane; any bits are an offset.
        let offset = unsafe { plane.m.mem_offset };
        // What a driver puts before the picture counts as used.
        let used = plane.data_offset as usize..plane.bytesused as usize;
        Buffer { length: plane.length as usize, offset: offset as libc::off_t, used }
    }
}

/// VIDIOC_STREAMON or VIDIOC_STREAMOFF.
pub fn stream(camera: &Camera, on: bool) -> io::Result<()> {
    let mut kind = camera.buffer_type() as libc::c_int;
    let request = if on { vidioc::VIDIOC_STREAMON } else { vidioc::VIDIOC_STREAMOFF };
    // SAFETY: both calls take an int, the buffer type.
    unsafe { call(&camera.device, request, &mut kind) }
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
pub fn wait(camera: &Camera, patience: Duration) -> io::Result<Readiness> {
    let mut descriptor = libc::pollfd { fd: camera.device.handle().fd(), events: libc::POLLIN, revents: 0 };
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
