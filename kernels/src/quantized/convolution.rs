//! Dense convolution of bytes.

use super::dot::{Dot, Task, dispatch, dot_tier};
use super::gemm::{Columns, Panels, Target};
use super::requantize::{Output, Quantization, Weights};
use crate::error::check_length;
use crate::geometry::{Window, elements};
use crate::rows::PhasedRow;
use crate::scratch::Scratch;
use crate::{Error, Tier};

/// A dense convolution of 8-bit images; see the [module](super) for its arithmetic, and [`crate::Convolution`].
#[derive(Clone, Debug)]
pub struct Convolution {
    tier: Tier,
    inputs: usize,
    window: Window,
    output: [usize; 2],
    zero: u8,
    panels: Panels,
    layout: PhasedRow,
    /// Where each row of the im2col matrix starts in the padded rows of one output row.
    taps: Vec<usize>,
}

impl Convolution {
    /// Packs the weights, `[outputs, inputs, kernel height, kernel width]`.
    ///
    /// Outside the image is `input.zero`, which is 0 in real numbers.
    ///
    /// # Errors
    /// The tier is not this CPU's, the shape is empty, a slice's length is not the shape's, or a scale is not a positive normal number.
    pub fn new(
        tier: Tier,
        (inputs, outputs): (usize, usize),
        window: Window,
        weights: Weights,
        input: Quantization,
        output: Output,
    ) -> Result<Self, Error> {
        let size = window.output()?;
        elements(&[inputs, window.height, window.width])?;
        elements(&[outputs, size[0], size[1]])?;
        let depth = elements(&[inputs, window.kernel[0], window.kernel[1]])?;
        let tier = dot_tier(tier.checked()?, size[1]);
        let panels = Panels::new(tier, (outputs, depth), weights, input, output)?;
        let layout = PhasedRow::new(&window, size[1]);
        elements(&[inputs, window.kernel[0], layout.pitch()])?;
        let rows = 0..inputs * window.kernel[0];
        let taps = rows.flat_map(|row| (0..window.kernel[1]).map(move |kx| row * layout.pitch() + layout.offset(kx)));
        let taps = taps.collect();
        Ok(Self { tier, inputs, window, output: size, zero: input.zero, panels, layout, taps })
    }

    /// Elements of the input: channels, height, width.
    pub fn input_len(&self) -> usize {
        self.inputs * self.window.height * self.window.width
    }

    /// Elements of the output.
    pub fn output_len(&self) -> usize {
        self.panels.rows() * self.output[0] * self.output[1]
    }

    /// Height and width of the output.
    pub fn output_size(&self) -> [usize; 2] {
        self.output
    }

    /// Working memory that [`Convolution::run`] uses, in bytes.
    pub fn scratch_bytes(&self) -> usize {
        self.rows_len() + self.panels.scratch_bytes()
    }

    /// Bytes of the padded rows under one row of output, whole cache lines.
    fn rows_len(&self) -> usize {
        (self.inputs * self.window.kernel[0] * self.layout.pitch()).next_multiple_of(64)
    }

    /// Convolves one image. A residual is given where the layer was made with a [`Sum`](super::Sum), and nowhere else.
    ///
    /// # Errors
    /// A slice's length is not the shape's, or a residual is missing or not wanted.
    pub fn run(
        &self,
        image: &[u8],
        residual: Option<&[u8]>,
        output: &mut [u8],
        scratch: &mut Scratch,
    ) -> Result<(), Error> {
        check_length("image", self.input_len(), image.len())?;
        check_length("output", self.output_len(), output.len())?;
        self.panels.check_residual(residual, self.output_len())?;
        let target = Target {
            out: output.as_mut_ptr(),
            residual: residual.map_or(std::ptr::null(), <[u8]>::as_ptr),
            pitch: self.output[0] * self.output[1],
            columns: self.output[1],
        };
        let scratch = scratch.bytes(self.scratch_bytes());
        // SAFETY: `new` has checked that the CPU has the tier, and the lengths were checked above.
        unsafe { dispatch(self.tier, Run { of: self, image, target, scratch }) };
        Ok(())
    }
}

/// One run; `target` is the first row of output, `scratch` has `scratch_bytes`.
struct Run<'a> {
    of: &'a Convolution,
    image: &'a [u8],
    target: Target,
    scratch: *mut u8,
}

impl Task for Run<'_> {
    #[inline(always)]
    unsafe fn run<D: Dot>(self) {
        let of = self.of;
        let kernel = of.window.kernel[0];
        let planes = self.image.chunks_exact(of.window.height * of.window.width);
        // SAFETY: the layout's rows are within `scratch`, and rows of output within the target.
        unsafe {
            for y in 0..of.output[0] {
                let first = y * of.window.stride[0];
                for (channel, plane) in planes.clone().enumerate() {
                    let rows = self.scratch.add(channel * kernel * of.layout.pitch());
                    of.layout.fill_bytes(&of.window, plane, (first, first + kernel), rows, of.zero);
                }
                let at = y * of.output[1];
                let target = Target {
                    out: self.target.out.add(at),
                    // A null residual is not read.
                    residual: self.target.residual.wrapping_add(at),
                    ..self.target
                };
                let taps = Taps { rows: self.scratch, taps: &of.taps };
                of.panels.multiply::<D, _>(&taps, target, self.scratch.add(of.rows_len()));
            }
        }
    }
}

/// The im2col matrix of one row of output.
struct Taps<'a> {
    rows: *const u8,
    taps: &'a [usize],
}

impl Columns for Taps<'_> {
    #[inline(always)]
    fn row(&self, depth: usize, column: usize) -> *const u8 {
        self.rows.wrapping_add(self.taps[depth] + column)
    }
}
