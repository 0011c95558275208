//! Dense convolution: every output channel sees every input channel.

use crate::error::check_length;
use crate::gemm::{Columns, Panels, Target};
use crate::geometry::{Clamp, Window, elements};
use crate::rows::PhasedRow;
use crate::scratch::Scratch;
use crate::simd::{Simd, Task, dispatch, float_tier};
use crate::{Error, Tier};

/// A dense convolution with bias, residual and clamp, for any window and stride; the first layer of a backbone above all.
///
/// For each row of output, the input rows under it are copied with their padding; tiles of the (never written out) im2col matrix are
/// gathered from them and multiplied as in [`Pointwise`](crate::Pointwise).
#[derive(Clone, Debug)]
pub struct Convolution {
    tier: Tier,
    inputs: usize,
    outputs: usize,
    window: Window,
    output: [usize; 2],
    panels: Panels,
    layout: PhasedRow,
    /// Where each row of the im2col matrix starts in the padded rows of one output row.
    taps: Vec<usize>,
}

impl Convolution {
    /// Packs the weights, `[outputs, inputs, kernel height, kernel width]`; `bias` is `[outputs]`.
    ///
    /// # Errors
    /// The tier is not this CPU's, the shape is empty, or a slice's length is not the shape's.
    pub fn new(
        tier: Tier,
        (inputs, outputs): (usize, usize),
        window: Window,
        weights: &[f32],
        bias: &[f32],
        clamp: Clamp,
    ) -> Result<Self, Error> {
        let output = window.output()?;
        elements(&[inputs, window.height, window.width])?;
        elements(&[outputs, output[0], output[1]])?;
        let depth = elements(&[inputs, window.kernel[0], window.kernel[1]])?;
        check_length("weights", outputs * depth, weights.len())?;
        check_length("bias", outputs, bias.len())?;
        let tier = float_tier(tier.checked()?, output[1]);
        let panels = Panels::new(tier, (outputs, depth), weights, bias, clamp)?;
        let layout = PhasedRow::new(&window, output[1]);
        elements(&[inputs, window.kernel[0], layout.pitch()])?;
        let rows = 0..inputs * window.kernel[0];
        let taps = rows.flat_map(|row| (0..window.kernel[1]).map(move |kx| row * layout.pitch() + layout.offset(kx)));
        let taps = taps.collect();
        Ok(Self { tier, inputs, outputs, window, output, panels, layout, taps })
    }

    /// Elements of the input: channels, height, width.
    pub fn input_len(&self) -> usize {
        self.inputs * self.window.height * self.window.width
    }

    /// Elements of the output.
    pub fn output_len(&self) -> usize {
        self.outputs * self.output[0] * self.output[1]
    }

    /// Height and width of the output.
    pub fn output_size(&self) -> [usize; 2] {
        self.output
    }

    /// Working memory that [`Convolution::run`] uses, in bytes.
    pub fn scratch_bytes(&self) -> usize {
        4 * (self.rows_len() + self.panels.scratch_len(self.output[1]))
    }

    /// Elements of the padded rows under one row of output, whole cache lines.
    fn rows_len(&self) -> usize {
        (self.inputs * self.window.kernel[0] * self.layout.pitch()).next_multiple_of(16)
    }

    /// Convolves one image; `residual`, as large as the output, is added before the clamp.
    ///
    /// # Errors
    /// A slice's length is not the shape's.
    pub fn run(
        &self,
        image: &[f32],
        residual: Option<&[f32]>,
        output: &mut [f32],
        scratch: &mut Scratch,
    ) -> Result<(), Error> {
        check_length("image", self.input_len(), image.len())?;
        check_length("output", self.output_len(), output.len())?;
        if let Some(residual) = residual {
            check_length("residual", self.output_len(), residual.len())?;
        }
        let target = Target {
            out: output.as_mut_ptr(),
            residual: residual.map_or(std::ptr::null(), <[f32]>::as_ptr),
            pitch: self.output[0] * self.output[1],
            columns: self.output[1],
        };
        let scratch = scratch.bytes(self.scratch_bytes()).cast();
        // SAFETY: `new` has checked that the CPU has the tier, and the lengths were checked above.
        unsafe { dispatch(self.tier, Run { of: self, image, target, scratch }) };
        Ok(())
    }
}

/// One run; `target` is the first row of output, `scratch` has `scratch_bytes`.
struct Run<'a> {
    of: &'a Convolution,
    image: &'a [f32],
    target: Target,
    scratch: *mut f32,
}

impl Task for Run<'_> {
    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        let of = self.of;
        let plane = of.window.height * of.window.width;
        let kernel = of.window.kernel[0];
        // SAFETY: planes and rows are within the slices, whose lengths `run` has checked, and the layout's rows within `scratch`.
        unsafe {
            for y in 0..of.output[0] {
                let first = y * of.window.stride[0];
                for channel in 0..of.inputs {
                    let rows = self.scratch.add(channel * kernel * of.layout.pitch());
                    let span = (first, first + kernel);
                    of.layout.fill_rows::<S, _>(of.window, (self.image, channel * plane), span, rows, true);
                }
                let at = y * of.output[1];
                let residual = self.target.residual;
                let target = Target {
                    out: self.target.out.add(at),
                    residual: if residual.is_null() { residual } else { residual.add(at) },
                    ..self.target
                };
                let taps = Taps { rows: self.scratch, taps: &of.taps };
                of.panels.multiply::<S, _>(&taps, target, self.scratch.add(of.rows_len()));
            }
        }
    }
}

/// The im2col matrix of one row of output.
struct Taps<'a> {
    rows: *const f32,
    taps: &'a [usize],
}

impl Columns for Taps<'_> {
    #[inline(always)]
    unsafe fn pack<S: Simd, const V: usize>(&self, (start, end): (usize, usize), column: usize, mut tile: *mut f32) {
        // SAFETY: a tile that goes beyond the row's last column ends within a phase's slack.
        unsafe {
            for tap in &self.taps[start..end] {
                let from = self.rows.add(tap + column);
                for v in 0..V {
                    S::store(tile.add(v * S::LANES), S::load(from.add(v * S::LANES)));
                }
                tile = tile.add(V * S::LANES);
            }
        }
    }
}
