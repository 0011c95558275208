//! The calls about controls.

use std::io;

use v4l::Device;
use v4l::v4l_sys::{
    V4L2_CTRL_FLAG_NEXT_CTRL, V4L2_CTRL_WHICH_CUR_VAL, v4l2_ctrl_type_V4L2_CTRL_TYPE_INTEGER64 as INTEGER64,
    v4l2_ext_control, v4l2_ext_controls, v4l2_query_ext_ctrl, v4l2_querymenu,
};
use v4l::v4l2::vidioc;

use super::{Plain, call, text, zeroed};

impl Plain for v4l2_ext_control {}
impl Plain for v4l2_ext_controls {}
impl Plain for v4l2_query_ext_ctrl {}
impl Plain for v4l2_querymenu {}

/// VIDIOC_QUERY_EXT_CTRL: every control whose value is a number or a text, and its name.
pub fn controls(device: &Device) -> Vec<(v4l2_query_ext_ctrl, String)> {
    let mut found: Vec<(v4l2_query_ext_ctrl, String)> = Vec::new();
    loop {
        let last = found.last().map_or(0, |(control, _)| control.id);
        let mut control = v4l2_query_ext_ctrl { id: last | V4L2_CTRL_FLAG_NEXT_CTRL, ..zeroed() };
        // SAFETY: VIDIOC_QUERY_EXT_CTRL takes a v4l2_query_ext_ctrl.
        let asked = unsafe { call(device, vidioc::VIDIOC_QUERY_EXT_CTRL, &mut control) };
        // The numbers rise; a driver that repeats itself would never end.
        if asked.is_err() || control.id <= last {
            return found;
        }
        let name = text(&control.name.map(|letter| letter.to_ne_bytes()[0]));
        found.push((control, name));
    }
}

/// VIDIOC_QUERYMENU: the name of a choice of a menu.
pub fn choice(device: &Device, id: u32, index: u32) -> io::Result<String> {
    let item = menu_item(device, id, index)?;
    // SAFETY: `name` is the union's member for a menu, and 32 bytes in any case.
    Ok(text(unsafe { &item.name }))
}

/// VIDIOC_QUERYMENU: the number behind a choice of an integer menu.
pub fn numeric_choice(device: &Device, id: u32, index: u32) -> io::Result<i64> {
    let item = menu_item(device, id, index)?;
    // SAFETY: `value` is the union's member for an integer menu; any bytes are a number.
    Ok(unsafe { item.value })
}

fn menu_item(device: &Device, id: u32, index: u32) -> io::Result<v4l::v4l_sys::v4l2_querymenu__bindgen_ty_1> {
    let mut item = v4l2_querymenu { id, index, ..zeroed() };
    // SAFETY: VIDIOC_QUERYMENU takes a v4l2_querymenu.
    unsafe { call(device, vidioc::VIDIOC_QUERYMENU, &mut item)? };
    Ok(item.__bindgen_anon_1)
}

/// VIDIOC_G_EXT_CTRLS: the value of one control of the type `kind` (`V4L2_CTRL_TYPE_*`) whose value is a number.
pub fn control(device: &Device, id: u32, kind: u32) -> io::Result<i64> {
    let mut control = v4l2_ext_control { id, ..zeroed() };
    // SAFETY: the type says which member of the union the kernel filled in; the other one was zeroed.
    unsafe {
        one_control(device, vidioc::VIDIOC_G_EXT_CTRLS, &mut control)?;
        let value = control.__bindgen_anon_1;
        Ok(if kind == INTEGER64 { value.value64 } else { i64::from(value.value) })
    }
}

/// VIDIOC_S_EXT_CTRLS: sets one control of the type `kind`. The driver may take another value than the one asked for.
///
/// # Errors
///
/// It refuses the value, or a control of this type cannot hold it.
pub fn set_control(device: &Device, id: u32, kind: u32, value: i64) -> io::Result<()> {
    let mut control = v4l2_ext_control { id, ..zeroed() };
    match (kind, i32::try_from(value)) {
        (INTEGER64, _) => control.__bindgen_anon_1.value64 = value,
        (_, Ok(value)) => control.__bindgen_anon_1.value = value,
        (_, Err(_)) => return Err(io::Error::from_raw_os_error(libc::ERANGE)),
    }
    // SAFETY: the control's value is a number, so the union holds no pointer.
    unsafe { one_control(device, vidioc::VIDIOC_S_EXT_CTRLS, &mut control) }
}

/// # Safety
///
/// `request` is VIDIOC_G_EXT_CTRLS or VIDIOC_S_EXT_CTRLS, and the control one whose value is a number.
unsafe fn one_control(device: &Device, request: vidioc::_IOC_TYPE, control: &mut v4l2_ext_control) -> io::Result<()> {
    let mut controls = v4l2_ext_controls { count: 1, controls: control, ..zeroed() };
    controls.__bindgen_anon_1.which = V4L2_CTRL_WHICH_CUR_VAL;
    // SAFETY: both calls take a v4l2_ext_controls; its pointer is to one control, as `count` says.
    unsafe { call(device, request, &mut controls) }
}
