//! A training that is interrupted, killed, or breaks.

use super::*;

#[test]
fn a_run_that_was_interrupted_ends_as_one_that_was_not() {
    let line = Line::new();
    let backbone = line.backbone();
    let features = line.features(&backbone);
    let quiet = AtomicBool::new(false);
    for (name, recipe) in recipes() {
        let (at_once, in_pieces) = (line.path(&format!("{name}-whole")), line.path(&format!("{name}-pieces")));
        let task = |place: &Path, resume| task_of(recipe, &features, place.to_owned(), resume);
        let whole = finished(Device::Cpu.fit(&task(&at_once, false), &quiet).unwrap());

        // A raised flag ends each run after one step; the stages change after the third.
        let raised = AtomicBool::new(true);
        for expected in 1..=5 {
            match Device::Cpu.fit(&task(&in_pieces, expected > 1), &raised).unwrap() {
                Outcome::Interrupted { step, steps } => assert_eq!((step, steps), (expected, 30), "{name}"),
                Outcome::Finished(_) => panic!("{name} finished although it was asked to stop"),
            }
        }
        let pieces = finished(Device::Cpu.fit(&task(&in_pieces, true), &quiet).unwrap());
        assert_eq!(whole.levels, pieces.levels, "{name}");
        assert_eq!(whole.losses, pieces.losses, "{name}");

        let mut other = task(&in_pieces, true);
        other.recipe.seed += 1;
        let refused = Device::Cpu.fit(&other, &quiet).err().unwrap();
        assert_eq!(refused.kind().exit_code(), 2);
        assert!(refused.to_string().contains("another run"), "{refused}");
    }
}

#[test]
fn a_run_that_was_killed_and_resumed_leaves_the_history_of_one_that_was_not() {
    let line = Line::new();
    let backbone = line.backbone();
    let features = line.features(&backbone);
    let held = images(PRODUCTS.iter().flat_map(|product| line.good(product, HoldOut::Held(4))));
    let normals = Features::of(&backbone, &held, &line.path("cache"), &AtomicBool::new(false)).unwrap();
    let labels = [0, 0, 0, 0, 1, 1, 1, 1];
    let about = About {
        classes: PRODUCTS.map(str::to_owned).to_vec(),
        held_out: true,
        backbone: line.path("small.onnx"),
        backbone_sha256: backbone.digest,
        normalise: backbone.normalise.to_string(),
        taps: vec!["fine".into(), "coarse".into()],
        size: SIZE,
    };
    let watch =
        |name: &str| Watch { folder: line.path(name), about: about.clone(), normals: &normals, labels: &labels };
    let (whole, pieces) = (watch("whole.history"), watch("pieces.history"));
    let quiet = AtomicBool::new(false);
    let run = |watch, name: &str, resume, stop: &AtomicBool| {
        let task = task(&features, line.path(name), resume);
        Device::Cpu.fit(&Task { watch: Some(watch), ..task }, stop).unwrap()
    };
    let fitted = finished(run(&whole, "whole", false, &quiet));
    // Each run ends after one step. The checkpoint of the fourth comes back, as if a kill had come after the history of the sixth.
    let raised = AtomicBool::new(true);
    for step in 1..=6 {
        run(&pieces, "pieces", step > 1, &raised);
        if step == 4 {
            std::fs::copy(line.path("pieces"), line.path("earlier")).unwrap();
        }
    }
    std::fs::rename(line.path("earlier"), line.path("pieces")).unwrap();
    finished(run(&pieces, "pieces", true, &quiet));
    assert_eq!(files(&whole.folder), files(&pieces.folder));

    let history = History::read(&whole.folder).unwrap().unwrap();
    let steps = history.records.iter().map(|record| record.step).collect::<Vec<_>>();
    assert_eq!(steps, (0..=10).map(|epoch| 3 * epoch).collect::<Vec<_>>());
    let kept = history.kept().map(|record| record.step).collect::<Vec<_>>();
    assert_eq!(kept, [0, 3, 6, 9, 15, 30]);
    let last = history.records.last().unwrap();
    assert_eq!(last.losses, fitted.losses);
    assert_eq!(History::weights(&whole.folder, last).unwrap(), fitted.levels);
    // The mean of the counted likelihoods is that of the definition, computed from the exported mixture.
    for (l, level) in fitted.levels.iter().enumerate() {
        let flow = level.on::<Flex>(&Default::default());
        for class in 0..2 {
            let of_class = (0..8).filter(|image| labels[*image] == class);
            let values = of_class.flat_map(|image| {
                let Latents { z, logdet } = flow.latents(normals.levels[l].image(image)).unwrap();
                let (rows, d) = z.dim();
                let grid = z.t().to_shape((d, rows, 1)).unwrap().to_owned();
                let distances = hgad::inspect::mixture::distance(grid.view(), &level.centers, class);
                let density = move |p: usize| {
                    let latent = -0.5 * distances[[p, 0]].powi(2) - 0.5 * std::f32::consts::TAU.ln();
                    f64::from(latent + logdet[p] / d as f32)
                };
                (0..rows).map(density).collect::<Vec<_>>()
            });
            let values = values.collect::<Vec<_>>();
            let mean = values.iter().sum::<f64>() / values.len() as f64;
            let counted = &last.likelihoods[l][class];
            assert_eq!(counted.total() as usize, values.len());
            assert!((counted.mean().unwrap() - mean).abs() < 0.025, "{:?} of {mean}", counted.mean());
        }
    }

    // What a run of other settings left is not taken for one's own.
    let mut other = task(&features, line.path("other"), false);
    other.recipe.seed += 1;
    finished(Device::Cpu.fit(&Task { watch: Some(&pieces), ..other }, &quiet).unwrap());
    assert_ne!(History::read(&pieces.folder).unwrap().unwrap().run, history.run);
}

