//! The hyperparameters of flows on the command line.

use clap::ValueEnum;
use hgad::{Error, Result};

use super::{at_least, positive};
use crate::fit::{HiddenWidth, LossWeights, Prior, Recipe};

/// The hyperparameters of flows; where the defaults are not the paper's or its authors', the help says so.
#[derive(Debug, Clone, PartialEq, clap::Args)]
#[command(
    next_help_heading = "Hyperparameters of --method hgad, and what is not of its mixture also of cflow and fastflow"
)]
pub struct RecipeArgs {
    /// Passes over the images. 5 products with 400 images each take about 10 minutes of one core; the authors use 200.
    #[arg(allow_negative_numbers = true)]
    #[arg(long, value_name = "N", default_value_t = Recipe::default().epochs, value_parser = epochs)]
    pub(super) epochs: usize,
    /// Images per step.
    #[arg(allow_negative_numbers = true)]
    #[arg(long, value_name = "N", default_value_t = Recipe::default().batch, value_parser = positive)]
    pub(super) batch: usize,
    /// Positions per image and step, as a multiple of the square root of the grid's positions.
    #[arg(allow_negative_numbers = true)]
    #[arg(long, value_name = "X", default_value_t = Recipe::default().positions_per_side)]
    pub(super) positions_per_side: f32,
    /// Blocks of each flow [default: 12, of cflow and fastflow 8]. More blocks fit better and cost a frame more time.
    #[arg(allow_negative_numbers = true)]
    #[arg(long, value_name = "K", value_parser = positive)]
    pub(super) blocks: Option<usize>,
    /// Width of the flows' subnets: `2D` (twice the tap's channels), `paper` (several times slower, but of fastflow), or a
    /// number [default: 2D, of fastflow paper].
    #[arg(allow_negative_numbers = true)]
    #[arg(long, value_name = "WIDTH")]
    pub(super) hidden: Option<HiddenWidth>,
    /// What latents are to become: the mixture of the products' centers, all of which are learned; a Gaussian for each product, about a main
    /// center that stays where it starts; or one Gaussian for all products, about 0.
    #[arg(long, value_enum, default_value_t = PriorArg::InterClass)]
    pub(super) prior: PriorArg,
    /// Centers of each product's mixture, the main one among them.
    #[arg(allow_negative_numbers = true)]
    #[arg(long, value_name = "M", default_value_t = Recipe::default().centers, value_parser = several)]
    pub(super) centers: usize,
    /// Standard deviation of the first offsets of a product's other centers from its main one. With the authors' 1 most of
    /// them are never used.
    #[arg(allow_negative_numbers = true)]
    #[arg(long, value_name = "X", default_value_t = Recipe::default().intra_init)]
    pub(super) intra_init: f32,
    /// Weight of the inter-class likelihood loss L_g.
    #[arg(allow_negative_numbers = true)]
    #[arg(long, value_name = "X", default_value_t = LossWeights::default().likelihood)]
    pub(super) lambda1: f32,
    /// Weight of the mutual-information loss L_mi, which pulls the products apart. The paper's 100 leaves the likelihood
    /// unfitted.
    #[arg(allow_negative_numbers = true)]
    #[arg(long, value_name = "X", default_value_t = LossWeights::default().information)]
    pub(super) lambda2: f32,
    /// Leave out these losses: mutual-information (L_mi), entropy (L_e), intra (L_in), sigmoid (L_z).
    #[arg(long, value_name = "LOSS,...", value_delimiter = ',')]
    pub(super) without: Vec<LossName>,
    /// The largest learning rate (the authors': 2e-4).
    #[arg(allow_negative_numbers = true)]
    #[arg(long, value_name = "X", default_value_t = Recipe::default().learning_rate)]
    pub(super) learning_rate: f32,
    /// Weight decay on the flows.
    #[arg(allow_negative_numbers = true)]
    #[arg(long, value_name = "X", default_value_t = Recipe::default().weight_decay)]
    pub(super) weight_decay: f32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LossName {
    MutualInformation,
    Entropy,
    Intra,
    Sigmoid,
}

/// The slides' SGC, FMC and ICG.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum PriorArg {
    Single,
    FixedCenters,
    InterClass,
}

/// More would be a slip of the finger: the authors take 200.
const MOST_EPOCHS: usize = 100_000;

fn epochs(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(number @ 1..=MOST_EPOCHS) => Ok(number),
        _ => Err(format!("'{text}' is not a whole number from 1 to {MOST_EPOCHS}")),
    }
}

fn several(text: &str) -> Result<usize, String> {
    at_least(text, 2)
}

impl Default for RecipeArgs {
    fn default() -> Self {
        #[derive(clap::Parser)]
        struct Alone {
            #[command(flatten)]
            recipe: RecipeArgs,
        }
        <Alone as clap::Parser>::parse_from([""]).recipe
    }
}

impl RecipeArgs {
    /// What only a mixture has.
    pub(super) fn of_mixture(&self) -> (usize, [f32; 3], &[LossName]) {
        (self.centers, [self.intra_init, self.lambda1, self.lambda2], &self.without)
    }

    /// Whether something of a mixture is asked for that a single center does not have.
    pub(super) fn is_lost_on_single(&self) -> bool {
        self.prior == PriorArg::Single && self.of_mixture() != RecipeArgs::default().of_mixture()
    }

    /// `of_method` and what was changed of it.
    ///
    /// # Errors
    ///
    /// Values that make no sense, or that would change nothing (usage errors).
    pub fn recipe(&self, of_method: Recipe, seed: u64) -> Result<Recipe> {
        let off = self.without.contains(&LossName::MutualInformation);
        if off && self.lambda2 != LossWeights::default().information {
            return Err(Error::usage("--lambda2 would change nothing with --without mutual-information")
                .advise("leave one of both away"));
        }
        let on = |name: LossName| if self.without.contains(&name) { 0.0 } else { 1.0 };
        let of_flow = Recipe {
            seed,
            epochs: self.epochs,
            batch: self.batch,
            positions_per_side: self.positions_per_side,
            blocks: self.blocks.unwrap_or(of_method.blocks),
            hidden: self.hidden.unwrap_or(of_method.hidden),
            learning_rate: self.learning_rate,
            weight_decay: self.weight_decay,
            ..of_method
        };
        let of_mixture = Recipe {
            centers: self.centers,
            intra_init: self.intra_init,
            losses: LossWeights {
                likelihood: self.lambda1,
                information: self.lambda2 * on(LossName::MutualInformation),
                entropy: on(LossName::Entropy),
                intra: on(LossName::Intra),
                sigmoid: on(LossName::Sigmoid),
            },
            ..of_flow
        };
        let recipe = match (of_flow.prior, self.prior) {
            (Prior::Classes, PriorArg::InterClass) => of_mixture,
            (Prior::Classes, PriorArg::FixedCenters) => Recipe { prior: Prior::FixedCenters, ..of_mixture },
            (Prior::Classes, PriorArg::Single) => of_flow.single(),
            _ => of_flow,
        };
        recipe.check()?;
        Ok(recipe)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_weight_of_a_loss_that_is_left_out_is_refused() {
        let without = RecipeArgs { without: vec![LossName::MutualInformation], ..RecipeArgs::default() };
        assert_eq!(without.recipe(Recipe::default(), 0).unwrap().losses.information, 0.0);
        let error = RecipeArgs { lambda2: 7.0, ..without }.recipe(Recipe::default(), 0).unwrap_err();
        assert!(error.kind().exit_code() == 2 && error.report().contains("--lambda2"), "{}", error.report());
    }
}