#[test]
fn a_last_step_that_breaks_the_weights_ends_the_run_and_leaves_no_checkpoint() {
    let line = Line::new();
    let features = line.features(&line.backbone());
    let mut task = task(&features, line.path("checkpoint"), false);
    // One step over all images: its losses are those of the start, its gradients overflow.
    task.recipe = Recipe { epochs: 1, batch: 24, weight_decay: f32::MAX, ..task.recipe };
    let error = Device::Cpu.fit(&task, &AtomicBool::new(false)).err().unwrap();
    assert_eq!(error.kind().exit_code(), 1);
    assert!(error.report().contains("diverged") && error.report().contains("parameter block"), "{}", error.report());
    assert!(!task.checkpoint.exists());
}

#[test]
fn an_interrupt_leaves_a_checkpoint_that_the_same_command_resumes_from() {
    const EPOCHS: usize = 100_000;
    let line = Line::new();
    let checkpoint = line.path("model.checkpoint");
    let errors = interrupted(line.command(EPOCHS), || step(&checkpoint) > 0);
    assert!(errors.contains("interrupted after step") && errors.contains("--resume"), "{errors}");
    let reached = step(&checkpoint);

    let (status, _, errors) = wait(line.command(EPOCHS).spawn().unwrap());
    assert_eq!(status.code(), Some(2), "{errors}");
    assert!(errors.contains("of an earlier run stands here"), "{errors}");

    let mut resumed = line.command(EPOCHS);
    resumed.arg("--resume");
    let errors = interrupted(resumed, || step(&checkpoint) > reached);
    assert!(errors.contains(&format!("resuming after step {reached}")), "{errors}");
    assert!(!line.path("model").exists());
}

#[test]
fn a_training_whose_history_cannot_be_written_goes_on() {
    let line = Line::new();
    std::fs::write(line.path("model.history.new"), "no folder").unwrap();
    let (status, _, errors) = wait(line.command(1).spawn().unwrap());
    assert!(errors.contains("the training goes on without its history"), "{errors}");
    assert!(status.success() && line.path("model/manifest.toml").exists(), "{errors}");
}
